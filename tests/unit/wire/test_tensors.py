"""Tensors: raw contents there and back, and whatever comes is read or refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.wire.tensors import Tensor, from_raw, infer_request, to_raw
from tests.unit.wire.mutations import COUNTS, mutations

VALUES: dict[str, st.SearchStrategy[object]] = {
    "BOOL": st.booleans(),
    "BYTES": st.binary(max_size=20),
    "FP16": st.floats(width=16, allow_nan=False),
    "FP32": st.floats(width=32, allow_nan=False),
    "FP64": st.floats(allow_nan=False),
    "BF16": st.sampled_from([0.0, 1.0, -2.5, 256.0, math.inf]),
    **{f"INT{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
GOOD = [
    b'{"model":"m","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3,4]]}],"outputs":[{"name":"y"}]}',
    b'{"model":"m","id":"a","inputs":[{"name":"t","shape":[1],"datatype":"BYTES","data":["text"]}],"parameters":{"priority":1}}',
]


@pytest.mark.parametrize("datatype", VALUES)
@given(data=st.data())
def test_raw_tensor_contents_come_back_unchanged(datatype: str, data: st.DataObject) -> None:
    values = tuple(data.draw(st.lists(VALUES[datatype], max_size=6)))
    tensor = Tensor("x", (len(values),), datatype, values)
    assert from_raw("x", datatype, (len(values),), to_raw(tensor)) == tensor


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("INT32", [2], b"\0" * 7),
        ("BYTES", [1], b"\5\0\0\0ab"),
        ("BYTES", [1], b"\5\0"),
        ("BYTES", [2], b"\0\0\0\0"),
        ("COMPLEX", [1], b"\0"),
    ],
)
def test_raw_contents_that_do_not_fit_are_an_error(datatype: str, shape: list[int], raw: bytes) -> None:
    with pytest.raises(ValueError):
        from_raw("x", datatype, shape, raw)


def test_a_float_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadRequest, match="is not of type FP16"):
        to_raw(Tensor("x", (1,), "FP16", (1e9,)))


@pytest.mark.parametrize("count", COUNTS)
def test_mutations_are_read_or_refused(count: int) -> None:
    for body in mutations(GOOD, count):
        try:
            request = infer_request(body)
        except BadRequest:
            continue
        assert all(len(one.values) == math.prod(one.shape) for one in request.inputs)
