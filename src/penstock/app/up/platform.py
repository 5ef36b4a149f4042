"""`penstock up`: a gateway and its workers on this machine, with one command."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import structlog

from penstock.accounts.bootstrap import PLANS
from penstock.accounts.standing import system_principal
from penstock.app import process
from penstock.app.gateway.assembly import Gateway, open_gateway
from penstock.app.runner import OwnRunner
from penstock.app.settings import Settings, default_data_dir
from penstock.app.up import own_profile
from penstock.app.up.chaos import Chaos, RequestCounts, Victim
from penstock.app.up.children import ChildPlan, WorkerProcesses
from penstock.app.up.model_workers import WorkerLogProgress
from penstock.base import profiles
from penstock.domain.workers import WorkerState
from penstock.net.trust import Trust, TrustProblem, first_certificate
from penstock.observe import logs
from penstock.processes.runner.child_process import CannotImport

log = structlog.get_logger("penstock.up")
_WORKERS_READY_SECONDS = 20.0
_CHILD_TOKEN_SECONDS = 3600.0
_MODEL_ENGINE = "transformers"
_USAGE = 2


def run(settings: Settings, json_line: bool) -> int:
    """Until SIGTERM or SIGINT; returns the process's exit code."""
    logs.configure(settings.log.level, settings.log.format)
    try:
        _check_profile(settings)
        if settings.tls_cert is not None:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _pin_file(settings).write_text(first_certificate(settings.tls_cert), encoding="utf-8")
        return process.run(lambda: _up(settings, json_line))
    except (CannotImport, own_profile.ProfileTaken, profiles.ProfileProblem, TrustProblem) as error:
        process.say(f"penstock: {error}")
        return 1


async def _up(settings: Settings, json_line: bool) -> int:
    gateway = await open_gateway(settings, migrate=True)
    children = WorkerProcesses()
    own: OwnRunner | None = None
    try:
        trust = Trust(pin_file=_pin_file(settings) if settings.tls_cert is not None else None)
        own = OwnRunner(settings, gateway.task_services, f"{gateway.base_url}/v1", trust)
        await own.open()
        process.on_stop(lambda: _stop(gateway, own))
        if not gateway.held:
            own.start()
        token = await _children_token(gateway) if settings.simulated_workers or settings.models else ""
        serving = asyncio.get_running_loop().create_task(gateway.serve(lambda: _start_children(gateway, children, token)))
        problem = await _until_workers_are_ready(gateway, children, serving)
        if problem:
            process.say(f"penstock: {problem}")
            gateway.stop()
        elif not serving.done():
            _announce(gateway, json_line)
        async with _chaos(gateway, children):
            await serving
        return _USAGE if problem else 0
    finally:
        if own is not None:
            await own.close()
        await children.stop(settings.http.drain_seconds)
        await gateway.close()


def _stop(gateway: Gateway, own: OwnRunner) -> None:
    own.stop()
    gateway.stop()


@asynccontextmanager
async def _chaos(gateway: Gateway, children: WorkerProcesses) -> AsyncIterator[None]:
    """Harm, while the body runs, when the settings want it."""
    settings = gateway.settings.chaos
    if not settings.on:
        yield
        return

    def victims() -> list[Victim]:
        running = children.running
        return [
            Victim(record.name, running[record.name], record.base_url, record.secret)
            for record in (member.record for member in gateway.workers.members() if member.state is WorkerState.READY)
            if record.name in running
        ]

    random = Random(settings.seed)
    chaos = Chaos(victims, lambda: _request_counts(gateway), process.say, random, gateway.clock, settings.every_seconds)
    gateway.on_worker_event(chaos.on_worker_event)
    task = asyncio.create_task(chaos.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _request_counts(gateway: Gateway) -> RequestCounts:
    series = gateway.metrics.all_series().values()
    answered = sum(one.by_status[2] for one in series)
    return RequestCounts(answered, sum(sum(one.by_status[4:]) for one in series), sum(one.retries for one in series))


def _start_children(gateway: Gateway, children: WorkerProcesses, token: str) -> None:
    settings = gateway.settings
    plans = [("sim", f"sim-{number}", "") for number in range(1, settings.simulated_workers + 1)]
    plans += [(_MODEL_ENGINE, f"model-{number}", model) for number, model in enumerate(settings.models, 1)]
    for engine, name, model in plans:
        state = settings.data_dir / "workers" / name
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        arguments = ["worker", "--join", gateway.base_url, "--engine", engine, "--name", name, "--state-dir", str(state)]
        environment = {"PENSTOCK_WORKER__TOKEN": token}
        if settings.tls_cert is not None:
            environment["PENSTOCK_WORKER__PIN_FILE"] = str(_pin_file(settings))
        if settings.chaos.on:
            arguments.append("--allow-faults")
        children.start(ChildPlan(name, [*arguments, "--model", model] if model else arguments, environment, _log_file(settings, name)))


async def _children_token(gateway: Gateway) -> str:
    """Our own workers join as any other would: with a token, which expires soon and is never shown."""
    ourselves = system_principal("penstock-up", PLANS[-1])
    _, secret = await gateway.accounts.create_join_token(ourselves, role="worker", expires_in_seconds=_CHILD_TOKEN_SECONDS)
    return secret


async def _until_workers_are_ready(gateway: Gateway, children: WorkerProcesses, serving: asyncio.Task[None]) -> str:
    """So that the first request after the ready line finds a worker. Returns why that will never be; empty: it is, or it takes long.

    A simulated worker that cannot start delays it, but not for ever. A model is waited for as long as it takes to fetch and load it.
    """
    settings = gateway.settings
    news = {
        f"model-{number}": WorkerLogProgress(f"model-{number}", _log_file(settings, f"model-{number}"))
        for number in _numbers(settings.models)
    }
    patience = asyncio.get_running_loop().time() + _WORKERS_READY_SECONDS
    while not serving.done():
        for one in news.values():
            one.tell(process.say)
        if lost := next((name for name in children.given_up if name in news), None):
            return f"{settings.models[int(lost.removeprefix('model-')) - 1]} cannot be served: {news[lost].last_output}"
        ready = [member for member in gateway.workers.members() if member.state is WorkerState.READY]
        sims, models = (sum(member.record.engine == engine for member in ready) for engine in ("sim", _MODEL_ENGINE))
        late = asyncio.get_running_loop().time() > patience
        if gateway.is_serving and (late or sims >= settings.simulated_workers) and models >= len(settings.models):
            break
        await asyncio.sleep(0.1 if news else 0.01)
    return ""


def _numbers(models: Sequence[str]) -> range:
    return range(1, len(models) + 1)


def _log_file(settings: Settings, name: str) -> Path:
    return settings.data_dir / "workers" / name / "worker.log"


def _announce(gateway: Gateway, json_line: bool) -> None:
    facts = gateway.facts()
    facts |= _save_profile(gateway.settings, facts)
    if json_line:
        process.announce(facts)
    # What is printed for people may end in a log: there, the secrets are only what the one JSON line has.
    process.say(_welcome(gateway, facts, secrets=not json_line))


def _save_profile(settings: Settings, facts: dict[str, str]) -> dict[str, str]:
    """A profile, so that `penstock chat` just works in another terminal; a later start keeps the key that is there."""
    pin = str(_pin_file(settings)) if settings.tls_cert is not None else ""
    ours = profiles.Profile(facts["base_url"], facts.get("api_key", ""), pin_file=pin, data_dir=str(settings.data_dir.absolute()))
    try:
        name = own_profile.save(_profiles_file(settings), settings.profile_name, ours, default_data_dir())
    except (own_profile.ProfileTaken, profiles.ProfileProblem) as error:
        log.warning("profile_not_written", reason=str(error))
        return {}
    return {"profile": name} if name else {}


def _profiles_file(settings: Settings) -> Path:
    return settings.profile or profiles.default_path()


def _check_profile(settings: Settings) -> None:
    """Before anything starts: a name that was asked for must be free, or ours. Raises ProfileTaken, ProfileProblem."""
    if settings.profile_name:
        book = profiles.read(_profiles_file(settings))
        own_profile.name_of(book, settings.profile_name, settings.data_dir.absolute(), default_data_dir())


def _pin_file(settings: Settings) -> Path:
    """The gateway's certificate as it was at this start: our own workers and the commands of this user accept no other."""
    return settings.data_dir / "gateway.pem"


def _welcome(gateway: Gateway, facts: dict[str, str], *, secrets: bool) -> str:
    models = ", ".join(sorted(gateway.workers.offers(None))) or "none yet"
    lines = ["", f"  Penstock is ready at {facts['base_url']}", f"  Models: {models}", f"  Page:   {facts['dashboard_url']}", ""]
    if "api_key" in facts and not secrets:
        lines.append("  The secrets of the first start are in the JSON line on standard output, this once.")
    elif "api_key" in facts:
        lines += [
            "  Shown once, so keep them:",
            f"    API key         {facts['api_key']}",
            f"    join token      {facts['join_token']}  (for 7 days)",
            f"    administrator   {facts['admin_email']}  {facts['admin_password']}",
            "  More of them: `penstock keys create NAME`, `penstock tokens create`.",
        ]
    elif "profile" in facts:
        lines.append("  Keys were shown at the first start; `penstock keys create NAME` makes another.")
    else:
        lines.append("  This user has no key for this platform. Make one: stop, then `penstock admin reset`.")
    if gateway.held:
        lines.append("  This installation is held: stored workers are not called, and no tasks run. `penstock admin release` ends that.")
    return "\n".join([*lines, *_hints(gateway, facts), ""])


def _hints(gateway: Gateway, facts: dict[str, str]) -> list[str]:
    """What to do next: the profile, when it is not the one that commands use by themselves."""
    name = facts.get("profile")
    if not name:
        return []
    book = profiles.read(_profiles_file(gateway.settings))
    if book.default == name:
        return ["  Try: `penstock chat` in another terminal."]
    return [
        f"  Try: `penstock chat --profile {name}` in another terminal; `penstock profiles use {name}` makes it the default.",
        f"  Commands without --profile go to {book.default}.",
    ]
