"""Search finds the same on both databases, newest first, and never another's mail."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailboxes import entries, indexing, messages
from mailboxes import search as finding
from mailboxes.listing import Cursor
from mailboxes.models import Account, Folder, FolderKind, IndexJob, Message, SearchEntry
from mailboxes.query import parse
from mailboxes.search import WAITING_MAX, Found, search

Post = Callable[..., list[Message]]

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
PDF = (
    "\r\n--x\r\nContent-Type: application/pdf\r\n"
    'Content-Disposition: attachment; filename="Kostenvoranschlag_7.pdf"\r\n\r\n%PDF\r\n--x--\r\n'
)


def letter(subject: str, sender: str, body: str, to: str = "ann@example.test", attached: str = "") -> bytes:
    head = f"Subject: {subject}\r\nFrom: {sender}\r\nTo: {to}\r\nMIME-Version: 1.0\r\n"
    plain = "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    if attached:
        head += "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    return f"{head}{plain}{body}\r\n{attached}".encode()


LETTERS = {
    "invoice": letter(
        "Invoice 2026-17", "Ann Smith <ann.smith@shop.test>", "Please pay the amount of 12.50."
    ),
    "reminder": letter("Reminder", "Billing <billing@shop.test>", "Your invoice is not paid. Last reminder!"),
    "mueller": letter("Grüße aus Köln", "Jürgen Müller <mueller@mail.test>", "Die Straße ist größer."),
    "tokyo": letter("会議のお知らせ", "山田太郎 <yamada@mail.test>", "東京都で会議があります。カタカナ"),
    "quote": letter("Offer", "Builder <b@build.test>", "As promised, the estimate.", attached=PDF),
    "html": letter(
        "News", "News <news@news.test>", "see <b>this</b> quarterly report and that report", "all@x.test"
    ),
    "smorgasbord": letter("Smörgåsbord", "Łukasz Ødegård <l@mail.test>", "Здравствуй мир; καλημέρα κόσμε"),
}
# What each query finds, newest first.
QUERIES = {
    "invoice": ["reminder", "invoice"],
    "INVOICE": ["reminder", "invoice"],
    "invoic": ["reminder", "invoice"],
    '"invoic"': [],
    "invoice reminder": ["reminder"],
    "invoice -reminder": ["invoice"],
    "-invoice": ["smorgasbord", "html", "quote", "tokyo", "mueller"],
    "-invoice -report": ["smorgasbord", "quote", "tokyo", "mueller"],
    "subject:invoice": ["invoice"],
    "-subject:invoice invoice": ["reminder"],
    "from:ann": ["invoice"],
    "from:smith@shop.test": ["invoice"],
    "from:shop.test": ["reminder", "invoice"],
    "from:ann reminder": [],
    "to:all@x.test": ["html"],
    "to:ann from:shop": ["reminder", "invoice"],
    '"quarterly report"': ["html"],
    '"report quarterly"': [],
    '"reminder your"': [],  # a phrase does not go from the subject into the body
    "12.50": ["invoice"],
    "müller": ["mueller"],
    "mueller": ["mueller"],
    "Muller": ["mueller"],
    "grüsse": ["mueller"],
    "gruesse": ["mueller"],
    "köln": ["mueller"],
    "koeln": ["mueller"],
    "strasse größer": ["mueller"],
    "東京": ["tokyo"],
    "東京都で": ["tokyo"],
    "京都": ["tokyo"],
    "京東": [],
    "都": ["tokyo"],
    "会議": ["tokyo"],
    "ｶﾀｶﾅ": ["tokyo"],
    "from:山田": ["tokyo"],
    "smorgasbord": ["smorgasbord"],
    "from:lukasz": ["smorgasbord"],
    "odegard": ["smorgasbord"],
    "МИР": ["smorgasbord"],
    "καλημερα": ["smorgasbord"],
    "kostenvoranschlag": ["quote"],
    "has:attachment": ["quote"],
    "estimate -has:attachment": [],
    "is:unread from:shop": ["reminder", "invoice"],
    "is:read": ["mueller"],
    "is:starred": ["tokyo"],
    "-is:starred -is:read": ["smorgasbord", "html", "quote", "reminder", "invoice"],
    "in:inbox invoice": ["reminder"],
    "in:archive": ["invoice"],
    "-in:inbox": ["html", "invoice"],
    "in:bills": ["html"],
    "in:Bills news": ["html"],
    "in:trash": [],
    "after:2026-11-04": ["smorgasbord", "html", "quote", "tokyo"],
    "before:2026-11-03": ["reminder", "invoice"],
    "after:2026-11-03 before:2026-11-04": ["mueller"],
    "invoice -after:2026-11-02": ["invoice"],
    "after:17d": ["smorgasbord"],
    "larger:1K": ["html"],
    "smaller:100K in:bills": ["html"],
    "larger:1M": [],
    "zeppelin": [],
    "": [],
    "&": [],
}


@pytest.fixture
def mailbox(ann: Account, post: Post) -> dict[str, Message]:
    """A small mailbox: a letter a day from 1 November at noon, in the order of LETTERS."""
    made = {}
    for day, (name, text) in enumerate(LETTERS.items(), 1):
        [made[name]] = post(ann, text=text, received_at=datetime(2026, 11, day, 12, tzinfo=UTC))
    box = ann.mailbox.pk
    bills = Folder.objects.create(mailbox_id=box, kind=FolderKind.OWN, name="Bills")
    messages.move(box, [made["html"].pk], bills)
    messages.move(box, [made["invoice"].pk], Folder.objects.get(mailbox=box, kind=FolderKind.ARCHIVE))
    Message.objects.filter(pk=made["mueller"].pk).update(seen=True)
    Message.objects.filter(pk=made["tokyo"].pk).update(starred=True)
    Message.objects.filter(pk=made["html"].pk).update(size=2000)
    Message.objects.exclude(pk=made["html"].pk).update(size=500)
    indexing.drain()
    return made


def found(box: dict[str, Message], query: str, **more: Any) -> list[str]:
    names = {message.pk: name for name, message in box.items()}
    result = search(box["invoice"].mailbox_id, query, now=NOW, **more)
    return [names[message] for message in result.messages]


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["newest read first", "by words only"])
def test_a_table_of_queries(mailbox: dict[str, Message], way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "by words only":
        # Of PostgreSQL's two ways the first would find everything in so small a mailbox.
        monkeypatch.setattr(finding, "SLICE", 0)
    assert {query: found(mailbox, query) for query in QUERIES} == QUERIES


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("invoice", "(('7.winvoice':*))"),
        ('"last reminder"', "(('7.wlast' & '7.wreminder'))"),
        ('invoice -"last reminder"', "(('7.winvoice'))"),
        ('"last reminder" -invoice', "(('7.wlast' & '7.wreminder')) & !(('7.winvoice'))"),
    ],
)
def test_of_a_phrase_the_index_of_words_is_asked_for_its_words(query: str, asked: str) -> None:
    """Whoever lacks one of them has not got the phrase; who has them all may not be refused for it."""
    assert entries.candidates(7, parse(query, NOW).words) == asked


WAITING = {
    "invoice": ["reminder", "invoice"],
    "koeln": ["mueller"],
    "東京": ["tokyo"],
    "-invoice from:build": ["quote"],
}


@pytest.mark.django_db
def test_what_waits_is_found_by_its_facts(mailbox: dict[str, Message]) -> None:
    SearchEntry.objects.all()._raw_delete("default")
    for message in mailbox.values():
        IndexJob.objects.create(message=message.pk, mailbox=message.mailbox_id)
    assert {query: found(mailbox, query) for query in WAITING} == WAITING
    assert found(mailbox, "in:inbox is:read after:2026-11") == ["mueller"]
    assert found(mailbox, "kostenvoranschlag") == []  # the name of an attachment is read later


@pytest.mark.django_db
def test_what_is_indexed_again_is_found_once_and_whole(mailbox: dict[str, Message]) -> None:
    quote = mailbox["quote"]
    IndexJob.objects.create(message=quote.pk, mailbox=quote.mailbox_id)
    assert found(mailbox, "kostenvoranschlag") == ["quote"]
    assert found(mailbox, "estimate") == ["quote"]


@pytest.mark.django_db
@pytest.mark.parametrize("waits", [False, True])
def test_nobody_finds_another_ones_mail(ann: Account, bob: Account, post: Post, waits: bool) -> None:
    [hers] = post(ann, text=letter("secret", "x@y.test", "secret"))
    [his] = post(bob, text=letter("secret", "x@y.test", "secret"))
    [both, both_his] = post(ann, bob, text=letter("secret of both", "x@y.test", "secret"))
    if not waits:
        indexing.drain()
    for query in ("secret", "-absent", "is:unread", "from:x subject:secret", "in:inbox", "after:2020"):
        assert search(ann.mailbox.pk, query).messages == [both.pk, hers.pk]
        assert search(bob.mailbox.pk, query).messages == [both_his.pk, his.pk]


@pytest.mark.django_db
def test_an_entry_that_is_wrong_shows_nobody_anything(ann: Account, bob: Account, post: Post) -> None:
    """Each of the looks at the mailbox is enough by itself."""
    [his] = post(bob, text=letter("secret", "x@y.test", "secret"))
    entries.write([entries.Document(his.pk, ann.mailbox.pk, his.received_at, body="secret")])
    IndexJob.objects.update(mailbox=ann.mailbox.pk)
    for query in ("secret", "-absent", "is:unread"):
        assert search(ann.mailbox.pk, query).messages == []
    SearchEntry.objects.update(mailbox=bob.mailbox.pk)
    assert search(bob.mailbox.pk, "secret").messages == []  # the words stand under ann's mailbox
    assert search(ann.mailbox.pk, "secret").messages == []
    SearchEntry.objects.all()._raw_delete("default")
    assert search(ann.mailbox.pk, "secret").messages == []


@pytest.mark.django_db
def test_another_ones_folder_is_no_folder(ann: Account, bob: Account, post: Post) -> None:
    Folder.objects.create(mailbox=bob.mailbox, kind=FolderKind.OWN, name="Plans")
    post(ann)
    assert search(ann.mailbox.pk, "in:plans") == Found(problems=["There is no folder “plans”."])
    assert len(search(ann.mailbox.pk, "-in:plans letter").messages) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["letter", "-absent", "is:unread", "letter is:unread", "lett"])
def test_pages_leave_no_gaps_and_repeat_nothing(
    ann: Account, post: Post, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "SLICE", 4)
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second % 7) for second in range(25)]
    made = [post(ann, received_at=moment)[0] for moment in moments]
    indexing.drain()
    made += [post(ann, received_at=moments[0])[0] for _ in range(3)]  # these wait
    made.sort(key=lambda message: (message.received_at, message.pk), reverse=True)
    seen: list[int] = []
    cursor = None
    while True:
        page = search(ann.mailbox.pk, query, before=cursor, limit=5)
        seen += page.messages
        assert page.more is (len(seen) < len(made))
        if not page.more:
            break
        assert len(page.messages) == 5
        cursor = Cursor.of(Message.objects.get(pk=page.messages[-1]))
    assert seen == [message.pk for message in made]


@pytest.mark.django_db
def test_an_expunged_message_is_gone_at_once_and_its_words_soon(ann: Account, post: Post) -> None:
    [message, other] = [post(ann, text=letter("unique", "x@y.test", "zeppelin"))[0] for _ in range(2)]
    indexing.drain()
    messages.expunge(ann.mailbox.pk, [message.pk])
    assert search(ann.mailbox.pk, "zeppelin").messages == [other.pk]
    assert SearchEntry.objects.filter(message=message.pk).exists()
    assert indexing.drain() == 1
    assert not SearchEntry.objects.filter(message=message.pk).exists()
    assert search(ann.mailbox.pk, "zeppelin").messages == [other.pk]
    assert _stored("zeppelin", ann.mailbox.pk) == 1


def _stored(word: str, mailbox: int) -> int:
    """How many entries the database itself holds of a word."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT count(*) FROM mailboxes_searchentry WHERE vector @@ %s::tsquery",
                [f"'{mailbox}.w{word}'"],
            )
        else:
            cursor.execute(
                "SELECT count(*) FROM mailboxes_searchwords WHERE words MATCH %s", [f'"{mailbox}.w{word}"']
            )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
def test_what_is_left_out_is_said_and_the_rest_is_found(mailbox: dict[str, Message]) -> None:
    result = search(mailbox["invoice"].mailbox_id, "invoice larger:big is:green from:ann", now=NOW)
    assert result.messages == [mailbox["invoice"].pk]
    assert len(result.problems) == 2
    assert result.words == ["invoice", "ann*"]


# What is not stopped hangs the test.
SLEEP = " AND (SELECT true FROM pg_sleep(7200))"


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["invoice", "-absent", "is:unread", "inv in:inbox", "zeppelin"])
def test_a_search_ends_when_its_time_is_over(
    mailbox: dict[str, Message], query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = mailbox["invoice"].mailbox_id
    with monkeypatch.context() as patch:
        patch.setattr(finding, "STEPS", 1)
        for name in ("TIME_ORDER", "NEWEST_SLICE", "BY_WORDS"):
            if connection.vendor == "postgresql":
                patch.setattr(finding, name, getattr(finding, name).replace("{facts}", "{facts}" + SLEEP))
        seconds = 0.05 if connection.vendor == "postgresql" else 0.0
        result = search(box, query, seconds=seconds)
        assert (result.messages, result.timed_out) == ([], True)
    assert search(box, query).timed_out is False


@pytest.mark.django_db
def test_what_was_found_in_time_is_shown(
    mailbox: dict[str, Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at by then are the newest, so what is shown is how the whole result begins."""
    box = mailbox["invoice"].mailbox_id
    whole = search(box, "-zeppelin").messages
    if connection.vendor == "postgresql":
        monkeypatch.setattr(finding, "SLICE", 3)
        slow = finding.TIME_ORDER.replace("{facts}", "{facts}" + SLEEP)
        monkeypatch.setattr(finding, "TIME_ORDER", slow)
        # The newest slice has all the time it needs, what follows has little.
        left = iter([600.0])
        monkeypatch.setattr(finding._Deadline, "left", lambda self: next(left, 0.1))
        result = search(box, "-zeppelin")
        assert (result.messages, result.timed_out) == (whole[:3], True)
        return
    monkeypatch.setattr(finding, "STEPS", 1)
    lengths = set()
    for steps in range(1000):
        left = iter([1.0] * steps)
        monkeypatch.setattr(finding._Deadline, "left", lambda self, left=left: next(left, -1.0))
        result = search(box, "-zeppelin")
        assert result.messages == whole[: len(result.messages)]
        lengths.add(len(result.messages))
        if not result.timed_out:
            break
    assert lengths == set(range(len(whole) + 1))


@pytest.mark.django_db
@pytest.mark.parametrize(("query", "queries"), [("letter", 2), ("letter in:inbox", 3), ("is:unread", 2)])
@pytest.mark.parametrize("count", [1, 3])
def test_as_many_queries_for_one_message_as_for_three(
    ann: Account, post: Post, query: str, queries: int, count: int, django_assert_num_queries: Any
) -> None:
    for _ in range(count):
        post(ann)
    indexing.drain()
    box = ann.mailbox.pk
    words = "letter" in query
    if connection.vendor == "postgresql":
        # A savepoint, the time limit and its end around each of the two ways of asking for words.
        queries += 4 + 5 * words
    with django_assert_num_queries(queries):
        assert len(search(box, query).messages) == count


@pytest.mark.django_db
def test_only_the_newest_that_wait_are_looked_at(ann: Account, post: Post) -> None:
    [message] = post(ann)
    later = [IndexJob(message=message.pk + at, mailbox=ann.mailbox.pk) for at in range(1, WAITING_MAX)]
    IndexJob.objects.bulk_create(later)
    assert search(ann.mailbox.pk, "letter").messages == [message.pk]
    IndexJob.objects.create(message=message.pk + WAITING_MAX, mailbox=ann.mailbox.pk)
    assert search(ann.mailbox.pk, "letter").messages == []


@pytest.mark.django_db
@hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60
)
@given(
    text=st.text(
        alphabet=st.one_of(st.sampled_from("\"'*:()&|!<>-^~ \\%_ab京\0;"), st.characters()), max_size=40
    )
)
def test_nothing_that_is_typed_is_an_error_of_the_database(mailbox: dict[str, Message], text: str) -> None:
    for query in (text, f'"{text}"', f"-{text}", f"from:{text}", f'in:"{text}', f"invoice {text}"):
        search(mailbox["invoice"].mailbox_id, query)
