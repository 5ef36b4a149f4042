"""The report: docs/reports/overload.md and its plots."""

from collections.abc import Sequence

from bench.overload import figures, queue
from bench.overload.client import Hit
from bench.overload.figures import Phase
from bench.overload.goals import BIN_SECONDS, REFUSED_CLASSES, WARM_SECONDS, Judgement, Run, Settlings, good, settlings
from bench.overload.platform import Sim
from bench.overload.runs import STEP_AT, STEP_UNTIL
from bench.overload.traffic import MIX, TIMEOUT_SECONDS
from penstock.simulation.rehearsal import chart
from penstock.simulation.rehearsal.figures import quantile
from penstock.simulation.rehearsal.report import number

_HEAD = """# Overload, on real processes

*Written by `{command}`. Do not edit the figures by hand.*

{provenance}

{verdict}

A gateway (`penstock up`) and {workers} workers (`penstock worker --engine sim`), each a process of its own, on loopback, with {slots}
slots each and {step:g} ms a token: so slow that ten times what they can do is still little for the machine. Capacity, found by asking
too much: **{capacity:.1f} requests/s**. The client is an open loop: it sends each request at its moment and does not wait for those before.
Traffic: {source}, prompts an eighth and answers a sixteenth as long, moments squeezed to each phase's rate; 10 % enterprise, 30 %
premium, 60 % free, four organisations of each, without rate limits; every client waits {timeout:g} s for a first token and says so
(`x-stainless-timeout`). Goodput: requests/s whose first token came in that time, and {token:g} ms a token or less. A run is void when
the client was late (p99 > 20 ms) or the machine busy to more than 70 %.

| goal | required | measured | |
|---|---|---|---|
{goals}

## Load after load

{seconds:g} s each, the first {warm:g} s of each not counted for goodput.

![Goodput](overload/goodput.svg)
![Success by class](overload/success.svg)

| load | asked/s | goodput/s | shed | refused on arrival p50 / p99 ms | client late p99 ms | machine busy (of it ours) |
|---|---|---|---|---|---|---|
{loads}

| load | class | success | TTFT p50 s | TTFT p99 s | completion p50 s | completion p99 s |
|---|---|---|---|---|---|---|
{classes}

## A step from half to ten times

Taken {steps} times, {step_at:g} s of half and {step_seconds:g} s of ten times each; all of them together, in bins of {bin:g} s. A request
counts in the bin in which it came, as refused whether the refusal came at once or after a wait. Settled: until the end of the last bin that
is further from the mean of the second half of the time after the step than a tenth of the way between the levels before and after.
The requests are the trace's, in any order: in its own order a stretch of short answers makes the queue longer for seconds under any
scheduler. The queue is looked at every tenth of a second, and judged for the classes that are refused ({refused_classes}); enterprise
may be queued for as long as its clients wait, and its queue grows until then. Each step's queue is judged beside its own later level.
The mean of so many steps is off by chance: a bin counts as away when it is further than the tenth by two standard errors (the largest
was {line_error:.0%} of the level). The queues as they are, added up, are shown below as well.

![Over time](overload/step.svg)
![The queue](overload/line.svg)

| | before | after | settled after s |
|---|---|---|---|
{settled}

## One tenant asks fifty times as much

Ten tenants of one class keep the workers busy to six tenths; then one of them asks fifty times as often.

| | TTFT p50 s | TTFT p99 s | completion p50 s | completion p99 s | success |
|---|---|---|---|---|---|
{noise}

## Every upstream fails

Four upstreams answer 500 to everything: {amplification:.3f} attempts for each of {outage} requests; the callers were told within
{told:.1f} ms (p99).

{observations}"""


def page(run: Run, judgement: Judgement, sim: Sim, command: str, provenance: str, observations: str) -> tuple[str, dict[str, str]]:
    verdict = (
        "**This run is void:** " + "; ".join(judgement.void) + ". Its figures show the shape, and prove nothing."
        if judgement.void
        else "The client sent every request on time and the machine had spare capacity: the run counts."
    )
    rows = [f"| {g.name} | {g.required} | {number(g.measured)} | {'met' if g.passed else '**missed**'} |" for g in judgement.goals]
    text = _HEAD.format(
        command=command,
        provenance=provenance,
        verdict=verdict,
        workers=sim.workers,
        slots=sim.slots,
        step=sim.step_seconds * 1000,
        capacity=run.capacity,
        source=run.source,
        timeout=TIMEOUT_SECONDS,
        token=figures.TOKEN_SECONDS * 1000,
        goals="\n".join(rows),
        seconds=run.seconds,
        warm=WARM_SECONDS,
        loads="\n".join(map(_load, run.loads)),
        classes="\n".join(_class(phase, group) for phase in run.loads for group in MIX),
        steps=len(run.steps),
        step_at=STEP_AT,
        step_seconds=STEP_UNTIL - STEP_AT,
        bin=BIN_SECONDS,
        refused_classes=" and ".join(REFUSED_CLASSES),
        settled=_settled(settlings(run)),
        line_error=settlings(run).line.error,
        noise="\n".join(_times(f"the nine others, {phase.name}", figures.of(phase.hits, "quiet")) for phase in (run.calm, run.noisy)),
        amplification=run.amplification,
        outage=len(run.outage.hits),
        told=1000 * quantile([hit.seconds for hit in run.outage.hits if hit.seconds is not None], 0.99),
        observations=observations,
    )
    return text, _plots(run)


def _load(phase: Phase) -> str:
    refused = figures.at_once(phase.hits)
    return (
        f"| {phase.name} | {len(phase.hits) / phase.seconds:.1f} | {good(phase):.1f} | {figures.shed(phase.hits):.1%} |"
        f" {number(1000 * quantile(refused, 0.5))} / {number(1000 * quantile(refused, 0.99))} | {phase.late_p99_seconds * 1000:.1f} |"
        f" {phase.cpu_share:.0%} ({phase.own_cpu_share:.0%}) |"
    )


def _class(phase: Phase, group: str) -> str:
    hits = figures.of(phase.hits, group)
    return _times(f"{phase.name} | {group} | {figures.success(hits):.2%}", hits, success=False)


def _times(first: str, hits: Sequence[Hit], *, success: bool = True) -> str:
    values = [of(hits, share) for of in (figures.first_token, figures.completion) for share in (0.5, 0.99)]
    last = f" {figures.success(hits):.2%} |" if success else ""
    return f"| {first} | " + " | ".join(map(number, values)) + " |" + last


def _plots(run: Run) -> dict[str, str]:
    across = [float(phase.name.removesuffix("x")) for phase in run.loads]
    asked = [(x, len(phase.hits) / phase.seconds) for x, phase in zip(across, run.loads, strict=True)]
    served = [(x, good(phase)) for x, phase in zip(across, run.loads, strict=True)]
    by_class = {
        group: [(x, figures.success(figures.of(phase.hits, group))) for x, phase in zip(across, run.loads, strict=True)] for group in MIX
    }
    where = "times what the workers can do"
    return {
        "goodput.svg": chart.lines("Asked and served well", where, "requests/s", {"asked": asked, "goodput": served}, log_y=True),
        "success.svg": chart.lines("Success by class", where, "share", by_class),
        "step.svg": chart.lines(
            "Refused, before and after the step", "seconds", "share of the requests that came then", _over_time(run.steps)
        ),
        "line.svg": chart.lines(
            "Requests in the queue, before and after the step",
            "seconds",
            "requests",
            {group: queue.mean(run.queues, (group,), STEP_UNTIL, BIN_SECONDS) for group in MIX},
        ),
    }


def _over_time(steps: Sequence[Phase]) -> dict[str, list[chart.Point]]:
    found: dict[str, list[chart.Point]] = {}
    for name in ("all", *MIX):
        of_group = [step.hits if name == "all" else figures.of(step.hits, name) for step in steps]
        found[name] = figures.refused_over_time(of_group, STEP_UNTIL, BIN_SECONDS)
    return found


def _settled(found: Settlings) -> str:
    rows = (
        ("share that is refused", found.refused),
        ("the queue of these classes, beside its own later level", found.line),
        ("the same in requests, not judged", found.waiting),
    )
    return "\n".join(f"| {what} | {number(one.before)} | {number(one.after)} | {number(one.seconds)} |" for what, one in rows)
