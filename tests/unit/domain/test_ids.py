"""Ids: their form, their order, and that one process never makes the same twice."""

import pytest

from penstock.domain.ids import RequestIds, TaskIds, new_id, task_id, task_number

NOW = 1_700_000_000.0


def test_new_id_has_its_prefix_and_26_signs_and_is_never_the_same() -> None:
    made = {new_id("key") for _ in range(100)}
    assert len(made) == 100
    assert {(one[:4], len(one)) for one in made} == {("key_", 30)}


def test_request_ids_of_a_process_differ_and_tell_their_millisecond() -> None:
    ids = RequestIds()
    made = [ids.next(NOW + number // 300 / 1000) for number in range(1_000)]
    assert len(set(made)) == 1_000
    assert {len(one) for one in made} == {34}
    assert {one[:16] for one in made} == {f"req_{int(NOW * 1000) + step:012x}" for step in range(4)}
    assert len({one[16:26] for one in made}) == 1, "the process's own number"


def test_task_ids_rise_also_when_the_clock_goes_back_and_in_a_burst() -> None:
    ids = TaskIds()
    times = [NOW] * 5_000 + [NOW - 10.0, NOW + 1.0]
    numbers = [number for time in times if (number := task_number(ids.next(time))) is not None]
    assert len(numbers) == len(times)
    assert numbers == sorted(set(numbers))
    assert numbers[0] >> 21 == int(NOW * 1000)
    assert numbers[2_047] >> 21 == int(NOW * 1000)
    assert numbers[2_048] >> 21 == int(NOW * 1000) + 1
    assert numbers[-1] >> 21 == int(NOW * 1000) + 1_000
    assert len({number >> 11 & 0x3FF for number in numbers}) == 1, "the process's own number"
    assert [number & 0x7FF for number in numbers[:3]] == [0, 1, 2]


@pytest.mark.parametrize("number", [0, 1, 255, (1 << 63) - 1])
def test_task_id_stands_for_its_number(number: int) -> None:
    assert task_number(task_id(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task_",
        "0000000000000001",
        "task_000000000000001",
        "task_00000000000000001",
        "batch0000000000000001",
        "task_000000000000000g",
        "task_ 00000000000001 ",
        "task_+000000000000001",
        "task_000000000000000A",
        "task_8000000000000000",
    ],
)
def test_other_text_stands_for_no_task(text: str) -> None:
    assert task_number(text) is None
