"""An OpenAI-compatible server that makes no tokens: forty words, at once or one chunk at a time, as fast as it can.

Every contender is measured in front of it. `python -m bench.upstream [--port N] [--processes N]` prints its port and serves until SIGTERM.
"""

import argparse
import asyncio
import json
import os
import socket
from collections.abc import Mapping
from typing import Any, cast

import httptools
import uvloop

WORDS = 40
USAGE = {"prompt_tokens": 20, "completion_tokens": WORDS, "total_tokens": 20 + WORDS}
_COMMON = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "m"}


def response(payload: Mapping[str, Any]) -> bytes:
    body = json.dumps(payload).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    payload = _COMMON | {"object": "chat.completion.chunk", "choices": choices} | fields
    return _chunk(b"data: " + json.dumps(payload).encode() + b"\n\n")


def _delta(delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]


_MESSAGE = {"role": "assistant", "content": "hello " * WORDS}
UNARY = response(
    _COMMON | {"object": "chat.completion", "usage": USAGE, "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}]}
)
MODELS = response({"object": "list", "data": [{"id": "m", "object": "model", "created": 1_700_000_000, "owned_by": "bench"}]})
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_START = STREAM_HEAD + _event(_delta({"role": "assistant", "content": ""}))
STREAM_WORD = _event(_delta({"content": "hello "}))
STREAM_STOP = _event(_delta({}, "stop"))
STREAM_USAGE = _event([], usage=USAGE)
STREAM_END = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection. What is not a chat completion is answered with the list of models."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, because uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._later = asyncio.get_running_loop().call_soon

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._url.endswith(b"/chat/completions"):
            self._transport.write(MODELS)
            return
        request = json.loads(self._body)
        if not request.get("stream"):
            self._transport.write(UNARY)
            return
        self._transport.write(STREAM_START)
        wants_usage = (request.get("stream_options") or {}).get("include_usage")
        self._later(self._word, WORDS, STREAM_STOP + (STREAM_USAGE if wants_usage else b"") + STREAM_END)

    def _word(self, left: int, end: bytes) -> None:
        """One word in a write of its own, as an engine would; then let other streams have their turn."""
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(end)
            return
        self._transport.write(STREAM_WORD)
        self._later(self._word, left - 1, end)


def listener(port: int) -> socket.socket:
    """Several processes may listen on the same port; the kernel deals the connections out."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


async def _serve(sock: socket.socket) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, sock=sock, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    sock = listener(options.port)
    port = sock.getsockname()[1]
    for _ in range(options.processes - 1):
        if os.fork() == 0:
            sock.close()
            sock = listener(port)
            break
    else:
        print(port, flush=True)
    uvloop.run(_serve(sock))


if __name__ == "__main__":
    main()
