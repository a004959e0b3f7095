"""Deliveries that wait at the same moment share one transaction.

One thread drains the queue: while a commit waits for the disk, what arrives meanwhile gathers for the next.
Who was answered together sends the next message at nearly the same moment, so the first of those waits a
little for as many as there were; else it would go alone, and all the others after a whole commit.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Any

from django.db import connection

from mailboxes.connections import look_after_connection
from mailboxes.delivery import Arrival, Outcome, deliver
from mailboxes.exceptions import MailboxError, StoreUnavailable, Unstorable

log = logging.getLogger(__name__)

# More would make the first of a batch wait for the parsing of the last.
BATCH_MAX = 64
# How long the first waits at the most: as long as conversations take to come to their next message. A commit
# that is saved takes as much on a quiet disk, and several times as much on a busy one.
COMPANY_SECONDS = 0.002

Entry = tuple[Any, "Future[list[Outcome]]"]
# Makes arrivals of what was submitted, or says why not.
Prepare = Callable[[Sequence[Any]], Sequence[Arrival | MailboxError]]


class GroupCommit:
    """`submit` gives a future of the outcome per route; it is done when the transaction is committed.

    `prepare` has a batch of what was submitted together: messages whose bytes are still to be kept share what
    they can at that, too, and the longer the disk takes the more come together. By default arrivals are
    submitted as they are.
    """

    def __init__(self, prepare: Prepare = list) -> None:
        self._prepare = prepare
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._last_together = 1  # messages of the last batch
        self._closed = False
        self._closing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, draft: Any) -> "Future[list[Outcome]]":
        """StoreUnavailable comes by the future, too, once the group is closed."""
        future: Future[list[Outcome]] = Future()
        with self._closing:
            if not self._closed:
                self._queue.put((draft, future))
                return future
        future.set_exception(StoreUnavailable("closing"))
        return future

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while (first := self._queue.get()) is not None:
                batch, last = self._gather(first)
                # Who has hung up meanwhile has cancelled: he will hear no 250, so he gets no message.
                self._commit([entry for entry in batch if entry[1].set_running_or_notify_cancel()])
                if last:
                    return
        finally:
            connection.close()

    def _gather(self, first: Entry) -> tuple[list[Entry], bool]:
        """What waits already, and the company that is expected; True: there will be no more."""
        batch, last = [first], False
        until = monotonic() + COMPANY_SECONDS
        while len(batch) < BATCH_MAX and not last:
            expected = len(batch) < self._last_together
            try:
                entry = self._queue.get(timeout=max(0.0, until - monotonic()) if expected else 0.0)
            except queue.Empty:
                break
            if entry is None:
                last = True
            else:
                batch.append(entry)
        self._last_together = len(batch)
        return batch, last

    def _commit(self, batch: list[Entry]) -> None:
        """Prepare a batch and store it; what cannot be prepared is refused alone."""
        try:
            prepared = self._prepare([draft for draft, _ in batch])
        except Exception as error:
            log.exception("delivery batch_not_prepared messages=%d", len(batch))
            prepared = [StoreUnavailable(f"prepare: {type(error).__name__}")] * len(batch)
        arrivals: list[tuple[Arrival, Future[list[Outcome]]]] = []
        for arrival, (_, future) in zip(prepared, batch, strict=True):
            if isinstance(arrival, MailboxError):
                future.set_exception(arrival)
            else:
                arrivals.append((arrival, future))
        self._store(arrivals)

    def _store(self, batch: list[tuple[Arrival, "Future[list[Outcome]]"]]) -> None:
        if not batch:
            return
        look_after_connection()
        try:
            outcomes = deliver([arrival for arrival, _ in batch])
        except Exception as error:
            log.exception("delivery batch_failed messages=%d", len(batch))
            self._fail(batch, error)
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                future.set_result(outcome)

    def _fail(self, batch: list[tuple[Arrival, "Future[list[Outcome]]"]], error: Exception) -> None:
        """One message that the database cannot take must not stop those that came beside it."""
        if len(batch) > 1 and (isinstance(error, Unstorable) or not isinstance(error, MailboxError)):
            for entry in batch:
                self._store([entry])
            return
        for _, future in batch:
            future.set_exception(error)
