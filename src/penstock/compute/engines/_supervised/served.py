"""An engine that is a server of its own beside the worker: supervised, and spoken to in OpenAI's API.

Each member says how its server is started (`Recipe`); the rest is the same for all of them, and so are these options: `model` (needed),
`name` (as clients name it; default: the folder's name or the hub id), `port` (0: any free one), `command` (another command line in place
of the usual one; {model}, {name} and {port} are filled in), `args` (further arguments), `capabilities`, `slots`, `start_seconds`,
`stop_seconds`, `memory_gib` (more, and it is started again), `nice`, `log_file`.
"""

import secrets
import shlex
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from penstock.compute.engines import _options as options_
from penstock.compute.engines._problems import EngineUnavailable
from penstock.compute.engines._relay import OpenAiRelay
from penstock.compute.engines._supervised.log_file import LogFile
from penstock.compute.engines._supervised.supervisor import ServerPlan, ServerState, Supervisor
from penstock.domain.errors import ModelNotFound, Overloaded, UnsupportedParameter
from penstock.domain.inference import Operation
from penstock.domain.ports.engine import Answer
from penstock.domain.workers import ModelOffer, WorkerLoad

OPTIONS = frozenset(
    {
        *("model", "name", "port", "command", "args", "capabilities", "slots"),
        *("start_seconds", "stop_seconds", "memory_gib", "nice", "log_file", "first_pause", "longest_pause", "check_seconds"),
    }
)
HOST = "127.0.0.1"
_CHECK_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one engine's server is run. `command` holds the whole command line but for host, port and name, which `place` adds."""

    engine: str
    """Its row of `load_signals.toml`."""
    program: str
    arguments: Sequence[str]
    names: Sequence[str]
    """The models that clients may ask for: the model and its adapters."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)
    capabilities: tuple[str, ...] = ("chat", "completions")
    complete: bool = False
    """It can nothing beyond its capabilities; False: they are what is known of it."""
    slots: int = 64
    health: str = "/health"
    missing: str = ""
    """What to say when the program is not there."""


def new_secret() -> str:
    """A server on a loopback port is open to every user of the machine unless it wants a key."""
    return secrets.token_urlsafe(24)


def served_name(options: options_.Options) -> str:
    """A folder's own name, a hub id as it is."""
    model = options["model"]
    path = Path(model).expanduser()
    return options.get("name") or (path.resolve().name if path.exists() else model)


def free_port(options: options_.Options) -> int:
    if wanted := options.get("port", "0").strip():
        if not wanted.isdecimal() or int(wanted) > 65535:
            raise options_.BadOption(f"port must be a number up to 65535, not {wanted!r}")
        if int(wanted):
            return int(wanted)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class ServedEngine:
    """Implements `Engine` and `KeepsLog`."""

    def __init__(self, options: options_.Options, recipe: Recipe, port: int) -> None:
        self.slots = options_.whole(options, "slots", recipe.slots)
        self._options = options
        self._recipe = _capable(recipe, options)
        self._port = port
        self._plan = _plan(options, recipe, port)
        self._log: LogFile | None = LogFile(Path(options["log_file"]).expanduser()) if options.get("log_file") else None
        self._client: httpx.AsyncClient | None = None
        self._relay = OpenAiRelay(f"http://{HOST}:{port}", secret=recipe.secret, engine=recipe.engine, slots=self.slots)
        self._relaying = False
        self.supervisor: Supervisor | None = None

    def keep_log(self, folder: Path) -> None:
        """Where the log goes unless an option says otherwise."""
        if self._log is None:
            self._log = LogFile(folder / "engine.log")

    def log_tail(self, lines: int) -> list[str]:
        return [] if self._log is None else self._log.tail(lines)

    async def open(self) -> None:
        """Start the server and wait until it is ready. Raises EngineUnavailable."""
        program = self._plan.command[0]
        if shutil.which(program) is None:
            raise EngineUnavailable(f"there is no program {program!r} here; {self._recipe.missing}")
        headers = {"authorization": f"Bearer {self._recipe.secret}"} if self._recipe.secret else {}
        self._client = httpx.AsyncClient(
            base_url=f"http://{HOST}:{self._port}", headers=headers, trust_env=False, timeout=_CHECK_TIMEOUT_SECONDS
        )
        if self._log is None:
            self._log = LogFile(Path(tempfile.mkdtemp(prefix="penstock-")) / "engine.log")
        self.supervisor = Supervisor(self._plan, self._is_ready, self._log)
        await self.supervisor.open()
        await self._relay.open()
        self._relaying = True

    async def close(self) -> None:
        if self._relaying:
            await self._relay.close()
        if self.supervisor is not None:
            await self.supervisor.close()
        if self._client is not None:
            await self._client.aclose()

    async def models(self) -> tuple[ModelOffer, ...]:
        """What was asked for, with what the server says of it."""
        listed = {offer.id: offer for offer in await self._relay.models()}
        first = next(iter(listed.values()), ModelOffer(""))
        known = [listed.get(name) or replace(first, id=name) for name in self._recipe.names]
        return tuple(replace(offer, capabilities=self._recipe.capabilities) for offer in known)

    def load(self) -> WorkerLoad:
        return self._relay.load()

    async def answer(self, operation: Operation, body: bytes) -> Answer:
        """Relay to the server. Raises Overloaded while it starts, ModelNotFound, UnsupportedParameter, and as the relay does."""
        if self.supervisor is None or self.supervisor.state is not ServerState.READY:
            raise Overloaded("The engine of this worker is starting.", retry_after_seconds=2.0)
        name = self._relay.model_of(body)
        if name not in self._recipe.names:
            raise ModelNotFound(f"The model '{name}' does not exist on this worker.", param="model")
        if operation is Operation.EMBEDDING and self._recipe.complete and "embeddings" not in self._recipe.capabilities:
            raise UnsupportedParameter("This model does not make embeddings.", param="model")
        return await self._relay.answer(operation, body)

    async def _is_ready(self) -> bool:
        assert self._client is not None
        try:
            response = await self._client.get(self._recipe.health)
        except httpx.HTTPError:
            return False
        return response.status_code == 200


def _capable(recipe: Recipe, options: options_.Options) -> Recipe:
    declared = options.get("capabilities")
    if not declared:
        return recipe
    return replace(recipe, capabilities=tuple(part.strip() for part in declared.split(",") if part.strip()), complete=True)


def _plan(options: options_.Options, recipe: Recipe, port: int) -> ServerPlan:
    base = ServerPlan(())
    nice = options.get("nice", "0")
    if not nice.isdecimal() or int(nice) > 19:
        raise options_.BadOption(f"nice must be a number from 0 to 19, not {nice!r}")
    return ServerPlan(
        command=_command(options, recipe, port),
        environment=recipe.environment,
        start_seconds=options_.number(options, "start_seconds", base.start_seconds),
        stop_seconds=options_.number(options, "stop_seconds", base.stop_seconds),
        first_pause=options_.number(options, "first_pause", base.first_pause),
        longest_pause=options_.number(options, "longest_pause", base.longest_pause),
        check_every=options_.number(options, "check_seconds", base.check_every),
        memory_bytes=int(options_.number(options, "memory_gib", 0.0) * (1 << 30)),
        nice=int(nice),
    )


def _command(options: options_.Options, recipe: Recipe, port: int) -> tuple[str, ...]:
    try:
        further = shlex.split(options.get("args", ""))
        other = shlex.split(options.get("command", ""))
    except ValueError as error:
        raise options_.BadOption(f"command and args are written as in a shell: {error}") from None
    if other:
        facts = {"{model}": options["model"], "{name}": recipe.names[0], "{port}": str(port), "{host}": HOST}
        return (*(_filled(part, facts) for part in other), *further)
    return (recipe.program, *recipe.arguments, *further)


def _filled(part: str, facts: Mapping[str, str]) -> str:
    for name, value in facts.items():
        part = part.replace(name, value)
    return part
