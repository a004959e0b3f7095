"""Records of what happened, written by the way: gathered in memory and stored together a moment later.

A POP3 poll would otherwise cost a transaction. What must not be lost (a session that deleted mail) is written
in the transaction of the deletion instead, by `messages.discard`.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError, close_old_connections, connection, transaction
from django.db.models import Model

from mailboxes import rows

log = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds: what a kill -9 may cost of records, never of mail
BATCH_MAX = 1_000
# While the database is away records wait; beyond this many the new ones are dropped, and said so.
WAITING_MAX = 100_000

# Makes a record, as an object or, for what comes by the thousand, as a row; or writes something else that may
# wait a moment, and gives None.
Made = Model | tuple[type[Model], rows.Row]
Make = Callable[[], Made | None]


class Recorder:
    """Takes records (as functions that make them, run in its own thread) and stores them in batches."""

    def __init__(self) -> None:
        self._waiting: deque[Make] = deque()
        self._dropped = 0
        # Set by the first record of an interval only: waking a thread for each would cost more than all else.
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def record(self, make: Make) -> None:
        """Store a record soon; never waits, never raises."""
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        self._waiting.append(make)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        """Store what waits, then end the thread."""
        self._closing.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._some.wait()
                self._closing.wait(INTERVAL)
                self._some.clear()
                self._store_what_waits()
            self._store_what_waits()  # what came while the last of it was being stored
        finally:
            connection.close()

    def _store_what_waits(self) -> None:
        while self._waiting:
            makes = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
            if not self._store(makes):
                self._waiting.extendleft(reversed(makes))
                self._some.set()  # to try again
                return

    def _store(self, makes: Sequence[Make]) -> bool:
        if self._dropped:
            log.error("records dropped=%d", self._dropped)
            self._dropped = 0
        close_old_connections()
        try:
            _insert([record for make in makes if (record := make()) is not None])
        except (OperationalError, InterfaceError) as error:
            log.warning("records not_stored waiting=%d error=%s", len(makes), type(error).__name__)
            return False
        except Exception:
            # One that the database does not take must not keep the others waiting for ever.
            log.exception("records not_taken records=%d", len(makes))
            if len(makes) > 1:
                for make in makes:
                    self._store([make])
        return True


def _insert(records: Sequence[Made]) -> None:
    by_kind: dict[type[Model], list[rows.Row]] = defaultdict(list)
    for record in records:
        kind, row = record if isinstance(record, tuple) else (type(record), rows.row_of(record))
        by_kind[kind].append(row)
    with transaction.atomic():
        for kind, of_kind in by_kind.items():
            rows.insert_values(kind, of_kind, ignore_conflicts=True)
