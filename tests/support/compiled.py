"""`pytest -p tests.support.compiled`: the tests with the compiled rooms in place of their sources (`make test-compiled`)."""

import os
from pathlib import Path

from penstock.base import compiled

_given = os.environ.get("COMPILED")  # a directory other than the environment's own
assert compiled.use(Path(_given) if _given else None), "nothing is compiled from these sources: run tools/compile.py"
