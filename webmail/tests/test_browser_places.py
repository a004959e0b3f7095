"""The reader finds everything where it was (list, row, keyboard), and hears what changes meanwhile."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from mailboxes.models import Account, Message
from webmail.tests.test_browser import PHONE, Post, Visit, pytestmark, refused, visit, wait_for, week
from webmail.tests.test_browser_lists import lunch, sheds
from webmail.tests.waiting import anew, leads_to, route, settled

__all__ = ["lunch", "pytestmark", "sheds", "visit", "week"]  # what pytest finds here
TOP = "document.getElementById('scroller').scrollTop"


@pytest.fixture
def many(ann: Account, post: Post) -> list[int]:
    """A page and a half of letters, newest first."""
    return [post(ann, text=b"Subject: Letter %d\r\n\r\nText\r\n" % n)[0].pk for n in range(75)][::-1]


def at_row(page: Any, number: int) -> None:
    """The row that the keyboard is at, and the reader sees."""
    expect(page.locator(f"#a{number}")).to_be_focused()
    expect(page.locator(f"#m{number}")).to_be_in_viewport()


def opened(page: Any, number: int) -> None:
    """The message is shown, and its row and the address are those that go with it."""
    expect(page.locator(f"#message[data-open='{number}']")).to_be_visible()
    settled(page)


# -- coming back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_going_back_leads_to_the_row_that_was_open(visit: Visit, many: list[int], size: str) -> None:
    page = visit(**(PHONE if size == "phone" else {}))
    page.locator(f"#a{many[36]}").scroll_into_view_if_needed()
    page.click(f"#a{many[36]}")
    opened(page, many[36])
    with anew(page, "/mail/inbox/"):
        page.go_back()
    at_row(page, many[36])
    page.wait_for_function(f"{TOP} > 0")
    page.keyboard.press("j")
    at_row(page, many[37])
    with anew(page, f"/mail/inbox/{many[36]}/"):
        page.go_forward()
    opened(page, many[36])
    if size == "wide":
        expect(page.locator(f"#m{many[36]}")).to_be_in_viewport()


def test_going_back_shows_what_was_shown(visit: Visit, many: list[int]) -> None:
    """Not only the row: the list is scrolled as it was."""
    page = visit()
    page.evaluate("document.getElementById('scroller').scrollTop = 900")
    page.wait_for_function(f"{TOP} === 900")
    number = page.evaluate(
        "[...document.querySelectorAll('.row')].find(row => row.getBoundingClientRect().top > 400).dataset.id"
    )
    page.click(f"#a{number}")
    opened(page, number)
    with anew(page, "/mail/inbox/"):
        page.go_back()
    at_row(page, number)
    page.wait_for_function(f"{TOP} === 900")


def test_the_row_of_an_open_message_is_in_sight(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.goto(f"/mail/inbox/{many[40]}/")
    expect(page.locator(f"#m{many[40]}")).to_be_in_viewport()
    page.reload()
    expect(page.locator(f"#m{many[40]}")).to_be_in_viewport()
    page.keyboard.press("j")
    opened(page, many[41])


def test_a_list_that_is_opened_anew_begins_at_its_beginning(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.click(f"#a{many[40]}")
    opened(page, many[40])
    page.goto("/mail/account/")
    with leads_to(page, "/mail/inbox/"):
        page.click(".sidebar a[data-folder=inbox]")
    expect(page.locator(f"#m{many[0]}")).to_be_in_viewport()
    assert page.evaluate(TOP) == 0


@pytest.mark.parametrize("where", ["folder", "search"])
def test_u_leads_to_the_row_and_j_goes_on_from_there(visit: Visit, sheds: list[int], where: str) -> None:
    page = visit()
    if where == "search":
        page.goto("/mail/search/?q=shed")
    page.click(f"#a{sheds[20]}")
    opened(page, sheds[20])
    with anew(page):
        page.keyboard.press("u")
    expect(page.locator("#message[data-open]")).to_have_count(0)
    at_row(page, sheds[20])
    page.keyboard.press("j")
    at_row(page, sheds[19])


# -- from page to page ---------------------------------------------------------------------------


def test_j_and_k_go_from_page_to_page(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.locator(f"#a{many[49]}").focus()
    page.keyboard.press("j")
    at_row(page, many[50])
    expect(page).to_have_url(re.compile(r"/mail/inbox/\?before="))
    page.keyboard.press("k")
    at_row(page, many[49])
    page.locator(f"#a{many[0]}").focus()
    page.keyboard.press("k")
    at_row(page, many[0])
    page.keyboard.press("j")
    at_row(page, many[1])


def test_j_reads_on_on_the_next_page(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.click(f"#a{many[49]}")
    opened(page, many[49])
    page.keyboard.press("j")
    opened(page, many[50])
    expect(page).to_have_url(re.compile(rf"/mail/inbox/{many[50]}/\?before="))
    page.keyboard.press("k")
    opened(page, many[49])


def test_a_page_that_does_not_come_can_be_asked_for_again(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.locator(f"#a{many[49]}").focus()
    route(page, "**/mail/inbox/?before=*", lambda one: one.fulfill(status=503, body="no"))
    page.keyboard.press("j")
    page.wait_for_selector("text=That did not work")
    page.unroute("**/mail/inbox/?before=*")
    page.keyboard.press("j")
    at_row(page, many[50])
    refused(visit, 503)


# -- the keyboard when parts of the page are swapped ---------------------------------------------


def test_the_focus_stays_on_what_was_pressed(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.locator("#folder-archive").press("Enter")
    page.wait_for_selector("#list[data-folder=archive]")
    expect(page.locator("#folder-archive")).to_be_focused()
    page.locator("#folder-inbox").press("Enter")
    page.wait_for_selector("#list[data-folder=inbox]")
    page.locator("#grouping").press("Enter")
    expect(page.locator("#grouping[aria-pressed=false]")).to_be_focused()
    page.locator("#page-older").press("Enter")
    page.wait_for_selector("#list[data-first=no]")
    # There is no older page; what is left of the pager stands in the list.
    expect(page.locator("#list")).to_be_focused()
    page.locator("#page-newer").press("Enter")
    page.wait_for_selector("#list[data-first=yes]")
    expect(page.locator("#list")).to_be_focused()


def test_the_skip_link_leads_to_the_list_or_to_what_is_open(visit: Visit, week: list[int]) -> None:
    page = visit()
    skip = page.locator(".skip")
    expect(skip).to_have_attribute("href", "#list")
    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#list")).to_be_focused()
    page.click(f"#a{week[0]}")
    expect(skip).to_have_attribute("href", "#content")
    page.click("#open-archive")
    expect(skip).to_have_attribute("href", "#list")
    settled(page)
    page.goto(f"/mail/inbox/{week[1]}/")
    expect(skip).to_have_attribute("href", "#content")
    page.click("#folder-trash")
    expect(skip).to_have_attribute("href", "#list")


def test_grouping_leads_from_a_later_page_to_the_first(visit: Visit, many: list[int]) -> None:
    page = visit()
    page.click("#page-older")
    page.wait_for_selector("#list[data-first=no]")
    page.click(f"#a{many[60]}")
    opened(page, many[60])
    with leads_to(page, "/mail/inbox/"):
        page.click("#grouping")
    page.wait_for_selector("#list[data-first=yes]")
    expect(page.locator("#message[data-open]")).to_have_count(0)
    # On the first page, what is open stays open.
    page.click(f"#a{many[2]}")
    opened(page, many[2])
    page.click("#grouping")
    expect(page.locator("#grouping[aria-pressed=true]")).to_be_visible()
    opened(page, many[2])
    assert page.url.endswith(f"/mail/inbox/{many[2]}/")


# -- what is heard -------------------------------------------------------------------------------


def test_what_is_said_is_said_in_a_place_that_was_there_before(visit: Visit, week: list[int]) -> None:
    """A screen reader listens to an element; in one that is put in its place it hears nothing."""
    page = visit()
    page.evaluate("window.listenedTo = document.getElementById('toasts')")
    for verb, text in (("seen", "1 message marked as read."), ("archive", "1 message archived.")):
        page.check(f"#m{week[0]} input")
        page.click(f"#acts button[value={verb}]")
        expect(page.locator("#toasts")).to_contain_text(text)
        assert page.evaluate("listenedTo === document.getElementById('toasts')")
    expect(page.locator("#toasts")).to_have_attribute("role", "status")
    expect(page.locator("#toasts")).to_have_attribute("aria-live", "polite")


def test_new_mail_and_choices_are_heard(visit: Visit, ann: Account, week: list[int], post: Post) -> None:
    page = visit()
    heard = page.locator("#heard[role=status]")
    page.evaluate("window.listenedTo = document.getElementById('heard')")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(heard).to_have_text("Chosen: 1")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(heard).to_have_text("Chosen: 2")
    page.keyboard.press("x")
    expect(heard).to_have_text("Chosen: 1")
    page.keyboard.press("e")
    page.wait_for_selector("text=1 message archived.")
    page.hover(".undo button")  # while it is pointed at, it stays
    for day in (b"Saturday", b"Sunday"):
        post(ann, text=b"Subject: News of %s\r\n\r\nNew.\r\n" % day)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(heard).to_have_text("New mail: 2")
    wait_for(page, "Sunday", "Saturday", "Thursday", "Wednesday", "Tuesday", "Monday")
    assert page.evaluate("listenedTo === document.getElementById('heard')")
    # New mail does not take the way back away.
    expect(page.locator(".undo button")).to_be_visible()


def test_a_row_that_was_read_is_not_called_unread(visit: Visit, week: list[int]) -> None:
    page = visit()
    row = page.locator(f"#a{week[0]}")
    expect(row).to_have_accessible_name(name_with(unread=True))
    page.click(f"#a{week[0]}")
    opened(page, week[0])
    expect(row).to_have_accessible_name(name_with(unread=False))
    page.keyboard.press("U")
    expect(row).to_have_accessible_name(name_with(unread=True))


def name_with(*, unread: bool) -> Any:
    return re.compile(r"^Unread: Friday" if unread else r"^Friday")


# -- without scripts -----------------------------------------------------------------------------


def test_without_scripts_undo_leads_to_the_page_that_it_was_asked_from(visit: Visit, many: list[int]) -> None:
    page = visit(java_script_enabled=False)
    with anew(page, re.compile(r"/mail/inbox/\?before=")):
        page.click("#page-older")
    here = page.url
    page.check(f"#m{many[60]} input")
    with anew(page, here):
        page.click("#acts button[value=archive]")
    with anew(page, here):
        page.click(".undo button")
    expect(page.locator(f"#m{many[60]}")).to_have_count(1)
    assert Message.objects.filter(folder__kind="inbox").count() == 75
