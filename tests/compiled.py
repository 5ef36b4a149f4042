"""`pytest -p tests.compiled`: the tests with the compiled rooms in place of their sources (`make test-compiled`)."""

from penstock import compiled

assert compiled.use(), "nothing is compiled from these sources: run tools/compile.py"
