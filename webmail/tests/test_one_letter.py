"""One letter of a conversation: what is done to it alone, and the way back to where its reader came from."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from mailboxes import indexing, messages
from mailboxes.flags import Flag, set_flag
from mailboxes.models import Account, Message
from mailboxes.tests.test_conversations import letter
from mailboxes.tests.test_messages import pop3_session
from webmail.tests.test_inside import around

Post = Callable[..., list[Message]]
pytestmark = pytest.mark.django_db

HTML = b"<p>Hello</p><img src=https://pictures.test/a.png>"


@pytest.fixture
def talk(ann: Account, post: Post) -> list[int]:
    """A conversation of three letters, oldest first, where conversations are one row."""
    texts = [letter("1@x.test"), letter("2@x.test", "1@x.test"), letter("3@x.test", "1@x.test")]
    made = [post(ann, text=text)[0].pk for text in texts]
    indexing.drain(600)
    ann.mailbox.conversations = True
    ann.mailbox.save(update_fields=["conversations"])
    return made


def deleted_by_pop3(ann: Account, numbers: list[int]) -> None:
    session = pop3_session(ann)
    messages.discard(ann.mailbox.pk, numbers, session)
    session.deleted = len(numbers)
    session.save(update_fields=["deleted"])


def page(client: Client, path: str, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def form_of(html: str, number: int) -> dict[str, str]:
    """What the form of one letter sends, but for the button that is pressed."""
    [form] = re.findall(rf'<form id="of-letter-{number}".*?</form>', html, re.DOTALL)
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
    return {name: value for name, value in fields if name != "csrfmiddlewaretoken"}


def places_of(numbers: list[int]) -> list[str]:
    kinds = dict(Message.objects.filter(pk__in=numbers).values_list("pk", "folder__kind"))
    return [kinds[number] for number in numbers]


def press(client: Client, html: str, number: int, button: str, **more: str) -> Any:
    assert f'value="{button}"' in html
    return client.post("/mail/acts/", form_of(html, number) | {"one": button} | more)


def test_one_letter_of_a_conversation_is_restored(
    ann: Account, browser_of_ann: Client, talk: list[int]
) -> None:
    deleted_by_pop3(ann, talk)
    html = page(browser_of_ann, f"/mail/trash/{talk[1]}/")
    answer = press(browser_of_ann, html, talk[1], f"restore:{talk[1]}")
    assert places_of(talk) == ["trash", "inbox", "trash"]
    # Its reader stays with the others.
    assert answer["Location"] == f"/mail/trash/{talk[2]}/"


def test_all_of_a_session_is_restored_from_one_letter(
    ann: Account, browser_of_ann: Client, talk: list[int], post: Post
) -> None:
    [other] = post(ann)
    deleted_by_pop3(ann, [*talk[:2], other.pk])
    html = page(browser_of_ann, f"/mail/trash/{talk[0]}/")
    assert "It deleted 2 other messages with it." in html
    press(browser_of_ann, html, talk[0], "restore_session:0")
    assert places_of([*talk, other.pk]) == ["inbox"] * 4


@pytest.mark.parametrize(
    ("verb", "more", "lying"),
    [
        ("trash", {}, "trash"),
        ("archive", {}, "archive"),
        ("junk", {}, "junk"),
        ("move", {"to": "archive"}, "archive"),
    ],
)
def test_one_letter_of_a_conversation_is_moved(
    ann: Account, browser_of_ann: Client, talk: list[int], verb: str, more: dict[str, str], lying: str
) -> None:
    html = page(browser_of_ann, f"/mail/inbox/{talk[0]}/")
    press(browser_of_ann, html, talk[0], f"{verb}:{talk[0]}", **more)
    assert places_of(talk) == [lying, "inbox", "inbox"]


def test_the_letter_that_is_the_row_leaves_the_others_where_they_are(
    ann: Account, browser_of_ann: Client, talk: list[int]
) -> None:
    html = page(browser_of_ann, f"/mail/inbox/{talk[2]}/")
    answer = press(browser_of_ann, html, talk[2], f"trash:{talk[2]}")
    assert places_of(talk) == ["inbox", "inbox", "trash"]
    assert answer["Location"] == "/mail/inbox/"


def test_one_letter_is_marked_as_unread_and_stays_so(
    ann: Account, browser_of_ann: Client, talk: list[int]
) -> None:
    html = page(browser_of_ann, f"/mail/inbox/{talk[1]}/")
    [form] = re.findall(rf'<form method(?:(?!</form>).)*unseen:{talk[1]}"', html, re.DOTALL)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    browser_of_ann.post("/mail/acts/", fields | {"one": f"unseen:{talk[1]}"}, follow=True)
    assert list(Message.objects.filter(pk__in=talk, seen=False).values_list("pk", flat=True)) == [talk[1]]


def test_a_letter_that_is_unfolded_later_has_the_same_form(
    ann: Account, browser_of_ann: Client, talk: list[int]
) -> None:
    set_flag(ann.mailbox.pk, talk, Flag.SEEN, True)
    html = page(browser_of_ann, f"/mail/inbox/{talk[2]}/?before=9-9")
    [url] = re.findall(rf'hx-get="(/mail/inbox/{talk[0]}/letter/[^"]*)"', html)
    late = page(browser_of_ann, url.replace("&amp;", "&"), **{"HX-Request": "true"})
    assert form_of(late, talk[0]) == form_of(html, talk[2])
    assert form_of(late, talk[0])["open"] == str(talk[2])
    press(browser_of_ann, late, talk[0], f"trash:{talk[0]}")
    assert places_of(talk) == ["trash", "inbox", "inbox"]


def test_the_line_above_a_conversation_is_for_all_of_it(
    ann: Account, browser_of_ann: Client, talk: list[int]
) -> None:
    browser_of_ann.post("/mail/acts/", {"folder": "inbox", "grouped": 1, "act": "trash", "message": talk[2]})
    assert places_of(talk) == ["trash"] * 3


def test_a_conversation_that_pop3_deleted_costs_as_many_queries_at_one_letter_as_at_three(
    ann: Account, browser_of_ann: Client, talk: list[int], post: Post
) -> None:
    """Of a stack in which one letter is open, and three."""
    deleted_by_pop3(ann, talk)

    def queries(opened: int) -> int:
        set_flag(ann.mailbox.pk, talk, Flag.SEEN, True)
        set_flag(ann.mailbox.pk, talk[: opened - 1], Flag.SEEN, False)
        with CaptureQueriesContext(connection) as found:
            html = page(browser_of_ann, f"/mail/trash/{talk[2]}/?unread")
        assert html.count("Deleted by your mail program") == opened
        return len(found)

    queries(1)
    assert queries(1) == queries(3)


# -- the way back -------------------------------------------------------------------------------


def links(html: str) -> dict[str, str]:
    found = re.findall(r'<a [^>]*?href="([^"]+)"[^>]*>([^<]+)</a>', html)
    return {text: url.replace("&amp;", "&") for url, text in found}


@pytest.fixture
def picture(ann: Account, post: Post) -> Message:
    raw = b"Subject: picture\r\nList-Unsubscribe: <https://x.test/off>\r\nContent-Type: text/html\r\n\r\n"
    [message] = post(ann, text=raw + HTML)
    indexing.drain(600)
    return message


@pytest.mark.parametrize(
    ("start", "query"),
    [
        ("/mail/search/{}/", "q=subject%3Apicture&in=inbox"),
        ("/mail/inbox/{}/", "before=9-9"),
    ],
)
def test_every_view_of_a_letter_leads_back_to_the_list_it_came_from(
    browser_of_ann: Client, picture: Message, start: str, query: str
) -> None:
    here = f"{start.format(picture.pk)}?{query}"
    found = links(page(browser_of_ann, here))
    assert found["As plain text"] == here.replace("?", "?show=text&")
    assert found["Original colours"] == here.replace("?", "?colours=original&")
    assert links(page(browser_of_ann, found["As plain text"]))["As the sender made it"] == here
    assert links(page(browser_of_ann, found["Original colours"]))["Dark colours"] == here
    for name in ("All headers", "Unsubscribe"):
        assert found[name].endswith(f"?{query}")
        assert links(page(browser_of_ann, found[name]))["Back to the message"] == here


@pytest.mark.parametrize("query", ["q=picture&in=inbox", "before=9-9"])
def test_images_are_shown_beside_the_list_they_were_asked_beside(
    browser_of_ann: Client, picture: Message, query: str
) -> None:
    start = "/mail/search/{}/" if query.startswith("q=") else "/mail/inbox/{}/"
    html = page(browser_of_ann, f"{start.format(picture.pk)}?{query}")
    [form] = re.findall(r"<form class=\"line-form\".*?</form>", html, re.DOTALL)
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
    answer = browser_of_ann.post(f"/mail/inbox/{picture.pk}/images/", fields | {"show": "once"})
    assert answer["Location"].startswith(f"{start.format(picture.pk)}?images=")
    assert answer["Location"].endswith(f"&{query}")


def test_a_letter_inside_a_letter_keeps_the_way_back(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    [message] = post(ann, text=around(b"Subject: inner\r\nX-Inner: yes\r\n\r\n" + HTML))
    indexing.drain(600)
    query = f"q={quote('subject:Forwarded')}"
    html = page(browser_of_ann, f"/mail/search/{message.pk}/?{query}")
    inside = f"/mail/inbox/{message.pk}/part/2/letter/"
    assert f'href="{inside}?{query}"' in html
    inner = links(page(browser_of_ann, f"{inside}?{query}"))
    assert inner["Forwarded"] == f"/mail/search/{message.pk}/?{query}"
    headers = page(browser_of_ann, inner["All headers"])
    assert '<th scope="row">X-Inner</th>' in headers and ">Forwarded<" not in headers
    assert links(headers)["Back to the message"] == f"{inside}?{query}"


def test_a_page_of_a_conversation_leads_to_its_earlier_letters_and_back(
    ann: Account, browser_of_ann: Client, talk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailboxes.conversations.letters_of.__kwdefaults__", {"before": None, "limit": 2})
    here = f"/mail/inbox/{talk[2]}/?before=9-9"
    earlier = links(page(browser_of_ann, here))["Earlier messages of this conversation"]
    assert earlier == f"{here}&earlier={talk[1]}"
    html = page(browser_of_ann, earlier)
    assert links(html)["The newest messages of this conversation"] == here
