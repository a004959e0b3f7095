"""Exporting: an mbox holds what RETR sends, and importing it gives the same messages again."""

import contextlib
import io
import mailbox as standard_mailbox
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes import storage
from mailboxes.exceptions import Invalid, StoreUnavailable
from mailboxes.exporting import export_to, messages_of, octets_of, write_mbox
from mailboxes.importing import Report, import_mail
from mailboxes.mbox import MboxReader, MboxWriter, from_line
from mailboxes.models import Account, FolderKind, Mailbox, Message
from mailboxes.sources import Wish, find_source
from mailboxes.storage import read_content
from mailboxes.wire import stuff, unstuff

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "mail"
AT = datetime(2025, 11, 24, 12, 0, 5, tzinfo=UTC)


def retrieved(mailbox: Mailbox) -> list[bytes]:
    """What RETR sends of each message, in their order."""
    return [
        (b"Delivered-To: %b\r\n" % m.envelope_recipient.encode() if m.envelope_recipient else b"")
        + unstuff(b"".join(read_content(m.content_id)))
        for m in Message.objects.filter(mailbox=mailbox).order_by("pk")
    ]


def export(mailbox: Mailbox, path: Path, *, force: bool = False) -> bytes:
    assert export_to(path, messages_of(mailbox), force=force, progress=len_of) == []
    return path.read_bytes()


def len_of(octets: int) -> int:
    return octets


def bring(mailbox: Mailbox, path: Path) -> Report:
    report = Report()
    import_mail(mailbox, find_source(path, Wish()).letters, report)
    return report


# The file, without a store ---------------------------------------------------------------------------


def written(raw: bytes, at: list[int]) -> bytes:
    writer = MboxWriter()
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in at), len(raw)]
    parts = [writer.feed(raw[a:b]) for a, b in pairwise(edges)]
    return from_line("bob@example.org", AT) + b"".join(parts) + writer.finish()


texts = st.lists(
    st.sampled_from(
        [b"From ", b">", b">>From ", b"x", b"\r\n", b"\r\n\r\n", b"\0\xff", from_line("a", AT)[:-1]]
    ),
    min_size=1,
).map(lambda parts: unstuff(stuff(b"".join(parts))))


@given(st.lists(texts, min_size=1, max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_what_is_written_is_read_again_whatever_it_is(raws: list[bytes], at: list[int]) -> None:
    file = io.BytesIO(b"".join(written(raw, at) for raw in raws))
    assert [unstuff(stuff(b"".join(m.chunks))) for m in MboxReader(file)] == raws


@given(texts, st.lists(st.integers(0, 10_000), max_size=6))
def test_any_pieces_give_the_same_lines(raw: bytes, at: list[int]) -> None:
    lines = [b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in raw.split(b"\r\n")]
    assert written(raw, at) == from_line("bob@example.org", AT) + b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 200_000])
def test_long_lines_pass(length: int) -> None:
    raw = b"x" * length + b"From \r\n" + b"y" * length + b"\r\nFrom z\r\n"
    assert written(raw, list(range(0, len(raw), 7_001))) == (
        from_line("bob@example.org", AT)
        + raw.replace(b"\r\n", b"\n").replace(b"\nFrom z", b"\n>From z")
        + b"\n"
    )


def test_from_in_the_midst_of_a_long_line_is_left_alone() -> None:
    writer = MboxWriter()
    assert writer.feed(b"x" * 70_000) + writer.feed(b"From y\r\nFrom z\r\n") + writer.finish() == (
        b"x" * 70_000 + b"From y\n>From z\n\n"
    )


@pytest.mark.parametrize(
    ("sender", "line"),
    [
        ("bob@example.org", b"From bob@example.org Mon Nov 24 12:00:05 2025\n"),
        ("", b"From MAILER-DAEMON Mon Nov 24 12:00:05 2025\n"),
        ('"a b"@x.test', b'From "a?b"@x.test Mon Nov 24 12:00:05 2025\n'),
    ],
)
def test_from_lines_are_written_in_utc(sender: str, line: bytes) -> None:
    assert from_line(sender, AT) == line


# A mailbox -------------------------------------------------------------------------------------------


def test_an_export_is_what_retr_sends(ann: Account, post: Callable[..., Any], tmp_path: Path) -> None:
    post(ann, text=b"Subject: one\r\n\r\n.dot\r\n>From x\r\nFrom y\r\n", received_at=AT, sender="")
    assert export(ann.mailbox, tmp_path / "out.mbox") == (
        b"From MAILER-DAEMON Mon Nov 24 12:00:05 2025\n"
        b"Delivered-To: ann@example.test\nSubject: one\n\n.dot\n>>From x\n>From y\n\n"
    )


def test_export_and_import_into_another_account_give_the_same_octets(
    ann: Account, bob: Account, post: Callable[..., Any], tmp_path: Path
) -> None:
    odd = [
        b"Subject: x\r\n\r\nFrom here\r\n\r\n"
        + from_line("bob@example.org", AT)[:-1]
        + b"\r\n>From\r\n>>From z\r\n",
        b"Subject: only a header\r\n",
        b"\r\n",
        b"Subject: x\r\n\r\n\r\n\r\n\r\n",
        b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n",
        b"\x00\x00\r\n" + b"\xff" * 70_000 + b"\r\n",
    ]
    for text in odd:
        post(ann, text=text, delivered_to=False)
        post(ann, text=text)
    export(ann.mailbox, tmp_path / "out.mbox")
    assert bring(bob.mailbox, tmp_path / "out.mbox").imported == 12
    assert retrieved(bob.mailbox) == retrieved(ann.mailbox)
    assert retrieved(bob.mailbox)[::2] == odd


def test_the_whole_corpus_goes_out_and_comes_in_unchanged(ann: Account, bob: Account, tmp_path: Path) -> None:
    if not CORPUS.is_dir():
        pytest.skip(f"no sample mail in {CORPUS}")
    texts = [
        file.read_bytes() for file in sorted(CORPUS.rglob("*")) if file.is_file() and file.stat().st_size
    ]
    (tmp_path / "all").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "all" / f"{number:03}.eml").write_bytes(text)
    Mailbox.objects.update(quota_bytes=1_000_000_000)
    assert bring(ann.mailbox, tmp_path / "all").imported == len(texts)
    export(ann.mailbox, tmp_path / "out.mbox")
    assert bring(bob.mailbox, tmp_path / "out.mbox").imported == len(texts)
    assert retrieved(bob.mailbox) == retrieved(ann.mailbox) == [unstuff(stuff(text)) for text in texts]


def test_python_reads_the_same_messages(ann: Account, post: Callable[..., Any], tmp_path: Path) -> None:
    for number in range(3):
        post(ann, text=b"Subject: %d\r\n\r\nFrom x\r\n\r\nFrom y\r\n" % number)
    export(ann.mailbox, tmp_path / "out.mbox")
    with contextlib.closing(standard_mailbox.mbox(tmp_path / "out.mbox")) as box:
        assert [m["Subject"] for m in box] == ["0", "1", "2"]


def test_one_folder_goes_out_alone_and_nobody_elses_mail(
    ann: Account, bob: Account, post: Callable[..., Any]
) -> None:
    post(ann, text=b"Subject: in\r\n\r\n", folder=FolderKind.INBOX)
    post(ann, text=b"Subject: junk\r\n\r\n", folder=FolderKind.JUNK)
    post(bob, text=b"Subject: bob's\r\n\r\n")
    seen = {}
    for folder in ("all", "junk", "trash"):
        write_mbox(out := io.BytesIO(), messages_of(ann.mailbox, folder))
        seen[folder] = [line for line in out.getvalue().split(b"\n") if line.startswith(b"Subject")]
    assert seen == {"all": [b"Subject: in", b"Subject: junk"], "junk": [b"Subject: junk"], "trash": []}
    assert octets_of(messages_of(ann.mailbox, "trash")) == 0


def test_a_file_that_is_there_is_kept_unless_it_is_forced(
    ann: Account, post: Callable[..., Any], tmp_path: Path
) -> None:
    post(ann)
    path = tmp_path / "out.mbox"
    path.write_bytes(b"precious")
    with pytest.raises(Invalid, match="exists already"):
        export(ann.mailbox, path)
    assert path.read_bytes() == b"precious"
    assert export(ann.mailbox, path, force=True).startswith(b"From mallory@elsewhere.test ")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Invalid, match="exists already"):
        export(ann.mailbox, tmp_path, force=True)
    with pytest.raises(Invalid, match="there is no such folder"):
        export(ann.mailbox, tmp_path / "nowhere" / "out.mbox")


def test_an_export_that_fails_leaves_nothing(
    ann: Account, post: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(ann)
    out = tmp_path / "exports"
    out.mkdir()

    def away(key: object) -> int:
        raise StoreUnavailable("content storage: OSError")

    monkeypatch.setattr("mailboxes.exporting.open_content", away)
    with pytest.raises(StoreUnavailable):
        export(ann.mailbox, out / "out.mbox")
    assert list(out.iterdir()) == []


def test_a_message_whose_content_is_gone_is_named_and_the_others_go_out(
    ann: Account, post: Callable[..., Any]
) -> None:
    [gone], [_] = post(ann), post(ann)
    storage.remove_content(gone.content_id)
    missing = write_mbox(out := io.BytesIO(), messages_of(ann.mailbox))
    assert missing == [gone.uidl]
    assert out.getvalue().count(b"\nSubject: ") == 1


def test_more_than_a_page_goes_out_in_order(
    ann: Account, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailboxes.exporting.PAGE", 2)
    for number in range(5):
        post(ann, text=b"Subject: %d\r\n\r\n" % number)
    write_mbox(out := io.BytesIO(), messages_of(ann.mailbox))
    subjects = [line for line in out.getvalue().split(b"\n") if line.startswith(b"Subject")]
    assert subjects == [b"Subject: %d" % number for number in range(5)]


def test_a_large_message_goes_out_in_flat_memory(ann: Account, tmp_path: Path) -> None:
    Mailbox.objects.update(quota_bytes=1_000_000_000)
    path = tmp_path / "large.eml"
    path.write_bytes(b"Subject: large\n\n" + (b"x" * 70 + b"\n") * 420_000)
    bring(ann.mailbox, path)
    tracemalloc.start()
    try:
        write_to = tmp_path / "out.mbox"
        export_to(write_to, messages_of(ann.mailbox), force=False, progress=len_of)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000
