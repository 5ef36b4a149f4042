"""An OpenAI-compatible server that misbehaves by lot and counts to the token what it has said.

`python -m tests.live.faults.faulty_upstream` prints its port. What a request meets is in its own text: `good`, `error`, `rubbish`
(nothing is counted), `cut` (the connection closes after some tokens), `wait` (after some tokens it waits for the client to leave).
On SIGTERM it prints its counts as JSON.
"""

import asyncio
import json
import signal
import sys
from typing import Any, cast

import httptools
import uvloop

PROMPT = 20
WHOLE, CUT = 12, 5
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-penstock-prompt-tokens: %d\r\ntransfer-encoding: chunked\r\n\r\n" % PROMPT
_MODELS = json.dumps({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "test"}]}).encode()


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def _event(payload: dict[str, Any]) -> bytes:
    data = b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", **payload}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": PROMPT, "completion_tokens": completion, "total_tokens": PROMPT + completion}


_TOKEN = _event({"choices": [{"index": 0, "delta": {"content": "word "}}]})
_END = (
    _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    + _event({"choices": [], "usage": _usage(WHOLE)})
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)
_MESSAGE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * WHOLE}}
_UNARY = _answer(b"200 OK", json.dumps({"id": "c", "object": "chat.completion", "choices": [_MESSAGE], "usage": _usage(WHOLE)}).encode())


class Counts:
    requests = prompt = completion = 0

    def add(self, completion: int) -> None:
        self.requests += 1
        self.prompt += PROMPT
        self.completion += completion


class FaultyUpstream(asyncio.Protocol):
    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        write = self._transport.write
        if not self._body:
            write(_answer(b"200 OK", _MODELS))
            return
        asked = json.loads(self._body)
        what = asked["messages"][0]["content"]
        if what == "error":
            write(_answer(b"500 X", b'{"error": {"message": "out of memory"}}'))
        elif what == "rubbish":
            write(_answer(b"200 OK", b"<html>busy</html>"))
        elif what == "good":
            self._counts.add(WHOLE)
            write(_HEAD + _TOKEN * WHOLE + _END if asked.get("stream") else _UNARY)
        else:
            self._counts.add(CUT)
            write(_HEAD + _TOKEN * CUT)
            if what == "cut":
                self._transport.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> None:
    counts, stop = Counts(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: FaultyUpstream(counts), "127.0.0.1", 0)
    say(str(server.sockets[0].getsockname()[1]))
    await stop.wait()
    say(json.dumps({"requests": counts.requests, "prompt": counts.prompt, "completion": counts.completion}))


if __name__ == "__main__":
    uvloop.run(main())
