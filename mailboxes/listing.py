"""A folder page by page, newest first, as fast at its end as at its beginning.

A page begins where another ended (a cursor), never at an offset, and nothing is counted on view.
`grouped`: of each conversation only the newest message in the folder, by an index that knows it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet

from mailboxes.models import Account, Folder, FolderKind, Mailbox, Message, POP3Session, WebSession
from mailboxes.models.message import MessageQuerySet

PAGE_SIZE = 50
# A subscriber reads their own last sessions; who needs more is helped by staff.
SESSIONS_SHOWN = 20
# How many messages an act takes while its reader waits, a second or so; more are an errand.
ACT_MAX = 10_000
ORDER = [FolderKind.INBOX, FolderKind.DRAFTS, FolderKind.SENT, FolderKind.ARCHIVE, FolderKind.JUNK]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
ROW = (
    "mailbox_id",
    "folder_id",
    "thread",
    "subject",
    "sender_name",
    "sender_address",
    "envelope_sender",
    "snippet",
    "has_attachments",
    "seen",
    "starred",
    "answered",
    "received_at",
    "size",
    "moved_at",
    "removed_by_pop3",
    "removed_in_session",
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two messages of a folder, as it stands in a URL: microseconds of the epoch and id."""

    received_at: datetime
    message: int

    def __str__(self) -> str:
        return f"{(self.received_at - EPOCH) // MICROSECOND}-{self.message}"

    @classmethod
    def of(cls, message: Message) -> "Cursor":
        return cls(message.received_at, message.pk)

    @classmethod
    def read(cls, text: str) -> "Cursor | None":
        """None: the text is no cursor."""
        moment, _, message = text.partition("-")
        if not (_is_number(moment) and _is_number(message)):
            return None
        try:
            return cls(EPOCH + int(moment) * MICROSECOND, int(message))
        except OverflowError:
            return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, and the cursors from which the pages before and after it are read (None: there is none)."""

    messages: list[Message]
    newer: Cursor | None = None
    older: Cursor | None = None


def page_of(
    folder: Folder,
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    size: int = PAGE_SIZE,
    grouped: bool = False,
) -> Page:
    """The newest messages of a folder, those older than `before`, or those just newer than `after`."""
    found = _listed(folder.pk, grouped).only(*ROW)
    if after is not None:
        rows = list(_newer_than(found, after)[: size + 1])
        more, shown = len(rows) > size, rows[:size][::-1]
        return _page(shown, newer=more, older=bool(shown))
    if before is not None:
        found = _older_than(found, before)
    rows = list(found.order_by("-received_at", "-pk")[: size + 1])
    return _page(rows[:size], newer=before is not None, older=len(rows) > size)


def _page(shown: list[Message], *, newer: bool, older: bool) -> Page:
    return Page(
        shown,
        newer=Cursor.of(shown[0]) if newer and shown else None,
        older=Cursor.of(shown[-1]) if older and shown else None,
    )


def _listed(folder: int, grouped: bool) -> MessageQuerySet:
    return (NEWEST_OF_THREADS if grouped else Message.objects).filter(folder=folder)


def _newest_of_threads() -> MessageQuerySet:
    """Of each conversation its newest message in the folder, and what belongs to none."""
    newer = Message.objects.filter(
        Q(received_at__gt=OuterRef("received_at")) | Q(pk__gt=OuterRef("pk")),
        folder=OuterRef("folder"),
        thread=OuterRef("thread"),
        received_at__gte=OuterRef("received_at"),
    ).exclude(thread=0)  # says which index serves it
    return Message.objects.filter(Q(thread=0) | ~Exists(newer))


# Put together once: for each list that took longer than the database does.
NEWEST_OF_THREADS = _newest_of_threads()


def _older_than(found: MessageQuerySet, place: Cursor) -> MessageQuerySet:
    # Not as one OR over both columns: the index is entered by what stands before the AND.
    later = Q(received_at__lt=place.received_at) | Q(pk__lt=place.message)
    return found.filter(received_at__lte=place.received_at).filter(later)


def _newer_than(found: MessageQuerySet, place: Cursor) -> MessageQuerySet:
    earlier = Q(received_at__gt=place.received_at) | Q(pk__gt=place.message)
    newer = found.filter(received_at__gte=place.received_at).filter(earlier)
    return newer.order_by("received_at", "pk")


def neighbours_of(message: Message, *, grouped: bool = False) -> tuple[int | None, int | None]:
    """The messages just newer and just older in its folder's list."""
    place, found = Cursor.of(message), _listed(message.folder_id, grouped)
    older = _older_than(found, place).order_by("-received_at", "-pk")
    newer = _newer_than(found, place)
    return newer.values_list("pk", flat=True).first(), older.values_list("pk", flat=True).first()


def folders_of(mailbox: Mailbox) -> list[Folder]:
    """The folders in the order in which people look for them: trash last, own ones by name between."""
    rank = {kind: place for place, kind in enumerate([*ORDER, FolderKind.OWN, FolderKind.TRASH])}
    rank[FolderKind.JUNK], rank[FolderKind.TRASH] = len(rank), len(rank) + 1
    found = Folder.objects.filter(mailbox=mailbox)
    return sorted(found, key=lambda one: (rank[FolderKind(one.kind)], one.name.casefold()))


def message_of(mailbox: Mailbox, message: int) -> Message | None:
    """One message of a mailbox with its folder; None: there is none, or it is another's."""
    return Message.objects.select_related("folder").filter(mailbox=mailbox, pk=message).first()


def newest_in(folder: Folder) -> int:
    """The id that no message of the folder exceeds: what comes later is not part of 'all'."""
    return Message.objects.filter(folder=folder).order_by("-pk").values_list("pk", flat=True).first() or 0


def all_in(folder: Folder, newest: int) -> "QuerySet[Message, int]":
    """The ids of all messages of a folder up to one."""
    found = Message.objects.filter(folder=folder, pk__lte=newest).order_by("-pk")
    return found.values_list("pk", flat=True)


def sessions_of(mailbox: Mailbox) -> list[POP3Session]:
    """The last POP3 sessions, newest first."""
    return list(POP3Session.objects.filter(mailbox=mailbox).order_by("-started_at")[:SESSIONS_SHOWN])


def browsers_of(account: Account, messages: Iterable[Message]) -> dict[str, WebSession]:
    """By their names, the sessions in browsers that deleted any of these messages."""
    names = {message.removed_in_session for message in messages if not message.removed_by_pop3} - {""}
    if not names:
        return {}
    found = WebSession.objects.filter(account=account, session__in=names)
    return {session.session: session for session in found.order_by("-started_at")}


def removers_of(mailbox: Mailbox, messages: Iterable[Message]) -> dict[str, POP3Session]:
    """By their names, the POP3 sessions that removed any of these messages."""
    names = {message.removed_in_session for message in messages if message.removed_by_pop3}
    if not names:
        return {}
    found = POP3Session.objects.filter(mailbox=mailbox, session__in=names)
    return {session.session: session for session in found.order_by("-started_at")}
