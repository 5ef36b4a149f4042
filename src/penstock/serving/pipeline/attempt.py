"""One worker's answer to one request: read as a whole or relayed as a stream, and judged."""

import re
from typing import Final, Protocol

from penstock.domain.call import Demand
from penstock.domain.errors import PenstockError
from penstock.domain.ports import TransportFailure
from penstock.domain.tokens import TokenCount, UsageReport
from penstock.serving.routing.attempt_load import AttemptLoad
from penstock.serving.routing.member import Member
from penstock.wire.chat import replies, requests
from penstock.wire.chat.bodies import AnyBody, EmbeddingBody
from penstock.wire.chat.chunks import EngineReportedError, GarbledStream, OversizedEvent
from penstock.wire.chat.counting import NO_LIMIT, counted, echoed_bytes, most_prompt, too_few
from penstock.wire.chat.reasoning import ReasoningStream
from penstock.wire.chat.relay import Relay
from penstock.wire.chat.replies import GarbledReply
from penstock.wire.chat.tolerant import reread
from penstock.wire.chat.whole_as_stream import whole_as_events
from penstock.wire.encodings import BadEncoding, Inflater, encoding_of, inflated, plain_beginning
from penstock.wire.refusals import callers_mistake, inner_status, too_large, wanted_rest
from penstock.wire.sse import EVENTS, OTHER, UNKNOWN, WHOLE, form_of

_LARGEST_ERROR_BYTES: Final = 64 * 1024
_BUSY: Final = frozenset({429, 503})
_LIMITED: Final = 429
_NO_STREAM: Final = "a stream was asked for, and something else came with status 200"


class AttemptListener(Protocol):
    """The request on whose behalf the attempt is made."""

    def on_response(self, body: bytes) -> None:
        """A whole reply, status 200. Raises GarbledReply."""
        ...

    def on_chunk(self, data: bytes) -> None:
        """Events for the client; `attempt.relay` has been brought up to date, and may be done."""
        ...

    def on_client_error(self, error: PenstockError) -> None:
        """No worker would do it: the request is at fault, or the answer is larger than what is passed on."""
        ...

    def on_failure(self, detail: str, *, busy: bool) -> None:
        """The worker did not do it. `busy`: it is well, but has no room."""
        ...


class WorkerAttempt:
    """Implements `ResponseSink`. After `ended` nothing that still comes matters."""

    ended = False
    prompt_tokens: int | None = None
    """The worker's own count at the first byte, when it tells."""
    rest_seconds: float | None = None
    """How long the worker wants no requests, as it said when it refused this one."""
    status = 0
    """Of the answer, once it has begun."""
    _form = EVENTS
    _encoding = b""
    _size = 0
    _parts: list[bytes] | None = None
    _inflater: Inflater | None = None

    def __init__(self, listener: AttemptListener, member: Member, load: AttemptLoad, relay: Relay | None, largest_reply_bytes: int) -> None:
        self._listener = listener
        self.member = member
        self.load = load
        self.relay = relay
        """None: the reply is wanted whole."""
        self._largest = largest_reply_bytes

    def answered(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if status == 200 and self.relay is None and len(body) <= self._largest:
            try:
                self._listener.on_response(body)
            except GarbledReply as error:
                self._garbled(body, headers, str(error))
            return
        self.head(status, headers)
        if body:
            self.data(body)
        self.end()

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._encoding = encoding_of(headers)
        if self.relay is None and status == 200:
            return
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"x-penstock-prompt-tokens" and value.isdigit() and len(value) < 10:
                self.prompt_tokens = int(value)
        if status != 200:
            self.rest_seconds = wanted_rest(headers) if status == _LIMITED else None
            return
        if not content_type.startswith(b"text/event-stream"):
            self._form = UNKNOWN
        if self._encoding:
            self._inflate()

    def data(self, data: bytes) -> None:
        if self.ended:
            return
        if self._inflater is not None:
            try:
                data = self._inflater.feed(data)
            except BadEncoding as error:
                self._fail(str(error))
                return
        relay = self.relay
        if relay is None or self.status != 200 or self._form == WHOLE:
            self._collect(data)
        elif self._form == EVENTS:
            self._relay(relay, data)
        elif self._form == UNKNOWN:
            self._look_at(relay, data)
        else:
            self._fail(_NO_STREAM)

    def end(self) -> None:
        if self.ended:
            return
        body = b"".join(self._parts or ())
        if self.status != 200:
            self._judge(body)
        elif self.relay is None:
            self.answered(200, [(b"content-encoding", self._encoding)], body)
        elif self._form == EVENTS:
            self._close(self.relay)
        elif self._form == WHOLE:
            self._stream_whole(self.relay, body)
        else:
            self._fail(_NO_STREAM)

    def failed(self, reason: TransportFailure) -> None:
        if not self.ended:
            self._fail(f"{reason.kind}: {reason.detail}")

    # a stream

    def _relay(self, relay: Relay, data: bytes) -> None:
        try:
            out = relay.feed(data)
        except (GarbledStream, EngineReportedError) as error:
            self._broken(error)
            return
        if relay.done and relay.is_empty:
            self._fail("a stream without a chunk")
        elif out or relay.done:
            self._listener.on_chunk(out)

    def _close(self, relay: Relay) -> None:
        try:
            out = relay.close()
        except (GarbledStream, EngineReportedError) as error:
            self._broken(error)
            return
        self._listener.on_chunk(out)

    def _look_at(self, relay: Relay, data: bytes) -> None:
        """Its content type does not say that it is a stream: what it begins with does."""
        self._collect(data)
        begun = b"".join(self._parts or ())
        self._form = form_of(begun)
        if self._form == EVENTS:
            self._parts = None
            self._relay(relay, begun)
        elif self._form == OTHER and not self.ended:
            self._fail(_NO_STREAM)

    def _stream_whole(self, relay: Relay, body: bytes) -> None:
        try:
            events = whole_as_events(body)
        except GarbledReply as error:
            self._judge_inner(body, str(error))
            return
        self._relay(relay, events)

    def _broken(self, error: Exception) -> None:
        if isinstance(error, OversizedEvent):
            self._refuse(too_large("An event of the worker's stream", error.largest_bytes))
        elif isinstance(error, EngineReportedError):
            self._judge_inner(error.body, str(error))
        else:
            self._fail(str(error))

    # a whole answer

    def _collect(self, data: bytes) -> None:
        self._size += len(data)
        if self._parts is None:
            self._parts = []
        self._parts.append(data)
        if self.status != 200 and self._size > _LARGEST_ERROR_BYTES:
            # What is at fault stands at its beginning; the rest is mostly the request, repeated.
            self._judge(b"".join(self._parts)[:_LARGEST_ERROR_BYTES])
        elif self._size > self._largest:
            self._refuse(too_large("The worker's answer", self._largest))

    def _garbled(self, body: bytes, headers: list[tuple[bytes, bytes]], detail: str) -> None:
        """It was not a reply as it stands: it may be compressed, nearly JSON, or an error that calls itself a success."""
        try:
            encoding = encoding_of(headers)
            plain = inflated(body, encoding, self._largest) if encoding else body
            readable = reread(plain)
            if readable is not None and readable != body:
                self._listener.on_response(readable)
                return
        except (BadEncoding, GarbledReply) as error:
            detail = str(error)
        self._judge_inner(body, detail)

    # the verdict

    def _judge(self, body: bytes) -> None:
        if self._encoding:
            body = plain_beginning(body, self._encoding, _LARGEST_ERROR_BYTES)
        mistake = callers_mistake(self.status, body)
        if mistake is not None:
            mistake.from_engine = True
            self._refuse(mistake)
        else:
            self._fail(f"status {self.status}", busy=self.status in _BUSY)

    def _judge_inner(self, body: bytes, detail: str) -> None:
        """An error with status 200, or inside a stream: it may be the caller's mistake all the same."""
        status = inner_status(body)
        mistake = callers_mistake(status, body)
        if mistake is not None:
            mistake.from_engine = True
            self._refuse(mistake)
        else:
            self._fail(detail, busy=status in _BUSY)

    def _refuse(self, error: PenstockError) -> None:
        """No other worker would answer otherwise."""
        self.ended = True
        self._listener.on_client_error(error)

    def _inflate(self) -> None:
        try:
            self._inflater = Inflater(self._encoding, self._largest)
        except BadEncoding:
            self._form = OTHER

    def _fail(self, detail: str, *, busy: bool = False) -> None:
        self.ended = True
        self._listener.on_failure(detail, busy=busy)


def edited_reply(
    body: bytes, request: AnyBody, demand: Demand, tier: str, rename: tuple[re.Pattern[bytes], bytes] | None, seconds: float
) -> tuple[bytes, TokenCount]:
    """A whole reply as the client gets it, and its tokens; `seconds`: how long it took. Raises GarbledReply."""
    reply = replies.read(body)
    count = replies.token_count(body, reply, request, demand.prompt_tokens, demand.max_tokens, seconds)
    if count.estimated:
        body = replies.within_limit(body, reply, request)
    if type(request) is EmbeddingBody:  # told by its very type: `isinstance` asks msgspec's metaclass, at twenty times the cost
        body = replies.embeddings_as(body, request.encoding_format)
    return replies.edited(body, reply, tier, rename, count), count


def stream_relay(
    request: AnyBody, tier: str, rename: tuple[re.Pattern[bytes], bytes] | None, largest_event_bytes: int, member: Member
) -> Relay:
    """What a stream passes on its way. Where the prompt comes with the answer, its length is not held to the client's limit."""
    limit = NO_LIMIT if echoed_bytes(request) else requests.max_tokens(request, 0) or NO_LIMIT
    return Relay(
        usage_wanted=requests.wants_usage(request),
        service_tier=tier,
        rename=rename,
        largest_event_bytes=largest_event_bytes,
        limit=limit,
        rewrite=ReasoningStream() if member.normalises else None,
    )


def settled_count(attempt: WorkerAttempt, request: AnyBody, prompt_estimate: int, now: float) -> TokenCount:
    """The tokens of an answer that ended or was cut: the engine's own report, where it can be, or what passed through our hands."""
    relay = attempt.relay
    if relay is None:
        # The engine has worked on a whole reply, but how far cannot be told: the prompt, as we estimate it.
        return TokenCount(prompt_estimate, 0, estimated=True)
    told = attempt.prompt_tokens
    if told is not None and (told > most_prompt(prompt_estimate) or too_few(UsageReport(told, relay.tokens), relay.seen())):
        # It says that it is one of ours, and is not.
        told = attempt.prompt_tokens = None
    if relay.usage is None and told is not None:
        # Our own workers: they tell the prompt's tokens first and send one token an event.
        return TokenCount(told, relay.tokens)
    seen = relay.seen(echoed_bytes(request))
    seconds = now - attempt.load.sent_at
    prompt = prompt_estimate if told is None else told
    return counted(relay.usage, seen, prompt, requests.max_tokens(request, 0) or NO_LIMIT, seconds, whole=relay.done and not relay.cut)
