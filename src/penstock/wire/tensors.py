"""Tensors as KServe's inference protocol (v2) writes them in JSON; pure.

A request is `{"inputs": [{"name", "shape", "datatype", "data"}], "outputs": [{"name"}]}`; `data` may be nested like the shape or flat.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.domain.errors import BadRequest, InvalidJson, UnsupportedParameter
from penstock.wire.chat.requests import explained

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"
]
MOST_ELEMENTS = 16 * 1024 * 1024
_FORMATS: dict[str, str] = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""Little-endian elements as `struct` names them; BF16 and BYTES have forms of their own."""
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class TensorBody(msgspec.Struct):
    name: Name
    shape: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=16)]
    datatype: Datatype
    data: list[Any] = []
    parameters: dict[str, Any] = {}


class OutputBody(msgspec.Struct):
    name: Name
    parameters: dict[str, Any] = {}


class InferBody(msgspec.Struct):
    inputs: Annotated[list[TensorBody], Meta(min_length=1, max_length=64)]
    model: str = ""
    id: Annotated[str, Meta(max_length=256)] = ""
    outputs: Annotated[list[OutputBody], Meta(max_length=64)] = []
    parameters: dict[str, str | int | float | bool] = {}


class Tensor(msgspec.Struct, frozen=True):
    """`values` are flat, in row-major order: bool, int, float, or bytes for BYTES."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    values: tuple[Any, ...]


class InferRequest(msgspec.Struct, frozen=True):
    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    """Empty: all of them."""
    id: str
    parameters: dict[str, str | int | float | bool]


class TensorSpec(msgspec.Struct, frozen=True):
    """What a model says of one of its tensors; -1 in a shape: any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


_body = msgspec.json.Decoder(InferBody)


def infer_request(body: bytes) -> InferRequest:
    """Raises InvalidJson, BadRequest or UnsupportedParameter with `param`."""
    try:
        asked = _body.decode(body)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidJson("The request body is not valid JSON.") from None
    inputs = tuple(_tensor(one, f"inputs[{at}]") for at, one in enumerate(asked.inputs))
    if len({one.name for one in inputs}) < len(inputs):
        raise BadRequest("Two inputs have the same name.", param="inputs")
    for at, output in enumerate(asked.outputs):
        _no_binary(output.parameters, f"outputs[{at}]")
    return InferRequest(asked.model, inputs, tuple(one.name for one in asked.outputs), asked.id, asked.parameters)


def check(request: InferRequest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Against what the model says of itself. Raises BadRequest that names the tensor."""
    known = {spec.name: spec for spec in inputs}
    for at, tensor in enumerate(request.inputs):
        spec = known.pop(tensor.name, None)
        if spec is None:
            wanted = ", ".join(one.name for one in inputs)
            raise BadRequest(f"The model has no input '{tensor.name}'; it has: {wanted}.", param=f"inputs[{at}].name")
        if spec.datatype != tensor.datatype:
            raise BadRequest(f"The input '{tensor.name}' is {spec.datatype}, not {tensor.datatype}.", param=f"inputs[{at}].datatype")
        if not _fits(tensor.shape, spec.shape):
            raise BadRequest(
                f"The input '{tensor.name}' has the shape {list(spec.shape)}, where -1 is any size, not {list(tensor.shape)}.",
                param=f"inputs[{at}].shape",
            )
    if missing := [spec.name for spec in known.values() if not spec.optional]:
        raise BadRequest(f"The input '{missing[0]}' is missing.", param="inputs")
    names = {spec.name for spec in outputs}
    for at, name in enumerate(request.outputs):
        if name not in names:
            raise BadRequest(f"The model has no output '{name}'; it has: {', '.join(sorted(names))}.", param=f"outputs[{at}].name")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(size in {-1, own} for own, size in zip(shape, wanted, strict=True))


def _tensor(body: TensorBody, where: str) -> Tensor:
    _no_binary(body.parameters, where)
    elements = math.prod(body.shape)
    if elements > MOST_ELEMENTS:
        raise BadRequest(f"The input '{body.name}' has more than {MOST_ELEMENTS} elements.", param=f"{where}.shape")
    values = tuple(_flat(body.data))
    if len(values) != elements:
        raise BadRequest(
            f"The input '{body.name}' has {len(values)} elements where its shape {body.shape} has {elements}.", param=f"{where}.data"
        )
    return Tensor(body.name, tuple(body.shape), body.datatype, _typed(values, body.datatype, body.name, f"{where}.data"))


def _no_binary(parameters: dict[str, Any], where: str) -> None:
    if {"binary_data_size", "binary_data", "shared_memory_region"} & set(parameters):
        raise UnsupportedParameter("Tensors come as JSON: binary data and shared memory are not supported.", param=f"{where}.parameters")


def _flat(data: list[Any]) -> Iterator[Any]:
    for one in data:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one


def _typed(values: tuple[Any, ...], datatype: str, name: str, where: str) -> tuple[Any, ...]:
    """The values, when each is one of the datatype; a text is BYTES in UTF-8."""
    if datatype == "BYTES":
        good = all(isinstance(one, str) for one in values)
    elif datatype == "BOOL":
        good = all(isinstance(one, bool) for one in values)
    elif datatype in {"FP16", "BF16", "FP32", "FP64"}:
        good = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    else:
        low, high = _range(datatype)
        good = all(isinstance(one, int) and not isinstance(one, bool) and low <= one <= high for one in values)
    if not good:
        raise BadRequest(f"The input '{name}' holds a value that is not of type {datatype}.", param=where)
    return tuple(one.encode() for one in values) if datatype == "BYTES" else values


def _range(datatype: str) -> tuple[int, int]:
    bits = int(datatype.lstrip("UINT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


# --- raw contents, as the binary forms of the protocol carry them ---------------------------------------------------


def to_raw(tensor: Tensor) -> bytes:
    """Little-endian elements one after the other; BYTES each with its length before it. Raises BadRequest for a float out of range."""
    values = tensor.values
    if tensor.datatype == "BYTES":
        return b"".join(struct.pack("<I", len(one)) + one for one in values)
    try:
        if tensor.datatype == "BF16":
            return b"".join(struct.pack("<f", one)[2:] for one in values)
        return struct.pack(f"<{len(values)}{_FORMATS[tensor.datatype]}", *values)
    except (OverflowError, struct.error):
        raise BadRequest(f"The input '{tensor.name}' holds a value that is not of type {tensor.datatype}.", param="inputs") from None


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Tensor:
    """Raises ValueError when the bytes do not fit the datatype and the shape."""
    count = math.prod(shape)
    values: tuple[Any, ...]
    if datatype == "BYTES":
        values = tuple(_texts(raw))
    elif datatype == "BF16":
        values = tuple(struct.unpack("<f", b"\0\0" + raw[at : at + 2])[0] for at in range(0, len(raw), 2))
    elif datatype in _FORMATS:
        size = struct.calcsize(f"<{_FORMATS[datatype]}")
        if len(raw) != count * size:
            raise ValueError(f"{len(raw)} bytes for {count} elements of {datatype}")
        values = struct.unpack(f"<{count}{_FORMATS[datatype]}", raw)
    else:
        raise ValueError(f"unknown datatype {datatype}")
    if len(values) != count:
        raise ValueError(f"{len(values)} elements for the shape {list(shape)}")
    return Tensor(name, tuple(shape), datatype, values)


def _texts(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise ValueError("a length is cut off")
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            raise ValueError("a text is cut off")
        yield raw[at + 4 : at + 4 + length]
        at += 4 + length


def infer_response(model: str, version: str, request_id: str, outputs: Sequence[Tensor]) -> bytes:
    """The JSON of an answer. BYTES that are not UTF-8 are shown with replacement characters, as JSON has no bytes."""
    body: dict[str, Any] = {"model_name": model, "model_version": version}
    if request_id:
        body["id"] = request_id
    body["outputs"] = [
        {"name": one.name, "datatype": one.datatype, "shape": list(one.shape), "data": [_json(value) for value in one.values]}
        for one in outputs
    ]
    return msgspec.json.encode(body)


def _json(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
