"""One act on more messages than anybody waits for: in portions, counted truly, undone as any other."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from mailboxes import change_errands, changes, errands, messages, search
from mailboxes.folders import create_folder, remove_folder
from mailboxes.indexing import drain
from mailboxes.listing import Cursor, newest_in
from mailboxes.models import Account, Change, Errand, ErrandKind, ErrandState, Folder, FolderKind, Message
from mailboxes.retention import recount
from mailboxes.tests.errand_tools import done
from mailboxes.tests.test_messages import folder, lying

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]
MANY = 7


class Killed(BaseException):
    """What no `except Exception` sees."""


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: None)
    monkeypatch.setattr(changes, "STATEMENT_MAX", 2)
    monkeypatch.setattr(search, "PAGE_MAX", 2)


@pytest.fixture(autouse=True)
def in_english() -> Iterator[None]:
    """Whatever a page has spoken before."""
    with translation.override("en"):
        yield


@pytest.fixture
def many(ann: Account, post: Post) -> list[int]:
    return [post(ann, text=b"Subject: The shed %d\r\n\r\nx\r\n" % n)[0].pk for n in range(MANY)]


def asked(account: Account, verb: str, to: Folder | None = None, **more: Any) -> dict[str, Any]:
    inbox = folder(account, FolderKind.INBOX)
    where = {"within": inbox.pk, "newest": newest_in(inbox)}
    return where | {"verb": verb, "to": to.pk if to else None, "title": "x"} | more


def found(query: str, **more: Any) -> dict[str, Any]:
    before = str(Cursor(timezone.now() + timedelta(seconds=1), 0))
    return {"query": query, "before": before, "within": None, "newest": None} | more


def kill_after(monkeypatch: pytest.MonkeyPatch, portions: int) -> None:
    """The worker dies behind so many portions, in the middle of the next one."""
    real, seen = errands.Work.note, [0]

    def note(work: errands.Work, done: int = 0, **result: Any) -> None:
        seen[0] += 1
        if seen[0] > portions:
            raise Killed
        real(work, done, **result)

    monkeypatch.setattr(errands.Work, "note", note)


def killed_and_taken_over(
    account: Account, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Errand, int]:
    """An errand whose first worker dies; and how many messages were changed by then."""
    errand = errands.ask(ErrandKind.CHANGE, account, account.mailbox, arguments)
    with monkeypatch.context() as patched:
        kill_after(patched, 2)
        with pytest.raises(Killed):
            errands.run(errand.key)
    Errand.objects.update(seen_at=timezone.now() - 2 * errands.DEAD_AFTER)
    errand.refresh_from_db()
    by_then = errand.result["count"]
    errands.run(errand.key)
    errand.refresh_from_db()
    return errand, by_then


def test_all_of_a_folder_is_moved_counted_and_put_back(ann: Account, many: list[int], post: Post) -> None:
    arguments = asked(ann, "archive", folder(ann, FolderKind.ARCHIVE))
    late = post(ann)[0].pk
    errand = done(ErrandKind.CHANGE, ann, arguments)
    assert (errand.state, errand.percent, errand.result) == (ErrandState.DONE, 100, {"count": MANY})
    assert (lying(ann, FolderKind.ARCHIVE), lying(ann)) == (many, [late]), "not what came later"
    change = changes.undoable(ann.mailbox.pk, errand.key)
    assert change is not None and change.count == MANY
    assert change.parts.count() == 4, "no row holds all of it"
    assert changes.undo(ann.mailbox.pk, errand.key) == MANY
    assert lying(ann) == [*many, late]
    assert recount(ann.mailbox.pk) and not Change.objects.exists()


@pytest.mark.parametrize("verb", ["seen", "star", "archive", "move", "trash"])
def test_a_worker_that_dies_leaves_nothing_half_done(
    ann: Account, many: list[int], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = {"archive": FolderKind.ARCHIVE, "move": FolderKind.JUNK, "trash": FolderKind.TRASH}.get(verb)
    before = list(Message.objects.order_by("pk").values("folder", "seen", "starred", "moved_from"))
    target = folder(ann, to) if to else None
    errand, by_then = killed_and_taken_over(ann, asked(ann, verb, target), monkeypatch)
    assert (errand.state, errand.attempts, by_then) == (ErrandState.DONE, 2, 4)
    assert errand.result == {"count": MANY}
    assert recount(ann.mailbox.pk)
    assert changes.undo(ann.mailbox.pk, errand.key) == MANY
    assert list(Message.objects.order_by("pk").values("folder", "seen", "starred", "moved_from")) == before


def test_what_is_removed_for_good_is_counted_once(
    ann: Account, many: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trash = folder(ann, FolderKind.TRASH)
    messages.move(ann.mailbox.pk, many, trash)
    arguments = asked(ann, "expunge", within=trash.pk, newest=newest_in(trash))
    errand, by_then = killed_and_taken_over(ann, arguments, monkeypatch)
    assert (by_then, errand.result) == (4, {"count": MANY})
    assert not Message.objects.exists() and recount(ann.mailbox.pk)
    assert changes.undoable(ann.mailbox.pk, errand.key) is None


@pytest.mark.parametrize("indexed", [True, False])
def test_all_that_match_is_every_match(ann: Account, many: list[int], post: Post, indexed: bool) -> None:
    other = post(ann, text=b"Subject: Garden\r\n\r\nx\r\n")[0].pk
    if indexed:
        drain()
    arguments = asked(ann, "trash", folder(ann, FolderKind.TRASH), **found("shed"))
    errand = done(ErrandKind.CHANGE, ann, arguments)
    assert (errand.result, errand.percent) == ({"count": MANY}, 100)
    assert (lying(ann, FolderKind.TRASH), lying(ann)) == (many, [other])


def test_what_matches_no_more_once_it_was_changed_is_not_forgotten(ann: Account, many: list[int]) -> None:
    drain()
    errand = done(ErrandKind.CHANGE, ann, asked(ann, "seen", **found("is:unread shed")))
    assert errand.result == {"count": MANY}
    assert not Message.objects.filter(seen=False).exists()


def test_days_are_reckoned_from_when_it_was_asked_for(ann: Account, many: list[int]) -> None:
    Message.objects.update(received_at=timezone.now() - timedelta(days=7))
    drain()
    arguments = asked(ann, "seen", **found("before:5d"))
    errand = errands.ask(ErrandKind.CHANGE, ann, ann.mailbox, arguments)
    Errand.objects.update(asked_at=timezone.now() - timedelta(days=4))
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == (ErrandState.DONE, {"count": 0})


def test_the_last_of_a_page_may_be_removed_meanwhile(ann: Account, many: list[int]) -> None:
    drain()
    matches = search.every_match(ann.mailbox.pk, "shed", before=Cursor.read(found("")["before"]))  # type: ignore[arg-type]  # it is one
    first = next(matches).messages
    messages.expunge(ann.mailbox.pk, first[-1:])
    assert sorted([*first, *(pk for page in matches for pk in page.messages)]) == many


def test_a_search_that_takes_too_long_changes_nothing(
    ann: Account, many: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed_out = search.Found(messages=many[:1], timed_out=True)
    monkeypatch.setattr(change_errands, "every_match", lambda *_, **__: iter([timed_out]))
    errand = done(ErrandKind.CHANGE, ann, asked(ann, "seen", **found("shed")))
    assert errand.state == ErrandState.FAILED and "too long" in errand.reason
    assert not Message.objects.filter(seen=True).exists()


def test_cancelling_keeps_what_was_done_and_it_can_be_undone(
    ann: Account, many: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = errands.Work.note

    def note(work: errands.Work, done: int = 0, **result: Any) -> None:
        real(work, done, **result)
        if result["count"] == 4:
            errands.cancel(work.errand)

    monkeypatch.setattr(errands.Work, "note", note)
    arguments = asked(ann, "archive", folder(ann, FolderKind.ARCHIVE))
    errand = done(ErrandKind.CHANGE, ann, arguments)
    assert (errand.state, errand.result) == (ErrandState.CANCELLED, {"count": 4})
    assert len(lying(ann, FolderKind.ARCHIVE)) == 4
    assert changes.undo(ann.mailbox.pk, errand.key) == 4
    assert lying(ann) == many


def test_undoing_is_an_errand_too_and_may_be_taken_over(
    ann: Account, many: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = done(ErrandKind.CHANGE, ann, asked(ann, "archive", folder(ann, FolderKind.ARCHIVE))).key
    errand, by_then = killed_and_taken_over(ann, {"verb": "undo", "change": key}, monkeypatch)
    assert 0 < by_then < MANY
    assert (errand.state, errand.result, errand.percent) == (ErrandState.DONE, {"count": MANY}, 100)
    assert lying(ann) == many and recount(ann.mailbox.pk)
    again = done(ErrandKind.CHANGE, ann, {"verb": "undo", "change": key})
    assert again.reason == "That cannot be undone any more."


def test_what_waits_to_be_undone_is_not_forgotten_meanwhile(ann: Account, many: list[int]) -> None:
    key = done(ErrandKind.CHANGE, ann, asked(ann, "archive", folder(ann, FolderKind.ARCHIVE))).key
    Change.objects.update(made_at=timezone.now() - changes.UNDOABLE + timedelta(minutes=1))
    errand = change_errands.ask_to_undo(ann, ann.mailbox, key, "Undo")
    assert errand is not None
    Change.objects.update(made_at=Change.objects.get().made_at - timedelta(minutes=30))
    errands.run(errand.key)
    assert lying(ann) == many
    assert change_errands.ask_to_undo(ann, ann.mailbox, key, "Undo") is None


def test_nobody_s_mail_but_the_asker_s(ann: Account, bob: Account, many: list[int]) -> None:
    key = done(ErrandKind.CHANGE, ann, asked(ann, "star")).key
    inbox, archive = folder(ann, FolderKind.INBOX), folder(bob, FolderKind.ARCHIVE)
    arguments = asked(bob, "archive", archive, within=inbox.pk, newest=newest_in(inbox))
    assert "not there any more" in done(ErrandKind.CHANGE, bob, arguments).reason
    assert done(ErrandKind.CHANGE, bob, {"verb": "undo", "change": key}).state == ErrandState.FAILED
    assert change_errands.ask_to_undo(bob, bob.mailbox, key, "Undo") is None
    assert done(ErrandKind.CHANGE, bob, asked(bob, "trash", archive, **found("shed"))).result == {"count": 0}
    assert lying(ann) == many and Message.objects.filter(starred=True).count() == MANY


def test_a_folder_that_is_gone_is_said(ann: Account, many: list[int]) -> None:
    own = create_folder(ann.mailbox.pk, "Bills")
    arguments = asked(ann, "move", own)
    remove_folder(ann.mailbox.pk, own.pk)
    reason = done(ErrandKind.CHANGE, ann, arguments).reason
    assert reason == "The folder that you chose is not there any more."
