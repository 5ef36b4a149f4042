"""Plants one fault after the other in the files of `tools/mutation.toml` and says which of them no test notices (`make mutate`).

python tools/mutate.py                                  # every target
python tools/mutate.py src/penstock/domain/bucket.py    # these files only
python tools/mutate.py --least 95                       # exit 1 when less than this share of the mutants is killed
python tools/mutate.py --list FILE                      # the names of its mutants, without running anything

A mutant is killed when a test fails, or when the tests take many times as long as they should. Nothing on disk is changed: the tests
are collected once, and for each mutant a forked process gets the changed code of one function and runs the tests that call this
function, the fastest first. A fault outside every function is planted while its module is imported, in a process of its own.
"""

import argparse
import ast
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import os
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tools import mutants as faults  # noqa: E402 - found by the line above, however this file is started
from tools.forking import forked  # noqa: E402
from tools.mutants import Mutant  # noqa: E402

CONFIGURATION = ROOT / "tools" / "mutation.toml"
SHORTEST_LIMIT_SECONDS = 10.0
SPOILED = 71
"""Exit code of a child: a mutant left something behind that makes tests fail after it."""
MOST_SECONDS = 10.0
"""Of tests for one mutant, in the processor's time that they took without a fault."""
_WARM = ("sqlalchemy.ext.asyncio", "aiosqlite", "alembic", "httpx", "fastapi", "msgspec", "argon2", "cryptography", "structlog")
"""Libraries that are imported once, before the processes are forked."""
_OPTIONS = (
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:cov",
    "-p",
    "no:randomly",
    "--no-header",
    "-q",
    "-x",
    "--tb=no",
    "--hypothesis-seed=0",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


@dataclass
class Target:
    """A file, the tests that should notice its faults, and what became of each fault."""

    path: str
    tests: tuple[str, ...]
    equivalent: dict[str, str]
    """Mutant -> why no test can tell it from the original."""
    tree: ast.Module = field(init=False)
    mutants: list[tuple[str, Mutant]] = field(init=False)
    verdicts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tree = ast.parse((ROOT / self.path).read_text(encoding="utf-8"))
        self.mutants = faults.named(faults.find(self.tree))

    def open_mutants(self) -> list[tuple[str, Mutant]]:
        return [(name, mutant) for name, mutant in self.mutants if name not in self.equivalent]

    def stale(self) -> list[str]:
        """What is listed as equivalent and is no mutant of this file any more."""
        known = {name for name, _ in self.mutants}
        return [name for name in self.equivalent if name not in known]

    @property
    def survivors(self) -> list[str]:
        return [name for name, verdict in self.verdicts.items() if verdict == "survived"]


def read(configuration: Path) -> list[Target]:
    """Raises ValueError when a pattern of the configuration leads to no file."""
    table = tomllib.loads(configuration.read_text(encoding="utf-8"))
    targets = []
    for group in table["group"]:
        for pattern in group["files"]:
            found = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.name != "__init__.py")
            if not found:
                raise ValueError(f"{configuration.name}: no file is {pattern}")
            targets += [Target(path, tuple(group["tests"]), table.get("equivalent", {}).get(path, {})) for path in found]
    return targets


# --- one collection, many runs ----------------------------------------------------------------------------------------


@dataclass
class Baseline:
    """What the tests do without a fault."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """File -> function -> the tests that call it."""
    failed: list[str] = field(default_factory=list)

    def tests_of(self, path: str, function: str) -> list[str]:
        """Of one function, or of the whole file: the fastest first, for `MOST_SECONDS`."""
        calls = self.calls.get(path, {})
        found = set(calls.get(function, ())) if function else {test for tests in calls.values() for test in tests}
        chosen, left = [], MOST_SECONDS
        for test in sorted(found, key=lambda test: (self.seconds[test], test)):
            chosen.append(test)
            left -= self.seconds[test]
            if left < 0:
                break
        return chosen

    def limit(self, tests: Sequence[str]) -> float:
        return SHORTEST_LIMIT_SECONDS + 30 * sum(self.seconds[test] for test in tests)


class Runs:
    """A pytest plugin: collects, and then runs the tests again and again in forked processes."""

    def __init__(self, targets: Sequence[Target], note: Path, log: Path) -> None:
        self._targets = targets
        self._note = note
        self._log = log
        self._report: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._report.append(report)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        _fewer_examples()
        for target in self._targets:
            importlib.import_module(_module_of(target.path))  # a member of a family is otherwise first imported in a child
        self._functions = functions_of({str(ROOT / target.path) for target in self._targets})
        gc.collect()
        gc.freeze()  # a collection in a child would copy all that it shares with its parent
        baseline_file = self._note.with_suffix(".baseline")
        code = forked(lambda: self._measure(list(items.values()), baseline_file), 3600.0)
        if code != 0:
            raise pytest.UsageError(f"the tests do not pass without a fault: exit code {code}")
        baseline = Baseline(**json.loads(baseline_file.read_text()))
        verdicts = {target.path: self._judge(target, baseline, items) for target in self._targets}
        self._note.write_text(json.dumps({"baseline": vars(baseline), "verdicts": verdicts}))
        return True

    def _measure(self, items: list[pytest.Item], note: Path) -> int:
        baseline = Baseline()
        wanted = {str(ROOT / target.path): target.path for target in self._targets}
        for item, following in zip(items, [*items[1:], None], strict=True):
            self._report.clear()
            started = time.process_time()
            with calls_of(wanted) as called:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            baseline.seconds[item.nodeid] = time.process_time() - started
            for path, function in called:
                tests = baseline.calls.setdefault(path, {}).setdefault(function, [])
                tests.append(item.nodeid)
            if any(report.failed for report in self._report):
                baseline.failed.append(item.nodeid)
        note.write_text(json.dumps(vars(baseline)))
        return 1 if baseline.failed else 0

    def _judge(self, target: Target, baseline: Baseline, items: dict[str, pytest.Item]) -> dict[str, str]:
        """The verdicts on the mutants inside functions. One child takes many; after one that spoiled or blocked it a new child goes on."""
        names = [name for name, mutant in target.open_mutants() if mutant.where]
        done = self._note.with_suffix(".verdicts")
        done.write_text("")
        while True:
            verdicts: dict[str, str] = dict(json.loads(line) for line in done.read_text().splitlines())
            rest = [name for name in names if name not in verdicts]
            if not rest:
                return verdicts
            limits = [baseline.limit(baseline.tests_of(target.path, mutant.where)) for name, mutant in target.mutants if name in rest]
            work = partial(self._work, target, baseline, items, rest, done)
            before = done.stat().st_size
            code = forked(work, max(limits), log=self._log, progress=done)
            if code is None or done.stat().st_size == before:
                blocked = names[len(done.read_text().splitlines())]
                _append(done, blocked, "timeout" if code is None else "killed")  # the process itself died of it

    def _work(self, target: Target, baseline: Baseline, items: dict[str, pytest.Item], names: list[str], done: Path) -> int:
        mutants, path = dict(target.mutants), str(ROOT / target.path)
        killers: set[str] = set()
        for name in names:
            mutant = mutants[name]
            code = code_of(mutant, mutant.compiled(target.tree, path))
            tests = baseline.tests_of(target.path, mutant.where)
            # With the functions inside it that exist already, such as what a decorator has made at import.
            codes = [] if code is None else [code, *_codes(code)]
            changed = [(each, new) for new in codes for each in self._functions.get((path, new.co_qualname, new.co_firstlineno), [])]
            if code is None or any(new.co_freevars != each.__code__.co_freevars for each, new in changed):
                _append(done, name, "at import")
                continue
            originals = [each.__code__ for each, _ in changed]
            for each, new in changed:
                each.__code__ = new
            likely = sorted(killers.intersection(tests), key=tests.index)
            killer = next((test for test in dict.fromkeys([*likely, *tests]) if self._fails(items[test])), None)
            for (each, _), original in zip(changed, originals, strict=True):
                each.__code__ = original
            _append(done, name, "survived" if killer is None else "killed")
            if killer is not None:
                killers.add(killer)
                if self._fails(items[killer]):
                    return SPOILED
        return 0

    def _fails(self, item: pytest.Item) -> bool:
        self._report.clear()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return any(report.failed for report in self._report)


def _module_of(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


def _append(done: Path, name: str, verdict: str) -> None:
    with done.open("a") as file:
        file.write(json.dumps([name, verdict]) + "\n")


def _fewer_examples() -> None:
    """Of each property, and always the same ones."""
    with suppress(ImportError):
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)  # how small a failing example can be made is of no interest
        settings.register_profile(
            "mutate", settings.get_profile("penstock"), max_examples=25, derandomize=True, database=None, phases=phases
        )
        settings.load_profile("mutate")


@contextmanager
def calls_of(wanted: dict[str, str]) -> Iterator[set[tuple[str, str]]]:
    """The functions of these files that are called meanwhile, a nested one as the one around it."""
    called: set[tuple[str, str]] = set()

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        path = wanted.get(code.co_filename)
        if path is not None:
            called.add((path, code.co_qualname.split(".<locals>")[0]))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


Functions = dict[tuple[str, str, int], list[FunctionType]]
"""File, qualified name and first line -> the objects that run that code."""


def functions_of(paths: set[str]) -> Functions:
    found: Functions = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename in paths:
            code = each.__code__
            found[code.co_filename, code.co_qualname, code.co_firstlineno].append(each)
    return found


def code_of(mutant: Mutant, module: CodeType) -> CodeType | None:
    """The code of the mutant's function in the changed module."""
    return next((one for one in _codes(module) if one.co_qualname == mutant.where and one.co_firstlineno == mutant.first_line), None)


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


# --- faults that are planted at import --------------------------------------------------------------------------------


class ChangedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from changed code."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)  # noqa: S102 - it is our own source with one fault


def at_import(target: Target, mutant: Mutant, tests: list[str], limit_seconds: float) -> str:
    def work() -> int:
        path = str(ROOT / target.path)
        module = _module_of(target.path)
        sys.meta_path.insert(0, ChangedModule(module, path, mutant.compiled(target.tree, path)))
        return int(pytest.main([*_OPTIONS, *tests]))

    return "survived" if not tests or (code := forked(work, limit_seconds)) == 0 else "timeout" if code is None else "killed"


# --- the whole --------------------------------------------------------------------------------------------------------


def judge(targets: Sequence[Target], inside: bool, say: Callable[[str], None]) -> None:
    """Fill in the verdicts. Targets with the same tests share one collection. Raises RuntimeError when the tests fail by themselves."""
    shared: dict[tuple[str, ...], list[Target]] = defaultdict(list)
    for target in targets:
        shared[target.tests].append(target)
    with tempfile.TemporaryDirectory(prefix="mutate-") as directory:
        for number, (tests, group) in enumerate(shared.items()):
            note, log = Path(directory) / f"{number}.json", Path(directory) / f"{number}.log"
            options = [*_OPTIONS, "--basetemp", str(Path(directory) / "temporary"), *tests]
            code = forked(partial(_run_pytest, options, Runs(group, note, log)), 24 * 3600.0, log=log)
            if not note.exists():
                raise RuntimeError(f"no verdict, exit code {code}:\n{log.read_text()[-3000:]}")
            found = json.loads(note.read_text())
            baseline = Baseline(**found["baseline"])
            for target in group:
                target.verdicts = found["verdicts"][target.path]
                tests_of_file = baseline.tests_of(target.path, "")
                for name, mutant in target.open_mutants():
                    if inside and not mutant.where:
                        target.verdicts[name] = "left out"
                    elif not mutant.where or target.verdicts[name] == "at import":
                        limit = SHORTEST_LIMIT_SECONDS * 2 + baseline.limit(tests_of_file)
                        target.verdicts[name] = at_import(target, mutant, tests_of_file, limit)
                say(_line(target))
                lines = dict(target.mutants)
                for name in target.survivors:
                    say(f"  survived {target.path}:{lines[name].line} {name}")


def _run_pytest(options: Sequence[str], plugin: Runs) -> int:
    return int(pytest.main([*options], [plugin]))


def _line(target: Target) -> str:
    counts = Counter(target.verdicts.values())
    killed = counts["killed"] + counts["timeout"]
    total = len(target.mutants)
    return (
        f"{target.path:58} {total:5} mutants {killed:5} killed {total - len(target.verdicts):4} equivalent {counts['survived']:4} survived"
    )


def score(targets: Sequence[Target]) -> float:
    """Percent of the mutants that a test could notice."""
    verdicts = [verdict for target in targets for verdict in target.verdicts.values() if verdict != "left out"]
    return 100.0 * (1.0 - verdicts.count("survived") / len(verdicts)) if verdicts else 100.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", nargs="*", help="only these targets")
    parser.add_argument("--least", type=float, default=0.0, help="exit 1 when the score is below this many percent")
    parser.add_argument("--inside", action="store_true", help="leave out faults outside functions, which take the most time")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument("--configuration", type=Path, default=CONFIGURATION)
    asked = parser.parse_args(arguments)
    os.environ["PENSTOCK_INTERPRETED"] = "1"
    targets = [target for target in read(asked.configuration) if not asked.files or target.path in asked.files]
    if asked.list:
        print("\n".join(name for target in targets for name, _ in target.mutants))
        return 0
    stale = [f"{target.path}: {name}" for target in targets for name in target.stale()]
    for one in stale:
        print(f"listed as equivalent, but no mutant any more: {one}", file=sys.stderr)
    for module in _WARM:
        with suppress(ImportError), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            importlib.import_module(module)
    judge(targets, asked.inside, lambda text: print(text, flush=True))
    reached = score(targets)
    mutants, survivors = sum(len(target.mutants) for target in targets), sum(len(target.survivors) for target in targets)
    print(f"score {reached:.1f} %: {mutants} mutants, {survivors} survived")
    return 1 if stale or reached < asked.least else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
