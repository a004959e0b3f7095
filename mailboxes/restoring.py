"""Deleted mail brought back by staff: one message, what one session deleted, or all since a moment.

Deleted is what lies in the trash, and what a POP3 program removed from the inbox, wherever it went. A
session is one of POP3, or of a browser.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from mailboxes import audit, messages
from mailboxes.audit import Who
from mailboxes.models import Account, Folder, FolderKind, Mailbox, Message


def restore_messages(account: Account, chosen: Sequence[int], *, actor: Who) -> int:
    """Put deleted messages back to where they lay; returns how many. What is not deleted stays."""
    found = [
        one for some in _deleted(account) for one in some.filter(pk__in=chosen).values_list("pk", flat=True)
    ]
    return _restore(account, found, actor, {})


def restore_session(account: Account, session: str, *, actor: Who) -> int:
    """Put back everything that one session deleted; returns how many."""
    if not session:
        return 0
    found = Message.objects.filter(mailbox__account=account, removed_in_session=session)
    return _restore(account, list(found.values_list("pk", flat=True)), actor, {"session": session})


def sessions_to_undo(mailbox: int, sessions: Sequence[str]) -> set[str]:
    """Of which of these sessions anything is left that can be put back."""
    found = Message.objects.filter(mailbox=mailbox, removed_in_session__in=sessions)
    return set(found.exclude(removed_in_session="").values_list("removed_in_session", flat=True).distinct())


def restore_since(account: Account, moment: datetime, *, actor: Who) -> int:
    """Put back everything that was deleted since a moment, by whatever door; returns how many."""
    found = [
        one
        for some in _deleted(account)
        for one in some.filter(moved_at__gte=moment).values_list("pk", flat=True)
    ]
    return _restore(account, found, actor, {"since": moment.isoformat(timespec="seconds")})


def _deleted(account: Account) -> "tuple[QuerySet[Message], QuerySet[Message]]":
    """Two sets that have no message in common, each with an index of its own."""
    mailbox = Mailbox.objects.get(account=account)
    trash = Folder.objects.get(mailbox=mailbox, kind=FolderKind.TRASH)
    # What a browser deleted lies in the trash as long as it bears the name of its session.
    by_pop3 = Message.objects.filter(~Q(removed_in_session=""), mailbox=mailbox).exclude(folder=trash)
    return Message.objects.filter(mailbox=mailbox, folder=trash), by_pop3


def _restore(account: Account, chosen: Sequence[int], actor: Who, what: dict[str, str]) -> int:
    if not chosen:
        return 0
    with transaction.atomic():
        restored = messages.restore(Mailbox.objects.get(account=account).pk, chosen)
        audit.write("restore_mail", account.login, actor, after={"messages": restored, **what})
    return restored
