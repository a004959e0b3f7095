"""What is kept how long, and that what is in use is never removed."""

import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from mailboxes import messages, retention, storage, tasks
from mailboxes.addresses import add_address
from mailboxes.exceptions import ContentMissing, StoreUnavailable
from mailboxes.models import (
    Account,
    AddressKind,
    Content,
    DeliveryRecord,
    Folder,
    FolderKind,
    Forwarding,
    LoginThrottle,
    Message,
    POP3Session,
)
from mailboxes.storage import Spool, read_content

Post = Callable[..., list[Message]]
Later = Callable[..., Any]


def trash(account: Account, *gone: Message, kind: FolderKind = FolderKind.TRASH) -> None:
    to = Folder.objects.get(mailbox=account.mailbox, kind=kind)
    messages.move(account.mailbox.pk, [message.pk for message in gone], to)


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*/*") if path.parent.name != "spool")


def kept(text: bytes = b"x\r\n") -> uuid.UUID:
    spool = Spool()
    spool.add(text)
    return spool.keep()


# -- trash --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FolderKind.TRASH, FolderKind.JUNK])
def test_what_lay_thirty_days_in_trash_or_junk_goes(
    ann: Account, post: Post, later: Later, kind: FolderKind
) -> None:
    [[old], [inbox]] = [post(ann), post(ann)]
    trash(ann, old, kind=kind)
    assert retention.empty_old_trash(later(days=29)) == 0
    assert retention.empty_old_trash(later(days=30, minutes=1)) == 1
    assert list(Message.objects.values_list("pk", flat=True)) == [inbox.pk]
    assert retention.recount(ann.mailbox.pk)


def test_trash_of_everybody_goes_however_much_it_is(
    ann: Account, bob: Account, post: Post, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for account in (ann, bob):
        trash(account, *[post(account)[0] for _ in range(5)])
        trash(account, *post(account), kind=FolderKind.JUNK)
    assert retention.empty_old_trash(later(days=31)) == 12
    assert Message.objects.count() == 0


def test_what_its_owner_takes_out_of_the_trash_meanwhile_stays(
    ann: Account, post: Post, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = post(ann)
    trash(ann, message)
    found = [[message.pk], []]
    monkeypatch.setattr(retention, "_old_messages", lambda *_: found.pop(0))
    messages.restore(ann.mailbox.pk, [message.pk])
    trash(ann, *post(ann))  # so that the folder is looked at
    assert retention.empty_old_trash(later(days=31)) == 0
    assert Message.objects.filter(pk=message.pk).exists()


def test_room_is_made_only_if_the_trash_has_as_much(ann: Account, post: Post) -> None:
    [[first], [second], [inbox]] = [post(ann), post(ann), post(ann)]
    trash(ann, first)
    trash(ann, second)
    assert retention.make_room(ann.mailbox.pk, first.size + second.size + 1) == 0
    assert Message.objects.count() == 3
    assert retention.make_room(ann.mailbox.pk, first.size) == first.size
    assert set(Message.objects.values_list("pk", flat=True)) == {second.pk, inbox.pk}
    assert retention.make_room(987_654, 1) == 0


# -- records ------------------------------------------------------------------------------------


def test_old_records_go_and_new_ones_stay(db: None, later: Later, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for days in (-91, -91, -91, -89):
        at = later(days=days)
        DeliveryRecord.objects.create(at=at, recipient="x", code="250", door="lmtp")
        POP3Session.objects.create(
            session=uuid.uuid4().hex, login="x", peer="y", started_at=at, ended_at=at, ended="quit"
        )
    for hours in (-25, -23):
        LoginThrottle.objects.create(key=f"{hours}", last_failure_at=later(hours=hours))
    assert retention.forget_old_records() == 7
    counts = DeliveryRecord.objects.count(), POP3Session.objects.count(), LoginThrottle.objects.count()
    assert counts == (1, 1, 1)


# -- the sweep ----------------------------------------------------------------------------------


def test_an_unused_content_waits_out_its_grace_time(
    ann: Account, post: Post, later: Later, content_root: Path
) -> None:
    [message] = post(ann)
    messages.expunge(ann.mailbox.pk, [message.pk])
    assert retention.sweep(later(hours=23)) == 0
    assert b"".join(read_content(message.content_id)) != b""
    assert retention.sweep(later(hours=25)) == 1
    with pytest.raises(ContentMissing):
        list(read_content(message.content_id))
    assert (Content.objects.count(), files(content_root)) == (0, [])


def test_content_in_use_is_never_removed(
    ann: Account, bob: Account, post: Post, later: Later, content_root: Path
) -> None:
    [of_ann, of_bob] = post(ann, bob)
    messages.expunge(ann.mailbox.pk, [of_ann.pk])
    # Even where the mark is wrong.
    Content.objects.update(unused_since=later(days=-400))
    assert retention.sweep(later(days=2), everything=True) == 0
    assert retention.sweep(later(days=4_000), everything=True) == 0
    assert files(content_root) == [of_bob.content_id.hex]


def test_content_that_waits_to_be_forwarded_is_in_use(
    ann: Account, post: Post, later: Later, outsider: str, content_root: Path
) -> None:
    add_address("away@example.test", AddressKind.FORWARD, [ann.mailbox], [outsider])
    [message] = post("away@example.test")
    messages.expunge(ann.mailbox.pk, [message.pk])
    assert retention.sweep(later(days=60), everything=True) == 0
    Forwarding.objects.update(sent_at=timezone.now())
    assert retention.sweep(everything=True) == 0  # from now on it is unused
    assert retention.sweep(later(days=2)) == 1
    assert (Content.objects.count(), Forwarding.objects.count(), files(content_root)) == (0, 0, [])


def test_an_orphan_goes_after_the_grace_time_and_not_before(
    db: None, later: Later, content_root: Path
) -> None:
    kept()
    assert retention.sweep(later(hours=23)) == 0
    assert retention.sweep(later(hours=25)) == 1
    assert list(content_root.glob("[0-9a-f]*")) == []


def test_an_old_orphan_goes_when_everything_is_looked_at(db: None, later: Later) -> None:
    kept()
    assert retention.sweep(later(days=400)) == 0
    assert retention.sweep(later(days=400), everything=True) == 1


def test_a_file_that_is_none_of_ours_is_left_alone(db: None, later: Later, content_root: Path) -> None:
    folder = Path(str(storage.local_path(kept()))).parent
    strange = [folder / "README", folder / ("z" * 32), content_root / "lost+found" / "x"]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert retention.sweep(later(days=2)) == 1
    assert [path.exists() for path in strange] == [True] * 3


def test_a_sweep_that_died_between_files_and_rows_is_finished_by_the_next(
    ann: Account, post: Post, later: Later, monkeypatch: pytest.MonkeyPatch, content_root: Path
) -> None:
    gone = [post(ann)[0] for _ in range(3)]
    messages.expunge(ann.mailbox.pk, [message.pk for message in gone])
    remove = storage.remove_content
    removed: list[uuid.UUID] = []

    def dies(key: uuid.UUID) -> None:
        if len(removed) == 2:
            raise StoreUnavailable("content storage: OSError")
        removed.append(key)
        remove(key)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove_content", dies)
        with pytest.raises(StoreUnavailable):
            retention.sweep(later(days=200))
    assert len(files(content_root)) == 1
    # Long after those files' own time: the rows still say what is to be removed.
    assert retention.sweep(later(days=200)) == 3
    assert (Content.objects.count(), files(content_root)) == (0, [])


def test_what_a_dead_process_spooled_goes(db: None, later: Later, content_root: Path) -> None:
    spool = Spool()
    spool.add(b"half a mess")
    spool.flush()
    assert len(os.listdir(content_root / "spool")) == 1
    assert retention.sweep() == 0
    assert retention.sweep(later(hours=25)) == 1
    assert os.listdir(content_root / "spool") == []
    spool.discard()


def test_a_store_without_mail_is_swept_too(db: None) -> None:
    assert retention.sweep(everything=True) == 0


def test_a_wrong_counter_is_noticed(ann: Account, post: Post) -> None:
    post(ann)
    assert retention.recount(ann.mailbox.pk)
    inbox = Folder.objects.filter(mailbox=ann.mailbox, kind=FolderKind.INBOX)
    inbox.update(message_count=2)
    assert not retention.recount(ann.mailbox.pk)
    inbox.update(message_count=1, octets=F("octets") + 1)
    assert not retention.recount(ann.mailbox.pk)
    inbox.update(octets=F("octets") - 1)
    assert retention.recount(ann.mailbox.pk)


def test_a_thorough_sweep_counts_the_octets_of_folders_anew(
    ann: Account, bob: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 5)
    post(ann, bob)
    trash(ann, *post(ann))
    Folder.objects.update(octets=7)
    retention.sweep()
    assert not retention.recount(ann.mailbox.pk)
    retention.sweep(everything=True)
    assert retention.recount(ann.mailbox.pk) and retention.recount(bob.mailbox.pk)


def test_the_jobs_call_the_verbs(ann: Account, post: Post, settings: Any) -> None:
    trash(ann, *post(ann))
    Message.objects.update(moved_at=timezone.now() - timedelta(days=settings.TRASH_DAYS, minutes=1))
    result = tasks.retention()
    assert result["messages"] == 1
    assert sum(result.values()) == 1
    Content.objects.update(unused_since=timezone.now() - timedelta(days=2))
    assert tasks.sweep() == 1
