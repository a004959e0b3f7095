"""Importing: everything comes, in its order, with its UIDLs; nothing comes twice, whatever happens."""

import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailboxes import importing, messages
from mailboxes.exceptions import Invalid, RecipientUnavailable, StoreFull, StoreUnavailable
from mailboxes.importing import Report, import_mail
from mailboxes.mbox import is_from_line, read_from_line
from mailboxes.models import Account, Content, FolderKind, ImportedMessage, Mailbox, Message
from mailboxes.sources import UidlFrom, Wish, find_source
from mailboxes.storage import folders, keys_in, read_content
from mailboxes.wire import stuff, unstuff

pytestmark = pytest.mark.django_db

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "mail"
AT = datetime(2025, 11, 24, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def ann(ann: Account) -> Mailbox:
    """Ann's mailbox, with room."""
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(quota_bytes=1_000_000_000)
    ann.mailbox.refresh_from_db()
    return ann.mailbox


def mail(number: int, body: str = "") -> str:
    return f"Subject: message {number}\n\nThis is message {number}.\n{body}"


def mbox_of(*mails: str) -> bytes:
    return "".join(f"From bob@example.org Mon Nov 24 12:00:05 2025\n{m}\n" for m in mails).encode()


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    return written(tmp_path / "old.mbox", mbox_of(*map(mail, range(1, 11))))


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(mailbox: Mailbox, path: Path, batch: int = 4, **wish: Any) -> Report:
    report = Report()
    import_mail(mailbox, find_source(path, Wish(**wish)).letters, report, batch=batch)
    return report


def counts(report: Report) -> tuple[int, int, int]:
    return report.imported, report.already, report.skipped.count + report.empty.count


def raw(message: Message) -> bytes:
    return unstuff(b"".join(read_content(message.content_id)))


def subjects(mailbox: Mailbox, kind: FolderKind = FolderKind.INBOX) -> list[str]:
    found = Message.objects.filter(mailbox=mailbox, folder__kind=kind).order_by("pk")
    return list(found.values_list("subject", flat=True))


def uidls(mailbox: Mailbox) -> list[str]:
    return list(Message.objects.filter(mailbox=mailbox).order_by("pk").values_list("uidl", flat=True))


NUMBERED = [f"message {number}" for number in range(1, 11)]


# An mbox ---------------------------------------------------------------------------------------------


def test_an_mbox_comes_in_its_order_with_senders_times_and_octets(ann: Mailbox, mbox: Path) -> None:
    assert counts(run(ann, mbox)) == (10, 0, 0)
    assert subjects(ann) == NUMBERED
    first = Message.objects.filter(mailbox=ann).order_by("pk")[0]
    assert raw(first) == b"Subject: message 1\r\n\r\nThis is message 1.\r\n"
    assert (first.size, first.envelope_sender, first.envelope_recipient, first.received_at) == (
        len(raw(first)),
        "bob@example.org",
        "",
        AT,
    )
    ann.refresh_from_db()
    assert ann.message_count == 10
    assert ann.used_bytes == sum(Message.objects.filter(mailbox=ann).values_list("size", flat=True))


A = b"From a Mon Nov 24 12:00:05 2025\n"
B = A + b"A: b\n\n"
ODDITIES: dict[str, tuple[bytes, list[bytes]]] = {
    "nothing": (b"", []),
    "empty lines": (b"\n\n", []),
    "no final newline": (B + b"no newline at the end", [b"no newline at the end\r\n"]),
    "CRLF": (
        (B + b"one\n\n" + B + b">From two\n\n").replace(b"\n", b"\r\n"),
        [b"one\r\n", b"From two\r\n"],
    ),
    "mboxrd": (
        b"\n" + B + b">From x\n>>From y\n> From z\n>Fromm\n",
        [b"From x\r\n>From y\r\n> From z\r\n>Fromm\r\n"],
    ),
    "From_ in a paragraph": (B + b"one\n" + A, [b"one\r\n" + A.replace(b"\n", b"\r\n")]),
    "From in text": (B + b"\nFrom here it goes on\n", [b"\r\nFrom here it goes on\r\n"]),
    "Content-Length lies": (
        A + b"Content-Length: 9999\n\none\n\n" + B + b"two\n\n",
        [b"one\r\n", b"two\r\n"],
    ),
    "empty lines at the end": (B + b"one\n\n\n\n" + B + b".two\n", [b"one\r\n\r\n\r\n", b".two\r\n"]),
    "NULs and a long line": (
        B + b"\0\0" + b"x" * 200_000 + b"\0\n\n" + B + b"two\n",
        [b"\0\0" + b"x" * 200_000 + b"\0\r\n", b"two\r\n"],
    ),
    "only empty lines": (B + b"\n" * 300_000, [b"\r\n" * 299_999]),
}


@pytest.mark.parametrize(("file", "bodies"), ODDITIES.values(), ids=ODDITIES)
def test_dialects_and_oddities(ann: Mailbox, tmp_path: Path, file: bytes, bodies: list[bytes]) -> None:
    run(ann, written(tmp_path / "odd.mbox", file))
    found = [raw(m) for m in Message.objects.filter(mailbox=ann).order_by("pk")]
    assert [m.partition(b"\r\n\r\n")[2] for m in found] == bodies


@pytest.mark.parametrize(
    ("line", "sender", "at"),
    [
        ("From ann@example.test Mon Nov 24 12:00:05 2025", "ann@example.test", AT),
        ("From ann@example.test Mon Nov 24 13:00:05 2025 +0100", "ann@example.test", AT),
        ("From ann@example.test Mon Nov 24 13:00:05 +0100 2025", "ann@example.test", AT),
        ("From MAILER-DAEMON Mon Nov 24 12:00:05 2025", "", AT),
        ("From - Mon Nov 24 12:00:05 2025", "", AT),
        ("From ???@??? Mon Nov 24 12:00:05 2025", "", AT),
        ('From "a b"@x.test Mon Nov 24 12:00:05 2025', '"a b"@x.test', AT),
        ("From a@x.test  Sat Nov  1 12:00:05 2025", "a@x.test", datetime(2025, 11, 1, 12, 0, 5, tzinfo=UTC)),
        ("From a@x.test Mon, 24 Nov 2025 13:00:05 +0100", "a@x.test", AT),
    ],
)
def test_from_lines(line: str, sender: str, at: datetime) -> None:
    assert is_from_line(line.encode() + b"\r\n")
    assert read_from_line(line.encode() + b"\n") == (sender, at)


@pytest.mark.parametrize(
    "line",
    [b"From here on", b"From Monday on", b"From a Mon Nov 24 2025", b"from a Mon Nov 24 12:00:05 2025",
     b"From x said on Mon Nov 24 12:00:05 2025 that it rains",
     b"From " + b"x" * 1000 + b" Mon Nov 24 12:00:05 2025"],
)  # fmt: skip
def test_lines_that_begin_no_message(line: bytes) -> None:
    assert not is_from_line(line)


def test_status_headers_say_what_was_read(ann: Mailbox, tmp_path: Path) -> None:
    text = mbox_of("Status: RO\nX-Status: AF\n" + mail(1), "Status: O\n" + mail(2), mail(3, "Status: RO\n"))
    run(ann, written(tmp_path / "s.mbox", text))
    flags = Message.objects.filter(mailbox=ann).order_by("pk").values_list("seen", "starred", "answered")
    assert list(flags) == [(True, True, True), (False, False, False), (False, False, False)]


def test_times_that_cannot_be_are_now(ann: Mailbox, tmp_path: Path) -> None:
    run(ann, written(tmp_path / "t.mbox", b"From a Mon Nov 24 12:00:05 2999\nA: b\n\nx\n"))
    assert Message.objects.get(mailbox=ann).received_at <= datetime.now(UTC)


# Nothing twice ---------------------------------------------------------------------------------------


def test_a_second_run_brings_nothing(ann: Mailbox, mbox: Path) -> None:
    run(ann, mbox)
    before = uidls(ann)
    assert counts(run(ann, mbox)) == (0, 10, 0)
    assert uidls(ann) == before


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_what_was_deleted_since_does_not_come_back(ann: Mailbox, mbox: Path, batch: int) -> None:
    run(ann, mbox)
    oldest = Message.objects.filter(mailbox=ann).order_by("pk")[:6]
    messages.expunge(ann.pk, [message.pk for message in oldest])
    assert counts(run(ann, mbox, batch=batch)) == (0, 10, 0)
    assert subjects(ann) == NUMBERED[6:]


class Killed(Exception):
    pass


def test_killed_between_batches_the_rest_comes(
    ann: Mailbox, mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = importing._commit
    committed: list[int] = []

    def dying(*args: Any) -> None:
        if len(committed) == 2:
            raise Killed
        commit(*args)
        committed.append(1)

    monkeypatch.setattr(importing, "_commit", dying)
    with pytest.raises(Killed):
        run(ann, mbox, batch=3)
    assert subjects(ann) == NUMBERED[:6]
    monkeypatch.undo()
    assert counts(run(ann, mbox, batch=4)) == (4, 6, 0)
    assert subjects(ann) == NUMBERED


@pytest.mark.parametrize("dies_at", ["_mark", "ImportedMessage"])
def test_killed_inside_a_batch_nothing_of_it_is_there(
    ann: Mailbox, mbox: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    run(ann, mbox_part(mbox, 4), batch=4)
    with monkeypatch.context() as patched:
        if dies_at == "_mark":
            patched.setattr(importing, "_mark", die)
        else:
            patched.setattr(ImportedMessage.objects, "bulk_create", die)
        with pytest.raises(Killed):
            run(ann, mbox, batch=4)
    assert subjects(ann) == NUMBERED[:4]
    assert ImportedMessage.objects.filter(mailbox=ann).count() == 4
    assert counts(run(ann, mbox)) == (6, 4, 0)
    assert subjects(ann) == NUMBERED


def mbox_part(mbox: Path, count: int) -> Path:
    return written(mbox.with_name("part.mbox"), mbox_of(*map(mail, range(1, count + 1))))


def test_what_a_source_holds_twice_comes_twice_and_only_once(ann: Mailbox, tmp_path: Path) -> None:
    path = written(tmp_path / "twice.mbox", mbox_of(mail(1), mail(2), mail(1), mail(1)))
    assert counts(run(ann, path, batch=2)) == (4, 0, 0)
    assert subjects(ann) == ["message 1", "message 2", "message 1", "message 1"]
    assert counts(run(ann, path, batch=50)) == (0, 4, 0)


def test_another_mailbox_knows_nothing_of_it(ann: Mailbox, bob: Account, mbox: Path) -> None:
    run(ann, mbox)
    assert counts(run(bob.mailbox, mbox)) == (10, 0, 0)


def test_two_imports_at_the_same_moment_bring_nothing_twice(
    ann: Mailbox, mbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ann, mbox)
    with monkeypatch.context() as patched:
        patched.setattr(messages, "imported", lambda *args: {})
        with pytest.raises(StoreUnavailable):
            run(ann, mbox)
    assert subjects(ann) == NUMBERED


# A Maildir -------------------------------------------------------------------------------------------


UIDLIST = """3 V1330387774 N9 G3085f01b7f11094c501100008c4a11c1
5 W120 :1330000005.M1P1.host,S=60,W=62
2 PDeadBeef.1 W120 :1330000002.M1P1.host
7 P%s :1330000007.M1P1.host
1 :1330000001.M1P1.host:2,S
9 PDeadBeef.1 :1330000009.M1P1.host
torn
"""  # fmt: skip


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    root = tmp_path / "Maildir"
    for folder in ("cur", "new", "tmp"):
        (root / folder).mkdir(parents=True)
    files = {
        "cur/1330000001.M1P1.host:2,S": 1,
        "cur/1330000002.M1P1.host:2,FRS": 2,
        "cur/1330000005.M1P1.host,S=60,W=62:2,": 5,
        "cur/1330000007.M1P1.host:2,": 7,
        "cur/1330000009.M1P1.host:2,": 9,
        "new/1330000003.M1P1.host": 10,
    }
    for name, number in files.items():
        written(root / name, mail(number).encode())
    written(root / "tmp/1330000008.M1P1.host", b"half a mess")
    written(root / "dovecot-uidlist", (UIDLIST % ("x" * 71)).encode())
    return root


def test_dovecots_uidls_and_order_are_kept(ann: Mailbox, maildir: Path) -> None:
    report = run(ann, maildir)
    assert counts(report) == (6, 0, 0)
    assert subjects(ann) == [f"message {n}" for n in (1, 2, 5, 7, 9, 10)]
    kept = uidls(ann)
    assert kept[:3] == ["000000014f4c1b3e", "DeadBeef.1", "000000054f4c1b3e"]
    assert report.uidl_kept == 3
    assert [place for place, _ in report.uidl_lost.first] == [
        "cur/1330000007.M1P1.host:2,",
        "cur/1330000009.M1P1.host:2,",
    ]
    assert len(set(kept)) == 6
    assert all(len(uidl) == 32 for uidl in kept[3:])


def test_flags_and_times_of_a_maildir(ann: Mailbox, maildir: Path) -> None:
    strange = written(maildir / "cur" / "no-time-in-this-name:2,", mail(11).encode())
    os.utime(strange, (1_400_000_000, 1_400_000_000))
    run(ann, maildir)
    found = Message.objects.filter(mailbox=ann).order_by("pk")
    assert list(found.values_list("seen", "starred", "answered"))[:3] == [
        (True, False, False),
        (True, True, True),
        (False, False, False),
    ]
    assert [m.received_at.timestamp() for m in found][-2:] == [1_330_000_003, 1_400_000_000]
    inbox = ann.folders.get(kind=FolderKind.INBOX)
    assert (inbox.message_count, inbox.unread_count) == (7, 5)


def test_the_order_is_that_of_pop3_then_of_uids_then_of_time(ann: Mailbox, tmp_path: Path) -> None:
    lines = ["3 V1 N5", "1 :1330000009.a", "2 :1330000008.b", "3 O2 :1330000007.c", "4 O1 :1330000006.d"]
    written(tmp_path / "dovecot-uidlist", "\n".join(lines).encode())
    for number, name in enumerate(("09.a", "08.b", "07.c", "06.d", "02.e", "01.f"), 1):
        written(tmp_path / "cur" / f"13300000{name}:2,", mail(number).encode())
    run(ann, tmp_path)
    assert subjects(ann) == [f"message {number}" for number in (4, 3, 1, 2, 6, 5)]


@pytest.mark.parametrize(
    ("uidl_format", "first"),
    [
        ("%08Xu%08Xv", "000000014f4c1b3e"),
        ("%{uid | hex(8)}%{uidvalidity | hex(8)}", "000000014f4c1b3e"),
        ("%v.%u", "1330387774.1"),
        ("UID%u-%v", "UID1-1330387774"),
        ("%f", "1330000001.M1P1.host"),
        ("%g", "1330000001.M1P1.host"),
        ("%%%Xu", "%1"),
    ],
)
def test_other_servers_formats(ann: Mailbox, maildir: Path, uidl_format: str, first: str) -> None:
    run(ann, maildir, uidl_format=uidl_format)
    assert uidls(ann)[0] == first


def test_an_unknown_format_is_refused_before_anything_comes(ann: Mailbox, maildir: Path) -> None:
    with pytest.raises(Invalid, match="knows %u %v"):
        run(ann, maildir, uidl_format="%08Xu%m")
    assert uidls(ann) == []


def test_a_second_run_of_a_maildir_whose_files_moved_brings_only_the_new(ann: Mailbox, maildir: Path) -> None:
    run(ann, maildir)
    (maildir / "new/1330000003.M1P1.host").rename(maildir / "cur/1330000003.M1P1.host:2,S")
    written(maildir / "new/1330000011.M1P1.host", mail(11).encode())
    assert counts(run(ann, maildir)) == (1, 6, 0)


def test_uidls_can_be_left_behind(ann: Mailbox, maildir: Path) -> None:
    report = run(ann, maildir, uidl_from=UidlFrom.NONE)
    assert (report.imported, report.uidl_kept, report.uidl_lost.count) == (6, 0, 0)
    assert all(len(uidl) == 32 for uidl in uidls(ann))


def test_a_uidlist_that_is_wanted_and_not_there_is_an_error(ann: Mailbox, maildir: Path) -> None:
    (maildir / "dovecot-uidlist").unlink()
    with pytest.raises(Invalid, match="there is no such file"):
        run(ann, maildir, uidl_from=UidlFrom.DOVECOT)
    written(maildir / "dovecot-uidlist", b"1 1330387774 9\n1 x\n")
    with pytest.raises(Invalid, match="version 3"):
        run(ann, maildir)


def test_folders_that_obviously_are_ours_come_and_others_are_named(ann: Mailbox, maildir: Path) -> None:
    for number, name in enumerate([".Sent", ".INBOX.Trash", ".Entw&APw-rfe", ".Holidays.2019"], 20):
        written(maildir / name / "cur" / f"1330000020.M{number}P1.host:2,S", mail(number).encode())
    source = find_source(maildir, Wish())
    assert source.left_out == ["Holidays.2019"]
    run(ann, maildir)
    kinds = (FolderKind.SENT, FolderKind.TRASH, FolderKind.DRAFTS)
    assert [subjects(ann, kind) for kind in kinds] == [["message 20"], ["message 21"], ["message 22"]]
    assert len(subjects(ann)) == 6
    assert counts(run(ann, maildir, other_folders=True)) == (1, 9, 0)
    assert subjects(ann)[-1] == "message 23"


def test_old_trash_is_kept_for_its_time_from_now(ann: Mailbox, mbox: Path) -> None:
    from mailboxes.retention import empty_old_trash

    run(ann, mbox, folder=FolderKind.TRASH)
    assert empty_old_trash() == 0
    assert len(subjects(ann, FolderKind.TRASH)) == 10


# X-UIDL, clashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 50])
def test_x_uidl_is_kept_where_it_is_one_and_free(ann: Mailbox, tmp_path: Path, batch: int) -> None:
    text = mbox_of(
        'X-UIDL: $$c!!a$"!KO  \n' + mail(1),
        "X-UIDL: same\n" + mail(2),
        "x-uidl: same\n" + mail(3),
        "X-UIDL: has a space\n" + mail(4),
        "X-UIDL: \n" + mail(5),
        mail(6, "\nX-UIDL: in-the-body\n"),
    )
    path = written(tmp_path / "x.mbox", text)
    report = run(ann, path, batch=batch)
    assert uidls(ann)[:2] == ['$$c!!a$"!KO', "same"]
    assert all(len(uidl) == 32 for uidl in uidls(ann)[2:])
    assert (report.imported, report.uidl_kept, report.uidl_lost.count) == (6, 2, 2)
    assert report.uidl_lost.first[0][1] == "its UIDL same is another message's"
    assert counts(run(ann, path)) == (0, 6, 0)


def test_a_uidl_is_not_given_again_after_its_message_is_gone(ann: Mailbox, tmp_path: Path) -> None:
    run(ann, written(tmp_path / "a.mbox", mbox_of("X-UIDL: same\n" + mail(1))))
    messages.expunge(ann.pk, list(Message.objects.filter(mailbox=ann).values_list("pk", flat=True)))
    report = run(ann, written(tmp_path / "b.mbox", mbox_of("X-UIDL: same\n" + mail(2))))
    assert (report.imported, report.uidl_lost.count) == (1, 1)
    assert uidls(ann) != ["same"]


# Limits ----------------------------------------------------------------------------------------------


def test_without_room_it_stops_in_order_and_goes_on_later(ann: Mailbox, tmp_path: Path) -> None:
    big = mail(4, "x" * 70 + "\n" * 2000)
    path = written(tmp_path / "q.mbox", mbox_of(mail(1), mail(2), mail(3), big, mail(5), mail(6)))
    Mailbox.objects.filter(pk=ann.pk).update(quota_bytes=1000)
    report = run(ann, path, batch=5)
    assert counts(report) == (3, 0, 0)
    assert report.stopped_at.startswith("message at octet ")
    assert subjects(ann) == NUMBERED[:3]
    kept = {key for folder in folders() for key in keys_in(folder)}
    assert kept == set(Content.objects.values_list("pk", flat=True))
    assert counts(run(ann, path)) == (0, 3, 0)
    Mailbox.objects.filter(pk=ann.pk).update(quota_bytes=100_000)
    report = run(ann, path)
    assert (counts(report), report.stopped_at) == ((3, 3, 0), "")
    assert subjects(ann) == NUMBERED[:6]


def test_a_message_over_the_limit_is_left_out_and_named(ann: Mailbox, tmp_path: Path, settings: Any) -> None:
    settings.MESSAGE_SIZE_LIMIT = 100_000
    path = written(tmp_path / "l.mbox", mbox_of(mail(1), mail(2, "y" * 300_000 + "\n"), mail(3)))
    report = run(ann, path)
    assert counts(report) == (2, 0, 1)
    assert report.skipped.first == [
        ("message at octet 86", "the message is larger than MESSAGE_SIZE_LIMIT, 97.7 KiB")
    ]
    assert subjects(ann) == ["message 1", "message 3"]


def test_an_empty_message_is_left_out_and_named(ann: Mailbox, maildir: Path) -> None:
    written(maildir / "cur" / "1330000012.M1P1.host:2,", b"")
    report = run(ann, maildir)
    assert (counts(report), report.empty.first) == (
        (6, 0, 1),
        [("cur/1330000012.M1P1.host:2,", "the message is empty")],
    )


def test_a_file_that_vanishes_meanwhile_is_named(ann: Mailbox, maildir: Path) -> None:
    source = find_source(maildir, Wish())
    (maildir / "cur/1330000002.M1P1.host:2,FRS").unlink()
    report = Report()
    import_mail(ann, source.letters, report)
    assert counts(report) == (5, 0, 1)
    assert report.skipped.first == [("cur/1330000002.M1P1.host:2,FRS", "No such file or directory")]


def test_a_mailbox_that_is_gone_meanwhile_ends_it(ann: Mailbox, mbox: Path) -> None:
    with pytest.raises(RecipientUnavailable):
        run(Mailbox(pk=ann.pk + 1_000), mbox)
    assert not ImportedMessage.objects.exists()


def test_a_full_disk_ends_it_and_leaves_no_spooled_file(
    ann: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "f.mbox", mbox_of(mail(1, "z\n" * 400_000), mail(2)))

    def full(*args: Any) -> None:
        raise StoreFull("no room for content")

    monkeypatch.setattr("mailboxes.storage.Spool.keep", full)
    with pytest.raises(StoreFull):
        run(ann, path)
    assert list((tmp_path / "content" / "spool").iterdir()) == []
    assert uidls(ann) == []


def sixty_megabytes(path: Path) -> Path:
    line = b"0123456789abcdef" * 4 + b"\n"
    with path.open("wb") as file:
        for body in (line * 16_000, b"\x00" * 1_000_000):
            file.write(b"From a Mon Nov 24 12:00:05 2025\nSubject: large\n\n")
            for _ in range(30):
                file.write(body)
            file.write(b"\n\n")
    return path


def test_thirty_megabytes_take_flat_memory(ann: Mailbox, tmp_path: Path) -> None:
    path = sixty_megabytes(tmp_path / "large.mbox")
    tracemalloc.start()
    try:
        assert counts(run(ann, path)) == (2, 0, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    sizes = list(Message.objects.filter(mailbox=ann).order_by("pk").values_list("size", flat=True))
    assert sizes == [18 + 30 * 16_000 * 66 + 2, 18 + 30_000_000 + 2]


# Where from ------------------------------------------------------------------------------------------


def test_what_is_nothing_to_import_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    written(tmp_path / "picture.png", b"\x89PNG\r\n\x1a\n\x00\x00")
    said = {
        "nowhere": "there is no such file or folder",
        "folder": "neither a Maildir",
        "picture.png": "neither an mbox",
    }
    for name, text in said.items():
        with pytest.raises(Invalid, match=text):
            find_source(tmp_path / name, Wish())


def test_one_message_comes_with_the_date_in_it(ann: Mailbox, tmp_path: Path) -> None:
    text = b"Return-Path: <carla@example.org>\nDate: Mon, 24 Nov 2025 13:00:05 +0100\nSubject: one\n\nx"
    assert counts(run(ann, written(tmp_path / "one.eml", text))) == (1, 0, 0)
    message = Message.objects.get(mailbox=ann)
    assert (message.received_at, message.envelope_sender) == (AT, "carla@example.org")
    assert raw(message) == text.replace(b"\n", b"\r\n") + b"\r\n"


@pytest.fixture
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip(f"no sample mail in {CORPUS}")
    return CORPUS


def test_every_message_of_the_corpus_comes_as_it_is(ann: Mailbox, corpus: Path, tmp_path: Path) -> None:
    texts = [file.read_bytes() for file in sorted(corpus.rglob("*.eml")) if file.stat().st_size]
    for number, text in enumerate(texts):
        written(tmp_path / "all" / f"{number:03}.eml", text)
    assert counts(run(ann, tmp_path / "all")) == (len(texts), 0, 0)
    for text, message in zip(texts, Message.objects.filter(mailbox=ann).order_by("pk"), strict=True):
        assert raw(message) == unstuff(stuff(text))
        lines = text.replace(b"\r\n", b"\n")
        if b"\r" not in lines:
            assert raw(message) == lines.removesuffix(b"\n").replace(b"\n", b"\r\n") + b"\r\n"
        assert message.size == len(raw(message))
    assert len(texts) > 90
