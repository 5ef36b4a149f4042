"""Where the tiny model lies: made once for each version of what makes it, then found again."""

import functools
import hashlib
import importlib.util
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.sources import ROOT

_MADE = ROOT / "build" / "tiny-model"


def require(*packages: str, extra: str = "transformers") -> None:
    """Skips the test where the packages of an extra are absent, or fails it where they are required (CI=true)."""
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    if absent:
        message = f"{', '.join(absent)} not installed: pip install 'penstock[{extra}]'"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@functools.cache
def tiny_model() -> Path:
    """The folder with the model. Skips the test where torch is not installed."""
    require("torch", "transformers")
    digest = hashlib.blake2b(f"{version('torch')} {version('transformers')}".encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.name in {"model.py", "words.py"}:
            digest.update(source.read_bytes())
    folder = _MADE / digest.hexdigest() / "tiny"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        from tests.support.tiny.model import make

        with tempfile.TemporaryDirectory(dir=_MADE) as making:
            make(Path(making) / "tiny")
            try:
                (Path(making) / "tiny").rename(folder)
            except OSError:  # another test process was faster
                shutil.rmtree(making, ignore_errors=True)
    return folder
