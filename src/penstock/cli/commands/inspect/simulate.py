"""`penstock simulate`: scenarios on a virtual clock, their pass lines, and recorded traffic under another policy."""

import json
import os
import sys
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.command import ApiKeyOption, BaseUrlOption, JsonOption, ProfileOption, command, single
from penstock.cli.exits import ExitCode, Failed
from penstock.cli.output.tables import Output

if TYPE_CHECKING:
    from penstock.domain.policy import Policy
    from penstock.simulation.rehearsal.traffic import PlannedRequest
    from penstock.simulation.rehearsal.verdict import ScenarioFinding
    from penstock.simulation.rehearsal.what_if import Workers

app = single()
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", exists=True, dir_okay=False, help="Azure's trace as CSV, for the scenario production_trace."),
]
LogOption = Annotated[
    Path | None,
    typer.Option("--from-log", metavar="FILE", exists=True, dir_okay=False, help="Replay these usage records: JSON, one a line."),
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", exists=True, dir_okay=False, help="Also replay under this policy (TOML).")
]


@app.command(no_args_is_help=True, epilog="Example: penstock simulate --suite overload --seeds 3 --brief")
@command
def simulate(
    suite: Annotated[list[str] | None, typer.Option("--suite", metavar="NAME", help="Scenario to run, or all; repeatable.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="Runs of each scenario.")] = 20,
    brief: Annotated[bool, typer.Option("--brief", help="Run shorter scenarios, for a quick look.")] = False,
    jobs: Annotated[int, typer.Option(min=0, max=256, metavar="N", help="Processes; 0 means one for each core.")] = 0,
    trace: TraceOption = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write rehearsals.md and its plots to this folder.", file_okay=False)
    ] = None,
    from_log: LogOption = None,
    from_api: Annotated[bool, typer.Option("--from-api", help="Replay the usage records of the gateway.")] = False,
    policy: PolicyOption = None,
    workers: Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Simulated workers of a replay.")] = 2,
    slots: Annotated[int, typer.Option(min=1, max=4096, metavar="N", help="Slots of each worker.")] = 32,
    speed: Annotated[
        float, typer.Option(min=0.001, max=1000, metavar="X", help="Speed of the workers; 1 is a small model on one GPU.")
    ] = 1.0,
    squeeze: Annotated[float, typer.Option(min=0.01, max=1000, metavar="X", help="Replay the traffic X times as fast.")] = 1.0,
    profile: ProfileOption = None,
    base_url: BaseUrlOption = None,
    api_key: ApiKeyOption = None,
    json_output: JsonOption = False,
) -> int:
    """Simulate traffic on a virtual clock: the gateway's own queue, routing and limits, with simulated workers.

    With --suite: run scenarios with pass lines; exit code 1 if one is missed. With --from-log or --from-api: replay recorded traffic under
    the default policy, and under --policy. A simulated gain is not a product claim.
    """
    _quiet()
    out = Output(json_output)
    if from_log or from_api:
        from penstock.simulation.rehearsal.what_if import Workers
        from penstock.simulation.replica import Speed

        lines = from_log.read_text().splitlines() if from_log else _records(profile, base_url, api_key)
        return _replay(out, _asks(lines, squeeze), policy, Workers(workers, slots, Speed().times(speed)))
    if policy:
        raise Failed("--policy needs traffic: --from-log FILE or --from-api", ExitCode.USAGE)
    return _scenarios(out, suite or ["all"], range(1, seeds + 1), brief, jobs or os.cpu_count() or 1, trace, report)


def _quiet() -> None:
    """A rehearsed failure is a figure, not an event."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


# --- scenarios -------------------------------------------------------------------------------------------------------


def _scenarios(
    out: Output, names: Sequence[str], seeds: Sequence[int], brief: bool, jobs: int, trace: Path | None, report: Path | None
) -> int:
    from penstock.simulation.rehearsal import suite, traces

    try:
        given = traces.azure(trace.read_text().splitlines()) if trace else []
        wanted = suite.chosen(names, given)
    except (suite.UnknownScenario, traces.UnreadableTrace) as error:
        raise Failed(str(error), ExitCode.USAGE) from error
    findings: list[ScenarioFinding] = []
    started = time.monotonic()
    for finding in suite.run(wanted, seeds, brief=brief, jobs=jobs, begin=lambda one: out.note(f"{one.name}: {one.title}")):
        findings.append(finding)
        if not out.json:
            _show(finding)
    if report is not None:
        _write(report, findings, _command_line(names, len(seeds), brief, trace))
    checks = [check for finding in findings for check in finding.checks]
    missed = sum(not check.passed for check in checks)
    out.note(f"{len(checks) - missed} of {len(checks)} pass lines met, {time.monotonic() - started:.0f} s")
    if out.json:
        print(json.dumps({"checks": [check.as_dict() for check in checks], "seeds": len(seeds), "brief": brief}))
    return ExitCode.FAILURE if missed else ExitCode.OK


def _show(finding: "ScenarioFinding") -> None:
    from penstock.simulation.rehearsal.report import number

    width = max(map(len, finding.figures))
    for name, found in finding.figures.items():
        print(f"  {name:<{width}}  {number(found.mean):>10} ± {found.half:.2g}")
    for check in finding.checks:
        print(f"  {'passed' if check.passed else 'FAILED'}  {check.name}: {number(check.measured)} ({check.required})")
    sys.stdout.flush()


def _write(folder: Path, findings: "Sequence[ScenarioFinding]", command_line: str) -> None:
    from penstock.simulation.rehearsal.report import page

    text, plots = page(findings, command_line)
    (folder / "rehearsals").mkdir(parents=True, exist_ok=True)
    (folder / "rehearsals.md").write_text(text)
    for name, plot in plots.items():
        (folder / "rehearsals" / name).write_text(plot)


def _command_line(names: Sequence[str], seeds: int, brief: bool, trace: Path | None) -> str:
    parts = ["penstock simulate", *(f"--suite {name}" for name in names), f"--seeds {seeds}"]
    return " ".join([*parts, *(["--brief"] if brief else []), *([f"--trace {trace.name}"] if trace else []), "--report docs/reports"])


# --- what if ---------------------------------------------------------------------------------------------------------


def _asks(lines: Iterable[str], squeeze: float) -> "list[PlannedRequest]":
    from penstock.simulation.rehearsal import traces
    from penstock.simulation.rehearsal.traffic import scaled

    try:
        asks = traces.usage_log(lines)
    except traces.UnreadableTrace as error:
        raise Failed(f"the log cannot be read: {error}", ExitCode.USAGE) from error
    if not asks:
        raise Failed("no request to replay")
    return scaled(asks, squeeze)


def _records(profile: str | None, base_url: str | None, api_key: str | None) -> list[str]:
    from penstock.base import profiles
    from penstock.cli.client.api import Api
    from penstock.cli.client.connection import resolve
    from penstock.net.api_client.connection import ConnectionFlags

    with Api(resolve(ConnectionFlags(profile, base_url, api_key), os.environ, profiles.default_path())) as api:
        records: list[dict[str, Any]] = []
        more = True
        while more:
            page = api.get("/api/usage/records", limit=1000, after=records[-1]["request_id"] if records else None)
            records += page["data"]
            more = bool(page.get("has_more") and page["data"])
    return [json.dumps(record) for record in records]


def _replay(out: Output, asks: "list[PlannedRequest]", policy: Path | None, workers: "Workers") -> int:
    from penstock.domain.policy import Policy
    from penstock.simulation.rehearsal.report import number
    from penstock.simulation.rehearsal.what_if import compare

    policies = {"default policy": Policy()}
    if policy is not None:
        policies[policy.name] = _policy(policy)
    out.note(f"{len(asks)} requests over {asks[-1].at:,.0f} s on {workers.count} workers with {workers.slots} slots")
    found = compare(asks, policies, workers)
    rows: list[list[Any]] = [
        [name, *(number(figures.get(name, float("nan"))) for figures in found.values())] for name in next(iter(found.values()))
    ]
    out.table(found, ["", *found], rows)
    return ExitCode.OK


def _policy(path: Path) -> "Policy":
    from penstock.catalog.policy_document import PolicyProblem, parse

    try:
        return parse(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, PolicyProblem) as error:
        raise Failed(f"{path}: {error}", ExitCode.USAGE) from error
