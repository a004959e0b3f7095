"""Messages in their mailbox: moved, restored, expunged, as one transaction that keeps every counter true.

Each verb begins by raising the mailbox's version, which also locks its row: changes to one mailbox happen
one after the other, and never wait for those of another.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import index_queue
from mailboxes.exceptions import Invalid
from mailboxes.models import (
    Content,
    Folder,
    FolderKind,
    Forwarding,
    ImportedMessage,
    Mailbox,
    Message,
    POP3Delete,
    POP3Session,
)

# SQLite takes 32,766 values in one statement.
STATEMENT_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Removal:
    """Which session took messages away, of a POP3 program (`by_pop3`) or of a browser, so that the owner and
    support see which device it was, and can undo it."""

    session: str = ""
    by_pop3: bool = False


def discard(mailbox: int, messages: Sequence[int], session: POP3Session) -> int:
    """What DELE and QUIT mean: trash, archive or expunge, as the mailbox chooses (RFC 1939 section 6).

    The session's record is committed with it. Messages that another door removed from the inbox meanwhile,
    or filed elsewhere, are passed over. Returns how many left the maildrop.
    """
    removed = 0
    with transaction.atomic():
        if messages:
            choice = _lock(mailbox).pop3_delete
            inbox = _folder(mailbox, FolderKind.INBOX)
            if choice == POP3Delete.EXPUNGE:
                removed = _expunge(mailbox, messages, inbox)
                session.expunged = True
            else:
                removal = Removal(session.session, by_pop3=True)
                removed = _move(mailbox, messages, _folder(mailbox, FolderKind(choice)), removal, inbox)
        session.save(force_insert=True)
    return removed


def _folder(mailbox: int, kind: FolderKind) -> int:
    return Folder.objects.values_list("pk", flat=True).get(mailbox=mailbox, kind=kind)


def move(mailbox: int, messages: Sequence[int], folder: Folder, *, browser: str = "") -> int:
    """Move messages to a folder of the same mailbox; returns how many moved. Invalid: another's folder.

    `browser`: the name of the web session that does it. It is kept of what goes to the trash.
    """
    if folder.mailbox_id != mailbox:
        raise Invalid(_("that folder belongs to another mailbox"))
    if not messages:
        return 0
    with transaction.atomic():
        _lock(mailbox)
        removal = Removal(browser if folder.kind == FolderKind.TRASH else "")
        return _move(mailbox, messages, folder.pk, removal)


def restore(mailbox: int, messages: Sequence[int]) -> int:
    """Put messages back to where they were moved from (the inbox where that is gone); returns how many."""
    if not messages:
        return 0
    restored = 0
    with transaction.atomic():
        _lock(mailbox)
        inbox = _folder(mailbox, FolderKind.INBOX)
        homes: dict[int, list[int]] = defaultdict(list)
        for some in _portions(messages):
            rows = Message.objects.filter(mailbox=mailbox, pk__in=some).values_list("pk", "moved_from_id")
            for message, home in rows:
                homes[home or inbox].append(message)
        for home, of_home in homes.items():
            restored += _move(mailbox, of_home, home, None)
    return restored


def restore_session(mailbox: int, session: str) -> int:
    """Put back everything that one session removed; returns how many."""
    if not session:
        return 0  # every message that no session removed bears that name
    removed = Message.objects.filter(mailbox=mailbox, removed_in_session=session).values_list("pk", flat=True)
    return restore(mailbox, list(removed))


def expunge(mailbox: int, messages: Sequence[int], *, still_in: int | None = None) -> int:
    """Remove messages for good; their UIDLs are never given again. Returns how many were removed.

    `still_in`: only those that lie in this folder when it comes to it, for a job must not remove what its
    owner has just taken out of the trash.
    """
    if not messages:
        return 0
    with transaction.atomic():
        _lock(mailbox)
        return _expunge(mailbox, messages, still_in)


def _lock(mailbox: int) -> Mailbox:
    Mailbox.objects.filter(pk=mailbox).update(version=F("version") + 1, rearranged_version=F("version") + 1)
    return Mailbox.objects.get(pk=mailbox)


def _portions(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), STATEMENT_MAX):
        yield values[start : start + STATEMENT_MAX]


def _in_mailbox(mailbox: int, messages: Sequence[int], still_in: int | None) -> QuerySet[Message]:
    found = Message.objects.filter(mailbox=mailbox, pk__in=messages)
    return found if still_in is None else found.filter(folder=still_in)


def _move(
    mailbox: int, messages: Sequence[int], folder: int, removal: Removal | None, still_in: int | None = None
) -> int:
    """`removal` None: back home, nothing is remembered of the way."""
    moved = 0
    now = timezone.now()
    for some in _portions(messages):
        leaving = _in_mailbox(mailbox, some, still_in).exclude(folder=folder)
        rows = list(leaving.values_list("pk", "folder_id", "seen", "size"))
        _count_out([(source, seen, size) for _, source, seen, size in rows])
        _count_in(folder, [(seen, size) for *_, seen, size in rows])
        Message.objects.filter(mailbox=mailbox, pk__in=[pk for pk, *_ in rows]).update(
            moved_from=F("folder") if removal else None,
            folder=folder,
            moved_at=now if removal else None,
            removed_by_pop3=bool(removal and removal.by_pop3),
            removed_in_session=removal.session if removal else "",
        )
        moved += len(rows)
    return moved


def _expunge(mailbox: int, messages: Sequence[int], still_in: int | None = None) -> int:
    removed = 0
    contents: set[uuid.UUID] = set()
    for some in _portions(messages):
        rows = list(
            _in_mailbox(mailbox, some, still_in).values_list("pk", "folder_id", "seen", "size", "content_id")
        )
        _count_out([(folder, seen, size) for _, folder, seen, size, _ in rows])
        Mailbox.objects.filter(pk=mailbox).update(
            used_bytes=F("used_bytes") - sum(size for *_, size, _ in rows),
            message_count=F("message_count") - len(rows),
        )
        index_queue.add_leaving(mailbox, [pk for pk, *_ in rows])
        # Nothing refers to a message but the store's own records, so no cascade needs to be looked for.
        leaving = Message.objects.filter(mailbox=mailbox, pk__in=[pk for pk, *_ in rows])
        leaving._raw_delete(using=leaving.db)
        contents.update(content for *_, content in rows)
        removed += len(rows)
    _mark_unused(contents)
    return removed


def _count_out(rows: Iterable[tuple[int, bool, int]]) -> None:
    """`rows`: of each message that leaves its folder, whether it was seen, and its size."""
    leaving: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for folder, seen, size in rows:
        counted = leaving[folder]
        counted[0] += 1
        counted[1] += not seen
        counted[2] += size
    for folder, (count, unread, octets) in leaving.items():
        Folder.objects.filter(pk=folder).update(
            message_count=F("message_count") - count,
            unread_count=F("unread_count") - unread,
            # A door that has run on through the migration which added this column has not counted its mail;
            # that mail can be deleted all the same.
            octets=Greatest(F("octets") - octets, 0),
        )


def _count_in(folder: int, coming: Sequence[tuple[bool, int]]) -> None:
    """`coming`: of each message, whether it was seen, and its size."""
    Folder.objects.filter(pk=folder).update(
        message_count=F("message_count") + len(coming),
        unread_count=F("unread_count") + len([1 for seen, _ in coming if not seen]),
        octets=F("octets") + sum(size for _, size in coming),
    )


def _mark_unused(contents: set[uuid.UUID]) -> None:
    """A content without messages waits out a grace time: a session may still be sending it.

    The contents are locked first, and looked at by a statement of its own: of two owners who expunge the same
    content at once, the second then sees that the first has done so. In the order of their keys, so that the
    two never wait for each other.
    """
    keys = sorted(contents)
    for start in range(0, len(keys), STATEMENT_MAX):
        some = Content.objects.filter(pk__in=keys[start : start + STATEMENT_MAX])
        list(some.select_for_update(no_key=True).order_by("pk").values_list("pk"))
        some.filter(
            ~Exists(Message.objects.filter(content=OuterRef("pk"))),
            ~Exists(Forwarding.objects.filter(content=OuterRef("pk"), sent_at__isnull=True)),
        ).update(unused_since=timezone.now())


def imported(mailbox: int, fingerprints: Sequence[str]) -> dict[str, ImportedMessage]:
    """Which of these an import has brought into the mailbox before, whatever became of them since."""
    found = ImportedMessage.objects.filter(mailbox=mailbox, fingerprint__in=fingerprints)
    return {row.fingerprint: row for row in found}


def brought_by(mailbox: int, errand: int) -> int:
    """How many messages an errand has brought, in however many attempts."""
    return ImportedMessage.objects.filter(mailbox=mailbox, errand=errand).count()
