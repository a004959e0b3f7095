"""Maildrops: what a POP3 session sees of a mailbox, as it was at login (RFC 1939 section 5), and its lease.

A listing holds no rows but columns, 90 octets a message: a mailbox of 100,000 messages costs 9 MB, once for
all sessions that see the same version of it.
"""

from array import array
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

from django.db.models import CharField, Q
from django.db.models.functions import Cast
from django.utils import timezone

from mailboxes.credentials import Login
from mailboxes.delivery import preamble
from mailboxes.exceptions import MaildropLocked
from mailboxes.models import Folder, FolderKind, Mailbox, Message

RECENT_DAYS = 30
# A session that dies without a word frees an exclusive maildrop after so long.
LEASE = timedelta(minutes=2)

# The content's key is its digits: an object of each would cost as much as all the rest.
Row = tuple[int, str, int, str, str]
COLUMNS = ("pk", "uidl", "size", Cast("content_id", CharField()), "envelope_recipient")
# How many rows are read at once.
ROWS = 2_000


class Listing:
    """Messages in the order of their arrival, numbered from 1; immutable once it is shared.

    `version` is the mailbox's when it was read.
    """

    __slots__ = (
        "_contents",
        "_ids",
        "_preamble_of",
        "_preambles",
        "_scan",
        "_sizes",
        "_uidls",
        "_unique",
        "octets",
        "version",
    )

    def __init__(self, version: int, rows: Iterable[Row] = (), before: "Listing | None" = None) -> None:
        """`before`: an older listing that these rows come after."""
        self.version = version
        self._ids: array[int] = array("q", before._ids if before else ())
        self._sizes: array[int] = array("q", before._sizes if before else ())
        self._contents: bytearray = bytearray(before._contents if before else b"")
        self._uidls: list[str] = list(before._uidls if before else ())
        self._preambles: list[bytes] = list(before._preambles if before else ())
        self._preamble_of: array[int] = array("l", before._preamble_of if before else ())
        self._scan: bytes | None = None
        self._unique: bytes | None = None
        self._add(rows)
        self.octets = sum(self._sizes)

    def _add(self, rows: Iterable[Row]) -> None:
        # By columns: a row at a time, a mailbox of 100,000 messages took twice as long to open. A mailbox has
        # few recipients (its addresses), so their preambles are kept once each.
        known = {text: index for index, text in enumerate(self._preambles)}
        coming = iter(rows)
        while some := list(islice(coming, ROWS)):
            self._ids.extend([row[0] for row in some])
            self._uidls += [row[1] for row in some]
            self._sizes.extend([row[2] for row in some])
            self._contents += bytes.fromhex("".join([row[3] for row in some]).replace("-", ""))
            recipients = [row[4] for row in some]
            places = {one: known.setdefault(preamble(one), len(known)) for one in dict.fromkeys(recipients)}
            self._preamble_of.extend([places[one] for one in recipients])
        self._preambles = list(known)

    @property
    def count(self) -> int:
        return len(self._ids)

    @property
    def last_id(self) -> int:
        return self._ids[-1] if self._ids else 0

    def octets_of(self, number: int) -> int:
        return self._sizes[number - 1]

    def uidl_of(self, number: int) -> str:
        return self._uidls[number - 1]

    def id_of(self, number: int) -> int:
        """The primary key of a message."""
        return self._ids[number - 1]

    def content_of(self, number: int) -> str:
        """The storage key of a message's content, as its 32 digits."""
        start = (number - 1) * 16
        return self._contents[start : start + 16].hex()

    def preamble_of(self, number: int) -> bytes:
        """What is sent before the content, in wire form; counted in the size."""
        return self._preambles[self._preamble_of[number - 1]]

    def scan_listing(self) -> bytes:
        """RFC 1939 section 5, LIST: a line for each message, without the last dot."""
        if self._scan is None:
            self._scan = b"".join([b"%d %d\r\n" % line for line in enumerate(self._sizes, 1)])
        return self._scan

    def unique_listing(self) -> bytes:
        """RFC 1939 section 7, UIDL: a line for each message, without the last dot."""
        if self._unique is None:
            self._unique = "".join([f"{n} {uidl}\r\n" for n, uidl in enumerate(self._uidls, 1)]).encode()
        return self._unique


def read_listing(login: Login, known: Listing | None = None) -> Listing:
    """The inbox as it is now. `known`, an older listing, is continued where nothing but new mail has come."""
    if known is not None and known.version >= login.version:
        return known
    inbox = Folder.objects.filter(mailbox=login.mailbox, kind=FolderKind.INBOX).values("pk")[:1]
    rows = Message.objects.filter(mailbox=login.mailbox, folder=inbox).order_by("pk").values_list(*COLUMNS)
    # The version was read before the rows: what comes between is in the listing, and read again next time.
    if known is not None and known.version >= login.rearranged_version:
        return Listing(login.version, rows.filter(pk__gt=known.last_id), known)
    return Listing(login.version, rows.iterator(chunk_size=ROWS))


def read_recent(login: Login) -> Listing:
    """All that came in the last 30 days and was not removed by its owner's own hand, whatever a mail program
    has fetched and deleted: what `recent:` before the login name asks for."""
    since = timezone.now() - timedelta(days=RECENT_DAYS)
    rows = Message.objects.filter(
        Q(folder__kind=FolderKind.INBOX) | Q(removed_by_pop3=True),
        mailbox=login.mailbox,
        received_at__gte=since,
    )
    return Listing(login.version, rows.order_by("pk").values_list(*COLUMNS).iterator(chunk_size=ROWS))


# POP3_EXCLUSIVE: RFC 1939 section 4's lock, as a lease in the database, so that it holds over all processes.


def take_lease(mailbox: int, token: str) -> None:
    """Hold a maildrop alone. MaildropLocked: somebody else does."""
    now = timezone.now()
    free = Q(lock_token="") | Q(lock_token=token) | Q(lock_until__lt=now)  # no password
    if not Mailbox.objects.filter(free, pk=mailbox).update(lock_token=token, lock_until=now + LEASE):
        raise MaildropLocked("another mail program is connected to this mailbox")


def renew_leases(tokens: Iterable[str]) -> None:
    """Go on holding; a lease that was lost meanwhile is not taken back."""
    Mailbox.objects.filter(lock_token__in=list(tokens)).update(lock_until=timezone.now() + LEASE)


def give_back(mailbox: int, token: str) -> None:
    """Let others at the maildrop."""
    Mailbox.objects.filter(pk=mailbox, lock_token=token).update(lock_token="", lock_until=None)
