"""The messages between a runner and its child processes: JSON in frames with four bytes of length, over a socket pair."""

import struct

import msgspec

LENGTH = struct.Struct(">I")


class RunFrame(msgspec.Struct, frozen=True, tag="run"):
    """To the child: run this."""

    task_id: str
    attempt: int
    function: str
    payload: msgspec.Raw


class HelloFrame(msgspec.Struct, frozen=True, tag="hello"):
    """From the child: its modules are imported, and these are its functions; or why that failed."""

    functions: msgspec.Raw = msgspec.Raw(b"[]")
    problem: str = ""


class ProgressFrame(msgspec.Struct, frozen=True, tag="progress"):
    value: msgspec.Raw


class DoneFrame(msgspec.Struct, frozen=True, tag="done"):
    result: msgspec.Raw


class RaisedFrame(msgspec.Struct, frozen=True, tag="raised", omit_defaults=True):
    code: str
    message: str
    final: bool = False
    retry_seconds: float | None = None


FromChild = HelloFrame | ProgressFrame | DoneFrame | RaisedFrame

_from_child = msgspec.json.Decoder(FromChild)
_run = msgspec.json.Decoder(RunFrame)
_encoder = msgspec.json.Encoder()


def packed(message: RunFrame | FromChild) -> bytes:
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data


def from_child(data: bytes) -> FromChild:
    message: FromChild = _from_child.decode(data)
    return message


def to_run(data: bytes) -> RunFrame:
    return _run.decode(data)


def raw(data: bytes) -> msgspec.Raw:
    """JSON text that goes into a frame as it is."""
    return msgspec.Raw(data)
