"""A hub with one model, on this machine: the few answers of the Hugging Face hub that fetching a model needs."""

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def small_hub(model: str, folder: Path, before_weights: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Its address. `acme/gated` is there too, for those who accepted its terms. `before_weights` is called when somebody fetches them."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(("/api/models/acme/gated", "/acme/gated")):
                self._say(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model acme/gated is restricted."})
            elif path.startswith(f"/api/models/{model}/tree/"):
                self._say(200, json.dumps([self._entry(name) for name in files]).encode())
            elif path.startswith(f"/api/models/{model}"):
                about = {"_id": "1", "id": model, "sha": COMMIT, "private": False, "siblings": [{"rfilename": name} for name in files]}
                self._say(200, json.dumps(about).encode())
            elif path.startswith(f"/{model}/resolve/") and (name := path.rsplit("/", 1)[1]) in files:
                if name.endswith(".safetensors") and self.command == "GET":
                    before_weights()
                self._say(200, files[name], {"ETag": f'"{_digest(files[name])}"', "X-Repo-Commit": COMMIT})
            else:
                self._say(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _entry(self, name: str) -> dict[str, object]:
            return {"type": "file", "path": name, "size": len(files[name]), "oid": _digest(files[name])}

        def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), "content-type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
