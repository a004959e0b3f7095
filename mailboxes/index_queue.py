"""Which messages search has yet to look at: a queue in the database, written with the mail itself.

It needs no broker: what is stored is queued, whoever is away. Newest first, so that the mail of today never
waits for that of years which an import brought. A message has one job at most; to do it twice is harmless.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from mailboxes import rows, statements
from mailboxes.models import Content, IndexJob, Message

# Longer than any batch takes; what a dead worker had taken is taken again then.
LEASE = timedelta(minutes=5)
# SQLite's old limit is 999 values in one statement.
STATEMENT_MAX = 500

NEW = (
    "WITH made AS ({} RETURNING id, mailbox_id)"
    " INSERT INTO mailboxes_indexjob (message, mailbox, attempts) SELECT id, mailbox_id, 0 FROM made"
)
# The same where no INSERT can stand in WITH: SQLite.
OF_CONTENTS = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message WHERE content_id IN ({})"
)
# Queued already, or in a worker's hands: to be done (again) after this.
AGAIN = " ON CONFLICT (message) DO UPDATE SET attempts = 0, claimed_until = NULL"
GONE = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message WHERE mailbox_id = %s AND id IN ({})"
)
MISSING = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message"
    " WHERE NOT EXISTS (SELECT 1 FROM mailboxes_searchentry e WHERE e.message = mailboxes_message.id)"
)
# SQLite reads 'WHERE true' to know that the ON which follows belongs to INSERT.
EVERYTHING = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message WHERE true"
)
# The condition stands twice: on PostgreSQL, of two workers that chose the same jobs the second finds them
# taken when it comes to it.
CLAIM = (
    "UPDATE mailboxes_indexjob SET claimed_until = %s, attempts = attempts + 1"
    " WHERE message IN (SELECT message FROM mailboxes_indexjob"
    "  WHERE claimed_until IS NULL OR claimed_until < %s ORDER BY message DESC LIMIT %s)"
    " AND (claimed_until IS NULL OR claimed_until < %s)"
    " RETURNING message, mailbox, attempts"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job that this worker has claimed until a moment, which is also how it knows the job for its own."""

    message: int
    mailbox: int
    attempts: int
    claimed_until: datetime


def insert(messages: Sequence[rows.Row], contents: Iterable[UUID]) -> None:
    """Insert new messages (as `rows.row` makes them) of these contents, and queue them; part of the
    transaction of their delivery."""
    if connection.vendor == "postgresql":
        rows.insert_values(Message, messages, within=NEW)
        return
    rows.insert_values(Message, messages)
    # As the column of the foreign key holds it, which differs between databases.
    prepared = Content._meta.pk.get_db_prep_value
    _insert(OF_CONTENTS, [prepared(key, connection) for key in set(contents)], [])


def add_leaving(mailbox: int, messages: Sequence[int]) -> None:
    """Queue messages of a mailbox that are about to be removed, so that search forgets them."""
    _insert(GONE + AGAIN, messages, [mailbox])


def _insert(statement: str, values: Sequence[Any], before: list[int]) -> None:
    for start in range(0, len(values), STATEMENT_MAX):
        some = values[start : start + STATEMENT_MAX]
        statements.run(statement.format(", ".join(["%s"] * len(some))), [*before, *some])


def add_all(*, missing: bool) -> None:
    """Queue every message, or those that have no entry."""
    with connection.cursor() as cursor:
        cursor.execute((MISSING if missing else EVERYTHING) + AGAIN)


def claim(count: int) -> list[Job]:
    """Take some jobs, newest message first; nobody else takes them until the lease ends."""
    now = timezone.now()
    until = now + LEASE
    # An idle house is only read: what may write takes SQLite's one lock, though it changes nothing.
    if not IndexJob.objects.filter(Q(claimed_until=None) | Q(claimed_until__lt=now)).exists():
        return []
    times = [connection.ops.adapt_datetimefield_value(moment) for moment in (until, now)]
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [times[0], times[1], count, times[1]])
        claimed = sorted(cursor.fetchall(), reverse=True)
    return [Job(message, mailbox, attempts, until) for message, mailbox, attempts in claimed]


def finish(jobs: Sequence[Job]) -> None:
    """Remove jobs that are done, but for those that were queued anew meanwhile."""
    for until, messages in _by_claim(jobs):
        IndexJob.objects.filter(message__in=messages, claimed_until=until).delete()


def let_go(jobs: Sequence[Job]) -> None:
    """Give back jobs that were not begun."""
    for until, messages in _by_claim(jobs):
        IndexJob.objects.filter(message__in=messages, claimed_until=until).update(
            claimed_until=None, attempts=F("attempts") - 1
        )


def _by_claim(jobs: Sequence[Job]) -> Iterator[tuple[datetime, list[int]]]:
    for until in {job.claimed_until for job in jobs}:
        messages = [job.message for job in jobs if job.claimed_until == until]
        for start in range(0, len(messages), STATEMENT_MAX):
            yield until, messages[start : start + STATEMENT_MAX]


def waiting() -> int:
    """How many messages search has yet to look at."""
    return IndexJob.objects.count()
