"""What a worker says to its gateway, and what it is told: join, heartbeat, and the lines on the link that a gateway holds to it.

The gateway validates. The worker makes its messages with `of`, which validates nothing: what a gateway refuses, it says why, and a
gateway of another version may accept what this one would not.
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field

from penstock.domain.principal import Pool
from penstock.domain.workers import ModelOffer, WorkerLoad
from penstock.wire.fields import PLAIN, PRINTABLE, WHOLE, Body, Flag, ModelId, Name, Url, View

Capability = Literal["chat", "completions", "embeddings", "tools", "json_schema", "logprobs", "vision", "infer"]
ENGINE_AWAY = "its engine does not answer"
"""Why a worker is not reached that refuses its link with the status 503."""
SlotCount = Annotated[int, Field(ge=1, le=100_000, description="Requests that it serves at the same time."), WHOLE]
_Number = Annotated[int, Field(ge=0, le=10_000_000), WHOLE]


class Offer(Body):
    """A model as this worker serves it."""

    id: ModelId
    engine_name: Annotated[str, Field(max_length=256, pattern=PLAIN)] = ""
    context_length: Annotated[int | None, Field(ge=1, le=1_000_000_000), WHOLE] = None
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=16)] = ()

    @classmethod
    def of(cls, offer: ModelOffer) -> Self:
        return cls.model_construct(
            id=offer.id, engine_name=offer.engine_name, context_length=offer.context_length, capabilities=offer.capabilities
        )

    def offer(self) -> ModelOffer:
        return ModelOffer(self.id, self.engine_name, self.context_length, tuple(dict.fromkeys(self.capabilities)))


class Join(Body):
    token: Annotated[str | None, Field(max_length=256, description="Only needed by a public key that is not known yet.")] = None
    name: Name
    engine: Annotated[str, Field(min_length=1, max_length=64, pattern=PRINTABLE)]
    base_url: Url
    models: Annotated[list[Offer], Field(min_length=1, max_length=1024)]
    slots: SlotCount
    pool: Pool | None = None
    public_key: Annotated[str, Field(min_length=44, max_length=44, description="Ed25519, raw, base64.")]
    secret: Annotated[str, Field(min_length=32, max_length=256, pattern=r"^[!-~]+$", description="What gateways present to it.")]
    version: Annotated[str, Field(max_length=64, pattern=r"^[ -~]*$")] = ""
    host: Annotated[str, Field(max_length=255, pattern=r"^[ -~]*$", description="Name of its machine.")] = ""

    @classmethod
    def of(
        cls,
        *,
        token: str | None,
        name: str,
        engine: str,
        base_url: str,
        models: Iterable[ModelOffer],
        slots: int,
        pool: str | None,
        public_key: str,
        secret: str,
        version: str,
        host: str = "",
    ) -> Self:
        return cls.model_construct(
            token=token,
            name=name,
            engine=engine,
            base_url=base_url,
            models=[Offer.of(offer) for offer in models],
            slots=slots,
            pool=pool,
            public_key=public_key,
            secret=secret,
            version=version,
            host=host,
        )


class Joined(View):
    worker_id: str
    heartbeat_seconds: float


class Heartbeat(Body):
    running: _Number = 0
    waiting: _Number = 0
    kv_usage: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 0.0
    ttft_seconds: Annotated[float | None, Field(strict=True, ge=0, le=86_400, allow_inf_nan=False)] = None
    draining: Flag = False

    @classmethod
    def of(cls, load: WorkerLoad, *, draining: bool) -> Self:
        return cls.model_construct(
            {"running", "waiting", "kv_usage", "draining"},
            running=load.running,
            waiting=load.waiting,
            kv_usage=round(load.kv_usage, 4),
            draining=draining,
        )

    def load(self) -> WorkerLoad:
        return WorkerLoad(self.running, self.waiting, self.kv_usage, self.ttft_seconds)


class WorkerHeartbeatResponse(View):
    draining: Annotated[bool, Field(description="An operator asked the worker to drain.")]
    unreachable: Annotated[str, Field(description="Why this gateway cannot connect to the worker; empty: it can.")] = ""


class Hello(msgspec.Struct, frozen=True):
    """The first line on a link."""

    type: Literal["hello"]
    worker_id: str
    slots: int
    models: list[str]


class LinkLine(msgspec.Struct, frozen=True):
    """A line on a link, as a gateway reads each of them: every one is a sign of life, those of the type `load` tell the load."""

    type: str
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    draining: bool = False

    @classmethod
    def of(cls, load: WorkerLoad, *, draining: bool) -> Self:
        return cls("load", load.running, load.waiting, round(load.kv_usage, 4), draining)

    def load(self) -> WorkerLoad | None:
        return WorkerLoad(self.running, self.waiting, self.kv_usage) if self.type == "load" else None


_line = msgspec.json.Decoder(LinkLine)


def encode(message: Body) -> bytes:
    """A worker's message as JSON, with the fields that were set."""
    return msgspec.json.encode(message.model_dump(exclude_unset=True, warnings=False))


def encode_line(line: Hello | LinkLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def decode_line(text: bytes) -> LinkLine | None:
    """None for what is not a line of a link."""
    try:
        return _line.decode(text)
    except msgspec.DecodeError:
        return None
