"""What a runner and its child processes say to each other: JSON in frames of four bytes of length, over a socket pair."""

import struct

import msgspec

LENGTH = struct.Struct(">I")


class Run(msgspec.Struct, frozen=True, tag="run"):
    """To the child: run this."""

    task_id: str
    attempt: int
    function: str
    payload: msgspec.Raw


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """From the child: its modules are imported, and these are its functions; or why that failed."""

    functions: msgspec.Raw = msgspec.Raw(b"[]")
    problem: str = ""


class Report(msgspec.Struct, frozen=True, tag="progress"):
    value: msgspec.Raw


class Done(msgspec.Struct, frozen=True, tag="done"):
    result: msgspec.Raw


class Raised(msgspec.Struct, frozen=True, tag="raised", omit_defaults=True):
    code: str
    message: str
    final: bool = False
    retry_seconds: float | None = None


FromChild = Hello | Report | Done | Raised

_from_child = msgspec.json.Decoder(FromChild)
_run = msgspec.json.Decoder(Run)
_encoder = msgspec.json.Encoder()


def packed(message: Run | FromChild) -> bytes:
    data = _encoder.encode(message)
    return LENGTH.pack(len(data)) + data


def from_child(data: bytes) -> FromChild:
    message: FromChild = _from_child.decode(data)
    return message


def to_run(data: bytes) -> Run:
    return _run.decode(data)


def raw(data: bytes) -> msgspec.Raw:
    """JSON text that goes into a frame as it is."""
    return msgspec.Raw(data)
