"""The offset to commit never passes a record that is not acknowledged, and in the end it is behind all of them."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.processes.streams.brokers._offsets import PartitionOffsets


@given(st.data())
def test_commit_offset_never_passes_an_unacknowledged_record_in_any_order_with_gaps(data: st.DataObject) -> None:
    all_offsets = sorted(data.draw(st.sets(st.integers(0, 200), min_size=1, max_size=40)))
    offsets, handed_out, acknowledged, committed = PartitionOffsets(), list[int](), set[int](), all_offsets[0]
    left = list(all_offsets)
    while left or len(acknowledged) < len(all_offsets):
        open_ones = [offset for offset in handed_out if offset not in acknowledged]
        if left and (not open_ones or data.draw(st.booleans())):
            handed_out.append(left.pop(0))
            offsets.hand_out(handed_out[-1])
        else:
            done = data.draw(st.sampled_from(open_ones))
            acknowledged.add(done)
            offsets.acknowledge(done)
        due = offsets.commit_offset()
        if due is not None:
            assert due >= committed
            committed = due
            if data.draw(st.booleans()):  # or the broker did not hear
                offsets.committed(due)
        assert all(offset in acknowledged for offset in handed_out if offset < committed)
    due = offsets.commit_offset()
    assert (committed if due is None else due) == all_offsets[-1] + 1


def test_acknowledging_an_offset_that_was_not_handed_out_changes_nothing() -> None:
    offsets = PartitionOffsets()
    offsets.acknowledge(3)
    assert offsets.commit_offset() is None
    offsets.hand_out(3)
    offsets.hand_out(3)
    assert offsets.commit_offset() is None
    offsets.acknowledge(3)
    assert offsets.commit_offset() == 4
    offsets.committed(4)
    assert offsets.commit_offset() is None
