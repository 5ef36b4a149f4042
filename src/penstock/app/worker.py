"""`penstock worker`: settings in, a running worker out."""

import socket
from collections.abc import Mapping

from penstock import __version__
from penstock.app import process
from penstock.app.settings import Settings
from penstock.base.identity import IdentityInUse
from penstock.compute import worker
from penstock.compute.engines import BadOption, EngineUnavailable, ProbeFailed
from penstock.observe import logs

_USAGE = 2


def run(settings: Settings, allow_faults: bool, engine_options: Mapping[str, str]) -> int:
    """Until SIGTERM, which ends the process; returns the exit code of one that could not begin or go on."""
    logs.configure(settings.log.level, settings.log.format)
    options = dict(engine_options)
    wanted = settings.worker
    for name, value in (
        ("model", wanted.model),
        ("base_url", wanted.upstream_url),
        ("secret", wanted.upstream_secret.get_secret_value()),
    ):
        if value:
            options.setdefault(name, value)
    name = wanted.name or f"{socket.gethostname()}-{wanted.engine}"
    try:
        code = process.run(
            lambda: worker.run(
                join=wanted.join,
                token=wanted.token.get_secret_value() or None,
                name=name,
                engine=wanted.engine,
                engine_options=options,
                host=wanted.host,
                port=wanted.port,
                advertise=wanted.advertise,
                slots=wanted.slots,
                pool=None if wanted.pool is None else wanted.pool.value,
                state_dir=wanted.state_dir or settings.data_dir / "workers" / name,
                allow_faults=allow_faults,
                version=__version__,
            )
        )
    except (BadOption, EngineUnavailable) as error:
        process.say(f"penstock: {error}")
        return _USAGE
    except (IdentityInUse, ProbeFailed) as error:
        process.say(f"penstock: {error}")
        return 1
    return process.leave(code)
