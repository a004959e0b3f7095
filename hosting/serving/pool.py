"""The pool of threads in which a door's event loop runs the store's verbs.

One bounded pool for each process: its size is the number of database connections that the process uses. It is
not concurrent.futures: there a queue has no bound, and a cancelled call is uncounted while it still lies in
the queue.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 1024
"""Verbs that may wait: a quarter of a second's work at full speed, ten seconds' with a very slow database."""

SHUTDOWN_SECONDS = 20.0
"""How long running verbs get at the end: less than the 30 s after which the supervisor kills a worker."""


class PoolBusy(Exception):
    """Too many verbs wait already, or the pool is shut down: the door answers a temporary failure."""


@dataclass(frozen=True, slots=True)
class _Job:
    call: Callable[[], Any]
    answer: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class VerbPool:
    """At most `size` threads, started as they are needed, that run verbs for one event loop.

    `before` runs in the thread before each verb (django.db.close_old_connections), `at_end` when a thread
    ends (django.db.connections.close_all). At most `max_waiting` verbs wait for a thread.
    """

    def __init__(
        self,
        size: int,
        name: str,
        before: Callable[[], object],
        *,
        at_end: Callable[[], object] = lambda: None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Make the pool; no thread is started before the first verb, so that a process can still fork."""
        if size < 1:
            raise ValueError(f"a pool of {size} threads: at least one is needed")
        self.size = size
        self.name = name
        self._before = before
        self._at_end = at_end
        self._room = size + max_waiting
        self._inside = 0  # running or waiting; only the event loop's thread changes it, so it needs no lock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = True

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args)` in the pool; return or raise what it does (or raise what `before` did).

        A caller that is cancelled while the verb waits takes it back; a verb that has begun runs to its end.
        Errors: PoolBusy, at once, when there is no room.
        """
        if not self._open:
            raise PoolBusy(f"{self.name}: the pool is shut down")
        if self._inside >= self._room:
            raise PoolBusy(f"{self.name}: {self._inside} verbs are running or waiting")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if self._inside >= len(self._threads) < self.size:
            self._start_thread()
        self._inside += 1
        self._jobs.put(_Job(lambda: fn(*args, **kwargs), answer, loop))
        return await answer

    @property
    def inside(self) -> int:
        """Verbs that run or wait."""
        return self._inside

    def shutdown(self, timeout: float = SHUTDOWN_SECONDS) -> bool:
        """Take no more verbs, let those inside finish, and end the threads.

        Blocks for at most `timeout` seconds; False when some verb still ran then. Threads are daemons: a verb
        that hangs does not hold the process.
        """
        self._open = False
        for _ in self._threads:
            self._jobs.put(None)
        deadline = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self.name}-{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                self._do(job)
                del job  # its result may be large, and the next verb far away
        finally:
            self._at_end()

    def _do(self, job: _Job) -> None:
        """Run one verb and hand its outcome to the event loop.

        No copy of the caller's context (as asyncio.to_thread makes): what Django keeps per context, such as
        cache clients, would be made anew for each verb instead of once for each thread.
        """
        result: Any = None
        error: BaseException | None = None
        if not job.answer.cancelled():
            try:
                self._before()
                result = job.call()
            except BaseException as caught:  # noqa: BLE001  (it is raised again, where the verb was called)
                error = caught
        try:
            job.loop.call_soon_threadsafe(self._settle, job.answer, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more
        finally:
            error = None  # breaks the cycle error -> traceback -> this frame -> error

    def _settle(self, answer: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
        self._inside -= 1
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        elif isinstance(error, StopIteration):
            # A future refuses StopIteration, and its caller would wait for ever.
            answer.set_exception(RuntimeError(f"{self.name}: a verb raised StopIteration"))
        else:
            answer.set_exception(error)
