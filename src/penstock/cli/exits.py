"""How a command ends: the exit codes, and what leads to which."""

from enum import IntEnum
from pathlib import Path

from penstock.domain.errors import PenstockError


class ExitCode(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    """The command line, a setting or the content of the request is wrong."""
    NOT_FOUND = 3
    AUTH = 4
    LIMITED = 5
    INTERRUPTED = 130


_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.AUTH,
    403: ExitCode.AUTH,
    404: ExitCode.NOT_FOUND,
    422: ExitCode.USAGE,
    429: ExitCode.LIMITED,
}


def of_status(status: int) -> ExitCode:
    """The exit code for an HTTP answer that is not a success."""
    return _BY_STATUS.get(status, ExitCode.FAILURE)


class Failed(Exception):
    """The command cannot go on. The message is for the person at the terminal; `hint` says what they can do."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILURE, *, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.hint = hint


def cannot_read(path: Path, error: OSError | UnicodeDecodeError) -> Failed:
    """The failure for a file that the user named; it names the file once."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Failed(f"cannot read {path}: {reason}", ExitCode.USAGE)


class RequestRefused(Failed):
    """The gateway answered with an error."""

    def __init__(self, error: PenstockError, status: int, *, request_id: str = "", code: str = "", hint: str = "") -> None:
        super().__init__(_sentence(error, status, code, request_id), of_status(status), hint=hint)
        self.error = error
        self.status = status
        self.code = code
        self.request_id = request_id


def _sentence(error: PenstockError, status: int, code: str, request_id: str) -> str:
    details = [f"HTTP {status}"] if status else []
    details += [code] if code else []
    details += [f"parameter {error.param}"] if error.param else []
    details += [f"request {request_id}"] if request_id else []
    return f"{error.message} ({', '.join(details)})" if details else error.message
