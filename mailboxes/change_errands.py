"""Long work of a subscriber on the mail that is here: one act on more messages than anybody waits for.

What it is about is settled at the beginning: all of a folder up to a message, all that matched at a moment.
It is done in portions, each with its change, that can be undone, and its count in the errand's row in one
transaction; so a worker that dies leaves nothing half done, and whoever goes on tells the true number.
"""

from array import array
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from mailboxes import changes, errands, messages
from mailboxes.errands import Refused, Work
from mailboxes.flags import Flag
from mailboxes.listing import Cursor, all_in
from mailboxes.models import Account, Errand, ErrandKind, Folder, Mailbox, Message
from mailboxes.search import every_match

FLAGS = {
    "seen": (Flag.SEEN, True),
    "unseen": (Flag.SEEN, False),
    "star": (Flag.STARRED, True),
    "unstar": (Flag.STARRED, False),
}
# Numbers of messages are read so many at once.
PAGE = 2_000


def ask_to_undo(account: Account, mailbox: Mailbox, key: str, title: str) -> Errand | None:
    """Ask for a change to be undone by a worker. None: it cannot be undone any more. TooMany."""
    if not changes.keep(mailbox.pk, key):
        return None
    arguments = {"verb": "undo", "change": key, "title": title}
    return errands.ask(ErrandKind.CHANGE, account, mailbox, arguments)


@errands.runner(ErrandKind.CHANGE)
def change(work: Work) -> None:
    """Arguments: `verb`; for moves `to`, a folder's number; and on what: `within` (a folder) and `newest` (a
    message), or `query`, `before` (a cursor) and `within`, or `session` (of POP3).
    `browser`: the web session in which it was asked for. To undo: `change`. In messages."""
    work.result = {"count": 0} | work.result
    if work.arguments["verb"] == "undo":
        _undo(work)
        return
    perform = _performer(work)
    chosen = _chosen(work)
    work.expect(len(chosen))
    for start in range(0, len(chosen), changes.STATEMENT_MAX):
        some = chosen[start : start + changes.STATEMENT_MAX].tolist()
        with transaction.atomic():
            _lock(work)
            work.note(len(some), count=perform(some))


def _undo(work: Work) -> None:
    mailbox, key = work.mailbox.pk, work.arguments["change"]
    left = changes.undoable(mailbox, key)
    if left is None and not work.result["count"]:
        raise Refused(_("That cannot be undone any more."))
    work.expect(work.result["count"] + (left.count if left is not None else 0))
    work.step(work.result["count"])
    more = True
    while more:
        with transaction.atomic():
            _lock(work)
            count = changes.undo_a_group(mailbox, key)
            more = count is not None
            work.note(count or 0, count=work.result["count"] + (count or 0))


def _lock(work: Work) -> None:
    """The mailbox's row first, as every verb does: changes to one mailbox happen one after the other."""
    Mailbox.objects.select_for_update().filter(pk=work.mailbox.pk).first()


def _performer(work: Work) -> Callable[[list[int]], int]:
    """What is done to some messages; returns how many the errand has changed by then."""
    mailbox, key, asked = work.mailbox.pk, work.errand.key, work.arguments
    verb = asked["verb"]
    if verb in FLAGS:
        return lambda some: _count(changes.flag(mailbox, some, *FLAGS[verb], key=key))
    if verb in {"restore", "restore_session"}:
        return lambda some: _count(changes.restore(mailbox, some, key=key))
    if verb == "expunge":
        within = int(asked["within"])
        return lambda some: work.result["count"] + messages.expunge(mailbox, some, still_in=within)
    folder = _folder(work, asked["to"])
    browser = asked.get("browser", "")
    return lambda some: _count(changes.move(mailbox, some, folder, key=key, browser=browser))


def _count(done: Any) -> int:
    return done.count if done is not None else 0


def _folder(work: Work, number: int | None) -> Folder:
    folder = Folder.objects.filter(mailbox=work.mailbox, pk=number or 0).first()
    if folder is None:
        raise Refused(_("The folder that you chose is not there any more."))
    return folder


def _chosen(work: Work) -> "array[int]":
    """The numbers of the messages, 8 octets each."""
    asked = work.arguments
    if "query" in asked:
        return _matching(work)
    if "session" in asked:
        found = Message.objects.filter(mailbox=work.mailbox, removed_in_session=asked["session"])
        return array("q", found.values_list("pk", flat=True).iterator(chunk_size=PAGE))
    ids = all_in(_folder(work, asked["within"]), int(asked["newest"]))
    return array("q", ids.iterator(chunk_size=PAGE))


def _matching(work: Work) -> "array[int]":
    asked, chosen = work.arguments, array("q")
    before = Cursor.read(asked["before"])
    assert before is not None, "looked at by whoever asked"
    now = work.errand.asked_at
    pages = every_match(work.mailbox.pk, asked["query"], before=before, folder=asked["within"], now=now)
    for page in pages:
        if page.timed_out:
            raise Refused(_("The search takes too long. Narrow it down, for example by after:2026-01."))
        chosen.extend(page.messages)
        work.step()
    return chosen
