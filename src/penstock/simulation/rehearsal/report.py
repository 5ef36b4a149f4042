"""Findings as a page for people: what was asked, what came of it, and plots."""

import math
from collections.abc import Mapping, Sequence

from penstock.simulation.rehearsal import chart
from penstock.simulation.rehearsal.figures import Interval
from penstock.simulation.rehearsal.verdict import PassLineCheck, ScenarioFinding

_HEAD = """# Rehearsals

*Written by `{command}`. Do not edit it by hand.*

The rooms of the gateway (admission, the fair queue, routing, health, retries) as they run in production, between simulated clients and
simulated workers, on a virtual clock. A mean over {seeds} seeds with half its 95 % interval. **What is gained here is not a claim about a
product on real hardware**: a simulated worker is a prefill rate, a step of a + b x batch seconds, and a memory.

## Pass lines

| check | required | measured | |
|---|---|---|---|
{checks}
"""


def page(findings: Sequence[ScenarioFinding], command: str) -> tuple[str, dict[str, str]]:
    """The page in Markdown, and its plots by the name of their file."""
    checks = [check for finding in findings for check in finding.checks]
    plots = {f"{finding.scenario.name}.svg": drawn for finding in findings if (drawn := _plot(finding))}
    head = _HEAD.format(command=command, seeds=max(one.seeds for one in findings), checks="\n".join(map(_row, checks)))
    return head + "".join(_section(finding, plots) for finding in findings), plots


def _row(check: PassLineCheck) -> str:
    half = f" ± {check.found.half:.2g}" if check.found.half else ""
    return f"| {check.name} | {check.required} | {number(check.measured)}{half} | {'passed' if check.passed else '**FAILED**'} |"


def _section(finding: ScenarioFinding, plots: Mapping[str, str]) -> str:
    scenario = finding.scenario
    picture = f"\n![{scenario.title}](rehearsals/{scenario.name}.svg)\n" if f"{scenario.name}.svg" in plots else ""
    rows = "\n".join(f"| {name} | {number(found.mean)} | {found.half:.2g} |" for name, found in finding.figures.items())
    return f"\n## {scenario.title}\n\n`{scenario.name}`: {scenario.about}\n{picture}\n| | mean | ± |\n|---|---|---|\n{rows}\n"


def number(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


_GROUPS = ("TTFT p99 s, ", "hit rate, ", "goodput req/s, ", "others' completion p99 s, ", "oldest wait s, ")


def _plot(finding: ScenarioFinding) -> str:
    if finding.scenario.draw is not None:
        return finding.scenario.draw()
    if finding.scenario.name == "overload":
        return _loads(finding.figures)
    if finding.scenario.name == "production_trace":
        found = {name.partition(":")[0]: value for name, value in finding.figures.items() if name.endswith("TTFT p99 s")}
        return chart.bars("First token, p99", "seconds", {name: (one.mean, one.half) for name, one in found.items()})
    for prefix in _GROUPS:
        group = {name.removeprefix(prefix): one for name, one in finding.figures.items() if name.startswith(prefix)}
        if len(group) > 1:
            return chart.bars(
                f"{finding.scenario.title}: {prefix.rstrip(', ')}", "", {name: (one.mean, one.half) for name, one in group.items()}
            )
    return ""


def _loads(figures: Mapping[str, Interval]) -> str:
    """Success by class over the load."""
    series: dict[str, list[chart.Point]] = {}
    for name, found in figures.items():
        load, _, rest = name.partition("x ")
        if rest.endswith(" success"):
            series.setdefault(rest.removesuffix(" success"), []).append((float(load), found.mean))
    return chart.lines("Success by class", "times what the workers can do", "share", series)
