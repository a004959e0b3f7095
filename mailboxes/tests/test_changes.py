"""What an owner does can be undone exactly, once, and by nobody else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import changes, messages
from mailboxes.exceptions import Invalid
from mailboxes.flags import Flag, set_flag
from mailboxes.folders import FOLDERS_MAX, create_folder, remove_folder, rename_folder
from mailboxes.models import Account, Change, Folder, FolderKind, Mailbox, Message
from mailboxes.retention import recount
from mailboxes.tests.test_messages import folder, lying, pop3_session, versions

Post = Callable[..., list[Message]]
STATE = ("pk", "folder", "moved_from", "moved_at", "removed_by_pop3", "removed_in_session", "seen", "starred")


@pytest.fixture
def three(ann: Account, post: Post) -> list[int]:
    return [post(ann)[0].pk for _ in range(3)]


def state() -> list[Any]:
    return list(Message.objects.order_by("pk").values_list(*STATE))


# -- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("flag", Flag)
def test_a_flag_is_set_and_counted(ann: Account, three: list[int], flag: Flag, value: bool) -> None:
    set_flag(ann.mailbox.pk, three[:1], flag, not value)
    version, rearranged = versions(ann)
    changed = set_flag(ann.mailbox.pk, three, flag, value)
    assert set(Message.objects.values_list(flag.value, flat=True)) == {value}
    assert three[0] in changed
    assert recount(ann.mailbox.pk)
    # POP3's listing is as it was.
    assert versions(ann) == (version + 1, rearranged)


def test_setting_what_is_set_changes_nothing(ann: Account, three: list[int]) -> None:
    set_flag(ann.mailbox.pk, three, Flag.SEEN, True)
    before = versions(ann)
    assert set_flag(ann.mailbox.pk, three, Flag.SEEN, True) == []
    assert changes.flag(ann.mailbox.pk, three, Flag.SEEN, True) is None
    assert versions(ann) == before


# -- undo ---------------------------------------------------------------------------------------


def _acts(account: Account, chosen: list[int]) -> dict[str, Callable[[], Change | None]]:
    mailbox = account.mailbox.pk
    return {
        "seen": lambda: changes.flag(mailbox, chosen, Flag.SEEN, True),
        "star": lambda: changes.flag(mailbox, chosen, Flag.STARRED, True),
        "archive": lambda: changes.move(mailbox, chosen, folder(account, FolderKind.ARCHIVE)),
        "trash": lambda: changes.move(mailbox, chosen, folder(account, FolderKind.TRASH)),
        "inbox": lambda: changes.move(mailbox, chosen, folder(account, FolderKind.INBOX)),
        "restore": lambda: changes.restore(mailbox, chosen),
        "restore_session": lambda: changes.restore_session(mailbox, "s1"),
    }


@pytest.mark.parametrize("act", ["seen", "star", "archive", "trash", "inbox", "restore", "restore_session"])
def test_undoing_makes_everything_what_it_was(ann: Account, three: list[int], act: str) -> None:
    """Also what lay in the trash: as old as it was, and still deleted by that mail program."""
    messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann))
    messages.move(ann.mailbox.pk, three[1:2], folder(ann, FolderKind.JUNK))
    long_ago = timezone.now() - timedelta(days=9)
    Message.objects.filter(pk=three[0]).update(moved_at=long_ago)
    before = state()
    change = _acts(ann, three)[act]()
    assert change is not None
    assert state() != before
    assert changes.undo(ann.mailbox.pk, change.key) == change.count
    assert state() == before
    assert recount(ann.mailbox.pk)


def test_a_change_is_undone_once(ann: Account, three: list[int]) -> None:
    change = changes.move(ann.mailbox.pk, three, folder(ann, FolderKind.TRASH))
    assert change is not None
    assert changes.undo(ann.mailbox.pk, change.key) == 3
    assert changes.undo(ann.mailbox.pk, change.key) == 0


def test_what_was_changed_again_since_stays(ann: Account, three: list[int]) -> None:
    change = changes.move(ann.mailbox.pk, three, folder(ann, FolderKind.TRASH))
    assert change is not None
    messages.move(ann.mailbox.pk, three[:1], folder(ann, FolderKind.ARCHIVE))
    messages.expunge(ann.mailbox.pk, three[1:2])
    assert changes.undo(ann.mailbox.pk, change.key) == 1
    assert (lying(ann), lying(ann, FolderKind.ARCHIVE)) == (three[2:], three[:1])
    assert recount(ann.mailbox.pk)


def test_a_change_is_undone_by_its_owner_only(ann: Account, bob: Account, three: list[int]) -> None:
    change = changes.move(ann.mailbox.pk, three, folder(ann, FolderKind.TRASH))
    assert change is not None
    assert changes.undo(bob.mailbox.pk, change.key) == 0
    assert lying(ann, FolderKind.TRASH) == three


def test_messages_whose_folder_is_gone_come_back_to_the_inbox(ann: Account, three: list[int]) -> None:
    own = create_folder(ann.mailbox.pk, "Bills")
    messages.move(ann.mailbox.pk, three, own)
    change = changes.move(ann.mailbox.pk, three, folder(ann, FolderKind.ARCHIVE))
    assert change is not None
    remove_folder(ann.mailbox.pk, own.pk)
    assert changes.undo(ann.mailbox.pk, change.key) == 3
    assert lying(ann) == three


def test_an_old_change_is_forgotten(ann: Account, three: list[int]) -> None:
    change = changes.move(ann.mailbox.pk, three, folder(ann, FolderKind.TRASH))
    assert change is not None
    Change.objects.update(made_at=timezone.now() - changes.UNDOABLE - timedelta(seconds=1))
    assert changes.undo(ann.mailbox.pk, change.key) == 0
    changes.flag(ann.mailbox.pk, three, Flag.SEEN, True)
    assert Change.objects.count() == 1


def test_so_many_changes_are_remembered(
    ann: Account, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "REMEMBERED_MAX", 2)
    for value in (True, False, True, False):
        changes.flag(ann.mailbox.pk, three, Flag.STARRED, value)
    assert [change.verb for change in Change.objects.order_by("pk")] == ["starred", "unstarred"]


@pytest.mark.parametrize("act", ["seen", "star", "archive", "trash", "inbox", "restore", "restore_session"])
def test_anothers_messages_are_untouched(ann: Account, bob: Account, three: list[int], act: str) -> None:
    messages.discard(ann.mailbox.pk, three[:1], pop3_session(ann))
    before = state()
    assert _acts(bob, three)[act]() is None
    assert state() == before


def test_nothing_is_moved_into_anothers_folder(ann: Account, bob: Account, three: list[int]) -> None:
    with pytest.raises(Invalid):
        changes.move(ann.mailbox.pk, three, folder(bob, FolderKind.INBOX))
    assert lying(ann) == three


def test_more_messages_than_one_statement_takes(
    ann: Account, three: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "STATEMENT_MAX", 2)
    monkeypatch.setattr("mailboxes.flags.STATEMENT_MAX", 2)
    before = state()
    for act in ("seen", "archive"):
        change = _acts(ann, three)[act]()
        assert change is not None
        assert changes.undo(ann.mailbox.pk, change.key) == 3
    assert state() == before


# -- own folders --------------------------------------------------------------------------------


def test_a_folder_is_made_renamed_and_removed(ann: Account) -> None:
    version, _ = versions(ann)
    made = create_folder(ann.mailbox.pk, "  Bills  of 2026 ")
    assert made.name == "Bills of 2026"
    rename_folder(ann.mailbox.pk, made.pk, "Rechnungen")
    assert Folder.objects.get(pk=made.pk).name == "Rechnungen"
    remove_folder(ann.mailbox.pk, made.pk)
    assert not Folder.objects.filter(pk=made.pk).exists()
    assert Mailbox.objects.get(account=ann).version == version + 3


def test_a_folder_may_change_the_case_of_its_name(ann: Account) -> None:
    made = create_folder(ann.mailbox.pk, "bills")
    rename_folder(ann.mailbox.pk, made.pk, "Bills")
    assert Folder.objects.get(pk=made.pk).name == "Bills"


@pytest.mark.parametrize("name", ["", "  ", "inbox", "TRASH", "x" * 101, "a\u202eb", "a\x00b"])
def test_a_name_that_is_none_or_taken_is_refused(ann: Account, name: str) -> None:
    with pytest.raises(Invalid):
        create_folder(ann.mailbox.pk, name)
    own = create_folder(ann.mailbox.pk, "Own")
    with pytest.raises(Invalid):
        rename_folder(ann.mailbox.pk, own.pk, name)


def test_a_folder_with_mail_is_not_removed(ann: Account, three: list[int]) -> None:
    own = create_folder(ann.mailbox.pk, "Own")
    messages.move(ann.mailbox.pk, three[:1], own)
    with pytest.raises(Invalid, match=r"^the folder is not empty"):
        remove_folder(ann.mailbox.pk, own.pk)
    assert Folder.objects.filter(pk=own.pk).exists()


def test_no_folder_but_ones_own_is_renamed_or_removed(ann: Account, bob: Account) -> None:
    of_bob = create_folder(bob.mailbox.pk, "Bobs")
    for other in (of_bob.pk, folder(ann, FolderKind.ARCHIVE).pk, 0):
        with pytest.raises(Invalid, match=r"^there is no such folder$"):
            rename_folder(ann.mailbox.pk, other, "Mine")
        with pytest.raises(Invalid, match=r"^there is no such folder$"):
            remove_folder(ann.mailbox.pk, other)


def test_there_is_an_end_to_folders(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailboxes.folders.FOLDERS_MAX", 2)
    for name in ("one", "two"):
        create_folder(ann.mailbox.pk, name)
    with pytest.raises(Invalid):
        create_folder(ann.mailbox.pk, "three")
    assert FOLDERS_MAX >= 100
