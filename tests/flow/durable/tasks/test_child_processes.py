"""Child processes and what users' functions do to them: whatever it is, the attempt ends at once and nothing is left."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from penstock.processes.runner.child_pool import ChildPool
from penstock.processes.runner.child_process import CannotImport, ChildOptions, Crashed
from penstock.processes.runner.frames import DoneFrame, RunFrame, raw
from penstock.processes.runner.task_kind import RunningAttempt
from tests.flow.durable.tasks.function_calls import MODULE, SECONDS, Calls, opened
from tests.support.waiting import until

SECRET = (
    "PENSTOCK_SECRET_KEY",
    "PENSTOCK_API_KEY",
    "PENSTOCK_WORKER__TOKEN",
    "PENSTOCK_RUNNER__TOKEN",
    "PENSTOCK_STORE_URL",
    "PENSTOCK_UPSTREAM_SECRET",
    "PENSTOCK_UPSTREAMS",
    "penstock_secret_key",
)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with opened() as found:
        yield found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


async def gone(started: Path) -> None:
    """The process whose number is in the file."""
    await until(lambda: not is_running(int(started.read_text())), SECONDS)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def importing(gate: Path) -> list[int]:
    """Children that came to the gate."""
    came = gate.with_suffix(".pids")
    return [int(pid) for pid in came.read_text().split()] if came.exists() else []


def open_gate(gate: Path) -> None:
    """For each that waits there now."""
    os.close(os.open(gate, os.O_WRONLY))


@pytest.mark.parametrize(
    ("name", "how"), [("fork_helper_and_die", "killed by SIGKILL"), ("start_daemon_and_exit", "exit code 3")], ids=["forked", "daemon"]
)
async def test_killed_function_is_noticed_at_once_and_its_helper_ends(calls: Calls, tmp_path: Path, name: str, how: str) -> None:
    with pytest.raises(Crashed, match=how):
        await calls.call(name, str(tmp_path / "started"))
    await gone(tmp_path / "started")
    assert calls.log.text == ("before the end\n" if name == "fork_helper_and_die" else "")


async def test_function_that_takes_too_long_is_killed_with_its_helper(calls: Calls, tmp_path: Path) -> None:
    started = tmp_path / "started"
    call = asyncio.create_task(calls.call("wait_forever", str(started)))
    await until(lambda: started.exists() and started.read_text(), SECONDS)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await gone(started)
    assert await calls.result("nothing") == {"loss": [1.0, None]}


async def test_process_that_a_function_leaves_behind_ends_with_its_child(calls: Calls, tmp_path: Path) -> None:
    first = await calls.result("leave_process", str(tmp_path / "started"))
    await gone(tmp_path / "started")
    assert await calls.result("pid") != first


async def test_forked_copy_does_not_answer_for_the_function(calls: Calls) -> None:
    assert [await calls.result("fork_and_return") for _ in range(3)] == ["the answer"] * 3
    assert isinstance(await calls.result("pid"), int)


async def test_coroutine_that_a_function_leaves_behind_is_cancelled(calls: Calls, tmp_path: Path) -> None:
    await calls.call("leave_coroutine", str(tmp_path / "cancelled"), task="task_7")
    assert (tmp_path / "cancelled").read_text() == "task_7"


async def test_daemon_without_its_environment_ends_with_the_attempt(calls: Calls, tmp_path: Path) -> None:
    assert await calls.result("leave_daemon_without_environment", str(tmp_path / "started")) == "done"
    await gone(tmp_path / "started")


async def test_crash_in_c_leaves_its_traceback_in_the_log(calls: Calls) -> None:
    with pytest.raises(Crashed, match="SIGSEGV"):
        await calls.call("crash_in_c")
    assert "in crash_in_c" in calls.log.text


async def test_odd_errors_of_the_users_classes_are_failures(calls: Calls) -> None:
    final, later = await calls.error("raise_odd", False), await calls.error("raise_odd", True)
    assert (final.code, final.message, final.final) == ("gave_up", "_Odd", True)
    assert (later.code, later.final) == ("raised", False)


@pytest.mark.parametrize("name", ["replace_output", "leave_exit"])
async def test_odd_leftovers_do_not_change_the_result(calls: Calls, name: str) -> None:
    assert await calls.result(name) == "done"
    assert await calls.result("nothing") == {"loss": [1.0, None]}


async def test_runner_that_is_killed_takes_the_helpers_of_its_functions_with_it(tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = (
        "import asyncio; from tests.flow.durable.tasks.function_calls import opened\n"
        "async def main():\n"
        "    async with opened() as calls:\n"
        f"        await calls.call('wait_forever', {str(started)!r})\n"
        "asyncio.run(main())"
    )
    runner = await asyncio.create_subprocess_exec(sys.executable, "-c", code, start_new_session=True)
    try:
        await until(lambda: started.exists() and started.read_text(), SECONDS)
    finally:
        runner.kill()
        await runner.wait()
    await gone(started)


@pytest.mark.parametrize("missing", ["pidfd_open", "waitid"])
async def test_killed_function_is_noticed_without_the_calls_of_newer_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, missing, raising=False)
    async with opened() as calls:
        with pytest.raises(Crashed, match="SIGKILL"):
            await calls.call("fork_helper_and_die", str(tmp_path / "started"))
        await gone(tmp_path / "started")


async def test_thread_that_a_function_leaves_behind_does_not_speak_for_the_next_task(calls: Calls, tmp_path: Path, gate: Path) -> None:
    other, done = tmp_path / "other", tmp_path / "done"
    os.mkfifo(other)
    await calls.call("leave_thread", str(gate), str(done), task="task_1")
    waiting = asyncio.create_task(calls.result("wait_for", str(other), task="task_2"))
    await asyncio.to_thread(open_gate, gate)
    await until(lambda: done.exists() and done.read_text(), SECONDS)
    await asyncio.to_thread(open_gate, other)
    assert await waiting == "done"
    assert (done.read_text(), calls.progress, calls.log.text) == ("task_1", [], "")


async def test_call_in_a_pool_of_threads_belongs_to_the_task_that_makes_it(calls: Calls) -> None:
    assert [await calls.result("ask_in_pool", task=task) for task in ("task_1", "task_2")] == ["task_1", "task_2"]
    assert calls.progress == ['"from the pool"']


@pytest.mark.parametrize("function", ["fail_with", "fail_later_with"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cancelled", "CancelledError: a library's own cancellation"),
        ("generator exit", "GeneratorExit: not mine"),
        ("system exit", "sys.exit(3)"),
        ("interrupt", "KeyboardInterrupt: ctrl-c"),
        ("nul", "ValueError: cannot parse b'\ufffd'"),
        ("surrogate", "ValueError: cannot read \ufffd"),
    ],
    ids=["cancelled", "generator exit", "system exit", "interrupt", "nul", "surrogate"],
)
async def test_any_exception_is_a_failure_with_a_traceback(calls: Calls, function: str, name: str, words: str) -> None:
    before = await calls.result("pid")
    error = await calls.error(function, name)
    assert (error.code, error.final) == ("raised", False)
    assert words in error.message
    assert "functions_that_misbehave.py" in error.message
    assert "processes/runner" not in error.message
    assert await calls.result("pid") == before, "the process goes on"


async def test_retry_on_and_backoff_decide_about_another_attempt(calls: Calls) -> None:
    declared = {each["name"]: each for each in msgspec.json.decode(calls.pool.functions)}
    assert declared["give_up"] == {"name": "give_up", "backoff_seconds": 3.0, "backoff_cap_seconds": 30.0}
    again, no = await calls.error("picky", "connection"), await calls.error("picky", "value")
    assert (again.final, again.retry_seconds, no.final, no.retry_seconds) == (False, 10.0, True, None)


async def test_give_up_is_final_with_its_reason(calls: Calls) -> None:
    error = await calls.error("give_up")
    assert (error.code, error.message, error.final) == ("gave_up", "the account is closed", True)


async def test_everything_that_is_printed_is_kept_with_the_attempt(calls: Calls) -> None:
    await calls.call("speak", "häh\0?")
    lines = ["häh\ufffd?", "to stderr", "INFO users: a record", "from a shell", "without an end of line"]
    assert calls.log.text.split("\n") == lines
    await calls.call("pid")
    assert calls.log.text == ""


async def test_log_keeps_beginning_and_end_of_much_output(calls: Calls) -> None:
    await calls.call("speak", "begin" + "x" * 300_000)
    assert calls.log.text.startswith("begin")
    assert calls.log.text.endswith("without an end of line")
    assert len(calls.log.text) < 5_000
    assert 295_000 < calls.log.left_out_bytes < 300_000


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [
        ("error", "raised", "characters left out"),
        ("result", "result_too_large", "The result has 20000002 bytes of JSON, and 1000000 bytes may be kept"),
        ("progress", "raised", "a progress report has at most 65536 bytes of JSON, this one has 20000002"),
    ],
    ids=["error", "result", "progress"],
)
async def test_large_texts_are_refused_in_the_child(calls: Calls, where: str, code: str, words: str) -> None:
    error = await calls.error("large", 20_000_000, where)
    assert (error.code, calls.progress) == (code, [])
    assert words in error.message
    assert len(error.message) < 5_000


async def test_result_with_not_a_number_is_refused(calls: Calls) -> None:
    error = await calls.error("not_a_number")
    assert (error.code, error.final) == ("bad_result", True)
    assert "nan at $.loss[1]" in error.message


async def test_function_above_the_memory_limit_fails_and_the_next_one_runs() -> None:
    async with opened(memory_mb=512) as calls:
        assert await calls.result("allocate", 16) == 16 << 20
        error = await calls.error("allocate", 1_024)
        assert (error.code, error.final) == ("out_of_memory", False)
        assert await calls.result("allocate", 16) == 16 << 20


async def test_child_is_replaced_after_its_number_of_tasks() -> None:
    async with opened(max_tasks=3) as calls:
        pids = [await calls.result("pid") for _ in range(7)]
        assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5] != pids[6]


async def test_function_with_a_limit_of_its_own_wears_its_child_out(calls: Calls) -> None:
    pids = [await calls.result("leaky") for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_cancelled_starts_are_bounded_and_end_with_the_pool(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(3) as calls:
        monkeypatch.setenv("IMPORT_GATE", str(gate))
        for _ in range(50):
            started = [asyncio.create_task(calls.call("pid")) for _ in range(4)]
            await asyncio.sleep(0)
            for call in started:
                call.cancel()
            await asyncio.gather(*started, return_exceptions=True)
            assert len(calls.pool) <= 3
        await until(lambda: len(importing(gate)) == 2, SECONDS)
    assert [pid for pid in importing(gate) if is_running(pid)] == []


async def test_start_whose_call_was_cancelled_serves_the_next_call(gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with opened() as calls:
        with pytest.raises(Crashed):
            await calls.call("start_daemon_and_exit", str(tmp_path / "started"))
        monkeypatch.setenv("IMPORT_GATE", str(gate))
        cancelled = asyncio.create_task(calls.call("pid"))
        await until(lambda: importing(gate), SECONDS)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        following = asyncio.create_task(calls.result("pid"))
        await asyncio.to_thread(open_gate, gate)
        assert [await following] == importing(gate)


async def test_time_of_an_attempt_begins_with_the_function(gate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with opened() as calls:
        with pytest.raises(Crashed):
            await calls.call("start_daemon_and_exit", str(tmp_path / "started"))
        monkeypatch.setenv("IMPORT_GATE", str(gate))
        attempt = RunningAttempt(calls.progress.append, SECONDS)
        work = RunFrame("task_1", 1, "pid", raw(b"[]"))
        async with attempt.timeout() as limit:
            running = asyncio.ensure_future(calls.pool.run(work, attempt, calls.log))
            await until(lambda: importing(gate), SECONDS)
            assert (attempt.has_begun, limit.when()) == (False, None), "its process is being started"
            opened_at = asyncio.get_running_loop().time()
            await asyncio.to_thread(open_gate, gate)
            assert isinstance(await running, DoneFrame)
            assert attempt.has_begun
            assert (limit.when() or 0.0) >= opened_at + SECONDS


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_child_has_the_users_variables_and_none_of_the_installations(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET:
        monkeypatch.setenv(name, "secret-1")
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "PENSTOCK_INTERPRETED", "MY_PENSTOCK_NAME"):
        monkeypatch.setenv(name, "users-1")
    async with opened() as calls:
        child = await calls.result("pid")
        entries = await asyncio.to_thread(Path(f"/proc/{child}/environ").read_bytes)
    given = dict(entry.partition(b"=")[::2] for entry in entries.split(b"\0") if entry)
    assert b"secret-1" not in given.values()
    ours = {name for name in given if b"PENSTOCK" in name.upper()}
    assert ours == {b"PENSTOCK_INTERPRETED", b"MY_PENSTOCK_NAME", b"_PENSTOCK_CHILD"}
    assert (given[b"OPENAI_API_KEY"], given[b"HF_TOKEN"], given[b"PATH"]) == (b"users-1", b"users-1", os.environb[b"PATH"])


async def test_import_that_takes_too_long_is_an_error_of_its_own(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPORT_GATE", str(gate))
    pool = ChildPool(ChildOptions((MODULE,), import_seconds=0.3), 1)
    with pytest.raises(CannotImport, match=r"longer than 0.3 s \(runner.import_seconds\)"):
        await pool.open()
    assert len(pool) == 0
