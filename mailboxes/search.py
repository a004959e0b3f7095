"""Finding messages: one function for both databases, newest first, page by page, within three seconds.

    search(mailbox, "invoice from:ann -reminder")  ->  Found(messages=[812, 77], more=False, ...)

What it finds is what the index knows (mailboxes.entries) and what still waits to be indexed, of which it
looks at subject, sender and first words. Every message is looked up in its mailbox before it is named, so one
that was expunged or is another's never is.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import entries
from mailboxes.entries import ANYWHERE
from mailboxes.highlight import fits
from mailboxes.indexing import document_of_facts
from mailboxes.listing import Cursor
from mailboxes.models import Folder, FolderKind, Message
from mailboxes.query import FIELDS, AtLeast, Flag, In, Query, Since, Words, parse

PAGE_SIZE = 50
PAGE_MAX = 2_000
# Nobody waits longer, and nothing that somebody typed may keep a server busier.
SECONDS = 3.0
# A worker waits longer for all that match than a person does for a page.
PATIENT_SECONDS = 60.0
# PostgreSQL cannot walk an index of words in the order of time. The newest messages are therefore read one by
# one first, which fills a page of a common word at once; a word that does not is rare enough for the index.
SLICE = 1_000
# How many messages that are not indexed yet are looked at.
WAITING_MAX = 300
# Between two looks at the clock SQLite takes so many steps, about a millisecond.
STEPS = 10_000

# Other names that people use for folders.
KINDS = {
    "spam": FolderKind.JUNK,
    "bin": FolderKind.TRASH,
    "deleted": FolderKind.TRASH,
    "draft": FolderKind.DRAFTS,
}
KINDS |= {kind.value: kind for kind in FolderKind if kind != FolderKind.OWN}


@dataclass(frozen=True, slots=True)
class Marks:
    """What is marked in the sender's name, in the subject, and in the text of what was found: `from:ann` says
    nothing of a text in which there is an Ann."""

    sender: list[str] = field(default_factory=list)
    subject: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, query: Query) -> "Marks":
        return cls(
            sender=query.highlights("", FIELDS["from"]),
            subject=query.highlights("", FIELDS["subject"]),
            text=query.highlights(""),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """`messages`: ids, newest first. `more`: there are older ones behind a cursor at the last. `timed_out`:
    not everything was looked at, so there may be more all the same. `words`: for mailboxes.highlight, and in
    `marks` which of them are marked where. `problems`: what of the query was left out, and why, in the
    reader's language."""

    messages: list[int] = field(default_factory=list)
    more: bool = False
    timed_out: bool = False
    words: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition on the columns of Message `m`, and its values."""

    text: str = ""
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Search:
    """What is looked for: words, what a message must be, and between which places it lies."""

    mailbox: int
    words: list[Words]
    facts: Sql
    first: int
    end: int
    limit: int


def search(
    mailbox: int,
    query: str,
    *,
    before: Cursor | None = None,
    folder: int | None = None,
    limit: int = PAGE_SIZE,
    now: datetime | None = None,
    seconds: float = SECONDS,
) -> Found:
    """The newest messages of a mailbox that a query fits, or the newest of those behind a cursor.

    `folder`: only what lies in this one. A query without terms finds nothing. Dates are reckoned in the time
    zone of `now` (default: the current).
    """
    asked = parse(query, timezone.localtime(now))
    facts, problems = _facts(mailbox, asked)
    found = Found(words=asked.highlights(), problems=[*asked.problems, *problems], marks=Marks.of(asked))
    if not asked.terms or facts is None:
        return found
    if folder is not None:
        facts = Sql(f"{facts.text} AND m.folder_id = %s", (*facts.values, folder))
    first, end = _between(asked, before)
    limit = min(max(limit, 1), PAGE_MAX)
    # One more than is shown says whether there are more.
    wish = _Search(mailbox, asked.words, facts, first, end, limit + 1)
    deadline = _Deadline(seconds)
    places = sorted({*_waiting(wish), *_indexed(wish, deadline)}, reverse=True)
    return replace(
        found,
        messages=[message for _, message in places[:limit]],
        more=len(places) > limit,
        timed_out=deadline.missed,
    )


def all_that_match(
    mailbox: int,
    query: str,
    *,
    before: Cursor,
    folder: int | None = None,
    limit: int,
    seconds: float = SECONDS,
) -> Found:
    """All messages older than a cursor that a query fits, newest first, as far as there is time.

    `more`: there are others behind the last."""
    end = time.monotonic() + seconds
    messages: list[int] = []
    found, place = Found(more=True), before
    while found.more and not found.timed_out and len(messages) < limit:
        left = end - time.monotonic()
        if left <= 0:
            break
        wanted = min(PAGE_MAX, limit - len(messages))
        found = search(mailbox, query, before=place, folder=folder, limit=wanted, seconds=left)
        messages += found.messages
        last = _place_of_last(mailbox, found)
        if last is None:
            break
        place = last
    return replace(found, messages=messages)


def every_match(
    mailbox: int, query: str, *, before: Cursor, folder: int | None = None, now: datetime | None = None
) -> Iterator[Found]:
    """All of them, however many: page by page, each with more time than a person has. One that has timed out
    is the last."""
    found, place = Found(more=True), before
    while found.more and not found.timed_out:
        found = search(
            mailbox, query, before=place, folder=folder, limit=PAGE_MAX, now=now, seconds=PATIENT_SECONDS
        )
        yield found
        last = _place_of_last(mailbox, found)
        if last is None:
            return
        place = last


def _place_of_last(mailbox: int, found: Found) -> Cursor | None:
    """The place of the last that is still there, and has not been removed for good meanwhile."""
    some = found.messages[-PAGE_SIZE:]
    there = Message.objects.filter(mailbox=mailbox).in_bulk(some)
    return next((Cursor.of(there[number]) for number in reversed(some) if number in there), None)


# -- what a message must be ---------------------------------------------------------------------


def _facts(mailbox: int, query: Query) -> tuple[Sql | None, list[str]]:
    """The conditions on Message; None: they cannot be met, for there is no such folder."""
    conditions: list[Sql | None] = []
    problems = []
    folders: list[Folder] | None = None
    for term in query.terms:
        if isinstance(term, Flag):
            conditions.append(Sql(f"m.{term.field} = %s", (term.value,)))
        elif isinstance(term, AtLeast):
            conditions.append(Sql(f"m.size {'<' if term.negated else '>='} %s", (term.octets,)))
        elif isinstance(term, In):
            folders = list(Folder.objects.filter(mailbox=mailbox)) if folders is None else folders
            named = [folder.pk for folder in folders if _is_called(folder, term.folder)]
            if not named:
                problems.append(_("There is no folder “%s”.") % term.folder)
            if named or not term.negated:
                conditions.append(_lies_in(named, term.negated))
    return _all(conditions), problems


def _lies_in(folders: list[int], negated: bool) -> Sql | None:
    marks = ", ".join(["%s"] * len(folders))
    return Sql(f"m.folder_id {'NOT ' * negated}IN ({marks})", tuple(folders)) if folders else None


def _all(conditions: list[Sql | None]) -> Sql | None:
    met = [condition for condition in conditions if condition is not None]
    if len(met) < len(conditions):
        return None
    text = "".join(f" AND {condition.text}" for condition in met)
    return Sql(text, tuple(value for condition in met for value in condition.values))


def _is_called(folder: Folder, name: str) -> bool:
    kind = KINDS.get(name.lower())
    return (
        folder.kind == kind if kind else name.casefold() in {folder.name.casefold(), folder.title.casefold()}
    )


def _between(query: Query, before: Cursor | None) -> tuple[int, int]:
    """The first place that fits, and the first behind those that do."""
    first, end = 0, entries.END
    for term in query.terms:
        if isinstance(term, Since):
            bound = entries.place_of(term.moment, 0)
            first, end = (first, min(end, bound)) if term.negated else (max(first, bound), end)
    if before is not None:
        end = min(end, entries.place_before(before))
    return first, end


# -- what waits to be indexed -------------------------------------------------------------------


def _waiting(wish: _Search) -> Iterator[tuple[int, int]]:
    """(place, message) of those found among the newest that have no entry yet."""
    waiting = Message.objects.raw(
        "SELECT m.* FROM mailboxes_message m JOIN"  # noqa: S608  # written above, values apart
        " (SELECT j.message FROM mailboxes_indexjob j WHERE j.mailbox = %s AND NOT EXISTS"
        "  (SELECT 1 FROM mailboxes_searchentry e WHERE e.message = j.message)"
        "  ORDER BY j.message DESC LIMIT %s) w ON w.message = m.id"
        f" WHERE m.mailbox_id = %s{wish.facts.text}",
        [wish.mailbox, WAITING_MAX, wish.mailbox, *wish.facts.values],
    )
    for message in waiting:
        place = entries.place_of(message.received_at, message.pk)
        if wish.first <= place < wish.end and _fits(message, wish.words):
            yield place, message.pk


def _fits(message: Message, terms: Sequence[Words]) -> bool:
    if not terms:
        return True
    stored = entries.words_of(document_of_facts(message)).placed
    return all(_stands_in(stored, term) is not term.negated for term in terms)


def _stands_in(stored: list[str], term: Words) -> bool:
    for form in term.forms:
        wanted = [(term.field or ANYWHERE) + word for word in form]
        for at in range(len(stored) - len(wanted) + 1):
            if fits(stored[at : at + len(wanted)], wanted, term.prefix):
                return True
    return False


# -- what the index knows -----------------------------------------------------------------------

TIME_ORDER = (
    "SELECT e.place, e.message FROM mailboxes_searchentry e JOIN mailboxes_message m"
    " ON m.id = e.message AND m.mailbox_id = e.mailbox"
    " WHERE e.mailbox = %s AND e.place >= %s AND e.place < %s{facts}{more}"
    " ORDER BY e.place DESC LIMIT %s"
)
# FTS5 walks its lists backwards itself, and stops when there is enough. CROSS JOIN: in this order, no other.
FTS5 = (
    "SELECT e.place, e.message FROM mailboxes_searchwords f CROSS JOIN mailboxes_searchentry e"
    " ON e.message = (f.rowid & {id_mask}) AND e.place = f.rowid AND e.mailbox = %s"
    " CROSS JOIN mailboxes_message m ON m.id = e.message AND m.mailbox_id = e.mailbox"
    " WHERE f.words MATCH %s AND f.rowid >= %s AND f.rowid < %s{facts}"
    " ORDER BY f.rowid DESC LIMIT %s"
)
# A LIMIT, or OFFSET 0, keeps PostgreSQL from turning the inner query and the outer one into one.
NEWEST_SLICE = (
    "SELECT e.place, e.message FROM (SELECT message, mailbox, place, vector FROM mailboxes_searchentry"
    "  WHERE mailbox = %s AND place >= %s AND place < %s ORDER BY place DESC LIMIT {slice}) e"
    " JOIN mailboxes_message m ON m.id = e.message AND m.mailbox_id = e.mailbox"
    " WHERE e.vector @@ %s::tsquery{facts} ORDER BY e.place DESC LIMIT %s"
)
# What the index of words finds is put in the order of time, and only then looked at, until there is enough.
BY_WORDS = (
    "SELECT e.place, e.message FROM (SELECT message, mailbox, place FROM"
    "  (SELECT message, mailbox, place FROM mailboxes_searchentry"
    "   WHERE vector @@ %s::tsquery AND mailbox = %s OFFSET 0) w"
    "  WHERE place >= %s AND place < %s ORDER BY place DESC OFFSET 0) e"
    " JOIN mailboxes_message m ON m.id = e.message AND m.mailbox_id = e.mailbox"
    " WHERE TRUE{phrases}{facts} ORDER BY e.place DESC LIMIT %s"
)
# The index knows which words are there, but not in which order: for that the entry itself is read, which
# takes the longest. As a value, not a join, it is read of those that are looked at, and of no others.
PHRASES = " AND (SELECT p.vector @@ %s::tsquery FROM mailboxes_searchentry p WHERE p.message = e.message)"


class _Deadline:
    """How long a search may still take, and whether it was stopped."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.missed = False

    def left(self) -> float:
        return self._end - time.monotonic()


def _indexed(wish: _Search, deadline: _Deadline) -> list[tuple[int, int]]:
    if not wish.words:
        statement = TIME_ORDER.format(facts=wish.facts.text, more="")
        return _rows(
            statement, [wish.mailbox, wish.first, wish.end, *wish.facts.values, wish.limit], deadline
        )
    expression = entries.expression(wish.mailbox, wish.words)
    if connection.vendor == "postgresql":
        return _indexed_by_vector(wish, expression, deadline)
    values = [wish.mailbox, expression, wish.first, wish.end, *wish.facts.values, wish.limit]
    return _rows(FTS5.format(facts=wish.facts.text, id_mask=entries.ID_MASK), values, deadline)


def _indexed_by_vector(wish: _Search, expression: str, deadline: _Deadline) -> list[tuple[int, int]]:
    between, rest = [wish.first, wish.end], [*wish.facts.values, wish.limit]
    facts = wish.facts.text
    newest = _rows(
        NEWEST_SLICE.format(facts=facts, slice=SLICE), [wish.mailbox, *between, expression, *rest], deadline
    )
    if len(newest) >= wish.limit or deadline.missed:
        return newest
    if all(term.negated for term in wish.words):
        # The index of words can say where a word is, not where it is not.
        statement = TIME_ORDER.format(facts=facts, more=" AND e.vector @@ %s::tsquery")
        every = _rows(statement, [wish.mailbox, *between, *rest[:-1], expression, wish.limit], deadline)
    else:
        candidates = entries.candidates(wish.mailbox, wish.words)
        phrases = [expression] if candidates != expression else []
        statement = BY_WORDS.format(facts=facts, phrases=PHRASES if phrases else "")
        every = _rows(statement, [candidates, wish.mailbox, *between, *phrases, *rest], deadline)
    return every or newest


def _rows(statement: str, values: list[Any], deadline: _Deadline) -> list[tuple[int, int]]:
    """What a statement finds until the deadline; on SQLite all that it had found by then, else nothing."""
    rows: list[tuple[int, int]] = []
    try:
        with _stopped_at(deadline), connection.cursor() as cursor:
            cursor.execute(statement, values)
            for row in cursor:
                rows.append(row)  # noqa: PERF402  # what was found before it is stopped stays
    except OperationalError as error:
        if not _was_stopped(error):
            raise
        deadline.missed = True
    return rows


@contextmanager
def _stopped_at(deadline: _Deadline) -> Iterator[None]:
    """Within, the database stops by itself when the time is over."""
    if connection.vendor == "postgresql":
        milliseconds = max(int(deadline.left() * 1000), 1)
        nested = connection.in_atomic_block
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('jit', 'off', true)",
                [str(milliseconds)],
            )
            yield
            if nested:
                cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
        return
    connection.ensure_connection()
    sqlite = connection.connection
    sqlite.set_progress_handler(lambda: deadline.left() <= 0, STEPS)
    try:
        yield
    finally:
        sqlite.set_progress_handler(None, 0)


def _was_stopped(error: OperationalError) -> bool:
    return "statement timeout" in str(error) or "interrupted" in str(error)
