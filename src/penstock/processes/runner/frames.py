"""The messages between a runner and its child processes: JSON in frames with four bytes of length, over a socket pair.

Each answer names the run that it belongs to, so that nothing that an earlier function left behind speaks for the next one.
"""

import struct

import msgspec

from penstock.base.task_connection import TaskConnection

LENGTH = struct.Struct(">I")
MOST_FRAME_BYTES = 4_000_000
"""Of a message from a child: a result and an error text are bounded in the child, and the rest is small."""


class RunFrame(msgspec.Struct, frozen=True, tag="run"):
    """To the child: run this."""

    task_id: str
    attempt: int
    function: str
    payload: msgspec.Raw
    run: int = 0
    """Counts the runs of one child."""
    connection: TaskConnection | None = None
    """For calls of the function to the gateway."""


class HelloFrame(msgspec.Struct, frozen=True, tag="hello"):
    """From the child: its modules are imported, and these are its functions; or why that failed."""

    functions: msgspec.Raw = msgspec.Raw(b"[]")
    problem: str = ""


class ProgressFrame(msgspec.Struct, frozen=True, tag="progress"):
    run: int
    value: msgspec.Raw


class DoneFrame(msgspec.Struct, frozen=True, tag="done", omit_defaults=True):
    run: int
    result: msgspec.Raw
    worn: bool = False
    """The child has run as many functions as it should."""
    left_behind: bool = False
    """The function left processes or coroutines that do not end: the child must go, and they with it."""


class RaisedFrame(msgspec.Struct, frozen=True, tag="raised", omit_defaults=True):
    run: int
    code: str
    message: str
    final: bool = False
    retry_seconds: float | None = None
    worn: bool = False
    left_behind: bool = False


Answer = DoneFrame | RaisedFrame
FromChild = HelloFrame | ProgressFrame | DoneFrame | RaisedFrame

_from_child = msgspec.json.Decoder(FromChild)
_run = msgspec.json.Decoder(RunFrame)
_encoder = msgspec.json.Encoder()


def packed(message: RunFrame | FromChild) -> bytes:
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data


def from_child(data: bytes) -> FromChild:
    """Raises msgspec.MsgspecError."""
    message: FromChild = _from_child.decode(data)
    return message


def to_run(data: bytes) -> RunFrame:
    return _run.decode(data)


def raw(data: bytes) -> msgspec.Raw:
    """JSON text that goes into a frame as it is."""
    return msgspec.Raw(data)
