"""A model by its hub id: fetched with its progress told, and every way in which that cannot work said."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from penstock.compute.engines import EngineUnavailable
from penstock.compute.engines.transformers import TransformersEngine
from tests.live.compute.engines.small_hub import small_hub
from tests.live.platform import eventually
from tests.support.ending import end, watched
from tests.support.tiny.place import tiny_model

START_SECONDS = 110.0
"""torch alone takes a minute to import on a machine that is busy and has not read it lately."""


@contextmanager
def worker(tmp_path: Path, hub: str, model: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`penstock worker`, which has to end with success when it is told to."""
    place = ["--state-dir", str(tmp_path / "state")]
    command = [sys.executable, "-m", "penstock", "worker", "--engine", "transformers", "--model", model, *place]
    here = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", "PENSTOCK_LOG__FORMAT": "json"}
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=watched({**os.environ, **here}), stderr=errors)
    try:
        yield process
    finally:
        code, _ = end(process, log)
    assert code == 0, said(tmp_path)


def said(tmp_path: Path) -> str:
    return (tmp_path / "log").read_text(errors="replace")


def test_a_model_is_fetched_and_served_with_its_progress_in_the_log(tmp_path: Path) -> None:
    with small_hub("acme/tiny", tiny_model()) as hub, worker(tmp_path, hub, "acme/tiny") as process:
        eventually(lambda: '"serving"' in said(tmp_path) or process.poll() is not None, START_SECONDS, lambda: said(tmp_path))
    log = said(tmp_path)
    assert '"fetching"' in log, log
    assert log.index('"fetching"') < log.index('"model_loaded"') < log.index('"serving"')


def test_a_worker_that_still_fetches_its_model_can_be_stopped(tmp_path: Path) -> None:
    asked, let_go = Event(), Event()

    def hold() -> None:
        asked.set()
        let_go.wait()

    with small_hub("acme/tiny", tiny_model(), hold) as hub:
        try:
            with worker(tmp_path, hub, "acme/tiny"):
                assert asked.wait(START_SECONDS), said(tmp_path)
        finally:
            let_go.set()
    assert "stopped during the start" in said(tmp_path)
    assert '"serving"' not in said(tmp_path)


@pytest.mark.parametrize(
    ("model", "problem"),
    [("acme/nothing", "there is no model 'acme/nothing'"), ("acme/gated", "accepted its terms"), ("acme/tiny", "hub is not reached")],
)
async def test_model_that_cannot_be_fetched_is_named_in_the_error(
    tmp_path: Path, model: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = tiny_model()
    with small_hub("acme/tiny", tiny) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub if "not reached" not in problem else "http://127.0.0.1:9")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(EngineUnavailable, match=problem):
            await TransformersEngine({"model": model}).open()
