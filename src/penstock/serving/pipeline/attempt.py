"""One worker's answer to one request: read as a whole or relayed as a stream, and judged."""

import re
from typing import Protocol

from penstock.domain.errors import PenstockError
from penstock.domain.ports import TransportFailure
from penstock.domain.tokens import TokenCount
from penstock.serving.routing.attempt_load import AttemptLoad
from penstock.serving.routing.member import Member
from penstock.wire.chat import replies
from penstock.wire.chat.bodies import AnyBody, EmbeddingBody
from penstock.wire.chat.relay import EngineReportedError, GarbledStream, Relay
from penstock.wire.chat.replies import GarbledReply
from penstock.wire.refusals import callers_mistake

_LARGEST_ERROR_BYTES = 64 * 1024
_BUSY = frozenset({429, 503})


class AttemptListener(Protocol):
    """The request on whose behalf the attempt is made."""

    def on_response(self, body: bytes) -> None:
        """A whole reply, status 200. Raises GarbledReply."""
        ...

    def on_chunk(self, data: bytes) -> None:
        """Events for the client; `attempt.relay` has been brought up to date, and may be done."""
        ...

    def on_client_error(self, error: PenstockError) -> None:
        """The worker says that the request is at fault."""
        ...

    def on_failure(self, detail: str, *, busy: bool) -> None:
        """The worker did not do it. `busy`: it is well, but has no room."""
        ...


class WorkerAttempt:
    """Implements `ResponseSink`. After `ended` nothing that still comes matters."""

    ended = False
    prompt_tokens: int | None = None
    """The worker's own count at the first byte, when it tells."""
    _status = 0
    _content_type_wrong = False
    _size = 0
    _parts: list[bytes] | None = None

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
                self._fail(str(error))
            return
        self.head(status, headers)
        if body:
            self.data(body)
        self.end()

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status = status
        if self.relay is None or status != 200:
            return
        content_type = b""
        for name, value in headers:
            if name == b"content-type":
                content_type = value
            elif name == b"x-penstock-prompt-tokens" and value.isdigit() and len(value) < 10:
                self.prompt_tokens = int(value)
        self._content_type_wrong = not content_type.startswith(b"text/event-stream")

    def data(self, data: bytes) -> None:
        if self.ended:
            return
        relay = self.relay
        if self._content_type_wrong:
            self._fail("a stream was asked for, and something else came with status 200")
            return
        if relay is None or self._status != 200:
            self._collect(data)
            return
        try:
            out = relay.feed(data)
        except (GarbledStream, EngineReportedError) as error:
            self._fail(str(error))
            return
        if out or relay.done:
            self._listener.on_chunk(out)

    def end(self) -> None:
        if self.ended:
            return
        if self._status != 200:
            self._judge(b"".join(self._parts or ()))
        elif self.relay is None:
            self.answered(200, [], b"".join(self._parts or ()))
        elif self._content_type_wrong:
            self._fail("a stream was asked for, and something else came with status 200")
        else:
            self._close(self.relay)

    def failed(self, reason: TransportFailure) -> None:
        if not self.ended:
            self._fail(f"{reason.kind}: {reason.detail}")

    def _collect(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > (self._largest if self._status == 200 else _LARGEST_ERROR_BYTES):
            self._fail("the reply is too large")
            return
        if self._parts is None:
            self._parts = []
        self._parts.append(data)

    def _close(self, relay: Relay) -> None:
        try:
            out = relay.close()
        except (GarbledStream, EngineReportedError) as error:
            self._fail(str(error))
            return
        self._listener.on_chunk(out)

    def _judge(self, body: bytes) -> None:
        mistake = callers_mistake(self._status, body)
        if mistake is not None:
            self.ended = True
            self._listener.on_client_error(mistake)
        else:
            self._fail(f"status {self._status}", busy=self._status in _BUSY)

    def _fail(self, detail: str, *, busy: bool = False) -> None:
        self.ended = True
        self._listener.on_failure(detail, busy=busy)


def edited_reply(
    body: bytes, request: AnyBody, prompt_estimate: int, tier: str, rename: tuple[re.Pattern[bytes], bytes] | None
) -> tuple[bytes, TokenCount]:
    """A whole reply as the client gets it, and its tokens. Raises GarbledReply."""
    reply = replies.read(body)
    count = replies.token_count(reply, prompt_estimate)
    if type(request) is EmbeddingBody:  # told by its very type: `isinstance` asks msgspec's metaclass, at twenty times the cost
        body = replies.embeddings_as(body, request.encoding_format)
    return replies.edited(body, reply, tier, rename, count), count


def settled_count(attempt: WorkerAttempt, prompt_estimate: int) -> TokenCount:
    """The tokens of an answer that ended or was cut: the engine's own report, or what passed through our hands."""
    relay = attempt.relay
    if relay is None:
        # The engine has worked on a whole reply, but how far cannot be told: the prompt, as we estimate it.
        return TokenCount(prompt_estimate, 0, estimated=True)
    if relay.usage is not None:
        return relay.usage
    if attempt.prompt_tokens is not None:
        # Our own workers: they tell the prompt's tokens first and send one token an event.
        return TokenCount(attempt.prompt_tokens, relay.tokens)
    return TokenCount(prompt_estimate, relay.tokens, estimated=True)
