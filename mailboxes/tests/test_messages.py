"""Messages moved, restored and expunged; every counter stays true and every mailbox its owner's."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connections
from django.utils import timezone

from mailboxes import messages
from mailboxes.delivery import preamble
from mailboxes.exceptions import Invalid
from mailboxes.models import (
    Account,
    Content,
    Folder,
    FolderKind,
    ImportedMessage,
    Mailbox,
    Message,
    POP3Delete,
    POP3Session,
    SessionEnd,
)
from mailboxes.retention import recount

Post = Callable[..., list[Message]]


def pop3_session(account: Account, name: str = "s1") -> POP3Session:
    return POP3Session(
        session=name,
        mailbox=account.mailbox,
        login=account.login,
        peer="192.0.2.1",
        started_at=timezone.now(),
        ended_at=timezone.now(),
        ended=SessionEnd.QUIT,
    )


def choose(account: Account, choice: POP3Delete) -> None:
    Mailbox.objects.filter(account=account).update(pop3_delete=choice)


def folder(account: Account, kind: FolderKind) -> Folder:
    return Folder.objects.get(mailbox=account.mailbox, kind=kind)


def lying(account: Account, kind: FolderKind = FolderKind.INBOX) -> list[int]:
    found = Message.objects.in_folder(account.mailbox.pk, kind).order_by("pk")
    return list(found.values_list("pk", flat=True))


def versions(account: Account) -> tuple[int, int]:
    box = Mailbox.objects.get(account=account)
    return box.version, box.rearranged_version


@pytest.fixture
def three(ann: Account, post: Post) -> list[int]:
    return [post(ann)[0].pk for _ in range(3)]


# -- what DELE and QUIT mean --------------------------------------------------------------------


@pytest.mark.parametrize("choice", [POP3Delete.TRASH, POP3Delete.ARCHIVE])
def test_a_pop3_delete_moves_to_where_the_mailbox_says(
    ann: Account, three: list[int], choice: POP3Delete
) -> None:
    choose(ann, choice)
    assert messages.discard(ann.mailbox.pk, three[:2], pop3_session(ann)) == 2
    assert (lying(ann), lying(ann, FolderKind(choice))) == (three[2:], three[:2])
    moved = Message.objects.filter(pk__in=three[:2]).values_list(
        "moved_from", "removed_by_pop3", "removed_in_session"
    )
    assert list(moved) == [(folder(ann, FolderKind.INBOX).pk, True, "s1")] * 2
    assert recount(ann.mailbox.pk)


def test_a_pop3_delete_expunges_where_the_mailbox_says_so(ann: Account, three: list[int]) -> None:
    choose(ann, POP3Delete.EXPUNGE)
    before = Mailbox.objects.get(account=ann).used_bytes
    gone = Message.objects.get(pk=three[0])
    assert messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann)) == 1
    assert list(Message.objects.order_by("pk").values_list("pk", flat=True)) == three[1:]
    assert Mailbox.objects.get(account=ann).used_bytes == before - gone.size
    assert Content.objects.get(pk=gone.content_id).unused_since is not None
    assert recount(ann.mailbox.pk)


def test_the_session_is_recorded_with_what_it_removed_or_neither_is(ann: Account, three: list[int]) -> None:
    messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann))
    assert list(POP3Session.objects.values_list("session", "login")) == [("s1", ann.login)]
    with pytest.raises(IntegrityError):
        messages.discard(ann.mailbox.pk, three[1:], pop3_session(ann))


@pytest.mark.django_db(transaction=True)
def test_a_discard_whose_record_fails_removes_nothing(ann: Account, three: list[int]) -> None:
    messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann))
    with pytest.raises(IntegrityError):
        messages.discard(ann.mailbox.pk, three[1:], pop3_session(ann))
    assert lying(ann) == three[1:]
    assert recount(ann.mailbox.pk)


def test_a_session_that_deletes_nothing_changes_nothing(ann: Account, three: list[int]) -> None:
    before = versions(ann)
    assert messages.discard(ann.mailbox.pk, [], pop3_session(ann)) == 0
    assert versions(ann) == before
    assert POP3Session.objects.count() == 1


@pytest.mark.parametrize("choice", POP3Delete)
def test_what_was_filed_elsewhere_meanwhile_is_passed_over(
    ann: Account, three: list[int], choice: POP3Delete
) -> None:
    choose(ann, choice)
    own = Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name="Keep")
    messages.move(ann.mailbox.pk, three[:1], own)
    messages.expunge(ann.mailbox.pk, three[1:2])
    assert messages.discard(ann.mailbox.pk, three, pop3_session(ann)) == 1
    assert Message.objects.get(pk=three[0]).folder == own
    assert recount(ann.mailbox.pk)


# -- the room that folders take -----------------------------------------------------------------


def octets(account: Account) -> dict[str, int]:
    """Of each folder in which something lies."""
    found = Folder.objects.filter(mailbox=account.mailbox, octets__gt=0)
    return dict(found.values_list("kind", "octets"))


def test_a_folder_knows_the_octets_of_what_lies_in_it(ann: Account, bob: Account, post: Post) -> None:
    [one], [two] = post(ann, text=b"Subject: 1\r\n\r\n.\r\n"), post(ann, text=b"Subject: 2\r\n\r\nlonger\r\n")
    assert octets(ann) == {"inbox": one.size + two.size}
    assert one.size == len(preamble(ann.login)) + len(b"Subject: 1\r\n\r\n.\r\n")
    messages.discard(ann.mailbox.pk, [one.pk], pop3_session(ann))
    assert octets(ann) == {"inbox": two.size, "trash": one.size}
    messages.move(ann.mailbox.pk, [one.pk, two.pk], folder(ann, FolderKind.ARCHIVE))
    assert octets(ann) == {"archive": one.size + two.size}
    messages.restore(ann.mailbox.pk, [two.pk])
    messages.expunge(ann.mailbox.pk, [one.pk])
    assert octets(ann) == {"inbox": two.size}
    messages.expunge(ann.mailbox.pk, [two.pk])
    assert octets(ann) == octets(bob) == {}


def test_what_a_door_of_the_release_before_has_not_counted_can_be_deleted(
    ann: Account, three: list[int]
) -> None:
    Folder.objects.filter(mailbox=ann.mailbox).update(octets=0)
    assert messages.expunge(ann.mailbox.pk, three) == 3
    assert recount(ann.mailbox.pk)


def test_folders_that_were_there_before_are_counted_in_portions(
    ann: Account, bob: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(ann, bob)
    messages.move(ann.mailbox.pk, [post(ann)[0].pk], folder(ann, FolderKind.SENT))
    expected = octets(ann), octets(bob)
    assert [sorted(of) for of in expected] == [["inbox", "sent"], ["inbox"]]
    Folder.objects.update(octets=7)
    step = import_module("mailboxes.migrations.0012_count_octets_of_folders")
    monkeypatch.setattr(step, "AT_ONCE", 5)
    step.count(apps, connections["default"].schema_editor(atomic=False))
    assert (octets(ann), octets(bob)) == expected
    assert recount(ann.mailbox.pk) and recount(bob.mailbox.pk)


# -- back again ---------------------------------------------------------------------------------


def test_a_message_is_restored_to_where_it_was(ann: Account, three: list[int]) -> None:
    own = Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name="Keep")
    messages.move(ann.mailbox.pk, three[:1], own)
    messages.move(ann.mailbox.pk, three[:2], folder(ann, FolderKind.TRASH))
    assert messages.restore(ann.mailbox.pk, three) == 2
    assert (lying(ann), lying(ann, FolderKind.OWN)) == (three[1:], three[:1])
    remembered = Message.objects.filter(moved_from=None, moved_at=None, removed_by_pop3=False)
    assert remembered.count() == 3
    assert recount(ann.mailbox.pk)


def test_a_message_whose_folder_is_gone_is_restored_to_the_inbox(ann: Account, three: list[int]) -> None:
    own = Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name="Keep")
    messages.move(ann.mailbox.pk, three[:1], own)
    messages.move(ann.mailbox.pk, three[:1], folder(ann, FolderKind.TRASH))
    own.delete()
    assert messages.restore(ann.mailbox.pk, three[:1]) == 1
    assert lying(ann) == three


def test_everything_that_one_session_removed_is_restored(ann: Account, three: list[int]) -> None:
    messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann, "s1"))
    messages.discard(ann.mailbox.pk, three[1:], pop3_session(ann, "s2"))
    assert messages.restore_session(ann.mailbox.pk, "s2") == 2
    assert (lying(ann), lying(ann, FolderKind.TRASH)) == (three[1:], three[:1])


def test_no_session_is_not_every_message_that_none_removed(ann: Account, three: list[int]) -> None:
    messages.move(ann.mailbox.pk, three[:1], folder(ann, FolderKind.ARCHIVE))
    assert messages.restore_session(ann.mailbox.pk, "") == 0
    assert lying(ann, FolderKind.ARCHIVE) == three[:1]


# -- UIDLs and versions (invariant 4) -----------------------------------------------------------


def test_a_uidl_never_changes_and_is_never_given_again(ann: Account, post: Post) -> None:
    given = [post(ann)[0] for _ in range(20)]
    first = {message.pk: message.uidl for message in given}
    messages.move(ann.mailbox.pk, list(first), folder(ann, FolderKind.TRASH))
    messages.restore(ann.mailbox.pk, list(first))
    assert dict(Message.objects.values_list("pk", "uidl")) == first
    messages.expunge(ann.mailbox.pk, list(first))
    assert not set(first.values()) & {post(ann)[0].uidl for _ in range(20)}


def test_versions_rise_with_every_change(ann: Account, post: Post) -> None:
    version, _ = versions(ann)
    [message] = post(ann)
    steps: list[Callable[[], Any]] = [
        lambda: messages.move(ann.mailbox.pk, [message.pk], folder(ann, FolderKind.ARCHIVE)),
        lambda: messages.restore(ann.mailbox.pk, [message.pk]),
        lambda: messages.discard(ann.mailbox.pk, [message.pk], pop3_session(ann)),
        lambda: messages.expunge(ann.mailbox.pk, [message.pk]),
    ]
    for raised, step in enumerate(steps, start=version + 2):
        step()
        assert versions(ann) == (raised, raised)


@pytest.mark.parametrize("verb", ["move", "restore", "expunge", "restore_session"])
def test_nothing_asked_is_nothing_changed(ann: Account, verb: str) -> None:
    before = versions(ann)
    asked: dict[str, Callable[[], int]] = {
        "move": lambda: messages.move(ann.mailbox.pk, [], folder(ann, FolderKind.TRASH)),
        "restore": lambda: messages.restore(ann.mailbox.pk, []),
        "expunge": lambda: messages.expunge(ann.mailbox.pk, []),
        "restore_session": lambda: messages.restore_session(ann.mailbox.pk, "unknown"),
    }
    assert asked[verb]() == 0
    assert versions(ann) == before


def test_more_messages_than_one_statement_takes_are_moved_and_expunged(
    ann: Account, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "STATEMENT_MAX", 2)
    assert messages.move(ann.mailbox.pk, three, folder(ann, FolderKind.TRASH)) == 3
    assert messages.restore(ann.mailbox.pk, three) == 3
    assert messages.expunge(ann.mailbox.pk, three) == 3
    assert Content.objects.filter(unused_since=None).count() == 0
    assert recount(ann.mailbox.pk)


def test_read_and_unread_are_counted_apart(ann: Account, post: Post) -> None:
    [[seen], [unseen]] = [post(ann, seen=True), post(ann)]
    messages.move(ann.mailbox.pk, [seen.pk, unseen.pk], folder(ann, FolderKind.ARCHIVE))
    archive = folder(ann, FolderKind.ARCHIVE)
    assert (archive.message_count, archive.unread_count) == (2, 1)
    messages.expunge(ann.mailbox.pk, [unseen.pk])
    archive.refresh_from_db()
    assert (archive.message_count, archive.unread_count) == (1, 0)


# -- whose mail it is (invariant 7) -------------------------------------------------------------


@pytest.mark.parametrize("verb", ["discard", "discard_expunging", "move", "restore", "expunge"])
def test_anothers_messages_are_untouched(ann: Account, bob: Account, post: Post, verb: str) -> None:
    [of_bob, moved_by_bob] = [post(bob, text=b"Subject: secret\r\n\r\n")[0].pk for _ in range(2)]
    messages.move(bob.mailbox.pk, [moved_by_bob], folder(bob, FolderKind.TRASH))
    before = list(Message.objects.order_by("pk").values()), versions(bob)
    if verb == "discard_expunging":
        choose(ann, POP3Delete.EXPUNGE)
    asked = [of_bob, moved_by_bob]
    verbs: dict[str, Callable[[], int]] = {
        "discard": lambda: messages.discard(ann.mailbox.pk, asked, pop3_session(ann)),
        "discard_expunging": lambda: messages.discard(ann.mailbox.pk, asked, pop3_session(ann)),
        "move": lambda: messages.move(ann.mailbox.pk, asked, folder(ann, FolderKind.ARCHIVE)),
        "restore": lambda: messages.restore(ann.mailbox.pk, asked),
        "expunge": lambda: messages.expunge(ann.mailbox.pk, asked),
    }
    assert verbs[verb]() == 0
    assert (list(Message.objects.order_by("pk").values()), versions(bob)) == before
    assert recount(ann.mailbox.pk) and recount(bob.mailbox.pk)


def test_anothers_session_restores_nothing(ann: Account, bob: Account, post: Post) -> None:
    [of_bob] = post(bob)
    messages.discard(bob.mailbox.pk, [of_bob.pk], pop3_session(bob, "bobs"))
    assert messages.restore_session(ann.mailbox.pk, "bobs") == 0
    assert lying(bob, FolderKind.TRASH) == [of_bob.pk]


def test_nothing_is_moved_into_anothers_folder(ann: Account, bob: Account, three: list[int]) -> None:
    with pytest.raises(Invalid, match=r"^that folder belongs to another mailbox$"):
        messages.move(ann.mailbox.pk, three, folder(bob, FolderKind.INBOX))
    assert lying(ann) == three


# -- contents -----------------------------------------------------------------------------------


def test_a_shared_content_is_in_use_until_its_last_message_goes(
    ann: Account, bob: Account, post: Post
) -> None:
    [of_ann, of_bob] = post(ann, bob)
    messages.expunge(ann.mailbox.pk, [of_ann.pk])
    assert Content.objects.get().unused_since is None
    messages.expunge(bob.mailbox.pk, [of_bob.pk])
    assert Content.objects.get().unused_since is not None


@pytest.mark.django_db(transaction=True)
def test_two_who_expunge_the_same_content_at_once_leave_it_marked(
    ann: Account, bob: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sees the other's message until that is committed; yet one must see that none is left."""
    pairs = [post(ann, bob) for _ in range(10)]
    start = threading.Barrier(2)

    def expunge(of: int) -> None:
        try:
            for pair in pairs:
                start.wait(180)  # seconds: only a test that fails waits so long
                messages.expunge(pair[of].mailbox_id, [pair[of].pk])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(expunge, [0, 1]))
    assert Content.objects.filter(unused_since=None).count() == 0
    assert Message.objects.count() == 0


def test_what_an_import_brought_is_known_whatever_became_of_it(ann: Account, bob: Account) -> None:
    ImportedMessage.objects.create(mailbox=ann.mailbox, fingerprint="f1", uidl="u1")
    assert set(messages.imported(ann.mailbox.pk, ["f1", "f2"])) == {"f1"}
    assert messages.imported(bob.mailbox.pk, ["f1", "f2"]) == {}


def test_the_size_of_every_message_is_that_of_its_content_and_its_preamble(
    ann: Account, bob: Account, post: Post
) -> None:
    post(ann, bob)
    post("ann+detail@example.test", text=b".\r\n..\r\nx\r\n")
    for message in Message.objects.select_related("content"):
        assert message.size == message.content.octets + len(preamble(message.envelope_recipient))
        assert isinstance(message.content_id, uuid.UUID)
