"""Flags of messages: read and starred. Counters follow, and the mailbox's version rises with each change."""

from collections import Counter
from collections.abc import Sequence
from enum import Enum

from django.db import transaction
from django.db.models import F

from mailboxes.models import Folder, Mailbox, Message

# SQLite takes 32,766 values in one statement.
STATEMENT_MAX = 5_000


class Flag(Enum):
    SEEN = "seen"
    STARRED = "starred"


def set_flag(mailbox: int, messages: Sequence[int], flag: Flag, value: bool) -> list[int]:
    """Set or clear a flag; returns the messages that it changed. Another mailbox's are passed over."""
    changed: list[int] = []
    with transaction.atomic():
        # The row of the mailbox first, as every verb does: changes to one mailbox happen one after the other.
        Mailbox.objects.select_for_update().filter(pk=mailbox).first()
        for start in range(0, len(messages), STATEMENT_MAX):
            some = messages[start : start + STATEMENT_MAX]
            other = Message.objects.filter(mailbox=mailbox, pk__in=some, **{flag.value: not value})
            rows = list(other.values_list("pk", "folder_id"))
            Message.objects.filter(pk__in=[pk for pk, _ in rows]).update(**{flag.value: value})
            if flag is Flag.SEEN:
                _count_unread(Counter(folder for _, folder in rows), -1 if value else 1)
            changed += [pk for pk, _ in rows]
        if changed:
            # What POP3 lists stays as it was, so only the version rises.
            Mailbox.objects.filter(pk=mailbox).update(version=F("version") + 1)
    return changed


def _count_unread(folders: Counter[int], by: int) -> None:
    for folder, count in folders.items():
        Folder.objects.filter(pk=folder).update(unread_count=F("unread_count") + by * count)
