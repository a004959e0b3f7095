"""The pool of threads: outcomes, bounds, cancellation and its end."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hosting.serving.pool import PoolBusy, VerbPool

pytestmark = pytest.mark.once

PATIENCE = 180.0  # only a test that fails waits so long


def nothing() -> None:
    pass


@contextmanager
def pool(size: int = 1, max_waiting: int = 100) -> Iterator[VerbPool]:
    made = VerbPool(size, "test", nothing, max_waiting=max_waiting)
    try:
        yield made
    finally:
        assert made.shutdown(PATIENCE)


async def until(event: threading.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        while not event.is_set():
            await asyncio.sleep(0.001)


def test_a_verb_returns_and_raises_where_it_was_called() -> None:
    async def scenario(verbs: VerbPool) -> None:
        assert await verbs.run(divmod, 7, 2) == (3, 1)
        assert await verbs.run(sorted, [1, 2], reverse=True) == [2, 1]
        with pytest.raises(ZeroDivisionError):
            await verbs.run(divmod, 1, 0)
        with pytest.raises(RuntimeError, match="a verb raised StopIteration"):
            await verbs.run(next, iter(()))
        assert await verbs.run(divmod, 7, 2) == (3, 1)

    with pool() as verbs:
        asyncio.run(scenario(verbs))


def test_before_runs_in_the_thread_of_each_verb_and_at_end_once_in_each_thread() -> None:
    seen: list[tuple[str, str]] = []

    def note(what: str) -> None:
        seen.append((what, threading.current_thread().name))

    verbs = VerbPool(1, "pop3d", lambda: note("before"), at_end=lambda: note("end"))

    async def scenario() -> None:
        await verbs.run(note, "verb")
        await verbs.run(note, "verb")

    asyncio.run(scenario())
    assert verbs.shutdown(PATIENCE)
    assert seen == [(what, "pop3d-0") for what in ("before", "verb", "before", "verb", "end")]


def test_a_failing_before_fails_the_verb_and_the_verb_does_not_run() -> None:
    ran: list[int] = []

    def database_away() -> None:
        raise ConnectionError("database away")

    verbs = VerbPool(1, "test", database_away)
    with pytest.raises(ConnectionError, match="database away"):
        asyncio.run(verbs.run(ran.append, 1))
    assert verbs.shutdown(PATIENCE)
    assert ran == []


def test_no_thread_exists_before_the_first_verb_and_never_more_than_needed() -> None:
    async def scenario(verbs: VerbPool) -> None:
        for _ in range(5):
            await verbs.run(nothing)
        assert len(verbs._threads) == 1
        meeting = threading.Barrier(3)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(verbs.run(meeting.wait, PATIENCE) for _ in range(3)))
        await asyncio.gather(*(verbs.run(nothing) for _ in range(50)))

    with pool(size=3) as verbs:
        assert verbs._threads == []
        asyncio.run(scenario(verbs))
        assert len(verbs._threads) == 3


def test_a_full_pool_refuses_at_once_and_takes_verbs_again_later() -> None:
    async def scenario(verbs: VerbPool) -> None:
        gate, begun = threading.Event(), threading.Event()

        def block() -> None:
            begun.set()
            assert gate.wait(PATIENCE)

        inside = [asyncio.create_task(verbs.run(block)) for _ in range(3)]
        await until(begun)
        with pytest.raises(PoolBusy, match="test: 3 verbs are running or waiting"):
            await verbs.run(nothing)
        gate.set()
        await asyncio.gather(*inside)
        await verbs.run(nothing)

    with pool(size=1, max_waiting=2) as verbs:
        asyncio.run(scenario(verbs))


def test_a_cancelled_verb_that_waits_does_not_run_and_is_counted_until_it_left_the_queue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    async def scenario(verbs: VerbPool) -> None:
        gate, begun = threading.Event(), threading.Event()

        def block() -> None:
            begun.set()
            assert gate.wait(PATIENCE)
            ran.append("block")

        blocking = asyncio.create_task(verbs.run(block))
        await until(begun)
        waiting = asyncio.create_task(verbs.run(ran.append, "cancelled"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(PoolBusy):
            await verbs.run(nothing)
        blocking.cancel()  # it has begun, so it runs to its end
        gate.set()
        async with asyncio.timeout(PATIENCE):
            while verbs._inside:
                await asyncio.sleep(0.001)
        await verbs.run(ran.append, "after")

    with pool(size=1, max_waiting=1) as verbs:
        asyncio.run(scenario(verbs))
    assert ran == ["block", "after"]
    assert caplog.records == []  # the event loop would log what it cannot deliver


def test_shutdown_finishes_what_is_inside_and_takes_no_more() -> None:
    async def scenario(verbs: VerbPool) -> None:
        inside = [asyncio.create_task(verbs.run(str, number)) for number in range(5)]
        await asyncio.sleep(0)
        assert verbs.shutdown(PATIENCE)
        with pytest.raises(PoolBusy, match="shut down"):
            await verbs.run(nothing)
        assert await asyncio.gather(*inside) == ["0", "1", "2", "3", "4"]

    asyncio.run(scenario(VerbPool(2, "test", nothing)))


def test_shutdown_says_when_a_verb_hangs_and_does_not_wait_for_it() -> None:
    gate = threading.Event()
    verbs = VerbPool(1, "test", nothing)

    async def scenario() -> None:
        hanging = asyncio.create_task(verbs.run(gate.wait, PATIENCE))
        await asyncio.sleep(0)
        assert verbs.shutdown(0.05) is False
        hanging.cancel()

    asyncio.run(scenario())  # and the loop is closed before the verb ends, which must not matter
    gate.set()
    assert verbs.shutdown(PATIENCE) is True


def test_a_pool_without_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        VerbPool(0, "test", nothing)
