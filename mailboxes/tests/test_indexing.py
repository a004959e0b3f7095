"""Mail is indexed by a job some time after it came: once, whatever dies meanwhile, and forgotten with it."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.utils import timezone

from mailboxes import accounts, entries, index_queue, indexing, messages, reading, rows, tasks
from mailboxes.entries import Document, words_of
from mailboxes.exceptions import StoreUnavailable
from mailboxes.index_queue import LEASE
from mailboxes.models import (
    Account,
    Content,
    Folder,
    FolderKind,
    IndexJob,
    Mailbox,
    Message,
    SearchEntry,
    SearchText,
)
from mailboxes.search import search

Post = Callable[..., list[Message]]

pytestmark = pytest.mark.django_db


def letter(number: int) -> bytes:
    return b"Subject: letter %d\r\n\r\n%s the word%d\r\n" % (number, b"first words of it " * 20, number)


def indexed() -> list[int]:
    messages = sorted(SearchEntry.objects.values_list("message", flat=True))
    assert sorted(SearchText.objects.values_list("message", flat=True)) == messages
    return messages


def waiting() -> list[int]:
    return sorted(IndexJob.objects.values_list("message", flat=True))


def stored_words() -> list[Any]:
    """Everything that the database's full text holds, as it says itself."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT message, vector::text FROM mailboxes_searchentry ORDER BY message")
        else:
            cursor.execute(
                "CREATE VIRTUAL TABLE temp.v USING fts5vocab(main, mailboxes_searchwords, 'instance')"
            )
            cursor.execute("SELECT term, doc, offset FROM temp.v ORDER BY 1, 2, 3")
        rows = cursor.fetchall()
        if connection.vendor == "sqlite":
            cursor.execute("DROP TABLE temp.v")
        return list(rows)


def test_mail_is_queued_with_its_delivery_and_indexed_by_the_job(
    ann: Account, bob: Account, post: Post
) -> None:
    made = [message.pk for message in post(ann, bob, text=letter(1))]
    assert (waiting(), indexed()) == (made, [])
    assert tasks.index_messages() == 2
    assert (waiting(), indexed()) == ([], made)
    assert search(bob.mailbox.pk, "word1").messages == made[1:]


def test_indexing_again_changes_nothing(ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter(1))
    indexing.drain()
    before = stored_words()
    assert before
    for _ in range(2):
        assert indexing.index_message(message.pk) is True
    index_queue.add_all(missing=False)
    assert indexing.drain() == 1
    assert stored_words() == before
    assert indexed() == [message.pk]


def test_the_beginning_of_a_text_is_kept_in_one_line(ann: Account, post: Post) -> None:
    [message] = post(ann, text=b"Subject: x\r\n\r\nOne\r\n\r\n two \tthree\r\n" + b"word " * 10_000 + b"\r\n")
    assert entries.texts_of([message.pk]) == {}
    indexing.drain()
    [text] = entries.texts_of([message.pk, 0]).values()
    assert text.startswith("One two three word word")
    assert len(text) == entries.KEPT_MAX
    assert "\n" not in text


def test_the_newest_mail_is_indexed_first(ann: Account, post: Post) -> None:
    made = [post(ann)[0].pk for _ in range(5)]
    assert [job.message for job in index_queue.claim(2)] == [made[4], made[3]]
    assert [job.message for job in index_queue.claim(2)] == [made[2], made[1]]


def test_a_worker_that_dies_leaves_its_jobs_to_the_next(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [post(ann)[0].pk for _ in range(3)]
    index_queue.claim(3)
    assert indexing.drain() == 0
    tomorrow = timezone.now() + LEASE + timedelta(seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: tomorrow)
        assert indexing.drain() == 3
    assert (waiting(), indexed()) == ([], made)


def test_a_message_that_kills_workers_is_indexed_without_its_body(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And takes no other message with it, in front of it or behind."""

    class Killed(BaseException):
        pass

    made = [post(ann, text=letter(number))[0] for number in range(5)]
    poison = made[2]
    parse = reading.parse

    def read(raw: bytes) -> Any:
        if b"word2" in raw:
            raise Killed
        return parse(raw)

    monkeypatch.setattr(reading, "parse", read)
    now = timezone.now()
    for attempt in range(20):
        moment = now + attempt * (LEASE + timedelta(seconds=1))
        monkeypatch.setattr(timezone, "now", lambda moment=moment: moment)
        try:
            indexing.drain()
        except Killed:
            continue
        if not waiting():
            break
    assert indexed() == [message.pk for message in made]
    box = ann.mailbox.pk
    assert [search(box, f"word{number}").messages for number in range(5)] == [
        [] if message == poison else [message.pk] for number, message in enumerate(made)
    ]
    assert search(box, 'subject:"letter 2"').messages == [poison.pk]


def test_what_cannot_be_read_is_found_by_its_subject(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = post(ann, text=letter(1))
    monkeypatch.setattr(reading, "search_text", lambda mail: 1 / 0)
    assert indexing.drain() == 1
    assert search(ann.mailbox.pk, "subject:letter first").messages == [message.pk]


def test_what_has_lost_its_content_is_found_by_its_subject(
    ann: Account, post: Post, content_root: Path
) -> None:
    [message] = post(ann, text=letter(1))
    for path in content_root.rglob("*"):
        if path.is_file():
            path.unlink()
    assert indexing.drain() == 1
    assert search(ann.mailbox.pk, "subject:letter").messages == [message.pk]


def test_while_content_cannot_be_fetched_the_queue_waits(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = post(ann)

    def away(key: Any) -> bytes:
        raise StoreUnavailable("away")

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(reading, "octets_of", away)
            with pytest.raises(StoreUnavailable):
                indexing.drain()
        assert (waiting(), indexed()) == ([message.pk], [])
    assert indexing.drain() == 1
    assert search(ann.mailbox.pk, "hello").messages == [message.pk]


def test_what_is_expunged_is_forgotten(ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter(1))
    indexing.drain()
    messages.expunge(ann.mailbox.pk, [message.pk])
    assert waiting() == [message.pk]
    assert indexing.drain() == 1
    assert (waiting(), indexed(), stored_words()) == ([], [], [])


def test_what_is_expunged_before_it_was_indexed_leaves_nothing(ann: Account, post: Post) -> None:
    [message] = post(ann, text=letter(1))
    messages.expunge(ann.mailbox.pk, [message.pk])
    assert indexing.drain() == 1
    assert (waiting(), indexed(), stored_words()) == ([], [], [])


def test_what_is_expunged_while_it_is_indexed_is_forgotten_after_it(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    [message] = post(ann, text=letter(1))
    write = entries.write
    passed = [0.0]

    def slow(documents: Any) -> None:
        write(documents)
        messages.expunge(ann.mailbox.pk, [message.pk])
        passed[0] += 60

    with monkeypatch.context() as patch:
        patch.setattr(entries, "write", slow)
        patch.setattr(indexing, "time", SimpleNamespace(monotonic=lambda: passed[0]))
        assert indexing.drain(seconds=60) == 1
    indexing.drain()
    assert (waiting(), indexed(), stored_words()) == ([], [], [])


def test_a_purged_mailbox_is_forgotten(ann: Account, bob: Account, post: Post) -> None:
    post(ann, text=letter(1))
    [his] = post(bob, text=letter(2))
    indexing.drain()
    accounts.purge(ann)
    indexing.drain()
    assert (waiting(), indexed()) == ([], [his.pk])


def test_mail_that_is_stored_without_a_job_is_found_by_the_command(ann: Account, post: Post) -> None:
    made = [post(ann)[0].pk for _ in range(3)]
    indexing.index_message(made[0])
    IndexJob.objects.all().delete()
    out = StringIO()
    call_command("index_mail", stdout=out)
    assert out.getvalue() == "2 messages indexed\n"
    assert (waiting(), indexed()) == ([], made)
    out = StringIO()
    call_command("index_mail", "--all", stdout=out)
    assert out.getvalue() == "3 messages indexed\n"


def test_a_delivery_asks_the_database_once_for_all_its_messages(
    ann: Account, django_assert_num_queries: Any
) -> None:
    content = Content.objects.create(octets=1, wire_octets=1, created_at=timezone.now())
    inbox = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX)
    made = [
        rows.row(
            Message,
            mailbox_id=ann.mailbox.pk,
            folder_id=inbox.pk,
            content_id=content.pk,
            uidl=str(number),
            size=1,
            received_at=timezone.now(),
        )
        for number in range(100)
    ]
    # SQLite cannot insert rows and go on with them in one.
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 2):
        index_queue.insert(made, [content.pk])
    assert waiting() == sorted(Message.objects.values_list("pk", flat=True))
    assert len(waiting()) == 100


def test_a_very_long_message_is_indexed_within_bounds(ann: Account, post: Post) -> None:
    body = " ".join(f"word{number}" for number in range(60_000))
    [message] = post(ann, text=b"Subject: long\r\n\r\n" + body.encode() + b"\r\n")
    indexing.drain()
    box = ann.mailbox.pk
    for query in ("word0", '"word100 word101"', "word17000", "subject:long"):
        assert search(box, query).messages == [message.pk], query
    assert (
        search(box, '"word17000 word17001"').messages == []
    )  # of so late words it is not known where they stand
    assert search(box, "word59999").messages == []


@pytest.mark.parametrize(
    "text", ["東" * 100_000, "ab\0\ud800c " * 1000, "\U0010ffff" * 5, "x" * 300_000, "' \\ \"" * 9]
)
def test_any_text_can_be_indexed(ann: Account, post: Post, text: str) -> None:
    [message] = post(ann)
    entries.write([Document(message.pk, ann.mailbox.pk, message.received_at, text, text, text, text)])
    entries.remove([message.pk])
    assert stored_words() == []


def test_the_worst_that_fits_is_still_a_vector(ann: Account, post: Post) -> None:
    """As many different long words as a message may have, in letters that take four octets each."""
    [message] = post(ann)
    text = " ".join(f"{'𐐷' * 39}{number}" for number in range(30_000))
    document = Document(message.pk, 2**62, message.received_at, body=text)
    entries.write([document])
    assert len(words_of(document).placed) < 30_000
    entries.remove([message.pk])


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_the_queue(ann: Account, post: Post) -> None:
    made = [post(ann)[0].pk for _ in range(40)]
    together = threading.Barrier(2)

    def work(_: int) -> int:
        try:
            together.wait()
            return indexing.drain(seconds=600, batch=3)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(work, range(2)))
    assert sum(done) == 40
    assert (waiting(), indexed()) == ([], made)
    messages.expunge(ann.mailbox.pk, made)
    indexing.drain(seconds=600)
    assert stored_words() == []
    assert Mailbox.objects.get(pk=ann.mailbox.pk).message_count == 0
