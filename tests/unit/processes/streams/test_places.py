"""A partition's place never passes what is not settled, and in the end nothing is behind it."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.processes.streams.brokers._places import Places


@given(st.data())
def test_any_order_with_gaps(data: st.DataObject) -> None:
    offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=40)))
    places, handed_out, settled, committed = Places(), list[int](), set[int](), offsets[0]
    left = list(offsets)
    while left or len(settled) < len(offsets):
        open_ones = [offset for offset in handed_out if offset not in settled]
        if left and (not open_ones or data.draw(st.booleans())):
            handed_out.append(left.pop(0))
            places.hand_out(handed_out[-1])
        else:
            done = data.draw(st.sampled_from(open_ones))
            settled.add(done)
            places.settle(done)
        due = places.due()
        if due is not None:
            assert due >= committed
            committed = due
            if data.draw(st.booleans()):  # or the broker did not hear
                places.committed(due)
        assert all(offset in settled for offset in handed_out if offset < committed)
    due = places.due()
    assert (committed if due is None else due) == offsets[-1] + 1


def test_what_is_not_known_counts_for_nothing() -> None:
    places = Places()
    places.settle(3)
    assert places.due() is None
    places.hand_out(3)
    places.hand_out(3)
    assert places.due() is None
    places.settle(3)
    assert places.due() == 4
    places.committed(4)
    assert places.due() is None
