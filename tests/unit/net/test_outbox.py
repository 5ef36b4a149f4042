"""What is sent in a turn of the loop leaves at its end: in order, once, and never to a connection that is gone."""

import asyncio

from penstock.net.outbox import Outbox, Outlet


async def test_sends_of_one_turn_leave_as_one_write_per_connection() -> None:
    outbox, written = Outbox(), list[tuple[str, bytes]]()
    one = Outlet(outbox, lambda data: written.append(("one", data)))
    other = Outlet(outbox, lambda data: written.append(("other", data)))
    one.send(b"head ")
    other.send(b"elsewhere")
    one.send(b"body")
    assert written == []
    await asyncio.sleep(0)
    assert written == [("one", b"head body"), ("other", b"elsewhere")]
    one.send(b"again")
    await asyncio.sleep(0)
    assert written[2:] == [("one", b"again")]


async def test_a_flush_is_now_and_happens_once() -> None:
    outbox, written = Outbox(), list[bytes]()
    outlet = Outlet(outbox, written.append)
    outlet.send(b"last words")
    outlet.flush()
    assert written == [b"last words"]
    await asyncio.sleep(0)
    assert written == [b"last words"]


async def test_send_during_a_flush_leaves_with_the_next_turn() -> None:
    outbox, written = Outbox(), list[bytes]()
    second = Outlet(outbox, written.append)

    def answered(data: bytes) -> None:
        written.append(data)
        second.send(b"answer")

    first = Outlet(outbox, answered)
    first.send(b"question")
    await asyncio.sleep(0)
    assert written == [b"question"]
    await asyncio.sleep(0)
    assert written == [b"question", b"answer"]


async def test_a_connection_that_is_gone_gets_nothing_more() -> None:
    outbox, written = Outbox(), list[bytes]()
    gone, there = Outlet(outbox, written.append), Outlet(outbox, written.append)
    gone.send(b"too late")
    there.send(b"in time")
    gone.close()
    gone.send(b"far too late")
    await asyncio.sleep(0)
    assert written == [b"in time"]


async def test_closed_connection_does_not_hold_up_the_others() -> None:
    outbox, written = Outbox(), list[bytes]()

    def broken(data: bytes) -> None:
        raise RuntimeError("the handler is closed")

    closed, open_ = Outlet(outbox, broken), Outlet(outbox, written.append)
    closed.send(b"lost")
    open_.send(b"first")
    await asyncio.sleep(0)
    closed.send(b"lost as well")
    open_.send(b"second")
    await asyncio.sleep(0)
    assert written == [b"first", b"second"]


def test_outside_of_a_loop_everything_leaves_at_once() -> None:
    written = list[bytes]()
    Outlet(Outbox(), written.append).send(b"now")
    assert written == [b"now"]
