"""Taking mail away: everything is in the zip, octet by octet, and comes in again as it was."""

import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import translation

from mailboxes import archives, errands, flags, folders, messages
from mailboxes.mbox import MboxReader, marks_of, without_marks
from mailboxes.models import Account, Errand, ErrandKind, ErrandState, Folder, FolderKind, Message
from mailboxes.storage import local_path
from mailboxes.tests.errand_tools import done
from mailboxes.tests.test_exporting import retrieved
from mailboxes.wire import stuff, unstuff

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]


@pytest.fixture(autouse=True)
def here_and_now(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    with translation.override("en"):  # whatever a page has spoken before
        yield
    for name in default_storage.listdir("errands")[1] if default_storage.exists("errands") else []:
        default_storage.delete(f"errands/{name}")


def read(errand: Errand) -> dict[str, bytes]:
    """The files of an export by their names."""
    with default_storage.open(errand.file) as file, zipfile.ZipFile(io.BytesIO(file.read())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def in_mbox(mbox: bytes) -> list[tuple[str | None, bytes]]:
    """Flags and octets of each message, as an import takes them."""
    found = []
    for message in MboxReader(io.BytesIO(mbox)):
        marks, chunks = without_marks(message.chunks)
        found.append((marks, unstuff(stuff(b"".join(chunks)))))
    return found


def test_everything_is_in_it_a_file_for_each_folder_with_its_flags(ann: Account, post: Post) -> None:
    own = folders.create_folder(ann.mailbox.pk, "Bills: 2025/26")
    for text in (
        b"Subject: one\r\n\r\n.dot\r\nFrom x\r\n",
        b"Subject: two\r\n\r\n>From\r\n",
        b"Subject: three\r\n\r\n\xff",
    ):
        post(ann, text=text)
    first, _second, third = Message.objects.order_by("pk")
    flags.set_flag(ann.mailbox.pk, [first.pk], flags.Flag.SEEN, True)
    flags.set_flag(ann.mailbox.pk, [first.pk], flags.Flag.STARRED, True)
    messages.move(ann.mailbox.pk, [third.pk], own)
    errand = done(ErrandKind.EXPORT, ann, {"folder": None})
    files = read(errand)
    assert list(files) == ["Inbox.mbox", "Bills_ 2025_26.mbox"]
    one, two, three = retrieved(ann.mailbox)
    assert in_mbox(files["Inbox.mbox"]) == [("SF", one), ("", two)]
    assert in_mbox(files["Bills_ 2025_26.mbox"]) == [("", three)]
    assert errand.result | {"octets": 0} == {
        "messages": 3,
        "missing": 0,
        "gone": 0,
        "folders": 2,
        "left_out": [],
        "octets": 0,
    }
    assert (errand.state, errand.percent, errand.can_be_fetched) == (ErrandState.DONE, 100, True)


def test_one_folder_and_none_of_another_mailbox(ann: Account, bob: Account, post: Post) -> None:
    post(ann, bob)
    [of_bob] = Folder.objects.filter(mailbox=bob.mailbox, kind=FolderKind.INBOX)
    refused = done(ErrandKind.EXPORT, ann, {"folder": of_bob.pk})
    assert (refused.reason, refused.file) == ("There is no message in it.", "")
    [elsewhere] = post(ann)
    archive = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.ARCHIVE)
    messages.move(ann.mailbox.pk, [elsewhere.pk], archive)
    [inbox] = Folder.objects.filter(mailbox=ann.mailbox, kind=FolderKind.INBOX)
    errand = done(ErrandKind.EXPORT, ann, {"folder": inbox.pk})
    assert (list(read(errand)), errand.result["messages"]) == (["Inbox.mbox"], 1)


def test_an_empty_mailbox_says_so(ann: Account) -> None:
    errand = done(ErrandKind.EXPORT, ann, {"folder": None})
    assert (errand.state, errand.reason) == (ErrandState.FAILED, "There is no message in it.")


def test_a_message_whose_content_is_gone_is_named(ann: Account, post: Post) -> None:
    [[lost], [kept]] = post(ann, text=b"Subject: The lost one\r\n\r\n"), post(ann)
    path = local_path(lost.content_id)
    assert path is not None
    Path(path).unlink()
    errand = done(ErrandKind.EXPORT, ann, {"folder": None})
    assert (errand.result["messages"], errand.result["missing"]) == (1, 1)
    [[place, why]] = errand.result["left_out"]
    assert place.startswith("“The lost one” of ") and place.endswith(" in Inbox")
    assert why == "what was stored of it cannot be found"
    assert len(in_mbox(read(errand)["Inbox.mbox"])) == 1 and kept.pk


def test_what_is_removed_for_good_meanwhile_is_counted(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    [[gone], [kept]] = post(ann), post(ann)
    real = archives._write

    def expunge_then_write(*args: Any) -> None:
        messages.expunge(ann.mailbox.pk, [gone.pk])
        real(*args)

    monkeypatch.setattr(archives, "_write", expunge_then_write)
    errand = done(ErrandKind.EXPORT, ann, {"folder": None})
    assert (errand.result["messages"], errand.result["gone"], errand.result["missing"]) == (1, 1, 0)
    assert kept.pk


def test_what_is_moved_meanwhile_is_neither_lost_nor_doubled(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "PAGE", 2)
    for _ in range(6):
        post(ann)
    archive = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.ARCHIVE)
    messages.move(ann.mailbox.pk, list(Message.objects.values_list("pk", flat=True)[:2]), archive)
    before = retrieved(ann.mailbox)
    real = archives._write_folder
    moved: list[bool] = []

    def move_then_write(out: Any, one: archives.Contents, work: Any) -> None:
        if not moved:
            inbox = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX)
            some = list(Message.objects.filter(folder=archive).values_list("pk", flat=True))
            others = list(Message.objects.filter(folder=inbox).values_list("pk", flat=True))
            messages.move(ann.mailbox.pk, some, inbox)
            messages.move(ann.mailbox.pk, others, archive)
            post(ann, text=b"Subject: came later\r\n\r\n")
            moved.append(True)
        real(out, one, work)

    monkeypatch.setattr(archives, "_write_folder", move_then_write)
    files = read(done(ErrandKind.EXPORT, ann, {"folder": None}))
    assert sorted(octets for mbox in files.values() for _, octets in in_mbox(mbox)) == sorted(before)


def test_cancelling_leaves_no_file(ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    post(ann), post(ann)
    errand = errands.ask(ErrandKind.EXPORT, ann, ann.mailbox, {"folder": None})
    real = errands.Work.step

    def cancelled(work: errands.Work, octets: int = 0) -> None:
        errands.cancel(work.errand)
        real(work, octets)

    monkeypatch.setattr(errands.Work, "step", cancelled)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.file, errand.result["messages"]) == (ErrandState.CANCELLED, "", 1)
    assert not default_storage.exists("errands") or default_storage.listdir("errands")[1] == []


def test_memory_stays_flat(ann: Account, post: Post) -> None:
    ann.mailbox.quota_bytes = 100_000_000
    ann.mailbox.save(update_fields=["quota_bytes"])
    line = b"0123456789" * 7 + b"\r\n"
    for _ in range(2):
        post(ann, text=b"Subject: large\r\n\r\n" + line * 200_000)
    tracemalloc.start()
    try:
        errand = done(ErrandKind.EXPORT, ann, {"folder": None})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert errand.state == ErrandState.DONE
    assert peak < 6_000_000, "of 28,800,000 octets"


@pytest.mark.parametrize(
    ("name", "taken", "free"),
    [
        ("Inbox", set(), "Inbox.mbox"),
        ("INBOX", {"inbox"}, "INBOX (2).mbox"),
        ("../../etc/passwd", set(), "_.._etc_passwd.mbox"),
        ("...", set(), "folder.mbox"),
        ("a\\b:c*d", set(), "a_b_c_d.mbox"),
    ],
)
def test_names_are_fit_for_any_system(name: str, taken: set[str], free: str) -> None:
    assert archives._free_name(name, taken) == free


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("starred", [False, True])
@pytest.mark.parametrize("answered", [False, True])
def test_flags_are_taken_off_as_they_were_put_on(seen: bool, starred: bool, answered: bool) -> None:
    message = b"Status: R\nSubject: x\n\nStatus: RO\nX-Status: \n"
    marks, chunks = without_marks([marks_of(seen, starred, answered) + message])
    assert (marks, b"".join(chunks)) == ("S" * seen + "F" * starred + "R" * answered, message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"Status: RO\nSubject: x\n\n",
        b"X-Status: F\nStatus: RO\n\n",
        b"Subject: x\nStatus: RO\nX-Status: F\n\n",
        b"Subject: x\n\n",
    ],
)
def test_what_has_no_flags_of_ours_stays_as_it_is(message: bytes) -> None:
    marks, chunks = without_marks([message])
    assert (marks, b"".join(chunks)) == (None, message)
