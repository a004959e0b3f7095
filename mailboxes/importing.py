"""Mail from another server comes into a mailbox, with its order, flags, times and UIDLs; nothing twice.

A ledger (ImportedMessage) remembers each message by the hash of its bytes, and is written in the transaction
that stores the message: an import that was killed goes on where it stopped, and what the subscriber has
deleted since does not come back. What a source holds twice comes twice: the ledger counts occurrences.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from time import monotonic

from django.db import Error as DatabaseFault
from django.db import transaction
from django.utils import timezone

from mailboxes import messages, storage
from mailboxes.addresses import Route
from mailboxes.content import Facts, facts_of
from mailboxes.delivery import Arrival, deliver
from mailboxes.exceptions import OverQuota, StoreUnavailable
from mailboxes.local_delivery import Empty, TooLarge, spool_message
from mailboxes.models import Folder, FolderKind, ImportedMessage, Mailbox, Message
from mailboxes.models.message import UIDL_MAX
from mailboxes.sources import Letter, Unreadable
from mailboxes.storage import Spool, new_key

DOOR = "import"
# One transaction, and what may wait in memory (50 times 256 KiB).
BATCH = 50
# What was read waits no longer to be stored: of a slow source a worker that is killed loses little.
BATCH_SECONDS = 10.0
# A report names so many messages and counts the others.
NAMED_MAX = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# RFC 1939 section 7: "one to 70 characters in the range 0x21 to 0x7E".
_UIDL = re.compile(rf"[!-~]{{1,{UIDL_MAX}}}")
_HEADER_END = re.compile(rb"(?:\A|\n)\r?\n")
_FIELD = rb"(?im)^%b[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$"
_X_UIDL = re.compile(_FIELD % b"x-uidl")
_RETURN_PATH = re.compile(_FIELD % b"return-path")
# What mail programs that work on an mbox note down: 'Status: RO', 'X-Status: AF'.
_STATUS = re.compile(_FIELD % b"status")
_X_STATUS = re.compile(_FIELD % b"x-status")

Progress = Callable[[int], object]


@dataclass(slots=True)
class Named:
    """Messages that people must know of: where each is and why; the first thousand, and how many in all."""

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, why: str) -> None:
        self.count += 1
        if len(self.first) < NAMED_MAX:
            self.first.append((place, why))


@dataclass(slots=True)
class Report:
    """What an import has done so far. `again`: what an earlier attempt of its errand has brought; its UIDLs
    are told of once more. `stopped_at`: the message for which the mailbox had no room."""

    imported: int = 0
    again: int = 0
    already: int = 0
    uidl_kept: int = 0
    uidl_lost: Named = field(default_factory=Named)
    empty: Named = field(default_factory=Named)
    skipped: Named = field(default_factory=Named)
    stopped_at: str = ""
    # Says in words why a message was left out.
    tell: Callable[[Exception], str] = str

    @property
    def met(self) -> int:
        """How many messages of the source something can be said of."""
        return self.imported + self.again + self.already + self.skipped.count + self.empty.count

    def meet_again(self, place: str, old: str, row: ImportedMessage) -> None:
        """A message that an earlier attempt has brought; `old` is its UIDL on the old server, if any."""
        self.again += 1
        if old and old == row.uidl:
            self.uidl_kept += 1
        elif old:
            self.uidl_lost.add(place, f"its UIDL {old[:80]!r} could not be kept")


@dataclass(slots=True)
class _Read:
    """A letter that has been read: its bytes wait in a spool. What comes after them is found out later."""

    letter: Letter
    spool: Spool
    octets: int
    fingerprint: str
    uidl: str = ""
    uidl_kept: bool = False
    uidl_lost: str = ""
    flags: str = ""

    @property
    def remembered(self) -> str:
        """Under which fingerprint the ledger will know it."""
        return self.letter.fingerprint or self.fingerprint


@dataclass(frozen=True, slots=True)
class _Target:
    """Where messages go, for which errand, and by hash what lay there before, if it is not to come again."""

    mailbox: Mailbox
    errand: int | None
    own_folder: Folder | None
    here: Collection[int]


class _NoRoomFrom(Exception):
    """Rolls the batch back; says which of its messages was the first without room."""

    def __init__(self, index: int) -> None:
        self.index = index


def _silent(octets: int) -> None:
    return None


def import_mail(
    mailbox: Mailbox,
    letters: Iterable[Letter],
    report: Report,
    *,
    progress: Progress = _silent,
    batch: int | None = None,
    own_folder: Folder | None = None,
    seen: bool = False,
    known_by_message_id: bool = False,
    errand: int | None = None,
) -> None:
    """Bring all messages of a source into a mailbox; `report` is filled as it goes.

    `own_folder`: where all of it goes in the end, in the transaction that stores it. `seen`: all is marked as
    read. `known_by_message_id`: what the mailbox holds, however it came, does not come again. `errand`: the
    number of that which asks for it, and which may have begun it before.
    `progress` is told the octets read. StoreFull, StoreUnavailable, OSError: what the report counts is
    stored, and running the import again brings the rest. Without room it returns, and `report.stopped_at`
    says where.
    """
    some: list[_Read] = []
    here = _here(mailbox, errand) if known_by_message_id else frozenset()
    target = _Target(mailbox, errand, own_folder, here)
    stored_at = monotonic()
    try:
        for read in _read_all(letters, report, progress):
            if seen:
                read.flags += "S"
            some.append(read)
            if len(some) == (batch or BATCH) or monotonic() - stored_at >= BATCH_SECONDS:
                _import_batch(target, some, report)
                some.clear()
                stored_at = monotonic()
                if report.stopped_at:
                    return
        _import_batch(target, some, report)
    finally:
        for read in some:
            read.spool.discard()


def _read_all(letters: Iterable[Letter], report: Report, progress: Progress) -> Iterator[_Read]:
    occurrences: Counter[bytes] = Counter()
    for letter in letters:
        digest = sha256()
        try:
            spool, octets = spool_message(_counted(letter.chunks, progress), seen=digest.update)
        except Empty as error:
            report.empty.add(letter.name, report.tell(error))
        except (TooLarge, Unreadable) as error:
            report.skipped.add(letter.name, report.tell(error))
        except (FileNotFoundError, PermissionError) as error:
            report.skipped.add(letter.name, error.strerror or "cannot be read")
        else:
            occurrences[digest.digest()] += 1
            yield _Read(letter, spool, octets, f"{digest.hexdigest()}:{occurrences[digest.digest()]}")


def _counted(chunks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        progress(len(chunk))


def _here(mailbox: Mailbox, errand: int | None) -> set[int]:
    """What the mailbox held before the errand began, as hashes: some 10 MB for 100,000 messages, of which a
    source may hold any."""
    messages = Message.objects.filter(mailbox=mailbox).exclude(message_id="")
    if errand is not None:
        brought = ImportedMessage.objects.filter(mailbox=mailbox, errand=errand)
        messages = messages.exclude(uidl__in=brought.values("uidl"))
    return {hash(row) for row in messages.values_list("message_id", "size").iterator(chunk_size=2_000)}


def _import_batch(target: _Target, some: Sequence[_Read], report: Report) -> None:
    mailbox = target.mailbox
    try:
        known = messages.imported(
            mailbox.pk, [one for read in some for one in (read.fingerprint, read.remembered)]
        )
        new = []
        for read in some:
            row = known.get(read.fingerprint) or known.get(read.remembered)
            if row is None and not (target.here and _is_here(read, target.here)):
                new.append(read)
                continue
            if row is not None and row.errand is not None and row.errand == target.errand:
                report.meet_again(read.letter.place, _old_uidl(read), row)
            else:
                report.already += 1
            read.spool.discard()
        _choose_uidls(mailbox, new)
        stored = _store(target, new)
    except DatabaseFault as error:
        raise StoreUnavailable(f"database: {type(error).__name__}") from error
    report.imported += stored
    for read in new[:stored]:
        report.uidl_kept += read.uidl_kept
        if read.uidl_lost:
            report.uidl_lost.add(read.letter.place, read.uidl_lost)
    if stored < len(new):
        report.stopped_at = new[stored].letter.name


def _is_here(read: _Read, here: Collection[int]) -> bool:
    message_id = facts_of(read.spool.head).message_id
    return bool(message_id) and hash((message_id, read.octets)) in here


def _choose_uidls(mailbox: Mailbox, new: Sequence[_Read]) -> None:
    """The old UIDL where it is one and free (invariant 4: never given again, not even after an expunge)."""
    old = {read.fingerprint: _old_uidl(read) for read in new}
    wanted = {uidl for uidl in old.values() if is_uidl(uidl)}
    taken = {
        uidl
        for records in (Message, ImportedMessage)
        for uidl in records.objects.filter(mailbox=mailbox, uidl__in=wanted).values_list("uidl", flat=True)
    }
    for read in new:
        uidl = old[read.fingerprint]
        if not uidl:
            read.uidl = new_key().hex
        elif not is_uidl(uidl):
            read.uidl, read.uidl_lost = new_key().hex, f"its UIDL {uidl[:80]!r} is not one (RFC 1939)"
        elif uidl in taken:
            read.uidl, read.uidl_lost = new_key().hex, f"its UIDL {uidl} is another message's"
        else:
            read.uidl, read.uidl_kept = uidl, True
            taken.add(uidl)


def is_uidl(text: str) -> bool:
    return _UIDL.fullmatch(text) is not None


def _old_uidl(read: _Read) -> str:
    if read.letter.uidl is not None:
        return read.letter.uidl
    return _field(_X_UIDL, read.spool.head)


def _field(pattern: re.Pattern[bytes], head: bytes) -> str:
    """The first such field of the header block, "" when there is none; what is not printable becomes '?'."""
    end = _HEADER_END.search(head)
    found = pattern.search(head, 0, end.start() + 1 if end else len(head))
    text = found[1].decode(errors="replace") if found else ""
    return "".join(c if c.isprintable() else "?" for c in text)


def _store(target: _Target, new: Sequence[_Read]) -> int:
    """Store messages with their ledger rows, all together; returns how many, in order, had room."""
    arrivals = [_arrival(target.mailbox, read) for read in new]
    stored = len(new)
    while stored:
        try:
            _commit(target, arrivals[:stored], new[:stored])
            break
        except _NoRoomFrom as stop:
            # What would still fit behind it waits too, so that the order stays that of the source.
            stored = stop.index
    for arrival in arrivals[stored:]:
        with suppress(StoreUnavailable):
            storage.remove_content(arrival.key)
    return stored


def _commit(target: _Target, arrivals: Sequence[Arrival], new: Sequence[_Read]) -> None:
    mailbox = target.mailbox
    with transaction.atomic():
        for index, [outcome] in enumerate(deliver(arrivals)):
            if isinstance(outcome, OverQuota):
                raise _NoRoomFrom(index)
            if outcome is not None:
                raise outcome
        ImportedMessage.objects.bulk_create(
            [
                ImportedMessage(
                    mailbox=mailbox, fingerprint=read.remembered, uidl=read.uidl, errand=target.errand
                )
                for read in new
            ]
        )
        _mark(mailbox, new)
        if target.own_folder is not None:
            _file(mailbox, new, target.own_folder)


def _file(mailbox: Mailbox, new: Sequence[_Read], folder: Folder) -> None:
    """Mail arrives in a folder that every mailbox has, and goes on to one that its owner has made."""
    of_these = Message.objects.filter(mailbox=mailbox, uidl__in=[read.uidl for read in new])
    messages.move(mailbox.pk, list(of_these.order_by("pk").values_list("pk", flat=True)), folder)
    # It was nowhere before.
    of_these.update(moved_from=None, moved_at=None)


def _mark(mailbox: Mailbox, new: Sequence[_Read]) -> None:
    starred = [read.uidl for read in new if "F" in read.flags]
    answered = [read.uidl for read in new if "R" in read.flags]
    # Trash and junk are kept for TRASH_DAYS from now, not from when the mail was received.
    in_trash = [read.uidl for read in new if read.letter.folder in (FolderKind.TRASH, FolderKind.JUNK)]
    of_mailbox = Message.objects.filter(mailbox=mailbox)
    if starred:
        of_mailbox.filter(uidl__in=starred).update(starred=True)
    if answered:
        of_mailbox.filter(uidl__in=answered).update(answered=True)
    if in_trash:
        of_mailbox.filter(uidl__in=in_trash).update(moved_at=timezone.now())


def _arrival(mailbox: Mailbox, read: _Read) -> Arrival:
    letter, head = read.letter, read.spool.head
    facts = facts_of(head)
    read.flags += letter.flags if letter.flags is not None else _flags_of(head)
    sender = letter.sender or _field(_RETURN_PATH, head).strip("<>")
    return Arrival(
        key=read.spool.keep(),
        octets=read.octets,
        wire_octets=read.spool.wire_octets,
        routes=[Route("", (mailbox.pk,))],
        sender="".join(c if c.isprintable() else "?" for c in sender),
        facts=facts,
        door=DOOR,
        received_at=_received_at(letter, facts),
        uidl=read.uidl,
        seen="S" in read.flags,
        folder=letter.folder,
        delivered_to=False,
    )


def _received_at(letter: Letter, facts: Facts) -> datetime | None:
    """When the old server took it; else when it says it was sent; None, now, when neither can be."""
    for at in (letter.received_at, facts.sent_at):
        if at is not None and EPOCH <= at <= timezone.now():
            return at
    return None


def _flags_of(head: bytes) -> str:
    status, x_status = _field(_STATUS, head), _field(_X_STATUS, head)
    return "S" * ("R" in status) + "F" * ("F" in x_status) + "R" * ("A" in x_status)
