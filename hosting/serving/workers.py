"""The worker processes of a door: forked, watched, restarted and stopped by a parent that does only this."""

import ctypes
import gc
import logging
import mmap
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How long workers get to end their sessions before they are killed; Kubernetes waits as long."""

IMPATIENT_AFTER = 1.0
"""A second signal kills only after this time: a terminal and a process manager often signal together."""

AT_ONCE = 1.0
"""A worker that lived for less than this many seconds did not come up; hurry will not help."""

GIVE_UP_AFTER = 5
"""When each worker died at once so often in a row, the cause is outside (a port in use)."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0

_PR_SET_PDEATHSIG = 1  # prctl(2), <sys/prctl.h>
_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

RunWorker = Callable[[int], int | None]


class _Restarts:
    """How many workers were started in the place of one that ended unasked; the parent's count, in memory
    that it shares with those it forks, since it talks to nobody else."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)
        self._supervisor = 0

    def begin(self) -> None:
        self._supervisor = os.getpid()
        struct.pack_into("q", self._memory, 0, 0)

    def add(self) -> None:
        struct.pack_into("q", self._memory, 0, self._count() + 1)

    def _count(self) -> int:
        return int(struct.unpack_from("q", self._memory)[0])

    def told(self) -> dict[str, float]:
        if not self._supervisor:
            return {}
        return {"supervisor": self._supervisor, "worker_restarts_total": self._count()}


_restarts = _Restarts()


def restarts() -> dict[str, float]:
    """Of the parent of this worker: its process id, and how many workers it has started again; nothing when
    there is no such parent."""
    return _restarts.told()


def serve(run_worker: RunWorker, *, workers: int, name: str) -> int:
    """Run `run_worker(index)` in `workers` processes until told to stop; return the exit code for this one.

    One worker runs here, without a fork, and handles its own signals. More are forked from here, so call it
    before any event loop or thread exists. Each worker stops on SIGTERM, reads its certificate again on
    SIGHUP (which it ignores until it sets a handler), and must take being told twice for once. It returns its
    exit code, None for 0. SIGTERM and SIGINT stop all (exit code 0; 1 when one failed or had to be killed,
    after a second signal or 30 s). A worker that ends unasked is started again; when all die at once five
    times in a row the exit code is 1.
    """
    if workers < 1:
        raise ValueError(f"{name}: {workers} workers; at least one is needed")
    if workers == 1:
        return run_worker(0) or 0
    with _signals_as_bytes() as (inbox, outbox):
        return _Supervisor(run_worker, workers, name, inbox, outbox).run()


@contextmanager
def _signals_as_bytes() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Make each signal a byte to read, so that handling one is plain code in one loop; undo it afterwards."""
    inbox, outbox = socket.socketpair()
    inbox.setblocking(False)
    outbox.setblocking(False)
    former_fd = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
    # SIG_IGN would suppress the byte, and SIG_DFL would act.
    former = {signum: signal.signal(signum, lambda signum, frame: None) for signum in _WATCHED}
    try:
        yield inbox, outbox
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(former_fd)
        inbox.close()
        outbox.close()


@dataclass
class _Worker:
    """One place for a worker: the process that has it now (pid 0: none), and how its predecessors fared."""

    index: int
    pid: int = 0
    started: float = 0.0
    start_at: float = 0.0
    died_at_once: int = 0

    def next_event(self) -> float:
        return float("inf") if self.pid else self.start_at


class _Supervisor:
    """The parent's loop. It waits for and signals only processes that it forked and has not yet reaped."""

    def __init__(
        self, run_worker: RunWorker, workers: int, name: str, inbox: socket.socket, outbox: socket.socket
    ) -> None:
        self.run_worker = run_worker
        self.name = name
        self.inbox = inbox
        self.outbox = outbox
        self.places = [_Worker(index) for index in range(workers)]
        self.stopping_since: float | None = None
        self.killed = False
        self.exit_code = 0
        _restarts.begin()

    def run(self) -> int:
        gc.collect()
        gc.freeze()  # what exists now is never collected, so workers go on sharing its memory with the parent
        try:
            while self.stopping_since is None or self.running():
                self.start_due()
                for signum in self.wait():
                    self.handle(signum)
                self.reap()
                self.kill_when_late()
        finally:
            self.signal_all(signal.SIGKILL)  # only after an error of our own is anybody left
            for place in self.running():
                os.waitpid(place.pid, 0)
            gc.unfreeze()
        return self.exit_code

    def running(self) -> list[_Worker]:
        return [place for place in self.places if place.pid]

    def wait(self) -> bytes:
        """Sleep until a signal comes or something is due; return the numbers of the signals that came."""
        if self.killed:
            due = float("inf")
        elif self.stopping_since is None:
            due = min(place.next_event() for place in self.places)
        else:
            due = self.stopping_since + GRACE_SECONDS
        # Never longer than a minute: select() takes no infinity, and a look around costs nothing.
        select.select([self.inbox], [], [], min(60.0, max(0.0, due - monotonic())))
        try:
            return self.inbox.recv(4096)
        except BlockingIOError:
            return b""

    def handle(self, signum: int) -> None:
        if signum == signal.SIGHUP:
            log.info("event=reload door=%s", self.name)
            self.signal_all(signal.SIGHUP)
        elif signum in (signal.SIGTERM, signal.SIGINT):
            self.stop(signum)

    def stop(self, signum: int) -> None:
        if self.stopping_since is None:
            log.info("event=stop door=%s signal=%s", self.name, signal.Signals(signum).name)
            self.stopping_since = monotonic()
            self.signal_all(signal.SIGTERM)
        elif monotonic() - self.stopping_since >= IMPATIENT_AFTER:
            self.kill("second signal")

    def kill_when_late(self) -> None:
        if self.stopping_since is not None and monotonic() - self.stopping_since >= GRACE_SECONDS:
            self.kill(f"{GRACE_SECONDS:g} s have passed")

    def kill(self, why: str) -> None:
        if self.killed or not self.running():
            return
        self.killed = True
        self.exit_code = 1
        log.warning("event=kill door=%s workers=%d why=%r", self.name, len(self.running()), why)
        self.signal_all(signal.SIGKILL)

    def signal_all(self, signum: signal.Signals) -> None:
        for place in self.running():
            os.kill(place.pid, signum)  # not yet waited for, so the number is still this worker's

    def start_due(self) -> None:
        if self.stopping_since is not None:
            return
        for place in self.places:
            if place.next_event() <= monotonic():
                self.start(place)

    def start(self, place: _Worker) -> None:
        again = place.started > 0
        place.started = monotonic()
        try:
            place.pid = self.fork(place.index)
        except OSError as error:
            log.error("event=fork_failed door=%s worker=%d error=%r", self.name, place.index, error.strerror)
            self.postpone(place)
            return
        if again:
            _restarts.add()
        log.info("event=worker_started door=%s worker=%d pid=%d", self.name, place.index, place.pid)

    def fork(self, index: int) -> int:
        """Fork one worker and return its pid; in the child this never returns."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else the child would write the parent's buffered text once more
        parent = os.getpid()
        # Until the child has its own handlers a signal to it would write a byte to its parent's inbox.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            pid = os.fork()
            if pid == 0:
                self.become_worker(index, parent, former)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    def become_worker(self, index: int, parent: int, mask: Iterable[int]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            self.inbox.close()
            self.outbox.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends SIGINT to all: the parent turns it into SIGTERM. SIGHUP says nothing to a
            # worker that has not yet come up, for it will read the newest certificate anyway.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            _end_with(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            code = self.run_worker(index) or 0
        except SystemExit as end:
            code = _code_of(end)
        except BaseException:
            log.exception("event=worker_failed door=%s worker=%d", self.name, index)
        finally:
            # Not sys.exit(): the parent's exit handlers, and its callers up the stack, are not the worker's
            # to run.
            _flush_and_exit(code)

    def reap(self) -> None:
        """Take note of workers that ended, each asked for by its pid: other children of this process are not
        ours."""
        for place in self.running():
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if pid:
                place.pid = 0
                self.ended(place, pid, os.waitstatus_to_exitcode(status))

    def ended(self, place: _Worker, pid: int, code: int) -> None:
        if self.stopping_since is not None:
            log.info(
                "event=worker_stopped door=%s worker=%d pid=%d code=%d", self.name, place.index, pid, code
            )
            # Before it sets its handlers a worker dies of SIGTERM, which is as good an end.
            if code not in (0, -signal.SIGTERM):
                self.exit_code = 1
            return
        log.warning("event=worker_died door=%s worker=%d pid=%d code=%d", self.name, place.index, pid, code)
        self.postpone(place)
        if all(not other.pid and other.died_at_once >= GIVE_UP_AFTER for other in self.places):
            self.give_up(code)

    def postpone(self, place: _Worker) -> None:
        """Set when the place gets its next worker: at once after a life, else after a growing pause."""
        now = monotonic()
        if now - place.started >= AT_ONCE:
            place.died_at_once = 0
            place.start_at = now
        else:
            place.died_at_once += 1
            pause = FIRST_PAUSE * 2.0 ** min(place.died_at_once - 1, 10)
            place.start_at = now + min(pause, LONGEST_PAUSE)

    def give_up(self, code: int) -> None:
        log.error(
            "%s: gave up: every worker died within a second of its start, %d times in a row "
            "(last exit code %d); the reason is in the lines above, often a port in use",
            self.name,
            GIVE_UP_AFTER,
            code,
        )
        self.exit_code = 1
        self.stopping_since = monotonic()
        self.signal_all(signal.SIGTERM)


def _end_with(parent: int) -> None:
    """Have the kernel send this process SIGTERM when its parent dies, killed or not; Linux only."""
    if sys.platform == "linux":
        # The kernel forgets it when a process changes its user: drop privileges before serve().
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)  # it died before we asked


def _code_of(end: SystemExit) -> int:
    """Return the exit code that Python would give for it, and say its text if it has one."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    # One write: print() makes two, and lines of workers that end together would mix.
    sys.stderr.write(f"{end.code}\n")
    return 1


def _flush_and_exit(code: int) -> NoReturn:
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        pass  # nobody reads them any more
    finally:
        os._exit(code & 0xFF)
