"""What is kept how long: trash and junk, closed accounts, records, and content that nobody needs any more."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from mailboxes import messages, storage
from mailboxes.models import (
    Content,
    DeliveryRecord,
    Folder,
    FolderKind,
    Forwarding,
    LoginThrottle,
    Mailbox,
    Message,
    POP3Session,
    WebSession,
)

log = logging.getLogger(__name__)

BATCH = 1_000
# Files are removed inside a transaction, which on SQLite keeps every other writer waiting.
SWEEP_BATCH = 100
# A sweep looks at content folders this far behind the grace time; every orphan passes through that window.
SWEPT_DAYS = 3


def empty_old_trash(now: datetime | None = None) -> int:
    """Expunge what has lain in trash or junk for TRASH_DAYS; returns how many messages."""
    before = (now or timezone.now()) - timedelta(days=settings.TRASH_DAYS)
    removed = 0
    for folder, mailbox in _trash_folders():
        while old := _old_messages(folder, before):
            removed += messages.expunge(mailbox, old, still_in=folder)
    return removed


def _trash_folders() -> Iterator[tuple[int, int]]:
    """(folder, mailbox), read piece by piece: no cursor is open while the caller writes."""
    last = 0
    folders = Folder.objects.filter(kind__in=[FolderKind.TRASH, FolderKind.JUNK], message_count__gt=0)
    while some := list(folders.filter(pk__gt=last).order_by("pk").values_list("pk", "mailbox_id")[:BATCH]):
        yield from some
        last = some[-1][0]


def _old_messages(folder: int, before: datetime) -> list[int]:
    found = Message.objects.filter(folder=folder).alias(since=Coalesce("moved_at", "received_at"))
    return list(found.filter(since__lt=before).values_list("pk", flat=True)[:BATCH])


def make_room(mailbox: int, octets: int) -> int:
    """Expunge the oldest trash until so many octets are free that were not; 0, and nothing lost, if the
    trash does not hold as many. Returns how many octets it gave."""
    trash = Folder.objects.filter(mailbox=mailbox, kind=FolderKind.TRASH).values_list("pk", flat=True).first()
    going: list[int] = []
    freed = 0
    lying = Message.objects.filter(folder=trash).order_by("moved_at", "pk").values_list("pk", "size")
    for message, size in lying.iterator(chunk_size=BATCH):
        if freed >= octets:
            break
        going.append(message)
        freed += size
    if trash is None or freed < octets:
        return 0
    messages.expunge(mailbox, going, still_in=trash)
    log.info("retention trash_yields mailbox=%d messages=%d", mailbox, len(going))
    return freed


def forget_old_records(now: datetime | None = None) -> int:
    """Remove records of deliveries and sessions older than RECORD_DAYS and throttles that count no longer."""
    now = now or timezone.now()
    before = now - timedelta(days=settings.RECORD_DAYS)
    removed = 0
    for old in (
        DeliveryRecord.objects.filter(at__lt=before),
        POP3Session.objects.filter(started_at__lt=before),
        # One that is older and still in use is not forgotten: that would end it.
        WebSession.objects.filter(started_at__lt=before, seen_at__lt=before),
        LoginThrottle.objects.filter(last_failure_at__lt=now - timedelta(days=1)),
    ):
        removed += _delete_by_and_by(old)
    return removed


def _delete_by_and_by(old: "QuerySet[Any]") -> int:
    """Millions of rows in one statement would keep every other writer of SQLite waiting."""
    removed = 0
    while keys := list(old.values_list("pk", flat=True)[:BATCH]):
        removed += old.model._default_manager.filter(pk__in=keys).delete()[0]
    return removed


def sweep(now: datetime | None = None, *, everything: bool = False) -> int:
    """Remove content that has been unused for the grace time, and files that no content names.

    Returns how many contents and files went. `everything` looks at all files and contents, however old, and
    counts the octets of every folder anew.
    """
    if everything:
        _mark_forgotten()
        _count_octets()
    before = (now or timezone.now()) - timedelta(hours=settings.CONTENT_GRACE_HOURS)
    return (
        _sweep_unused(before)
        + _sweep_orphans(before, everything)
        + storage.remove_stale_spool(before.timestamp())
    )


def _unneeded() -> QuerySet[Content]:
    return Content.objects.filter(
        ~Exists(Message.objects.filter(content=OuterRef("pk"))),
        ~Exists(Forwarding.objects.filter(content=OuterRef("pk"), sent_at__isnull=True)),
    )


def _mark_forgotten() -> None:
    """Content that lost its last message other than by a verb begins its grace time."""
    _unneeded().filter(unused_since=None).update(unused_since=timezone.now())


def _count_octets() -> None:
    """What a door of the release before has taken in after the migration that counted them is missing."""
    lying = Message.objects.filter(folder=OuterRef("pk")).order_by().values("folder")
    octets = Coalesce(Subquery(lying.annotate(octets=Sum("size")).values("octets")), Value(0))
    last = 0
    while some := list(
        Folder.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    ):
        with transaction.atomic():
            # Locked by a statement of its own: the next one then sees what a delivery has brought meanwhile.
            list(Folder.objects.select_for_update().filter(pk__in=some).order_by("pk").values_list("pk"))
            Folder.objects.filter(pk__in=some).exclude(octets=octets).update(octets=octets)
        last = some[-1]


def _sweep_unused(before: datetime) -> int:
    removed = 0
    unused = _unneeded().filter(unused_since__lt=before)
    while keys := list(unused.values_list("pk", flat=True)[:SWEEP_BATCH]):
        # The rows go in the same transaction as the files, and are committed after them: whatever fails or
        # dies in between is done again by the next sweep, for a file that is gone already is no error.
        with transaction.atomic():
            Forwarding.objects.filter(content__in=keys).delete()
            Content.objects.filter(pk__in=keys).delete()
            for key in keys:
                storage.remove_content(key)
        removed += len(keys)
    return removed


def _sweep_orphans(before: datetime, everything: bool) -> int:
    newest = storage.key_of_moment(before)
    oldest = storage.key_of_moment(before - timedelta(days=SWEPT_DAYS)).hex[: storage.FOLDER_DIGITS]
    removed = 0
    for folder in storage.folders():
        if folder > newest.hex[: storage.FOLDER_DIGITS] or (folder < oldest and not everything):
            continue
        keys = [key for key in storage.keys_in(folder) if key < newest]
        for start in range(0, len(keys), BATCH):
            some = keys[start : start + BATCH]
            known = set(Content.objects.filter(pk__in=some).values_list("pk", flat=True))
            for key in set(some) - known:
                storage.remove_content(key)
                removed += 1
        storage.remove_folder(folder)
    return removed


def recount(mailbox: int) -> bool:
    """Compare the stored counters of a mailbox with its messages; True when they are right."""
    rows = list(Message.objects.filter(mailbox=mailbox).values_list("folder_id", "size", "seen"))
    box = Mailbox.objects.get(pk=mailbox)
    right = (box.used_bytes, box.message_count) == (sum(size for _, size, _ in rows), len(rows))
    for folder in Folder.objects.filter(mailbox=mailbox):
        lying = [(size, seen) for where, size, seen in rows if where == folder.pk]
        counted = len(lying), len([1 for _, seen in lying if not seen]), sum(size for size, _ in lying)
        right = right and (folder.message_count, folder.unread_count, folder.octets) == counted
    return right
