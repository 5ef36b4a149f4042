"""A server for the supervisor to keep: answers 200, and does what a path asks for.

    python small_server.py PORT [CRASH_FILE]

`/crash` ends it, `/hang` makes it answer nobody any more, `/grow` makes it hold 200 MB, `/child` tells the id of a process that it started
and that left its group. While CRASH_FILE exists it cannot start.
"""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

hanging = threading.Event()
held: list[bytes] = []
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/crash":
            sys.stdout.write("about to crash\n")
            sys.stdout.flush()
            os._exit(3)
        if self.path == "/hang":
            hanging.set()
        if hanging.is_set():
            threading.Event().wait()
        if self.path == "/grow":
            held.append(b"x" * 200_000_000)
        body = f"{os.getpid()} {child.pid}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    if len(sys.argv) > 2 and Path(sys.argv[2]).exists():
        sys.exit("no more room on the device")
    sys.stdout.write("listening\n")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
