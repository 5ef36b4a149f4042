"""Runs the blocks of a page in order, as a reader who pastes them into terminals: a new home, a new folder, a real `penstock up`.

What runs: `sh` in one bash for the whole page; `python` and `javascript` as programs of their own. A block with a title (`toml
title=policy.toml`) becomes that file. A `text` block behind a block is what that one printed: its lines must occur in this order, one
directly below the other. A line `...` stands for lines that are left out (at the beginning and the end it may be missing), `...` inside a
line for anything; blanks and columns do not count. Everything else is for the eye.

Words behind the language:

    skip="why"          not run here; tests/house/test_doc_blocks.py holds the number of them
    exit=1              the block ends with this exit code
    stopped             the platform is stopped before the block runs
    background="word"   another terminal: runs until the page ends; the next block waits until it has printed the word

What a reader's machine has and a test machine has not is replaced around the block, and only three things in its text:

- `make up` and `penstock up FLAGS` are the platform: started on a free port, or again with these flags. Without them it starts by itself.
- `git clone`, `git pull`, `make`, `pip` and `npm` are commands that do nothing: what they would bring is there.
- In the text: ports of 127.0.0.1 (8080, 8081, 9000, ...) are free ones; `psk-...` and `pjt-...` are the key and the token that were
  printed; `postgresql://penstock@127.0.0.1/penstock` is a database of the test's own.
"""

import asyncio
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tests.support import ending
from tests.support.doc_blocks import Block
from tests.support.postgres import database
from tests.support.sources import ROOT
from tests.support.waiting import until

READY_SECONDS = 100.0
LEDGER_SECONDS = 60.0
BLOCK_SECONDS = 120.0
POSTGRES_URL = "postgresql://penstock@127.0.0.1/penstock"
_PORTS = re.compile(r"(?<=127\.0\.0\.1:)(?:80\d\d|8443|90\d\d)\b|(?<=--port )\d{4,5}\b|(?<=listen )80\d\d\b")
_UP = re.compile(r"^(?:make up(?: ARGS=\"(?P<args>[^\"]*)\")?|penstock up(?P<flags> [^&|\n]*)?)(?: +#.*)?$", re.MULTILINE)
_PROGRAMS = {"python": ["python", "-W", "error"], "javascript": ["node"]}
_SUFFIXES = {"python": ".py", "javascript": ".mjs"}
_READS_USAGE = re.compile(r"penstock (?:usage|simulate --from-api)|/api/usage")
_PAUSE_SECONDS = 0.05
_PENSTOCK = f"#!{sys.executable}\nfrom penstock.cli.main import main\n\nmain()\n"
_NOTHING = "#!/bin/sh\nexit 0\n"
_GIT = '#!/bin/sh\ncase "$1" in clone|pull) exit 0 ;; esac\nPATH="${PATH#*:}" exec git "$@"\n'


class BlockFailed(AssertionError):
    """A block did not do what its page shows."""


class Session:
    """One page. `run` its blocks in order; `close` ends everything that they started."""

    def __init__(self, directory: Path, *, port: str = "8080") -> None:
        self._directory = directory
        self._here = directory / "here"
        self._ports: dict[str, str] = {}
        self._gateway_port = port
        self._facts: dict[str, str] = {}
        self._flags: list[str] | None = None
        """Of the platform that runs; None: none does."""
        self._platform: subprocess.Popen[bytes] | None = None
        self._shell: subprocess.Popen[str] | None = None
        self._output = ""
        """Of the last block that ran."""
        self._number = 0
        self._stack = ExitStack()
        self._database = ""
        self._environment = _environment(directory)
        _shims(directory / "bin")
        self._here.mkdir()
        if (ROOT / "web" / "node_modules").exists():
            (directory / "node_modules").symlink_to(ROOT / "web" / "node_modules")

    def run(self, block: Block) -> None:
        """Raises BlockFailed."""
        if "skip" in block.words:
            return
        if "title" in block.words:
            file = self._here / block.words["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._mapped(block.code), encoding="utf-8")
        elif block.language == "sh":
            self._sh(block)
        elif block.language in _PROGRAMS:
            self._ensure_platform()
            # Python finds the modules beside a program: those that the page has the reader save.
            folder = self._here if block.language == "python" else self._directory
            program = folder / f"block-{self._number}{_SUFFIXES[block.language]}"
            program.write_text(self._mapped(block.code), encoding="utf-8")
            self._shell_run(block, shlex.join([*_PROGRAMS[block.language], str(program)]))
        elif block.language == "text":
            check_output(block, self._output)

    def close(self) -> None:
        try:
            self._stop()
        finally:
            if self._shell is not None:
                _end_group(self._shell)
            self._stack.close()

    # --- shell --------------------------------------------------------------------------------------------------------

    def _sh(self, block: Block) -> None:
        if "stopped" in block.words:
            self._stop()
        code = block.code
        for start in _UP.finditer(code):
            flags = shlex.split(self._mapped(start["args"] or start["flags"] or ""))
            self._start([flag for flag in flags if flag != "--json"])
        code = _UP.sub("", code)
        if not re.sub(r"#.*|\s", "", code):
            return
        if "stopped" not in block.words:
            self._ensure_platform()
            if _READS_USAGE.search(code):
                self._wait_for_the_ledger()
        self._shell_run(block, self._mapped(code))

    def _shell_run(self, block: Block, code: str) -> None:
        self._number += 1
        script, output = self._directory / f"block-{self._number}.sh", self._directory / f"block-{self._number}.out"
        background = block.words.get("background")
        if background is not None:
            code = f"{{\n{code}\n}} &"
        script.write_text(code, encoding="utf-8")
        ended = self._tell(f"failed=0; . {script} >{output} 2>&1 </dev/null; echo $failed")
        self._output = output.read_text(errors="replace")
        if ended is None:
            raise BlockFailed(f"{block} did not end in {BLOCK_SECONDS:.0f} s:\n{code}\n{self._output}")
        expected = block.words.get("exit", "0")
        if ended != expected:
            raise BlockFailed(f"{block} ended with {ended}, not {expected}:\n{code}\n{self._output}")
        if background:
            self._wait_for(block, output, background)
            self._facts |= _secrets(output.read_text(errors="replace"))

    def _tell(self, line: str) -> str | None:
        """What the shell answers; None when it takes too long."""
        shell = self._shell or self._open_shell()
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(line + "\n")
        shell.stdin.flush()
        ready, _, _ = select.select([shell.stdout], [], [], BLOCK_SECONDS)
        return shell.stdout.readline().strip() if ready else None

    def _open_shell(self) -> "subprocess.Popen[str]":
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._here,
            env=self._environment,
            text=True,
            start_new_session=True,
        )
        assert self._shell.stdin is not None
        # The last command that failed decides, also one in the middle of a block; a pipe fails with any of its commands.
        self._shell.stdin.write("set -o pipefail; trap 'failed=$?' ERR\n")
        return self._shell

    def _wait_for(self, block: Block, output: Path, word: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while word not in output.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise BlockFailed(f"{block} did not print {word!r}:\n{output.read_text(errors='replace')[-4000:]}")
            time.sleep(_PAUSE_SECONDS)

    # --- platform -----------------------------------------------------------------------------------------------------

    def _ensure_platform(self) -> None:
        if self._flags is None:
            self._start([])

    def _start(self, flags: list[str]) -> None:
        if self._flags == flags:
            return
        self._stop()
        port = [] if "--port" in flags else ["--port", self._ports.get(self._gateway_port, "0")]
        command = [str(self._directory / "bin" / "penstock"), "up", "--json", *port, *flags]
        log = self._directory / "up.log"
        with log.open("ab") as errors:
            self._platform = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, cwd=self._here, env=ending.watched(self._environment)
            )
        self._flags = flags
        assert self._platform.stdout is not None
        ready, _, _ = select.select([self._platform.stdout], [], [], READY_SECONDS)
        line = self._platform.stdout.readline() if ready else b""
        if not line:
            raise BlockFailed(f"{shlex.join(command)} did not become ready:\n{log.read_text(errors='replace')[-4000:]}")
        self._facts |= json.loads(line)
        if "--port" not in flags:
            self._ports[self._gateway_port] = str(urlsplit(self._facts["base_url"]).port)

    def _wait_for_the_ledger(self) -> None:
        """A reader types more slowly than usage moves from the journal to the ledger; a busy test machine may be slower than both."""
        asyncio.run(until(lambda: self._asked("/api/usage?limit=1") >= self._asked("/metrics"), LEDGER_SECONDS))

    def _asked(self, path: str) -> float:
        """Requests that the ledger, or the journal, has counted."""
        headers = {"authorization": f"Bearer {self._facts['api_key']}"}
        with urlopen(Request(self._facts["base_url"].removesuffix("/v1") + path, headers=headers), timeout=30) as response:
            text = response.read().decode()
        if path != "/metrics":
            return float(json.loads(text)["totals"]["requests"])
        return sum(float(number) for number in re.findall(r"^penstock_journal_records_total (\S+)$", text, re.MULTILINE))

    def _stop(self) -> None:
        process, self._platform, self._flags = self._platform, None, None
        if process is not None:
            ending.end(process, self._directory / "up.log")

    # --- text ---------------------------------------------------------------------------------------------------------

    def _mapped(self, code: str) -> str:
        if POSTGRES_URL in code:
            self._database = self._database or self._stack.enter_context(database())
            code = code.replace(POSTGRES_URL, self._database)
        code = _PORTS.sub(lambda match: self._free_port(match[0]), code)
        return code.replace("psk-...", self._facts.get("api_key", "")).replace("pjt-...", self._facts.get("join_token", ""))

    def _free_port(self, documented: str) -> str:
        """The same one for the whole page."""
        if documented not in self._ports:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                self._ports[documented] = str(taken.getsockname()[1])
        return self._ports[documented]


@contextmanager
def session(directory: Path) -> Iterator[Session]:
    opened = Session(directory)
    try:
        yield opened
    finally:
        opened.close()


def check_output(block: Block, output: str) -> None:
    """Each line of the block, in this order and without a gap where no `...` is. Raises BlockFailed for the first that is not there."""
    rest = [squeezed for line in output.splitlines() if (squeezed := _squeezed(line))]
    gap = True
    for line in block.code.splitlines():
        if line.strip() in ("", "..."):
            gap = gap or line.strip() == "..."
            continue
        wanted = _pattern(line)
        found = next((at for at, line_there in enumerate(rest if gap else rest[:1]) if wanted.fullmatch(line_there)), None)
        if found is None:
            raise BlockFailed(f"{block}: not printed (any more) here: {line!r}\nthe output:\n{output}")
        rest, gap = rest[found + 1 :], False


def _secrets(output: str) -> dict[str, str]:
    """What a gateway prints at its first start."""
    found = {"api_key": re.search(r"psk-\w+", output), "join_token": re.search(r"pjt-\w+", output)}
    return {name: match[0] for name, match in found.items() if match}


def _pattern(line: str) -> "re.Pattern[str]":
    return re.compile(".*".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", _squeezed(line))))


def _squeezed(line: str) -> str:
    """Columns are as wide as their longest cell, which is another one each time."""
    return re.sub(r"\s+", " ", line).strip()


def _environment(directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "OPENAI_", "XDG_"))}
    home = directory / "home"
    home.mkdir()
    path = os.pathsep.join([str(directory / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    own = {"HOME": str(home), "PATH": path, "PENSTOCK_DISCOVER": "false", "PENSTOCK_ADMISSION__API_PER_MINUTE": "1000000"}
    return {**kept, **own}


def _shims(folder: Path) -> None:
    folder.mkdir()
    programs: Mapping[str, str] = {"penstock": _PENSTOCK, "git": _GIT, **dict.fromkeys(("make", "pip", "npm"), _NOTHING)}
    for name, code in programs.items():
        (folder / name).write_text(code)
        (folder / name).chmod(0o755)


def _end_group(shell: "subprocess.Popen[str]") -> None:
    """The shell and everything that it started in the background."""
    for sign, seconds in ((signal.SIGTERM, ending.END_SECONDS), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(shell.pid, sign)
        except ProcessLookupError:
            break
        if _gone(shell, seconds):
            break
    for pipe in (shell.stdin, shell.stdout):
        if pipe is not None:
            pipe.close()
    shell.wait(5)


def _gone(shell: "subprocess.Popen[str]", seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        shell.poll()
        try:
            os.killpg(shell.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def missing(programs: Sequence[str]) -> list[str]:
    """Those that are not on this machine."""
    return [program for program in programs if shutil.which(program) is None]
