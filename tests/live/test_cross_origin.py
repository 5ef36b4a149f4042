"""A page of another origin calls the gateway from a real browser: what it may read of success, streams and refusals."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.browser import HEADLESS, chromium
from tests.support.running import Running, penstock_up

PAGE = Path(__file__).with_name("cross_origin.html")
FOUND_SECONDS = 60.0


class PageServer(ThreadingHTTPServer):
    """Serves the page, and takes what it found."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.found: queue.Queue[Any] = queue.Queue()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        self._answer(PAGE.read_bytes() if self.path == "/" else b"")

    def do_POST(self) -> None:
        self.server.found.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing of it is news."""


@contextmanager
def page_server() -> Iterator[PageServer]:
    with PageServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def visit(pages: PageServer, running: Running, slow_key: str, profile: Path) -> dict[str, Any]:
    """What the page could read."""
    told = quote(json.dumps({"gateway": running.base_url, "key": running.api_key, "slow": slow_key}))
    command = [chromium(), *HEADLESS, f"--user-data-dir={profile}", f"{pages.origin}/#{told}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            found: dict[str, Any] = pages.found.get(timeout=FOUND_SECONDS)
            return found
        finally:
            browser.terminate()


def key_with_one_request_a_minute(running: Running) -> str:
    headers = {"authorization": f"Bearer {running.api_key}"}
    made = httpx.post(
        f"{running.dashboard_url}api/keys",
        headers=headers,
        json={"name": "slow", "scopes": ["inference"], "requests_per_minute": 1},
        trust_env=False,
    )
    key: str = made.raise_for_status().json()["secret"]
    return key


@pytest.mark.browser
def test_page_of_an_allowed_origin_reads_answers_streams_refusals_and_headers(tmp_path: Path) -> None:
    chromium()
    with page_server() as pages, penstock_up(tmp_path, PENSTOCK_CORS_ORIGINS=pages.origin) as running:
        found = visit(pages, running, key_with_one_request_a_minute(running), tmp_path / "profile")
    assert {name: each["status"] for name, each in found.items()} == {
        "chat": 200,
        "stream": 200,
        "embedding": 200,
        "models": 200,
        "responses": 200,
        "chat, wrong key": 401,
        "models, wrong key": 401,
        "chat, unknown model": 404,
        "unknown path": 404,
        "chat, bad body": 400,
        "responses, bad body": 400,
        "chat, first of its minute": 200,
        "chat, second of its minute": 429,
    }
    assert all("x-request-id" in each["readable"] for each in found.values())
    assert {"x-ratelimit-remaining-requests", "x-penstock-decision"} <= set(found["chat"]["readable"])
    assert {"x-request-id", "retry-after", "x-ratelimit-remaining-requests"} <= set(found["chat, second of its minute"]["readable"])
    assert found["stream"]["text"].rstrip().endswith("data: [DONE]")


@pytest.mark.browser
def test_page_of_another_origin_reads_nothing(tmp_path: Path) -> None:
    chromium()
    with page_server() as pages, penstock_up(tmp_path, PENSTOCK_CORS_ORIGINS="https://app.example.org") as running:
        found = visit(pages, running, running.api_key, tmp_path / "profile")
    assert {each["text"] for each in found.values()} == {"TypeError: Failed to fetch"}
