"""The overload bench's own arithmetic: phases of a trace, goodput, when refusals have settled, when a run is void."""

import asyncio
from collections.abc import Sequence

import pytest

from bench.overload import figures, queue
from bench.overload.client import Gun, Hit, Shot
from bench.overload.figures import Phase
from bench.overload.goals import Run, judge
from bench.overload.traffic import MIX, Source, answer_tokens, trace

KEYS = {group: [f"psk-{group}"] for group in MIX}


def hit(at: float, group: str = "free", *, first: float = 0.1, tokens: int = 11, refused: bool = False) -> Hit:
    if refused:
        return Hit(at, group, 0.0, 429, "rate_limit_exceeded", None, 0.001, 0, True)
    return Hit(at, group, 0.0, 200, "", first, first + 1.0, tokens)


def phase(name: str, hits: Sequence[Hit], *, cpu: float = 0.5, seconds: float = 20.0) -> Phase:
    return Phase(name, 1.0, seconds, hits, cpu, 0.1)


def test_a_phase_has_its_rate_and_begins_where_the_last_one_ended() -> None:
    source = Source(trace(None), KEYS)
    first, second = list(source.phase(50.0, 10.0)), list(source.phase(50.0, 10.0, start=5.0))
    assert len(first) == len(second) == 500
    assert (first[0].at, second[0].at) == (0.0, 5.0)
    assert 9.0 < first[-1].at <= 10.0
    assert first[0].body != second[0].body
    assert [one.at for one in first] == sorted(one.at for one in first)
    shares = {group: sum(one.group == group for one in [*first, *second]) / 1_000 for group in MIX}
    assert shares == pytest.approx(MIX, abs=0.06)


def test_the_trace_begins_again_at_its_end() -> None:
    given = trace(None)[:30]
    assert [len(list(Source(given, KEYS).phase(10.0, 10.0)))] == [100]
    assert all(1 <= answer_tokens(ask) <= 40 for ask in given)


def test_goodput_counts_answers_within_their_deadline() -> None:
    hits = [hit(1.0), hit(2.0, first=5.1), hit(3.0, tokens=2), hit(4.0, refused=True), hit(99.0)]
    assert figures.goodput(hits, 0.0, 10.0) == 0.1
    assert figures.success(hits) == 0.8
    assert figures.shed(hits) == 0.2
    told_later = Hit(5.0, "free", 0.0, 504, "deadline_exceeded", None, 0.3, 0, True, waited_seconds=0.299)
    assert figures.at_once([*hits, told_later]) == [0.001]


@pytest.mark.parametrize(("late", "settled"), [(0.0, 0.0), (0.5, 0.5), (2.0, 2.0)])
def test_refusals_have_settled_when_their_share_stays_level(late: float, settled: float) -> None:
    hits = [hit(at / 50, refused=at % 5 > 0 and at / 50 >= 10.0 + late) for at in range(1_000)]
    series = figures.refused_over_time([hits, hits], 20.0, 0.5)
    assert len(series) == 40
    found = figures.settling(series, 10.0, 20.0, 0.5)
    assert found.after == pytest.approx(0.8)
    assert (found.before, found.seconds) == (0.0, settled)


def test_share_that_leaves_its_level_has_not_settled() -> None:
    series = [(second + 0.5, 100.0 if second >= 2 else 0.0) for second in range(12)]
    assert figures.settling(series, 2.0, 12.0, 1.0).seconds == 0.0
    assert figures.settling([*series[:5], (5.5, 80.0), *series[6:]], 2.0, 12.0, 1.0).seconds == 4.0
    assert figures.settling([*series[:5], (5.5, 95.0), *series[6:]], 2.0, 12.0, 1.0).seconds == 0.0


def test_the_line_is_read_from_the_metrics_by_class() -> None:
    metrics = b"""# TYPE penstock_class_waiting gauge
penstock_class_waiting{model="a",service_class="free"} 3.0
penstock_class_waiting{model="b",service_class="free"} 1.0
penstock_class_waiting{model="a",service_class="enterprise"} 2.0
penstock_class_wait_seconds_count{service_class="free"} 9.0
"""
    assert queue.waiting(metrics) == {"free": 4, "enterprise": 2}
    runs = [[queue.Sample(0.1, {"free": 4, "enterprise": 2}), queue.Sample(1.1, {"free": 6})], [queue.Sample(0.2, {"free": 8})]]
    assert queue.mean(runs, ("free",), 3.0, 1.0) == [(0.5, 6.0), (1.5, 6.0)]


def test_a_line_is_judged_beside_its_own_later_level() -> None:
    def line(level: int, *, settled_at: float) -> list[queue.Sample]:
        return [queue.Sample(at + 0.5, {"free": 0 if at < 2 else level if at >= settled_at else level // 2}) for at in range(10)]

    def settling(*runs: list[queue.Sample]) -> figures.Settling:
        return figures.settling_of(queue.relative(runs, ("free",), 2.0, 10.0, 1.0), 2.0, 10.0, 1.0)

    # One line ten times as long as the others, and slow: added up it would be all that is seen; it is one of ten.
    others = [line(40, settled_at=2.0)] * 9
    assert settling(*others, line(400, settled_at=5.0)).seconds == 0.0
    # When most are slow, that is what is seen, whatever their lengths.
    slow = [line(length, settled_at=5.0) for length in (20, 40, 80)]
    assert settling(line(40, settled_at=2.0), *slow * 3).seconds == 3.0
    assert settling([], *others).after == pytest.approx(1.0)  # nobody was queued: nothing to compare with


def test_a_mean_is_away_when_chance_alone_does_not_take_it_there() -> None:
    def runs(*values: float) -> list[list[tuple[float, float]]]:
        """In the first second after the step; 1.0 from then on."""
        return [[(second + 0.5, 0.0 if second < 2 else first if second == 2 else 1.0) for second in range(12)] for first in values]

    assert figures.settling_of(runs(0.7, 0.7, 0.7, 0.7), 2.0, 12.0, 1.0).seconds == 1.0
    wide = figures.settling_of(runs(0.2, 1.2, 0.5, 0.9), 2.0, 12.0, 1.0)  # the same mean, but who knows
    assert (wide.seconds, wide.error > 0.2) == (0.0, True)
    assert figures.settling_of(runs(*[0.2, 1.2, 0.5, 0.9] * 16), 2.0, 12.0, 1.0).seconds == 1.0  # now one does


def run_of(**changes: float) -> Run:
    fine = [hit(number / 10, ("enterprise", "premium", "free")[number % 3]) for number in range(200)]
    quiet = [hit(number / 10, "quiet") for number in range(200)]
    loads = [phase(name, fine, cpu=changes.get("cpu", 0.5)) for name in ("0.5x", "1x", "2x", "5x", "10x")]
    return Run(
        20.0,
        loads,
        [phase("step", fine)],
        [[queue.Sample(0.1, {"free": 1})]],
        phase("calm", quiet),
        phase("noisy", quiet),
        phase("outage", []),
        changes.get("amplification", 1.1),
        20.0,
        "",
    )


def test_a_good_run_counts() -> None:
    found = judge(run_of())
    assert found.void == ()
    # Nothing was refused on arrival, so there is nothing to judge that goal by: it is not met.
    assert [goal.name for goal in found.goals if not goal.passed] == ["p99 of refusals on arrival, ms"]


def test_a_busy_machine_voids_the_run_and_a_missed_goal_is_missed() -> None:
    found = judge(run_of(cpu=0.9, amplification=1.3))
    assert len(found.void) == 5
    assert [goal.passed for goal in found.goals][-1] is False


async def test_the_client_reads_streams_refusals_and_errors_in_streams() -> None:
    token, end = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n', b"0\r\n\r\n"
    error = b'data: {"error":{"code":"deadline_exceeded"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    refusal = b'{"error":{"code":"rate_limit_exceeded"}}'
    answers = [
        head + b"5e\r\n" + token + token + b"\r\n" + end,
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n" % len(refusal) + refusal,
        head + b"2f\r\n" + error + b"\r\n" + end,
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answers:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(answers.pop(0))
        await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    gun = Gun(server.sockets[0].getsockname()[1])
    hits = [(await gun.shoot([Shot(0.0, "free", "psk-x", b"{}", 5.0)]))[0] for _ in range(3)]
    gun.close()
    await asyncio.wait_for(closed.wait(), 5)
    server.close()
    await server.wait_closed()
    assert [(one.status, one.code, one.tokens, one.refused, one.completed) for one in hits] == [
        (200, "", 2, False, True),
        (429, "rate_limit_exceeded", 0, True, False),
        (200, "deadline_exceeded", 0, True, False),
    ]
