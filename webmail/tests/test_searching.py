"""Search and conversations as pages: what they show, what is done from them, and what they cost."""

import re
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from django.test import Client

from mailboxes import indexing, search
from mailboxes.conversations import LETTERS_MAX
from mailboxes.exceptions import ContentMissing, StoreUnavailable
from mailboxes.flags import Flag, set_flag
from mailboxes.messages import move
from mailboxes.models import Account, Change, Folder, FolderKind, Mailbox, Message
from mailboxes.tests.test_conversations import letter
from mailboxes.tests.test_messages import lying
from webmail.views import search as pages

Post = Callable[..., list[Message]]


def page_of(client: Client, path: str, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200, path
    return answer.content.decode()


def numbers(page: str) -> list[int]:
    """The rows of the list, from the first to the last."""
    return [int(number) for number in re.findall(r'<li class="row[^>]* data-id="(\d+)"', page)]


# -- conversations ------------------------------------------------------------------------------


@pytest.fixture
def lunch(ann: Account, post: Post) -> list[int]:
    """Three letters of one conversation, and one between them that is none of it; oldest first."""
    texts = [
        letter("1@x.test", sender="Bob Bean <bob@x.test>"),
        letter("2@x.test", "1@x.test", sender="Carla Corn <carla@x.test>"),
        letter("8@x.test", sender="Dan <dan@x.test>"),
        letter("3@x.test", "1@x.test", "2@x.test", sender="Bob Bean <bob@x.test>"),
    ]
    made = [post(ann, text=text)[0].pk for text in texts]
    indexing.drain(600)
    return made


def test_a_conversation_is_one_row_at_its_newest_letter(browser_of_ann: Client, lunch: list[int]) -> None:
    page = page_of(browser_of_ann, "/mail/inbox/")
    assert numbers(page) == [lunch[3], lunch[2]]
    assert "Bob, Carla" in page
    assert 'title="3 messages"' in page
    assert "Group conversations" in page


def test_grouping_is_switched_and_remembered(ann: Account, browser_of_ann: Client, lunch: list[int]) -> None:
    answer = browser_of_ann.post("/mail/conversations/", {"folder": "inbox", "group": "0"})
    assert answer["Location"] == "/mail/inbox/"
    assert Mailbox.objects.get(account=ann).conversations is False
    assert numbers(page_of(browser_of_ann, "/mail/inbox/")) == lunch[::-1]
    answer = browser_of_ann.post(
        "/mail/conversations/", {"folder": "inbox", "group": "1"}, headers={"HX-Request": "true"}
    )
    assert numbers(answer.content.decode()) == [lunch[3], lunch[2]]
    assert browser_of_ann.post("/mail/conversations/", {"folder": "99999"}).status_code == 404


def test_an_act_on_a_conversation_is_on_all_of_it_in_the_folder(
    ann: Account, browser_of_ann: Client, lunch: list[int], folder_of: Callable[[Account, str], Folder]
) -> None:
    form = {"folder": "inbox", "grouped": "1", "act": "archive", "message": lunch[3]}
    browser_of_ann.post("/mail/acts/", form)
    assert lying(ann) == [lunch[2]]
    browser_of_ann.post("/mail/undo/", {"change": Change.objects.latest("pk").key, "folder": "inbox"})
    assert lying(ann) == lunch
    browser_of_ann.post("/mail/acts/", {**form, "act": "star"})
    assert list(Message.objects.filter(starred=True).values_list("pk", flat=True)) == [lunch[3]]
    browser_of_ann.post("/mail/acts/", {"folder": "inbox", "act": "archive", "message": lunch[3]})
    assert lying(ann) == lunch[:3], "a list without conversations acts on the one"


def test_opening_shows_all_letters_and_reads_what_it_shows(
    ann: Account, browser_of_ann: Client, lunch: list[int], folder_of: Callable[[Account, str], Folder]
) -> None:
    move(ann.mailbox.pk, [lunch[0]], folder_of(ann, "archive"))
    set_flag(ann.mailbox.pk, [lunch[0]], Flag.SEEN, True)
    page = page_of(browser_of_ann, f"/mail/inbox/{lunch[3]}/")
    stack = re.findall(r'<details class="stacked" id="l(\d+)"( open)?>', page)
    assert stack == [(str(lunch[0]), ""), (str(lunch[1]), " open"), (str(lunch[3]), " open")]
    assert "Archive</span>" in page
    assert set(Message.objects.filter(seen=True).values_list("pk", flat=True)) == {
        lunch[0],
        lunch[1],
        lunch[3],
    }
    assert f'data-open="{lunch[3]}"' in page
    # Opened at another letter, it is the same conversation, and that one is open.
    page = page_of(browser_of_ann, f"/mail/inbox/{lunch[1]}/")
    stack = re.findall(r'<details class="stacked" id="l(\d+)"( open)?>', page)
    assert stack == [(str(lunch[0]), ""), (str(lunch[1]), " open"), (str(lunch[3]), " open")]
    assert f'id="m{lunch[3]}" data-id="{lunch[3]}" data-open' in page


def test_what_is_in_the_trash_is_shown_from_there_only(
    ann: Account, browser_of_ann: Client, lunch: list[int], folder_of: Callable[[Account, str], Folder]
) -> None:
    move(ann.mailbox.pk, [lunch[1]], folder_of(ann, "trash"))
    assert f'id="l{lunch[1]}"' not in page_of(browser_of_ann, f"/mail/inbox/{lunch[3]}/")
    assert f'id="l{lunch[1]}"' in page_of(browser_of_ann, f"/mail/trash/{lunch[1]}/")


def test_a_letter_of_a_stack_says_where_it_lies_if_that_is_elsewhere(
    ann: Account, browser_of_ann: Client, lunch: list[int], folder_of: Callable[[Account, str], Folder]
) -> None:
    move(ann.mailbox.pk, [lunch[0]], folder_of(ann, "archive"))
    page = page_of(browser_of_ann, f"/mail/inbox/{lunch[3]}/")
    assert re.findall(
        r'id="l(\d+)"(?:(?!</summary>).)*<span class="where">(\w+)</span>', page, re.DOTALL
    ) == [(str(lunch[0]), "Archive")]


def test_one_folded_letter_is_fetched_alone(browser_of_ann: Client, lunch: list[int]) -> None:
    part = page_of(browser_of_ann, f"/mail/inbox/{lunch[0]}/letter/", **{"HX-Request": "true"})
    assert "Hello" in part
    assert "<html" not in part
    assert Message.objects.get(pk=lunch[0]).seen
    assert browser_of_ann.get(f"/mail/inbox/{lunch[0]}/letter/")["Location"] == f"/mail/inbox/{lunch[0]}/"


def test_a_long_conversation_comes_in_parts(ann: Account, browser_of_ann: Client, post: Post) -> None:
    made = [post(ann)[0].pk for _ in range(LETTERS_MAX + 5)]
    Message.objects.update(thread=made[0], seen=True)
    page = page_of(browser_of_ann, f"/mail/inbox/{made[-1]}/")
    assert len(re.findall(r'<details class="stacked"', page)) == LETTERS_MAX
    assert len(re.findall(r'<details class="stacked" id="l\d+" open', page)) == 1
    [earlier] = re.findall(r'href="([^"]*\?earlier=\d+)"', page)
    page = page_of(browser_of_ann, earlier)
    assert re.findall(r'id="l(\d+)"', page) == [str(number) for number in made[:5]]
    assert "The newest messages" in page


def test_a_list_of_conversations_costs_as_many_queries_in_any_company(
    ann: Account, browser_of_ann: Client, post: Post, django_assert_max_num_queries: Any
) -> None:
    def asked() -> int:
        with django_assert_max_num_queries(20) as queries:
            page_of(browser_of_ann, "/mail/inbox/")
        return len(queries)

    first = [post(ann)[0].pk for _ in range(2)]
    Message.objects.filter(pk__in=first).update(thread=first[0])
    alone = asked()
    for _ in range(2):
        more = [post(ann)[0].pk for _ in range(2)]
        Message.objects.filter(pk__in=more).update(thread=more[0])
    assert asked() == alone


# -- search -------------------------------------------------------------------------------------


@pytest.fixture
def letters(ann: Account, bob: Account, post: Post) -> list[int]:
    made = [
        post(
            ann, text=b"From: Bob <bob@x.test>\r\nSubject: The shed %d\r\n\r\nA <b>shed</b> of wood\r\n" % n
        )[0].pk
        for n in range(3)
    ]
    post(ann, text=b"Subject: nothing\r\n\r\nelse\r\n")
    post(bob, text=b"Subject: The shed of bob\r\n\r\nsecret\r\n")
    indexing.drain(600)
    return made


def test_results_are_newest_first_marked_and_say_where_they_lie(
    browser_of_ann: Client, letters: list[int]
) -> None:
    page = page_of(browser_of_ann, "/mail/search/?q=shed")
    assert numbers(page) == letters[::-1]
    assert "The <mark>shed</mark> 2" in page
    assert "A &lt;b&gt;<mark>shed</mark>&lt;/b&gt; of wood" in page
    assert page.count('<span class="where" dir="auto">Inbox</span>') == 3
    assert "of bob" not in page
    assert 'value="shed"' in page


def row_of(page: str, number: int) -> str:
    row: str
    [row] = re.findall(rf'<li class="row[^>]* id="m{number}".*?</li>', page, re.DOTALL)
    return row


def part_of(row: str, name: str) -> str:
    """What is shown in a row as its sender, subject or snippet, without the folder."""
    [shown] = re.findall(rf'<span class="{name}"[^>]*>(.*?)</span>\n', row, re.DOTALL)
    return re.sub(r'^<span class="where".*?</span> ', "", shown)


LONG = "Guten Tag, wir danken Ihnen für die gute Zusammenarbeit in diesem Jahr. " * 20
FOUND = {
    "rechnung": (
        f"{LONG}Anbei die <b>Rechnung</b> für das Gartenhaus.",
        "&lt;b&gt;<mark>Rechnung</mark>&lt;/b&gt;",
    ),
    "mueller": (f"{LONG}Es grüßt Jürgen Müller & Sohn", "Jürgen <mark>Müller</mark> &amp; Sohn"),
    "strasse": (f"{LONG}Kommen Sie in die Lange Straße 7!", "Lange <mark>Straße</mark> 7!"),
    '"lange strasse"': (f"{LONG}Kommen Sie in die Lange Straße 7!", "die <mark>Lange Straße</mark> 7!"),
    "東京": ("会議のお知らせ。" * 100 + "明日は東京都で会います。", "明日は<mark>東京</mark>都で会います。"),
    "กิน": ("สวัสดีครับ " * 100 + "ไปกินข้าว", "ไป<mark>กิน</mark>ข้าว"),
    "שלום": ("one two three " * 100 + "שלום עולם", "<mark>שלום</mark> עולם"),
}


@pytest.mark.parametrize("query", FOUND)
def test_a_row_shows_where_in_the_text_it_was_found(
    ann: Account, browser_of_ann: Client, post: Post, query: str
) -> None:
    text, shown = FOUND[query]
    head = b"From: x@y.test\r\nSubject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    [message] = post(ann, text=head + text.encode() + b"\r\n")
    indexing.drain(600)
    row = row_of(page_of(browser_of_ann, f"/mail/search/?q={quote(query)}"), message.pk)
    snippet = part_of(row, "snippet")
    assert snippet.startswith("… ")
    assert shown in snippet
    assert snippet.index("<mark>") < 50
    assert len(snippet) < 300


def long_letters(ann: Account, post: Post, number: int) -> list[int]:
    """Letters of which the index keeps less than to where the needle lies; newest first."""
    text = (
        b"From: x@y.test\r\nSubject: hay\r\n\r\n" + b"a line of hay\r\n" * 600 + b"here the needle lies\r\n"
    )
    made = [post(ann, text=text)[0].pk for _ in range(number)]
    indexing.drain(600)
    return made[::-1]


def test_what_stands_far_behind_in_a_text_is_shown_too(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    made = long_letters(ann, post, pages.WHOLE_MAX + 1)
    page = page_of(browser_of_ann, "/mail/search/?q=needle")
    snippets = [part_of(row_of(page, number), "snippet") for number in made]
    # Of a page's messages only so many are read for it.
    assert ["here the <mark>needle</mark> lies" in one for one in snippets] == [True] * pages.WHOLE_MAX + [
        False
    ]
    assert snippets[-1].startswith("a line of hay")


def test_a_message_whose_bytes_are_away_is_found_and_shown_from_its_beginning(
    ann: Account, browser_of_ann: Client, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    [number] = long_letters(ann, post, 1)
    for away in (StoreUnavailable(), ContentMissing()):
        monkeypatch.setattr(pages, "octets_of", Mock(side_effect=away))
        page = page_of(browser_of_ann, "/mail/search/?q=needle")
        assert part_of(row_of(page, number), "snippet").startswith("a line of hay")


def test_where_the_store_is_away_a_page_waits_for_it_once(
    ann: Account, browser_of_ann: Client, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = long_letters(ann, post, 3)
    read = Mock(side_effect=StoreUnavailable())
    monkeypatch.setattr(pages, "octets_of", read)
    assert numbers(page_of(browser_of_ann, "/mail/search/?q=needle")) == made
    assert read.call_count == 1


def test_nothing_large_is_fetched_from_elsewhere_to_show_what_was_found(
    ann: Account, browser_of_ann: Client, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = long_letters(ann, post, 2)
    Message.objects.filter(pk=large).update(size=pages.WHOLE_OCTETS + 1)
    for local in (True, False):
        monkeypatch.setattr(pages, "is_local", lambda local=local: local)
        page = page_of(browser_of_ann, "/mail/search/?q=needle")
        snippets = [part_of(row_of(page, number), "snippet") for number in (small, large)]
        assert ["<mark>needle</mark>" in one for one in snippets] == [True, local]


def test_what_stands_at_the_beginning_of_a_text_is_shown_from_there(
    browser_of_ann: Client, letters: list[int]
) -> None:
    page = page_of(browser_of_ann, "/mail/search/?q=wood")
    assert part_of(row_of(page, letters[0]), "snippet") == "A &lt;b&gt;shed&lt;/b&gt; of <mark>wood</mark>"


def test_a_name_is_marked_where_the_sender_was_looked_for(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    head = 'From: "Jürgen & Müller" <m@x.test>\r\nSubject: Müller was here\r\n'
    text = f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\nMüller wrote\r\n"
    [message] = post(ann, text=text.encode())
    indexing.drain(600)

    def marked(query: str) -> list[int]:
        row = row_of(page_of(browser_of_ann, f"/mail/search/?q={quote(query)}"), message.pk)
        return [part_of(row, name).count("<mark>Müller</mark>") for name in ("subject", "snippet")] + [
            row.count('<span class="names">Jürgen &amp; <mark>Müller</mark></span>')
        ]

    assert marked("mueller") == [1, 1, 1]
    assert marked("from:müller") == [0, 0, 1]
    assert marked("subject:müller") == [1, 0, 0]


def test_the_folder_says_nothing_of_the_direction_of_a_text(
    browser_of_ann: Client, letters: list[int]
) -> None:
    row = row_of(page_of(browser_of_ann, "/mail/search/?q=shed"), letters[0])
    # A child with a direction of its own is passed over when that of its parent is found out.
    assert '<span class="snippet" dir="auto"><span class="where" dir="auto">Inbox</span> A ' in row


def test_search_looks_in_one_folder_where_that_is_asked_for(
    ann: Account, browser_of_ann: Client, letters: list[int], folder_of: Callable[[Account, str], Folder]
) -> None:
    Message.objects.filter(pk=letters[1]).update(folder=folder_of(ann, "archive"))
    assert numbers(page_of(browser_of_ann, "/mail/search/?q=shed&in=archive")) == [letters[1]]
    assert numbers(page_of(browser_of_ann, "/mail/search/?q=shed+in:archive")) == [letters[1]]
    assert numbers(page_of(browser_of_ann, "/mail/search/?q=shed&in=99999")) == letters[::-1]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "What are you looking for?"),
        ("unheardof", "Nothing matches “unheardof”."),
        ("shed before:never", "“never” is no date"),
        ("shed in:nowhere", "There is no folder “nowhere”."),
        ("is:odd shed", "“is:odd” is unknown"),
        ("<script>x</script>", "Nothing matches “&lt;script&gt;x&lt;/script&gt;”."),
        ("\0" * 3 + "x" * 3000, "The search is too long"),
    ],
)
def test_what_is_wrong_with_a_search_is_said(
    browser_of_ann: Client, letters: list[int], query: str, told: str
) -> None:
    page = page_of(browser_of_ann, f"/mail/search/?q={quote(query)}")
    assert told in page
    assert "How to search" in page
    assert "<script>x" not in page


def test_a_search_that_was_stopped_says_so(
    browser_of_ann: Client, letters: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webmail.views.search.search", lambda *_, **__: search.Found(timed_out=True))
    assert "stopped after three seconds" in page_of(browser_of_ann, "/mail/search/?q=shed")


def test_results_come_page_by_page(
    browser_of_ann: Client, letters: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = search.search

    def of_two(*args: Any, **more: Any) -> search.Found:
        return made(*args, **{**more, "limit": 2})

    monkeypatch.setattr("webmail.views.search.search", of_two)
    page = page_of(browser_of_ann, "/mail/search/?q=shed")
    assert numbers(page) == letters[:0:-1]
    [older] = re.findall(r'href="([^"]+)" rel="next"', page)
    page = page_of(browser_of_ann, older.replace("&amp;", "&"))
    assert numbers(page) == letters[:1]
    assert 'rel="next"' not in page
    assert re.findall(r'href="([^"]+)" rel="prev"', page) == ["/mail/search/?q=shed"]


def test_a_result_is_opened_beside_the_results(
    ann: Account, browser_of_ann: Client, letters: list[int]
) -> None:
    page = page_of(browser_of_ann, f"/mail/search/{letters[1]}/?q=shed")
    assert numbers(page) == letters[::-1]
    assert "of wood" in page
    assert Message.objects.get(pk=letters[1]).seen
    assert 'class="tool back" href="/mail/search/?q=shed"' in page
    assert browser_of_ann.get("/mail/search/99999/?q=shed").status_code == 404


@pytest.mark.parametrize("scripts", [True, False])
def test_all_acts_work_on_results_and_come_back(
    ann: Account, browser_of_ann: Client, letters: list[int], scripts: bool
) -> None:
    headers = {"HX-Request": "true"} if scripts else {}
    form = {"folder": "search", "q": "shed", "act": "trash", "message": letters[:2]}
    answer = browser_of_ann.post("/mail/acts/", form, headers=headers)
    assert lying(ann, FolderKind.TRASH) == letters[:2]
    if scripts:
        assert numbers(answer.content.decode()) == letters[::-1], "wherever they lie"
    else:
        assert answer["Location"] == "/mail/search/?q=shed"
    form = {"folder": "search", "q": "shed", "change": Change.objects.latest("pk").key}
    answer = browser_of_ann.post("/mail/undo/", form, headers=headers)
    assert answer.status_code == (200 if scripts else 302)
    assert lying(ann, FolderKind.TRASH) == []


def test_all_that_match_is_all_that_matched_then(
    ann: Account, browser_of_ann: Client, letters: list[int], post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE_MAX", 2)
    made = search.search

    def of_one(*args: Any, **more: Any) -> search.Found:
        return made(*args, **{**more, "limit": 1})

    with monkeypatch.context() as patch:
        patch.setattr("webmail.views.search.search", of_one)
        page = page_of(browser_of_ann, "/mail/search/?q=shed")
    [until] = re.findall(r'name="all" value="([^"]+)"', page)
    [late] = post(ann, text=b"Subject: a later shed\r\n\r\nx\r\n")
    Message.objects.filter(pk=late.pk).update(received_at=late.received_at.replace(year=2099))
    browser_of_ann.post("/mail/acts/", {"folder": "search", "q": "shed", "act": "archive", "all": until})
    assert lying(ann, FolderKind.ARCHIVE) == letters
    browser_of_ann.post("/mail/undo/", {"folder": "search", "change": Change.objects.latest("pk").key})
    assert lying(ann, FolderKind.ARCHIVE) == []
    for wrong in ("", "x", "1"):
        browser_of_ann.post("/mail/acts/", {"folder": "search", "q": "shed", "act": "archive", "all": wrong})
    assert lying(ann, FolderKind.ARCHIVE) == []


def test_nothing_is_removed_for_good_from_a_search(
    ann: Account, browser_of_ann: Client, letters: list[int]
) -> None:
    form = {"folder": "search", "q": "shed", "act": "expunge", "sure": "1", "message": letters}
    assert browser_of_ann.post("/mail/acts/", form).status_code == 400
    assert Message.objects.filter(pk__in=letters).count() == 3


def test_another_finds_and_changes_nothing_of_anns(
    ann: Account, bob: Account, letters: list[int], logged_in: Callable[[Any], Client]
) -> None:
    browser = logged_in(bob)
    page = page_of(browser, "/mail/search/?q=shed")
    assert "The <mark>shed</mark> of bob" in page
    assert not set(numbers(page)) & set(letters)
    assert browser.get(f"/mail/search/{letters[0]}/?q=shed").status_code == 404
    assert browser.get(f"/mail/inbox/{letters[0]}/letter/", headers={"HX-Request": "true"}).status_code == 404
    for form in (
        {"message": letters},
        {"all": "9" * 17 + "-0"},
        {"message": letters, "grouped": "1", "folder": "inbox"},
    ):
        browser.post("/mail/acts/", {"folder": "search", "q": "shed", "act": "archive", **form})
    assert lying(ann, FolderKind.ARCHIVE) == []


def test_a_page_of_results_costs_as_many_queries_in_any_company(
    ann: Account, browser_of_ann: Client, letters: list[int], django_assert_max_num_queries: Any
) -> None:
    def asked(query: str) -> int:
        with django_assert_max_num_queries(25) as queries:
            assert len(numbers(page_of(browser_of_ann, f"/mail/search/?q={query}"))) == (
                1 if "0" in query else 3
            )
        return len(queries)

    assert asked("subject:0") == asked("subject:shed")
    # Where their texts are shown, all of them are read at once.
    assert asked("0") == asked("shed") == asked("subject:shed") + 1


def test_german_readers_are_told_german_words_which_find_what_the_english_ones_find(
    ann: Account, browser_of_ann: Client, lunch: list[int]
) -> None:
    english = page_of(browser_of_ann, "/mail/search/?q=from:bob")
    assert "<code>has:attachment</code>" in english
    Account.objects.filter(pk=ann.pk).update(language="de")
    german = page_of(browser_of_ann, "/mail/search/?q=von:bob")
    assert numbers(german) == numbers(english) == [lunch[3], lunch[0]]
    for told in ("von:ann", "hat:anhang", "ist:ungelesen", "in:archiv", "vor:7t", "größer:5M"):
        assert f"<code>{told}</code>" in german, told
    assert "has:attachment" not in german
    assert numbers(page_of(browser_of_ann, "/mail/search/?q=from:bob")) == numbers(english)
