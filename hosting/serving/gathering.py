"""Calls of the same kind that wait at the same moment, done together in one thread.

Ten thousand clients that poll ask the same question of the database. While one question is being answered
those that come meanwhile gather for the next, so under load one query, two changes of threads and one wake-up
of the event loop serve many; a call that comes alone waits for nobody.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from hosting.serving.pool import MAX_WAITING, SHUTDOWN_SECONDS, PoolBusy

A = TypeVar("A")
R = TypeVar("R")

MOST = 64
"""Calls in one batch: more would make the first wait for the last, and hardly save anything further."""


class Gathering(Generic[A, R]):
    """One thread, started as it is needed, that does calls for one event loop.

    `do` is given arguments and gives the outcome of each, in order; one that is an exception is raised to its
    caller, and one that `do` raises to all of the batch. `before` runs before each batch
    (django.db.close_old_connections), `at_end` when the thread ends (django.db.connections.close_all).
    """

    def __init__(
        self,
        do: Callable[[Sequence[A]], Sequence[R | Exception]],
        name: str,
        before: Callable[[], object] = lambda: None,
        *,
        at_end: Callable[[], object] = lambda: None,
        most: int = MOST,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.name = name
        self._do = do
        self._before = before
        self._at_end = at_end
        self._most = most
        self._room = max_waiting
        self._inside = 0  # only the event loop's thread changes it
        self._calls: SimpleQueue[tuple[A, asyncio.Future[R]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._open = True

    async def run(self, argument: A) -> R:
        """The outcome for one argument. PoolBusy, at once, when there is no room."""
        if not self._open or self._inside >= self._room:
            raise PoolBusy(f"{self.name}: {self._inside} calls are waiting")
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(loop,), name=self.name, daemon=True)
            self._thread.start()
        answer: asyncio.Future[R] = loop.create_future()
        self._inside += 1
        self._calls.put((argument, answer))
        return await answer

    @property
    def inside(self) -> int:
        """Calls that run or wait."""
        return self._inside

    def shutdown(self, timeout: float = SHUTDOWN_SECONDS) -> bool:
        """Take no more calls, let those inside finish, and end the thread; False when it still ran."""
        self._open = False
        if self._thread is None:
            return True
        self._calls.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            last = False
            while not last:
                calls, last = self._gather()
                if calls:
                    outcomes = self._outcomes([argument for argument, _ in calls])
                    try:
                        loop.call_soon_threadsafe(self._settle, calls, outcomes)
                    except RuntimeError:
                        return  # the loop is closed: nobody waits any more
                    # What they hold may be large, and the next call far away.
                    del calls, outcomes
        finally:
            self._at_end()

    def _gather(self) -> tuple[list[tuple[A, "asyncio.Future[R]"]], bool]:
        """Wait for a call, then take what else is there; True: it was the last."""
        gathered = []
        call = self._calls.get()
        while call is not None:
            gathered.append(call)
            if len(gathered) >= self._most:
                return gathered, False
            try:
                call = self._calls.get_nowait()
            except Empty:
                return gathered, False
        return gathered, True

    def _outcomes(self, arguments: Sequence[A]) -> Sequence[R | Exception]:
        try:
            self._before()
            return self._do(arguments)
        except Exception as error:  # noqa: BLE001  (it is raised again, to each caller)
            return [error] * len(arguments)

    def _settle(
        self, calls: Sequence[tuple[A, "asyncio.Future[R]"]], outcomes: Sequence[R | Exception]
    ) -> None:
        self._inside -= len(calls)
        for (_, answer), outcome in zip(calls, outcomes, strict=True):
            if answer.done():
                continue
            if isinstance(outcome, StopIteration):
                # A future refuses it, and its caller would wait for ever.
                answer.set_exception(RuntimeError(f"{self.name}: a call raised StopIteration"))
            elif isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
