"""The one way mail gets in.

    with Spool ... keep()        the bytes are on the disk
    deliver([arrival, ...])      one transaction makes the Messages, reserves quota and raises versions
    250                          is said when deliver has returned, and only then (invariant 1)

A crash before the transaction leaves an orphan file, which the sweep removes; after it, nothing is missing.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from mailboxes import index_queue, retention, rows, statements
from mailboxes.addresses import Route
from mailboxes.content import Facts
from mailboxes.exceptions import OverQuota, RecipientUnavailable, StoreFull, StoreUnavailable, Unstorable
from mailboxes.models import Content, DeliveryRecord, FolderKind, Forwarding, Mailbox, Message
from mailboxes.storage import new_key

# What every message asks and changes for every recipient. As SQL, because having the ORM write it anew each
# time took nearly twice as long as all the rest of a delivery. All are plain enough for any database.
# Mailboxes are locked in the order of their keys, so that two deliveries never wait for each other.
RESERVE = (
    "WITH demand(mailbox, octets, messages) AS ({demand}),"
    " taken AS (SELECT id FROM mailboxes_mailbox WHERE id IN (SELECT mailbox FROM demand) ORDER BY id{lock})"
    " UPDATE mailboxes_mailbox SET used_bytes = used_bytes + demand.octets,"
    " message_count = message_count + demand.messages, version = version + 1 FROM demand, taken"
    " WHERE mailboxes_mailbox.id = demand.mailbox AND mailboxes_mailbox.id = taken.id"
    " AND used_bytes <= quota_bytes - demand.octets RETURNING mailboxes_mailbox.id"
)
COUNT_IN = (
    "WITH arriving(mailbox, kind, messages, unread, octets) AS ({arriving})"
    " UPDATE mailboxes_folder SET message_count = message_count + arriving.messages,"
    " unread_count = unread_count + arriving.unread, octets = mailboxes_folder.octets + arriving.octets"
    " FROM arriving"
    " WHERE mailboxes_folder.mailbox_id = arriving.mailbox AND mailboxes_folder.kind = arriving.kind"
    " RETURNING mailboxes_folder.mailbox_id, mailboxes_folder.kind, mailboxes_folder.id"
)

Outcome = OverQuota | RecipientUnavailable | None


@dataclass(slots=True)
class Arrival:
    """One message whose bytes are kept already (`key`), and whom it is for.

    `octets`: un-stuffed size of the content; `whole`: all recipients or none, for a peer that can be given
    only one answer (SMTP); `uidl`, `seen`, `folder` and `received_at`: for mail that has a history (import).
    """

    key: uuid.UUID
    octets: int
    wire_octets: int
    routes: Sequence[Route]
    sender: str = ""
    facts: Facts = field(default_factory=Facts)
    door: str = ""
    peer: str = ""
    helo: str = ""
    transaction: str = ""
    whole: bool = False
    received_at: datetime | None = None
    uidl: str = ""
    seen: bool = False
    folder: FolderKind = FolderKind.INBOX
    delivered_to: bool = True

    def copies(self) -> dict[int, str]:
        """Recipient by mailbox: a mailbox that several recipients reach gets one copy, for the first."""
        copies: dict[int, str] = {}
        for route in self.routes:
            for mailbox in route.mailboxes:
                copies.setdefault(mailbox, route.recipient if self.delivered_to else "")
        return copies

    def size_for(self, recipient: str) -> int:
        return self.octets + len(preamble(recipient))


def preamble(recipient: str) -> bytes:
    """What stands before the content of one recipient's copy, in wire form; the size counts it."""
    return b"Delivered-To: " + recipient.encode() + b"\r\n" if recipient else b""


class _NoRoom(Exception):
    """Rolls a transaction or a savepoint back: somebody has no room."""


def deliver(arrivals: Sequence[Arrival]) -> list[list[Outcome]]:
    """Store messages, all in one transaction: per arrival, per route, None or why not.

    StoreFull, StoreUnavailable: the database takes nothing now. Unstorable: it does not take one of these.
    After each, nothing was stored of any of them.
    """
    now = timezone.now()
    try:
        try:
            with transaction.atomic():
                _store(arrivals, now)
        except _NoRoom:
            with transaction.atomic():
                return _deliver_what_fits(arrivals, now)
    except (OperationalError, InterfaceError) as error:
        raise _fault(error) from error
    except (DatabaseError, ValueError) as error:
        raise Unstorable(f"database: {type(error).__name__}") from error
    return [[None] * len(arrival.routes) for arrival in arrivals]


def _fault(error: Exception) -> StoreFull | StoreUnavailable:
    if "full" in str(error).lower():  # SQLite: 'database or disk is full'; PostgreSQL: 'disk full', 53100
        return StoreFull("no room in the database")
    return StoreUnavailable(f"database: {type(error).__name__}")


def _store(arrivals: Sequence[Arrival], now: datetime) -> None:
    demand: dict[int, list[int]] = defaultdict(list)
    for arrival in arrivals:
        for mailbox, recipient in arrival.copies().items():
            demand[mailbox].append(arrival.size_for(recipient))
    with statements.together():
        folders = _take_room(demand, arrivals) if demand else {}
        _insert(arrivals, folders, now)


def _deliver_what_fits(arrivals: Sequence[Arrival], now: datetime) -> list[list[Outcome]]:
    """Somebody's mailbox is full, or gone: find out whose, and let nobody else suffer.

    All mailboxes are locked, in the order of their keys, so what is planned here is what `_store` then finds.
    """
    everybody = {mailbox for arrival in arrivals for mailbox in arrival.copies()}
    locked = Mailbox.objects.select_for_update().filter(pk__in=everybody).order_by("pk")
    room = {pk: quota - used for pk, quota, used in locked.values_list("pk", "quota_bytes", "used_bytes")}
    outcomes = [_plan(arrival, room) for arrival in arrivals]
    fitting = []
    for arrival, of_routes in zip(arrivals, outcomes, strict=True):
        taken = [route for route, why in zip(arrival.routes, of_routes, strict=True) if why is None]
        if taken:
            fitting.append(replace(arrival, routes=taken))
    if fitting:
        _store(fitting, now)
    return outcomes


def _plan(arrival: Arrival, room: dict[int, int]) -> list[Outcome]:
    """Which routes can have the message; takes its size from `room` for those.

    Savepoints: trash that gave way comes back when the message is not taken after all.
    """
    planned = dict(room)
    placed: set[int] = set()
    outcomes: list[Outcome] = []
    try:
        with transaction.atomic():
            outcomes += [_place(arrival, route, planned, placed) for route in arrival.routes]
            if arrival.whole and any(outcomes):
                raise _NoRoom
    except _NoRoom:
        refusal = next(why for why in outcomes if why is not None)
        return [refusal] * len(arrival.routes)
    room.update(planned)
    return outcomes


def _place(arrival: Arrival, route: Route, room: dict[int, int], placed: set[int]) -> Outcome:
    """All mailboxes of a route or none of them: the peer hears one answer, and tries again for all."""
    size = arrival.size_for(route.recipient if arrival.delivered_to else "")
    wanted = set(route.mailboxes) - placed
    if not wanted <= room.keys():
        return RecipientUnavailable()
    left = {}
    try:
        with transaction.atomic():
            for mailbox in wanted:
                left[mailbox] = room[mailbox] - size
                if left[mailbox] < 0:
                    # New mail before old trash: what was fetched and deleted must not stop the mailbox.
                    left[mailbox] += retention.make_room(mailbox, -left[mailbox])
                if left[mailbox] < 0:
                    raise _NoRoom
    except _NoRoom:
        return OverQuota()
    room.update(left)
    placed |= wanted
    return None


def _take_room(
    demand: Mapping[int, Sequence[int]], arrivals: Sequence[Arrival]
) -> dict[tuple[int, str], int]:
    """Take room in all mailboxes if all have it, by one conditional update (invariant 5); `demand`: the sizes
    of what comes to each. The folders that the messages come to, counted in: by mailbox and kind."""
    lock = " FOR UPDATE" if connection.features.has_select_for_update else ""
    totals = [(mailbox, sum(sizes), len(sizes)) for mailbox, sizes in demand.items()]
    table, values = statements.sought(totals, "bigint", "bigint", "integer")
    reserved = statements.run(RESERVE.format(demand=table, lock=lock), values)
    counted = _count_in(arrivals)
    taken, folders = reserved.fetchall(), counted.fetchall()  # of two that travelled together
    if len(taken) < len(demand):
        raise _NoRoom
    return {(mailbox, kind): folder for mailbox, kind, folder in folders}


def _insert(arrivals: Sequence[Arrival], folders: Mapping[tuple[int, str], int], now: datetime) -> None:
    # Rows, not objects of the models: those took a quarter of the time of all this.
    messages: list[rows.Row] = []
    forwardings: list[rows.Row] = []
    records: list[rows.Row] = []
    for arrival in arrivals:
        uidls: dict[int, str] = {}
        for mailbox, recipient in arrival.copies().items():
            uidl = uidls[mailbox] = arrival.uidl or new_key().hex
            folder = folders[mailbox, arrival.folder.value]
            messages.append(_message(arrival, mailbox, folder, recipient, uidl, now))
        forwardings += _forwardings(arrival, now)
        records += _records(arrival, uidls, now)
    contents = [
        rows.row(
            Content, key=arrival.key, octets=arrival.octets, wire_octets=arrival.wire_octets, created_at=now
        )
        for arrival in arrivals
    ]
    rows.insert_values(Content, contents)
    if messages:
        index_queue.insert(messages, [arrival.key for arrival in arrivals])
    rows.insert_values(Forwarding, forwardings)
    rows.insert_values(DeliveryRecord, records)


def _count_in(arrivals: Sequence[Arrival]) -> CursorWrapper:
    """Raise the counters of the folders that the messages come to."""
    arriving: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for arrival in arrivals:
        for mailbox, recipient in arrival.copies().items():
            counted = arriving[mailbox, arrival.folder.value]
            counted[0] += 1
            counted[1] += not arrival.seen
            counted[2] += arrival.size_for(recipient)
    counts = [(*place, *counted) for place, counted in arriving.items()]
    table, values = statements.sought(counts, "bigint", "varchar", "integer", "integer", "bigint")
    return statements.run(COUNT_IN.format(arriving=table), values)


def _message(
    arrival: Arrival, mailbox: int, folder: int, recipient: str, uidl: str, now: datetime
) -> rows.Row:
    facts = arrival.facts
    return rows.row(
        Message,
        mailbox_id=mailbox,
        folder_id=folder,
        content_id=arrival.key,
        uidl=uidl,
        size=arrival.size_for(recipient),
        received_at=arrival.received_at or now,
        envelope_sender=_storable(arrival.sender, 320),
        envelope_recipient=recipient,
        seen=arrival.seen,
        subject=facts.subject,
        sender_name=facts.sender_name,
        sender_address=facts.sender_address,
        sent_at=facts.sent_at,
        snippet=facts.snippet,
        has_attachments=facts.has_attachments,
        message_id=facts.message_id,
        # Mail of old that is imported into the trash lies there from now on, not since it was sent.
        moved_at=now if arrival.folder in (FolderKind.TRASH, FolderKind.JUNK) else None,
    )


def _storable(text: str, most: int) -> str:
    """What a peer said, as the database takes it: no NUL (PostgreSQL), no halves of surrogates, no more."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text[:most]


def _forwardings(arrival: Arrival, now: datetime) -> Iterable[rows.Row]:
    return [
        rows.row(
            Forwarding,
            address_id=address,
            content_id=arrival.key,
            envelope_sender=_storable(arrival.sender, 320),
            envelope_recipient=route.recipient,
            forward_to=to,
            queued_at=now,
        )
        for route in arrival.routes
        for address, to in route.forwards
    ]


def _records(arrival: Arrival, uidls: Mapping[int, str], now: datetime) -> Iterable[rows.Row]:
    """One for each mailbox that a recipient reaches, so that a search by mailbox finds all of its mail."""
    return [
        rows.row(
            DeliveryRecord,
            at=now,
            mailbox_id=mailbox,
            recipient=route.recipient,
            sender=_storable(arrival.sender, 320),
            octets=arrival.octets,
            code="250 2.0.0",
            door=arrival.door,
            peer=_storable(arrival.peer, 64),
            helo=_storable(arrival.helo, 255),
            transaction=_storable(arrival.transaction, 32),
            message_id=arrival.facts.message_id,
            uidl=uidls[mailbox] if mailbox is not None else "",
        )
        for route in arrival.routes
        for mailbox in route.mailboxes or (None,)
    ]


def record_refusals(records: Sequence[DeliveryRecord]) -> None:
    """Write down what was refused, so that staff can say why mail did not come. Best effort."""
    DeliveryRecord.objects.bulk_create(records)
