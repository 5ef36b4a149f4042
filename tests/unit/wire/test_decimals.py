"""Numbers in heads are what formatting would have made of them."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.decimals import decimal


@given(
    st.integers(-(10**12), 10**12) | st.integers(0, 2000) | st.sampled_from([10**power + step for power in range(13) for step in (-1, 0)])
)
def test_decimal_is_written_as_by_formatting(number: int) -> None:
    assert decimal(number) == b"%d" % number
