"""A model by its hub id: fetched with its progress told, and every way in which that cannot work said."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.engines import EngineUnavailable
from penstock.engines.transformers import TransformersEngine
from tests.live.engines.small_hub import small_hub
from tests.live.platform import eventually
from tests.tiny.place import tiny_model


def worker(tmp_path: Path, hub: str, model: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "penstock",
        "worker",
        "--engine",
        "transformers",
        "--model",
        model,
        "--state-dir",
        str(tmp_path / "state"),
    ]
    here = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", "PENSTOCK_LOG__FORMAT": "json"}
    with (tmp_path / "log").open("wb") as errors:
        return subprocess.Popen(command, env={**os.environ, **here}, stderr=errors)


def said(tmp_path: Path) -> str:
    return (tmp_path / "log").read_text(errors="replace")


def test_a_model_is_fetched_and_served_with_its_progress_in_the_log(tmp_path: Path) -> None:
    with small_hub("acme/tiny", tiny_model()) as hub:
        process = worker(tmp_path, hub, "acme/tiny")
        try:
            eventually(lambda: '"serving"' in said(tmp_path) or process.poll() is not None, 60.0, lambda: said(tmp_path))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, said(tmp_path)
    log = said(tmp_path)
    assert '"fetching"' in log, log
    assert log.index('"fetching"') < log.index('"the model is loaded"') < log.index('"serving"')


@pytest.mark.parametrize(
    ("model", "problem"),
    [("acme/nothing", "there is no model 'acme/nothing'"), ("acme/gated", "accepted its terms"), ("acme/tiny", "hub is not reached")],
)
async def test_what_cannot_be_fetched_is_said(tmp_path: Path, model: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_model()
    with small_hub("acme/tiny", tiny) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub if "not reached" not in problem else "http://127.0.0.1:9")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(EngineUnavailable, match=problem):
            await TransformersEngine({"model": model}).open()
