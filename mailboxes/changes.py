"""What an owner does to messages, remembered for a while so that it can be undone.

Undoing is exact: a message that lay in the trash goes back there as old as it was, and one that was changed
again since stays as it is. What one transaction did is one part of a change, so an act on any number of
messages can go on under its key, whoever does it, and is undone part by part.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from mailboxes import messages as verbs
from mailboxes.flags import Flag, set_flag
from mailboxes.models import Change, ChangePart, Folder, FolderKind, Mailbox, Message

# Who has thought better of it after an hour looks in the trash.
UNDOABLE = timedelta(hours=1)
# As many steps back as anybody takes.
REMEMBERED_MAX = 20
# Messages changed in one transaction: on SQLite every other writer waits for it, half a second at most.
STATEMENT_MAX = 2_000

Group = dict[str, Any]
Place = tuple[int, int | None, datetime | None, bool, str]


def flag(mailbox: int, messages: Sequence[int], which: Flag, value: bool, *, key: str = "") -> Change | None:
    """Set or clear a flag. None: nothing was to be changed.

    `key`, here and below: that of the change, which may have begun before; without it this is a new one.
    """
    verb = f"{'' if value else 'un'}{which.value}"
    change = _begun(mailbox, key)
    for some in _portions(messages):
        with transaction.atomic():
            changed = set_flag(mailbox, some, which, value)
            group = {"messages": changed, "was": {which.value: not value}, "now": {which.value: value}}
            change = _remember(mailbox, verb, [group] if changed else [], change, key)
    return change


def move(
    mailbox: int, messages: Sequence[int], folder: Folder, *, key: str = "", browser: str = ""
) -> Change | None:
    """Move messages to a folder. None: all lay there. Invalid: the folder is another's.

    `browser`: the name of the web session in which it is done.
    """
    change = _begun(mailbox, key)
    for some in _portions(messages):
        with transaction.atomic():
            groups = _groups(mailbox, some, lambda place: folder.pk)
            verbs.move(mailbox, some, folder, browser=browser)
            change = _remember(mailbox, "move", groups, change, key)
    return change


def restore(mailbox: int, messages: Sequence[int], *, key: str = "") -> Change | None:
    """Put messages back to where they came from. None: there was nothing to be put back."""
    change = _begun(mailbox, key)
    inbox = Folder.objects.values_list("pk", flat=True).get(mailbox=mailbox, kind=FolderKind.INBOX)
    for some in _portions(messages):
        with transaction.atomic():
            groups = _groups(mailbox, some, lambda place: place[1] or inbox)
            verbs.restore(mailbox, some)
            change = _remember(mailbox, "restore", groups, change, key)
    return change


def restore_session(mailbox: int, session: str) -> Change | None:
    """Put back everything that one POP3 session removed. None: there is nothing left of it."""
    if not session:
        return None  # every message that no session removed bears that name
    removed = Message.objects.filter(mailbox=mailbox, removed_in_session=session).values_list("pk", flat=True)
    return restore(mailbox, list(removed))


def undoable(mailbox: int, key: str) -> Change | None:
    """The change of that key, while it can be undone."""
    return _undoable(mailbox).filter(key=key).first()


def keep(mailbox: int, key: str) -> bool:
    """Let the hour in which it can be undone begin anew, for one that waits to be; whether it could be."""
    return bool(_undoable(mailbox).filter(key=key).update(made_at=timezone.now()))


def _undoable(mailbox: int) -> QuerySet[Change]:
    return Change.objects.filter(mailbox=mailbox, made_at__gt=timezone.now() - UNDOABLE)


def undo(mailbox: int, key: str) -> int:
    """Undo a change once; returns how many messages are again what they were. 0: there is no such change."""
    undone = 0
    while (count := undo_a_group(mailbox, key)) is not None:
        undone += count
    return undone


def undo_a_group(mailbox: int, key: str) -> int | None:
    """Take back the last group of a change and forget it, so that of two clicks at once each does a part.

    Returns how many messages are again what they were; None: there is no such change any more.
    """
    with transaction.atomic():
        Mailbox.objects.select_for_update().filter(pk=mailbox).first()
        change = undoable(mailbox, key)
        part = change.parts.order_by("-pk").first() if change is not None else None
        if change is None or part is None:
            return None
        group = part.groups.pop()
        count = _take_back(mailbox, group)
        if part.groups:
            part.save(update_fields=["groups"])
        else:
            part.delete()
        change.count -= len(group["messages"])
        change.made_at = timezone.now()
        if change.parts.exists():
            # The hour begins anew: what was begun to be undone can be undone to its end.
            change.save(update_fields=["count", "made_at"])
        else:
            change.delete()
    return count


def _groups(mailbox: int, messages: Sequence[int], goes_to: Callable[[Place], int]) -> list[Group]:
    """What the messages are that will move, by where and how they lie."""
    Mailbox.objects.select_for_update().filter(pk=mailbox).first()
    lying: dict[Place, list[int]] = defaultdict(list)
    for some in _portions(messages):
        rows = Message.objects.filter(mailbox=mailbox, pk__in=some).values_list(
            "pk", "folder_id", "moved_from_id", "moved_at", "removed_by_pop3", "removed_in_session"
        )
        for pk, folder, home, moved_at, by_pop3, session in rows:
            lying[folder, home, moved_at, by_pop3, session].append(pk)
    return [
        {
            "messages": sorted(ids),
            "was": {
                "folder": place[0],
                "moved_from": place[1],
                "moved_at": place[2].isoformat() if place[2] else None,
                "removed_by_pop3": place[3],
                "removed_in_session": place[4],
            },
            "now": {"folder": goes_to(place)},
        }
        for place, ids in lying.items()
        if goes_to(place) != place[0]
    ]


def _portions(messages: Sequence[int]) -> Iterable[Sequence[int]]:
    return (messages[start : start + STATEMENT_MAX] for start in range(0, len(messages), STATEMENT_MAX))


def _begun(mailbox: int, key: str) -> Change | None:
    return Change.objects.filter(mailbox=mailbox, key=key).first() if key else None


def _remember(mailbox: int, verb: str, groups: list[Group], change: Change | None, key: str) -> Change | None:
    """Add what was done to the change, which the first of its parts makes."""
    count = sum(len(group["messages"]) for group in groups)
    if not count:
        return change
    if change is None:
        _forget_old(mailbox)
        key = key or secrets.token_hex(16)
        change = Change(mailbox_id=mailbox, key=key, verb=verb, count=0)
    change.count += count
    change.made_at = timezone.now()
    change.save()
    ChangePart.objects.create(change=change, groups=groups)
    return change


def _forget_old(mailbox: int) -> None:
    changes = Change.objects.filter(mailbox=mailbox)
    recent = changes.filter(made_at__gt=timezone.now() - UNDOABLE).order_by("-made_at", "-pk")
    kept = list(recent.values_list("pk", flat=True)[: REMEMBERED_MAX - 1])
    changes.exclude(pk__in=kept).delete()


def _take_back(mailbox: int, group: Group) -> int:
    was, now = group["was"], group["now"]
    if "folder" not in was:
        [(name, value)] = was.items()
        return len(set_flag(mailbox, group["messages"], Flag(name), value))
    own = {folder.pk: folder for folder in Folder.objects.filter(mailbox=mailbox)}
    # A folder that was removed meanwhile: its messages go to the inbox, as when they are restored.
    home = own.get(was["folder"]) or next(one for one in own.values() if one.kind == FolderKind.INBOX)
    back = 0
    for some in _portions(group["messages"]):
        lying = Message.objects.filter(mailbox=mailbox, pk__in=some, folder=now["folder"])
        still = list(lying.values_list("pk", flat=True))
        back += verbs.move(mailbox, still, home)
        Message.objects.filter(mailbox=mailbox, pk__in=still).update(
            moved_from=was["moved_from"] if was["moved_from"] in own else None,
            moved_at=parse_datetime(was["moved_at"]) if was["moved_at"] else None,
            removed_by_pop3=was["removed_by_pop3"],
            removed_in_session=was["removed_in_session"],
        )
    return back
