"""`penstock worker`: settings in, a running worker out."""

import socket
from collections.abc import Mapping

from penstock import __version__
from penstock.app import process
from penstock.app.settings import Settings
from penstock.base.identity import IdentityInUse
from penstock.compute import worker
from penstock.compute.engines import BadOption, EngineUnavailable, ProbeFailed
from penstock.compute.worker import WorkerPlan
from penstock.net.trust import Trust, TrustProblem
from penstock.observe import logs

_USAGE = 2


def run(settings: Settings, allow_faults: bool, engine_options: Mapping[str, str]) -> int:
    """Until SIGTERM, which ends the process; returns the exit code of one that could not begin or go on."""
    logs.configure(settings.log.level, settings.log.format)
    plan = worker_plan(settings, allow_faults, engine_options)
    try:
        code = process.run(lambda: worker.run(plan))
    except (BadOption, EngineUnavailable) as error:
        process.say(f"penstock: {error}")
        return _USAGE
    except (IdentityInUse, ProbeFailed, TrustProblem) as error:
        process.say(f"penstock: {error}")
        return 1
    return process.leave(code)


def worker_plan(settings: Settings, allow_faults: bool, engine_options: Mapping[str, str]) -> WorkerPlan:
    """The worker that the settings describe. An engine's option that was given by name comes before the setting for it."""
    wanted = settings.worker
    given = {"model": wanted.model, "base_url": wanted.upstream_url, "secret": wanted.upstream_secret.get_secret_value()}
    name = wanted.name or f"{socket.gethostname()}-{wanted.engine}"
    return WorkerPlan(
        state_dir=wanted.state_dir or settings.data_dir / "workers" / name,
        engine=wanted.engine,
        engine_options={option: value for option, value in given.items() if value} | dict(engine_options),
        join=wanted.join,
        token=wanted.token.get_secret_value() or None,
        trust=Trust(wanted.ca_file, wanted.pin_file),
        name=name,
        host=wanted.host,
        port=wanted.port,
        advertise=wanted.advertise,
        slots=wanted.slots,
        pool=None if wanted.pool is None else wanted.pool.value,
        allow_faults=allow_faults,
        version=__version__,
    )
