"""Mail that a subscriber uploads: what comes in, what is left out and why, what strangers cannot do by it."""

import io
import zipfile
from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection

from mailboxes import archives, errands, flags, folders, importing, messages, uploads
from mailboxes.importing import Report
from mailboxes.models import Account, Errand, ErrandKind, ErrandState, Folder, FolderKind, Mailbox, Message
from mailboxes.retention import recount
from mailboxes.sources import Letter
from mailboxes.tests.errand_tools import done
from mailboxes.tests.test_exporting import retrieved

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]
MBOX = (
    b"From ann@example.org Mon Nov 24 12:00:05 2025\n"
    b"Status: RO\nX-Status: F\nMessage-ID: <1@x.test>\nSubject: one\n\nHello\n>From here\n\n"
    b"From ann@example.org Mon Nov 24 12:01:05 2025\n"
    b"Message-ID: <2@x.test>\nSubject: two\n\nHello again\n\n"
)
EML = b"Message-ID: <3@x.test>\r\nSubject: three\r\nDate: Mon, 24 Nov 2025 12:00:05 +0000\r\n\r\nHello\r\n"


@pytest.fixture(autouse=True)
def here_and_now(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    yield
    for name in default_storage.listdir("errands")[1] if default_storage.exists("errands") else []:
        default_storage.delete(f"errands/{name}")


@pytest.mark.django_db(transaction=True)
def test_imports_at_the_same_moment_fill_the_mailbox_and_no_more(ann: Account) -> None:
    """A file and a fetch are two errands of two kinds: both may run at once."""
    text = b"Message-ID: <%d@x.test>\r\nSubject: x\r\n\r\n" + b"x" * 500 + b"\r\n"
    size = len(text % 100)
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(quota_bytes=10 * size)
    together = Barrier(3)
    reports = [Report() for _ in range(3)]

    def run(first: int) -> None:
        letters = (
            Letter(str(n), iter([text % n]), FolderKind.INBOX, uidl=None, flags="")
            for n in range(first, first + 8)
        )
        try:
            together.wait()
            importing.import_mail(ann.mailbox, letters, reports[first // 100 - 1], batch=2)
        finally:
            connection.close()

    threads = [Thread(target=run, args=(100 * n,)) for n in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    box = Mailbox.objects.get(pk=ann.mailbox.pk)
    assert (box.used_bytes, box.message_count) == (10 * size, 10)
    assert sum(report.imported for report in reports) == 10
    assert recount(box.pk)


def folder_of(account: Account, kind: FolderKind = FolderKind.INBOX) -> Folder:
    return Folder.objects.get(mailbox=account.mailbox, kind=kind)


def bring(account: Account, file: bytes, folder: Folder | None = None, **more: Any) -> Errand:
    to = folder or folder_of(account)
    errand = done(ErrandKind.IMPORT, account, {"name": "old.mbox", "folder": to.pk, **more}, file)
    assert recount(account.mailbox.pk)
    assert (errand.file, default_storage.listdir("errands")[1]) == ("", []), "what was uploaded is gone"
    return errand


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def subjects(account: Account) -> list[str]:
    return list(
        Message.objects.filter(mailbox=account.mailbox).order_by("pk").values_list("subject", flat=True)
    )


def test_an_mbox_comes_in_with_its_flags_and_times(ann: Account) -> None:
    errand = bring(ann, MBOX)
    assert (errand.state, errand.result["imported"], errand.result["left_out"]) == (ErrandState.DONE, 2, [])
    one, two = Message.objects.order_by("pk")
    assert [(m.subject, m.seen, m.starred) for m in (one, two)] == [
        ("one", True, True),
        ("two", False, False),
    ]
    assert one.received_at.isoformat() == "2025-11-24T12:00:05+00:00"
    assert one.folder.kind == FolderKind.INBOX
    assert b"Status" not in retrieved(ann.mailbox)[0], "what we write of flags is no part of the message"


def test_a_message_a_zip_of_both_and_all_as_read(ann: Account) -> None:
    files = {"folder/a.mbox": MBOX, "b.eml": EML, "__MACOSX/._b.eml": b"Apple's", "empty/": b""}
    errand = bring(ann, zipped(files), seen=True)
    assert subjects(ann) == ["one", "two", "three"]
    assert errand.result["left_out_count"] == 0
    assert set(Message.objects.values_list("seen", flat=True)) == {True}
    assert folder_of(ann).unread_count == 0
    assert bring(ann, EML).result["already"] == 1


def test_into_one_s_own_folder_and_nobody_sees_it_elsewhere(ann: Account) -> None:
    own = folders.create_folder(ann.mailbox.pk, "Old mail")
    bring(ann, MBOX, own)
    assert set(Message.objects.values_list("folder__name", flat=True)) == {"Old mail"}
    assert not Message.objects.exclude(moved_from=None, moved_at=None).exists()
    own.refresh_from_db()
    assert (own.message_count, own.unread_count) == (2, 1)
    assert folder_of(ann, FolderKind.ARCHIVE).message_count == 0


def test_another_s_folder_is_none(ann: Account, bob: Account) -> None:
    errand = bring(ann, MBOX, folder_of(bob))
    assert (errand.state, Message.objects.count()) == (ErrandState.FAILED, 0)
    assert "not there" in errand.reason


def test_what_is_here_already_does_not_come_again(ann: Account, post: Post) -> None:
    """Whether it was imported or came by itself; and what was imported and deleted stays deleted."""
    bring(ann, MBOX)
    again = bring(ann, MBOX)
    assert (again.result["imported"], again.result["already"], Message.objects.count()) == (0, 2, 2)
    messages.expunge(ann.mailbox.pk, list(Message.objects.values_list("pk", flat=True)))
    assert bring(ann, MBOX).result["already"] == 2
    post(ann, text=b"Message-ID: <4@x.test>\r\nSubject: by itself\r\n\r\nHello\r\n")
    [octets] = retrieved(ann.mailbox)
    assert bring(ann, octets).result["already"] == 1


def test_what_was_exported_comes_into_another_mailbox_with_nothing_lost(
    ann: Account, bob: Account, post: Post
) -> None:
    for number in range(5):
        post(ann, text=b"Message-ID: <%d@x.test>\r\nSubject: %d\r\n\r\n.\r\nFrom x\r\n" % (number, number))
    first, second, *_ = Message.objects.order_by("pk")
    flags.set_flag(ann.mailbox.pk, [first.pk, second.pk], flags.Flag.SEEN, True)
    flags.set_flag(ann.mailbox.pk, [second.pk], flags.Flag.STARRED, True)
    before = retrieved(ann.mailbox)
    exported = done(ErrandKind.EXPORT, ann, {"folder": None})
    with default_storage.open(exported.file) as file:
        octets = file.read()
    errands.forget_file(exported)
    assert bring(ann, octets).result == {
        "imported": 0,
        "already": 5,
        "uidl_kept": 0,
        "uidl_lost": 0,
        "left_out": [],
        "left_out_count": 0,
        "stopped_at": "",
    }
    assert bring(bob, octets).result["imported"] == 5
    assert retrieved(bob.mailbox) == before
    of_bob = Message.objects.filter(mailbox=bob.mailbox).order_by("pk")
    assert [(m.seen, m.starred) for m in of_bob] == [(True, False), (True, True)] + [(False, False)] * 3


# -- what is left out ---------------------------------------------------------------------------


def test_what_is_left_out_is_named_with_its_reason(ann: Account, settings: Any) -> None:
    settings.MESSAGE_SIZE_LIMIT = 2_000
    large = b"Subject: large\r\n\r\n" + b"x" * 3_000
    files = {
        "a.eml": EML,
        "large.eml": large,
        "image.png": b"\x89PNG",
        "empty.eml": b"",
        "z.eml": b"Subject: z\r\n\r\n",
    }
    errand = bring(ann, zipped(files))
    assert (errand.state, subjects(ann)) == (ErrandState.DONE, ["three", "z"])
    assert sorted(errand.result["left_out"]) == [
        ["empty.eml", "it is empty"],
        ["image.png", "it is neither a message nor an mbox"],
        ["large.eml", "it is larger than 2 KiB, the most that a message may have"],
    ]


def test_the_list_of_what_is_left_out_has_an_end(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "TOLD_MAX", 3)
    errand = bring(ann, zipped({f"{number}.png": b"\x89PNG" for number in range(9)}))
    assert (len(errand.result["left_out"]), errand.result["left_out_count"]) == (3, 9)


def test_a_mailbox_without_room_keeps_what_came_and_says_where_it_stopped(
    ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.mailbox.quota_bytes = 80
    ann.mailbox.save(update_fields=["quota_bytes"])
    errand = bring(ann, MBOX)
    assert (errand.state, errand.result["imported"]) == (ErrandState.FAILED, 1)
    assert errand.result["stopped_at"] == "old.mbox, message 2"
    assert "no room" in errand.reason
    ann.mailbox.refresh_from_db()
    ann.mailbox.quota_bytes = 10_000
    ann.mailbox.save(update_fields=["quota_bytes"])
    assert bring(ann, MBOX).result["imported"] == 1


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_damaged_zip_says_so_and_is_no_fault_of_ours(ann: Account, cut: float) -> None:
    whole = zipped({"a.mbox": MBOX, "b.eml": EML})
    errand = bring(ann, whole[: int(len(whole) * cut)])
    assert (errand.state, errand.reason) == (
        ErrandState.FAILED,
        "This zip file is damaged and cannot be opened.",
    )


def test_of_a_zip_with_a_damaged_file_the_others_come_in(ann: Account) -> None:
    whole = bytearray(zipped({"a.eml": b"Subject: a\r\n\r\nAAAA\r\n", "b.eml": EML}, zipfile.ZIP_STORED))
    whole[whole.index(b"AAAA")] = ord("B")
    errand = bring(ann, bytes(whole))
    assert (subjects(ann), errand.result["left_out"]) == (
        ["three"],
        [["a.eml", "it cannot be read to its end: the file is damaged"]],
    )


def test_an_encrypted_file_is_left_out(ann: Account) -> None:
    whole = bytearray(zipped({"a.eml": EML}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        whole[whole.index(mark) + offset] |= 1
    assert bring(ann, bytes(whole)).result["left_out"] == [["a.eml", "it is encrypted"]]


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_cannot_be_unpacked_piece_by_piece_is_left_out(
    ann: Account, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    bomb = zipped({"a.eml": EML + b"\0" * 1_000_000}, compression)
    assert len(bomb) < 2_000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it is unpacked"))
    [[name, why]] = bring(ann, bomb).result["left_out"]
    assert (name, "not read here" in why, Message.objects.count()) == ("a.eml", True, 0)


def test_a_bomb_is_refused_before_it_is_unpacked(ann: Account, settings: Any) -> None:
    settings.IMPORT_SIZE_LIMIT = 100_000
    errand = bring(ann, zipped({"bomb.mbox": b"\0" * 1_100_000}))
    assert (errand.state, Message.objects.count()) == (ErrandState.FAILED, 0)
    assert "unpacks to more than" in errand.reason


def test_a_zip_of_too_many_files_is_refused_before_its_directory_is_read(
    ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "DIRECTORY_MAX", 1_000)
    monkeypatch.setattr(uploads, "ZipFile", lambda *_: pytest.fail("the directory is read"))
    errand = bring(ann, zipped({f"{number}.eml": EML for number in range(50)}))
    assert "too many files" in errand.reason


@pytest.mark.parametrize("file", [b"", b"PNG and so on", b"\0" * 5_000, b"<html>no mail</html>"])
def test_what_is_no_mail_brings_nothing_and_breaks_nothing(ann: Account, file: bytes) -> None:
    errand = bring(ann, file)
    assert (errand.state, Message.objects.count()) == (ErrandState.DONE, 0)


def test_cancelling_keeps_what_came(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH", 1)
    mbox = MBOX * 3
    handed_in = ContentFile(mbox.replace(b"<1@", b"<a@"), "upload")
    arguments = {"name": "old.mbox", "folder": folder_of(ann).pk}
    errand = errands.ask(ErrandKind.IMPORT, ann, ann.mailbox, arguments, file=handed_in)
    real, steps = errands.Work.step, []

    def cancelled_at_the_third(work: errands.Work, octets: int = 0) -> None:
        steps.append(octets)
        if len(steps) == 3:
            errands.cancel(work.errand)
        real(work, octets)

    monkeypatch.setattr(errands.Work, "step", cancelled_at_the_third)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result["imported"]) == (ErrandState.CANCELLED, 2)
    assert Message.objects.count() == 2 and recount(ann.mailbox.pk)
    assert default_storage.listdir("errands")[1] == []


def test_an_import_gives_way_and_brings_in_the_end_what_one_turn_brings(
    ann: Account, bob: Account, post: Post, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MESSAGE_SIZE_LIMIT = 2_000
    monkeypatch.setattr(importing, "BATCH", 1)
    same = b"Message-ID: <same@x.test>\r\nSubject: same %d\r\n\r\nHello %d\r\n"
    files = {
        "a.mbox": MBOX,
        "image.png": b"\x89PNG",
        "b.eml": EML,
        "large.eml": b"Subject: large\r\n\r\n" + b"x" * 3_000,
        "c.eml": same % (1, 1),
        "d.eml": same % (2, 2),
        "e.eml": same % (2, 2),
        "z.eml": b"Subject: here\r\nMessage-ID: <here@x.test>\r\n\r\n",
    }
    for account in (ann, bob):
        bring(account, files["z.eml"])
    at_once = bring(bob, zipped(files))
    monkeypatch.setattr(uploads, "TURN_SECONDS", 0.0)
    handed_in = ContentFile(zipped(files), "upload")
    arguments = {"name": "old.zip", "folder": folder_of(ann).pk}
    errand = errands.ask(ErrandKind.IMPORT, ann, ann.mailbox, arguments, file=handed_in)
    came, done_so_far = [], []
    for _ in range(len(files) + 2):
        errands.run(errand.key)
        errand.refresh_from_db()
        came.append(errand.result["imported"])
        done_so_far.append(errand.done)
        if errand.state != ErrandState.WAITING:
            break
        assert (errand.failures, bool(errand.file)) == (0, True)
    assert came == [1, 2, 3, 4, 5, 6, 6]
    assert errand.state == ErrandState.DONE
    assert done_so_far == sorted(done_so_far)
    assert errand.done == at_once.done
    assert errand.result == at_once.result
    assert subjects(ann) == subjects(bob)
    assert retrieved(ann.mailbox) == retrieved(bob.mailbox)
    assert recount(ann.mailbox.pk)
    assert default_storage.listdir("errands")[1] == []


# -- several files ------------------------------------------------------------------------------


def test_several_files_are_handed_in_as_one(ann: Account) -> None:
    files = [
        ContentFile(MBOX, "C:\\mail\\old.mbox"),
        ContentFile(EML, "new.eml"),
        ContentFile(zipped({"a.eml": EML}), "z.zip"),
    ]
    with uploads.together(files) as packed:
        octets = packed.read()
    errand = bring(ann, octets)
    assert subjects(ann) == ["one", "two", "three"]
    assert errand.result["left_out"] == [["z.zip", "it is neither a message nor an mbox"]]
    assert uploads.together(files[:1]) is files[0]


def test_names_are_harmless() -> None:
    assert uploads.shown("C:\\Users\\ann\\old\x00.mbox") == "old?.mbox"
    assert uploads.shown("/etc/" + "x" * 200) == "x" * uploads.NAME_MAX
    assert archives.LEVEL == 1
