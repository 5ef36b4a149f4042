"""Errors of every kind end as a sentence and an exit code, never as a traceback."""

import pytest
import typer

from penstock.base.family import UnknownMember
from penstock.base.profiles import ProfileProblem
from penstock.cli.command import errors_to_exit_codes
from penstock.cli.exits import ExitCode, Failed
from penstock.domain.errors import PortUnavailable, RateLimited
from penstock.domain.ports import StoreLocked


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Failed("no", ExitCode.NOT_FOUND, hint="look"), ExitCode.NOT_FOUND, "penstock: no\n  look\n"),
        (RateLimited("slow down"), ExitCode.LIMITED, "penstock: slow down\n"),
        (StoreLocked("another process has it"), ExitCode.FAILURE, "penstock: another process has it\n"),
        (PortUnavailable("gone"), ExitCode.FAILURE, "penstock: gone\n"),
        (ProfileProblem("unreadable"), ExitCode.FAILURE, "penstock: unreadable\n"),
        (UnknownMember("there is no 'x'"), ExitCode.USAGE, "penstock: there is no 'x'\n"),
        (
            ModuleNotFoundError("No module named 'psycopg'", name="psycopg"),
            ExitCode.FAILURE,
            "penstock: this needs psycopg, which is not installed\n  pip install 'penstock[postgres]'\n",
        ),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, ""),
    ],
)
def test_errors_become_a_sentence_and_an_exit_code(
    error: BaseException, code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, errors_to_exit_codes():
        raise error
    assert (ended.value.exit_code, capsys.readouterr().err) == (code, said)


def test_unexpected_errors_keep_their_traceback() -> None:
    with pytest.raises(ModuleNotFoundError), errors_to_exit_codes():
        raise ModuleNotFoundError("No module named 'penstok'", name="penstok")
