"""That a process of the house lives: each writes a row every few seconds, with what it has counted.

A process that ends as it should takes its row with it. One that was killed, or whose work has come to a halt,
stops writing, and is shown as gone for a day.
"""

import logging
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import Error, close_old_connections, connection
from django.utils import timezone

from mailboxes.faults import faults
from mailboxes.models import ProcessBeat

log = logging.getLogger(__name__)

INTERVAL = 15.0
GONE_AFTER = timedelta(seconds=60)
REMEMBERED = timedelta(days=1)
# A database that hangs must not hold a process that is told to stop.
END_SECONDS = 3.0

# Numbers by name; None: the work of this process stands still, which is not to be called a beat.
Figures = Callable[[], Mapping[str, float] | None]


@dataclass(frozen=True, slots=True)
class Process:
    """Who beats. A container that is started anew may have the same name: its row begins anew."""

    kind: str
    host: str
    pid: int
    started_at: datetime

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.host}:{self.pid}"

    @classmethod
    def this(cls, kind: str) -> "Process":
        return cls(kind, socket.gethostname()[:80], os.getpid(), timezone.now())


def write(process: Process, figures: Mapping[str, float], now: datetime | None = None) -> None:
    """One statement, whether or not there was a row."""
    ProcessBeat.objects.bulk_create(
        [
            ProcessBeat(
                name=process.name,
                kind=process.kind,
                host=process.host,
                pid=process.pid,
                started_at=process.started_at,
                seen_at=now or timezone.now(),
                figures=dict(figures),
            )
        ],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["started_at", "seen_at", "figures"],
    )


def remove(process: Process) -> None:
    ProcessBeat.objects.filter(name=process.name).delete()


def forget(now: datetime | None = None) -> int:
    """Rows of processes that have been gone for a day go; returns how many."""
    return ProcessBeat.objects.filter(seen_at__lt=(now or timezone.now()) - REMEMBERED).delete()[0]


def known(now: datetime | None = None) -> tuple[list[ProcessBeat], list[ProcessBeat]]:
    """The processes that live, and those that have gone within the last day, by kind and name."""
    now = now or timezone.now()
    rows = list(ProcessBeat.objects.filter(seen_at__gte=now - REMEMBERED).order_by("kind", "name"))
    living = [row for row in rows if row.seen_at >= now - GONE_AFTER]
    return living, [row for row in rows if row.seen_at < now - GONE_AFTER]


def of_this_process() -> dict[str, float]:
    """What every process can say of itself: processor time, memory, errors in its log."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "memory_bytes": pages * resource.getpagesize(),
        "faults": faults(),
    }


class Heart:
    """A thread that beats until it is stopped. It keeps no database connection between beats."""

    def __init__(self, kind: str, figures: Figures, interval: float = INTERVAL) -> None:
        self.process = Process.this(kind)
        self._figures = figures
        self._interval = interval
        self._stopping = threading.Event()
        self._missed = False
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the row away and end the thread, or leave both to themselves if the database hangs."""
        self._stopping.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        while True:
            self._attempt(self._beat)
            if self._stopping.wait(self._interval):
                break
        self._attempt(lambda: remove(self.process))

    def _beat(self) -> None:
        figures = self._figures()
        if figures is not None:
            write(self.process, of_this_process() | dict(figures))

    def _attempt(self, step: Callable[[], None]) -> None:
        """A beat that cannot be written is missed; that is said once, not every few seconds."""
        try:
            close_old_connections()
            step()
        except (Error, OSError) as error:
            if not self._missed:
                log.warning("beat missed process=%s error=%s", self.process.name, type(error).__name__)
            self._missed = True
        else:
            self._missed = False
        finally:
            connection.close()


@contextmanager
def beating(kind: str, figures: Figures = dict) -> Iterator[Heart]:
    """Let this process be seen as long as the block runs; not before it has forked for the last time."""
    heart = Heart(kind, figures)
    try:
        yield heart
    finally:
        heart.stop()
