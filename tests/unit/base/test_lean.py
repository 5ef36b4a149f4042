"""What a gateway does without, and that it is still there for whoever asks."""

import os
import subprocess
import sys

import pytest

LOAD = """
import sys
from penstock.base import lean
with lean.imports():
    import penstock.app.{process}
"""
UNUSED = ("rich", "pygments", "pydantic.v1", "sqlalchemy.orm", "cryptography", "alembic")


def run(program: str) -> str:
    """In a process of its own: what is imported stays."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("process", ["up.platform", "gateway.assembly"])
def test_a_gateway_loads_none_of_it(process: str) -> None:
    loaded = run(LOAD.format(process=process) + f"print(*[name for name in {UNUSED} if sys.modules.get(name)])")
    assert loaded.split() == []


def test_skipped_modules_can_be_imported_later() -> None:
    run(
        LOAD.format(process="up")
        + "import rich, pygments, pydantic.v1, cryptography\n"
        + "from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, create_async_engine\n"
        + "from sqlalchemy.ext.asyncio.session import AsyncSession as same\n"
        + "assert AsyncSession is same and isinstance(AsyncSession(create_async_engine('sqlite+aiosqlite://')), same)\n"
    )


def test_a_name_that_is_not_there_is_still_an_error() -> None:
    run(
        LOAD.format(process="up")
        + "import sqlalchemy.ext.asyncio as package\n"
        + "try: package.nothing\n"
        + "except AttributeError as error: assert 'nothing' in str(error)\n"
        + "else: raise SystemExit('found')\n"
    )


def test_modules_imported_earlier_are_not_replaced() -> None:
    run(
        "import rich, sqlalchemy.ext.asyncio as package\nfirst = package.AsyncSession\n"
        + LOAD.format(process="up")
        + "assert sys.modules['rich'] is rich and package.AsyncSession is first\n"
    )
