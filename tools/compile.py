"""Compiles the hot rooms with mypyc, for `penstock.base.compiled` to find. Where that is not possible, says so and changes nothing.

`python tools/compile.py [--force] [--strict]`; needs a C compiler and Python's headers. The same sources are not compiled twice.
"""

import argparse
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from penstock.base.compiled import MANIFEST, SOURCES, directory, fingerprint

MODULES = (
    "serving/admission/gate.py",
    "serving/admission/keyring.py",
    "serving/admission/limits.py",
    "domain/bucket.py",
    "domain/call.py",
    "domain/histogram.py",
    "domain/ids.py",
    "domain/tokens.py",
    "edge/inference/fastlane.py",
    "observe/metrics.py",
    "edge/inference/status_lines.py",
    "storage/journal/segments.py",
    "net/connection.py",
    "net/dialer.py",
    "net/known_head.py",
    "net/outbox.py",
    "serving/pipeline/arrival.py",
    "serving/pipeline/attempt.py",
    "serving/pipeline/ending.py",
    "serving/pipeline/failing.py",
    "serving/pipeline/flight.py",
    "serving/pipeline/heads.py",
    "serving/pipeline/intake.py",
    "serving/pipeline/phase.py",
    "serving/pipeline/pipeline.py",
    "serving/pipeline/queue_ticket.py",
    "serving/pipeline/record.py",
    "serving/pipeline/retrying.py",
    "serving/pipeline/collaborators.py",
    "serving/routing/attempt_load.py",
    "serving/routing/worker_set.py",
    "serving/routing/member.py",
    "serving/routing/policies/power_of_two.py",
    "serving/routing/prefix.py",
    "serving/routing/retry_budget.py",
    "serving/routing/serving.py",
    "serving/scheduling/drain.py",
    "serving/scheduling/heap.py",
    "serving/scheduling/request_queue.py",
    "serving/scheduling/outlook.py",
    "serving/scheduling/tenants.py",
    "serving/scheduling/deficit_round_robin.py",
    "serving/scheduling/queue_entry.py",
    "storage/state/memory.py",
    "compute/transport/http.py",
    "serving/usage/meter.py",
    "serving/usage/pricing.py",
    "wire/decimals.py",
    "wire/chat/counting.py",
    "wire/chat/known_chunk.py",
    "wire/chat/prompt.py",
    "wire/chat/relay.py",
    "wire/chat/replies.py",
    "wire/chat/requests.py",
)
"""What every request passes, as far as mypyc can translate it: no msgspec structs (it drops their types), no subclass of uvicorn's."""

_SETUP = """
from mypyc.build import mypycify
from setuptools import setup

modules = mypycify(["--follow-imports=silent", *{modules!r}], opt_level="2", debug_level="0")
setup(name="penstock-compiled", packages=[], ext_modules=modules)
"""


def missing() -> str:
    """What there is not, for the reader; empty: nothing."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        return "no C compiler"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "no headers of Python (on Debian: apt-get install python3-dev)"
    return "" if importlib.util.find_spec("mypyc") and importlib.util.find_spec("setuptools") else "no mypyc"


def is_fresh(where: Path) -> bool:
    try:
        return bool(json.loads((where / MANIFEST).read_bytes())["fingerprint"] == fingerprint())
    except (OSError, ValueError, KeyError):
        return False


def compile_into(where: Path) -> int:
    """Replaces what is there. Returns the number of modules. Raises CalledProcessError, with the compiler's words in `output`."""
    before = fingerprint()
    with tempfile.TemporaryDirectory(prefix="penstock-compile-") as scratch:
        root = Path(scratch)
        shutil.copytree(SOURCES, root / "penstock", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        (root / "setup.py").write_text(_SETUP.format(modules=[f"penstock/{module}" for module in MODULES]))
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace", f"-j{os.cpu_count() or 1}"],
            cwd=root,
            env={**os.environ, "MYPYPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir(parents=True)
        files = {}
        for built in (*root.glob("*.so"), *(root / "penstock").rglob("*.so")):
            module = ".".join((*built.relative_to(root).parts[:-1], built.name.partition(".")[0]))
            files[module] = f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"
            shutil.copyfile(built, where / files[module])
    # Last, so that a build that was cut short is none.
    (where / MANIFEST).write_text(json.dumps({"fingerprint": before, "modules": files}, indent=1))
    return len(files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--force", action="store_true", help="also when nothing has changed")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when it cannot be done")
    parser.add_argument("--background", action="store_true", help="return at once, and compile with the lowest priority meanwhile")
    options, where = parser.parse_args(), directory()
    if (is_fresh(where) and not options.force) or os.environ.get("PENSTOCK_INTERPRETED"):
        return 0
    if lack := missing():
        print(f"penstock: not compiled: {lack}. Everything works, but with more CPU for each request.", file=sys.stderr)
        return int(options.strict)
    if options.background:
        log = start_in_background(where)
        print(f"penstock: compiling the hot rooms beside this run; the next start uses them ({log})", file=sys.stderr)
        return 0
    print("penstock: compiling the hot rooms, once, for one to two minutes (not with PENSTOCK_INTERPRETED=1)", file=sys.stderr)
    try:
        count = compile_alone(where)
    except subprocess.CalledProcessError as error:
        print(f"penstock: not compiled:\n{error.output[-4000:]}", file=sys.stderr)
        return int(options.strict)
    print(f"penstock: {count} modules compiled", file=sys.stderr)
    return 0


def start_in_background(where: Path) -> Path:
    """A process of its own, which outlives this one. Returns its log."""
    log = where.with_suffix(".log")
    log.touch()
    # A shell lets it go: no process waits for it, and Ctrl-C does not reach it.
    script = 'nice -n 19 "$0" "$1" > "$2" 2>&1 < /dev/null &'
    subprocess.run(["/bin/sh", "-c", script, sys.executable, __file__, log], check=True)  # noqa: S603 - ourselves
    return log


def compile_alone(where: Path) -> int:
    """As `compile_into`, when no other process does so at the moment; after another one has, there is nothing left to do."""
    with where.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_fresh(where):
                return len(json.loads((where / MANIFEST).read_bytes())["modules"])
        return compile_into(where)


if __name__ == "__main__":
    sys.exit(main())
