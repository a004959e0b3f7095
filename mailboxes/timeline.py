"""One account's time line: what came, what was refused, who fetched and deleted, logged in, changed what.

Each kind of event is one indexed query of the newest rows before a place; they are merged, and a page ends
where the next one begins (a place, never an offset).
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from heapq import merge
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from mailboxes.models import (
    Account,
    Address,
    AuditEntry,
    DeliveryRecord,
    POP3Session,
    WebSession,
    WebSessionEnd,
)

PAGE_SIZE = 50
# Names under which mail may come to one account; beyond this many, refusals to the others are not looked for.
NAMES_MAX = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TAKEN = "2"  # how the code of mail that was taken begins (RFC 5321 section 4.2.1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Between two events of a time line: the time, the kind's rank and the row of the one before."""

    at: datetime
    rank: int
    row: int

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // MICROSECOND}-{self.rank}-{self.row}"

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """None: the text is no place."""
        parts = text.split("-")
        if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) <= 18 for p in parts):
            return None
        moment, rank, row = map(int, parts)
        try:
            return cls(EPOCH + moment * MICROSECOND, rank, row)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class Event:
    """One line: when, of which kind, and the record that says the rest."""

    at: datetime
    kind: str
    record: Any
    place: Place


@dataclass(frozen=True, slots=True)
class _Source:
    """A kind of event: its rows for an account, and the column of their time."""

    column: str
    rows: "Callable[[_Whose], QuerySet[Any]]"


@dataclass(frozen=True, slots=True)
class _Whose:
    account: Account
    mailbox: int | None
    names: Collection[str]


def _arrivals(whose: _Whose) -> "QuerySet[Any]":
    """What came for the mailbox by any name of its own, ann+detail@ among them: taken or refused."""
    return DeliveryRecord.objects.filter(mailbox=whose.mailbox)


def _deliveries(whose: _Whose) -> "QuerySet[Any]":
    return _arrivals(whose).filter(code__startswith=TAKEN)


def _refused(whose: _Whose) -> "QuerySet[Any]":
    return _arrivals(whose).exclude(code__startswith=TAKEN)


def _refusals(whose: _Whose) -> "QuerySet[Any]":
    # What was for a list, or for a name that was nobody's then: the recipient is all there is.
    return DeliveryRecord.objects.filter(recipient__in=whose.names, mailbox=None).exclude(
        code__startswith=TAKEN
    )


def _sessions(whose: _Whose) -> "QuerySet[Any]":
    return POP3Session.objects.filter(mailbox=whose.mailbox)


def _failed(whose: _Whose) -> "QuerySet[Any]":
    return POP3Session.objects.filter(login=whose.account.login, mailbox=None)


def _changes(whose: _Whose) -> "QuerySet[Any]":
    return AuditEntry.objects.filter(subject=whose.account.login).exclude(verb="restore_mail")


def _restores(whose: _Whose) -> "QuerySet[Any]":
    return AuditEntry.objects.filter(subject=whose.account.login, verb="restore_mail")


def _web_sessions(whose: _Whose) -> "QuerySet[Any]":
    return WebSession.objects.filter(account=whose.account.pk)


def _web_refusals(whose: _Whose) -> "QuerySet[Any]":
    return WebSession.objects.filter(login=whose.account.login, ended=WebSessionEnd.REFUSED)


SOURCES: Mapping[str, _Source] = {
    "arrival": _Source("at", _arrivals),
    "delivery": _Source("at", _deliveries),
    "refused": _Source("at", _refused),
    "refusal": _Source("at", _refusals),
    "session": _Source("started_at", _sessions),
    "failed": _Source("started_at", _failed),
    "change": _Source("at", _changes),
    "restore": _Source("at", _restores),
    "web": _Source("started_at", _web_sessions),
    "web_failed": _Source("started_at", _web_refusals),
}
# Which sources make up a kind that is asked for; what came is read once where it is not narrowed.
OF_KIND = {
    "refusal": ["refused", "refusal"],
    "": [one for one in SOURCES if one not in {"delivery", "refused"}],
}
RANKS = {kind: rank for rank, kind in enumerate(SOURCES)}


def timeline_of(
    account: Account,
    mailbox: int | None,
    *,
    kind: str = "",
    day: date | None = None,
    before: Place | None = None,
) -> tuple[list[Event], Place | None]:
    """A page of events, newest first, and the place from which the older ones are read (None: the end).

    `kind`: one of SOURCES, '' all; `day`: only that day, in the zone of the pages.
    """
    whose = _Whose(account, mailbox, _names_of(account, mailbox))
    kinds = OF_KIND.get(kind) or ([kind] if kind in SOURCES else OF_KIND[""])
    streams = [_events(one, whose, day, before) for one in kinds]
    events: list[Event] = []
    for event in merge(*streams, key=lambda event: (-_micros(event.at), event.place.rank, -event.place.row)):
        if len(events) == PAGE_SIZE:
            return events, events[-1].place
        events.append(event)
    return events, None


def _micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _names_of(account: Account, mailbox: int | None) -> Collection[str]:
    found = (
        Address.objects.filter(targets__mailbox=mailbox) if mailbox is not None else Address.objects.none()
    )
    return [account.login, *found.exclude(name=account.login).values_list("name", flat=True)[:NAMES_MAX]]


def _events(kind: str, whose: _Whose, day: date | None, before: Place | None) -> Iterator[Event]:
    source, rank = SOURCES[kind], RANKS[kind]
    found = source.rows(whose)
    if day is not None:
        start = timezone.make_aware(datetime.combine(day, time.min))
        end = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
        found = found.filter(**{f"{source.column}__gte": start, f"{source.column}__lt": end})
    if before is not None:
        found = found.filter(_older(source.column, rank, before))
    rows: list[Model] = list(found.order_by(f"-{source.column}", "-pk")[: PAGE_SIZE + 1])
    for row in rows:
        at = getattr(row, source.column)
        yield Event(at, _kind_of(kind, row), row, Place(at, rank, row.pk))


def _kind_of(source: str, row: Any) -> str:
    if source not in {"arrival", "refused"}:
        return source
    return "delivery" if row.code.startswith(TAKEN) else "refusal"


def _older(column: str, rank: int, before: Place) -> Q:
    """What stands below a place: of the same moment, only what its rank and row put there."""
    if rank > before.rank:
        return Q(**{f"{column}__lte": before.at})
    if rank < before.rank:
        return Q(**{f"{column}__lt": before.at})
    # Not as one OR: the index is entered by what stands before the AND.
    earlier = Q(**{f"{column}__lt": before.at}) | Q(pk__lt=before.row)
    return Q(**{f"{column}__lte": before.at}) & earlier
