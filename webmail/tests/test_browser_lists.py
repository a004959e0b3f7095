"""Conversations and search as their readers have them, in Chromium."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from mailboxes import indexing
from mailboxes.models import Account, Folder, Message
from mailboxes.tests.test_conversations import letter
from webmail.tests.conftest import LETTER
from webmail.tests.test_browser import (
    PHONE,
    Visit,
    _axe,
    pytestmark,
    visit,
    wait_for,
)
from webmail.tests.waiting import anew, leads_to, settled

__all__ = ["pytestmark", "visit"]  # what pytest finds here
Post = Callable[..., list[Message]]


@pytest.fixture
def lunch(ann: Account, post: Post) -> list[int]:
    """A conversation of three letters, and one letter between them; oldest first."""
    texts = [
        letter("1@x.test", sender="Bob Bean <bob@x.test>"),
        letter("2@x.test", "1@x.test", sender="Carla Corn <carla@x.test>"),
        letter("8@x.test", sender="Dan Dill <dan@x.test>").replace(b"one subject", b"another"),
        letter("3@x.test", "1@x.test", "2@x.test", sender="Bob Bean <bob@x.test>"),
    ]
    made = [post(ann, text=text)[0].pk for text in texts]
    indexing.drain(600)
    return made


@pytest.fixture
def sheds(ann: Account, post: Post) -> list[int]:
    made = [
        post(ann, text=b"From: Bob <bob@x.test>\r\nSubject: Shed %d\r\n\r\nA shed of wood\r\n" % n)[0].pk
        for n in range(55)
    ]
    post(ann, text=b"Subject: else\r\n\r\nnothing\r\n")
    indexing.drain(600)
    return made


def rows_are(page: Any, *subjects: str) -> None:
    wait_for(page, *subjects)


def test_a_conversation_is_read_kept_and_comes_back(visit: Visit, ann: Account, lunch: list[int]) -> None:
    page = visit()
    rows_are(page, "one subject", "another")
    assert page.inner_text(f"#m{lunch[3]} .names") == "Bob, Carla"
    page.keyboard.press("j")
    with leads_to(page, f"/mail/inbox/{lunch[3]}/"):
        page.keyboard.press("o")
    page.wait_for_selector(f"#l{lunch[3]}[open]")
    expect(page.locator(".stacked[open]")).to_have_count(3)
    expect(page.locator(".row[data-open]:not(.unread)")).to_have_count(1)
    page.keyboard.press("e")
    rows_are(page, "another")
    page.wait_for_selector("text=3 messages archived.")
    expect(page.locator(f"#a{lunch[2]}")).to_be_focused()
    page.keyboard.press("z")
    rows_are(page, "one subject", "another")
    assert Message.objects.filter(folder__kind="inbox").count() == 4
    page.click(f"#a{lunch[3]}")
    page.wait_for_selector(f"#l{lunch[3]}[open]")
    # All are read now: the last is open, another is fetched when it is unfolded, once.
    expect(page.locator(".stacked[open]")).to_have_count(1)
    with page.expect_response(re.compile(rf"/{lunch[0]}/letter/")):
        page.click(f"#l{lunch[0]} > summary")
    page.wait_for_selector(f"#l{lunch[0]} .text:has-text('Hello')")
    settled(page)
    with anew(page, "/mail/inbox/"):
        page.go_back()


def test_grouping_is_a_switch(visit: Visit, lunch: list[int]) -> None:
    page = visit()
    rows_are(page, "one subject", "another")
    page.click(".group")
    rows_are(page, "one subject", "another", "one subject", "one subject")
    page.click(".group")
    rows_are(page, "one subject", "another")


def test_html_letters_that_are_folded_are_not_loaded(visit: Visit, ann: Account, post: Post) -> None:
    made = []
    for n in range(4):
        head = b"Message-ID: <%d@x.test>\r\nReferences: <0@x.test>\r\n" % n
        made.append(post(ann, text=head + LETTER)[0].pk)
    indexing.drain(600)
    Message.objects.update(seen=True)
    Folder.objects.update(unread_count=0)
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click(f"#a{made[3]}")
    page.frame_locator(f"#l{made[3]} .html-frame").locator("b", has_text="beans").wait_for()
    letters = {int(found[1]) for url in asked if (found := re.search(r"/(\d+)/html/", url))}
    assert letters == {made[3]}


def test_mail_is_found_by_the_keyboard_and_kept(visit: Visit, ann: Account, sheds: list[int]) -> None:
    page = visit()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("shed 54")
    with anew(page, re.compile(r"/mail/search/\?q=shed\+54")):
        page.keyboard.press("Enter")
    rows_are(page, "Shed 54")
    assert page.locator("mark").all_inner_texts()[:2] == ["Shed", "54"]
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_selector("#message .text:has-text('A shed of wood')")
    settled(page)
    assert f"/mail/search/{sheds[54]}/?q=shed+54" in page.url
    assert page.evaluate("[...CSS.highlights.get('found')].map(String)") == ["shed"]
    page.reload()
    rows_are(page, "Shed 54")
    page.wait_for_selector("#message .text:has-text('A shed of wood')")
    page.click("#message-acts button[value=archive]")
    page.wait_for_selector("text=1 message archived.")
    page.wait_for_selector(f"#m{sheds[54]} .where:has-text('Archive')")
    page.click("text=Undo")
    page.wait_for_selector(f"#m{sheds[54]} .where:has-text('Inbox')")


def test_all_that_match_are_kept_and_come_back(visit: Visit, ann: Account, sheds: list[int]) -> None:
    page = visit("/mail/search/?q=shed+in:inbox")
    page.wait_for_selector(f"#m{sheds[54]}")
    page.check("#choose-page")
    page.check("#everything input")
    page.click("#acts button[value=trash]")
    page.wait_for_selector("text=55 messages moved to trash.")
    page.wait_for_selector("text=Nothing matches")
    page.click("text=Undo")
    page.wait_for_selector("text=Undone: 55 messages.")
    page.wait_for_selector(f"#m{sheds[54]}")
    settled(page)
    assert Folder.objects.get(mailbox=ann.mailbox, kind="inbox").message_count == 56


def test_on_a_phone_mail_is_found_and_conversations_are_read(visit: Visit, lunch: list[int]) -> None:
    page = visit(**PHONE)
    page.fill("#q", "subject:another")
    with anew(page, re.compile(r"/mail/search/\?q=subject")):
        page.keyboard.press("Enter")
    rows_are(page, "another")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    with leads_to(page, f"/mail/search/{lunch[2]}/?q=subject%3Aanother"):
        page.tap(f"#a{lunch[2]}")
    page.wait_for_selector("#message .text:has-text('Hello')")
    with leads_to(page, "/mail/search/?q=subject%3Aanother"):
        page.tap(".message-tools .back")
    rows_are(page, "another")
    page.goto("/mail/inbox/")
    page.tap(f"#a{lunch[3]}")
    page.wait_for_selector(f"#l{lunch[3]}[open]")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_without_scripts_all_of_it_works(visit: Visit, ann: Account, lunch: list[int]) -> None:
    Message.objects.filter(pk__in=lunch[:2]).update(seen=True)
    Folder.objects.filter(kind="inbox").update(unread_count=2)
    page = visit(java_script_enabled=False)
    with leads_to(page, f"/mail/inbox/{lunch[3]}/"):
        page.click(f"#a{lunch[3]}")
    page.wait_for_selector(f"#l{lunch[3]}[open]")
    page.click(f"#l{lunch[0]} > summary")
    with anew(page):
        page.click(f"#l{lunch[0]} a:has-text('Open this message')")
    page.wait_for_selector(f"#l{lunch[0]}[open] .text:has-text('Hello')")
    with anew(page):
        page.click("#message-acts button[value=archive]")
    page.wait_for_selector("text=3 messages archived.")
    with anew(page):
        page.click("text=Undo")
    page.wait_for_selector(f"#m{lunch[3]}")
    page.fill("#q", "another")
    page.select_option("#q-in", "inbox")
    with anew(page, re.compile(r"/mail/search/\?")):
        page.press("#q", "Enter")
    page.check(f"#m{lunch[2]} input")
    with anew(page):
        page.click("#acts button[value=archive]")
    page.wait_for_selector("text=Nothing matches")
    with anew(page):
        page.click("text=Undo")
    page.wait_for_selector(f"#m{lunch[2]}")
    page.goto("/mail/inbox/")
    with anew(page):
        page.click(".group")
    expect(page.locator(".row")).to_have_count(4)


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_serious_on_these_pages(
    visit: Visit, lunch: list[int], colours: str, size: str
) -> None:
    options: dict[str, Any] = {"color_scheme": colours, "bypass_csp": True}
    page = visit(**options, **(PHONE if size == "phone" else {}))
    found = {}
    for path in (
        "inbox/",
        f"inbox/{lunch[3]}/",
        "search/",
        "search/?q=hello",
        "search/?q=nowhere+before:never",
        f"search/{lunch[2]}/?q=another",
    ):
        page.goto(f"/mail/{path}")
        found[path] = _axe(page)
    assert found == {path: [] for path in found}
