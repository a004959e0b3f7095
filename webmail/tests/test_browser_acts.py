"""What is done to mail in the browser is seen at once wherever it lies, and taken back when it is refused."""

from typing import Any

import pytest
from playwright.sync_api import expect

from mailboxes import messages
from mailboxes.models import Account, Folder, Message
from mailboxes.tests.test_messages import pop3_session
from webmail.tests.test_browser import (
    Visit,
    focused,
    pytestmark,
    refused,
    ticked,
    visit,
    wait_for,
    week,
)
from webmail.tests.test_browser_lists import lunch, sheds
from webmail.tests.waiting import leads_to, route, settled, until_heard

__all__ = ["lunch", "pytestmark", "sheds", "visit", "week"]  # what pytest finds here
NO = {"status": 503, "body": "no"}


def starred(numbers: list[int]) -> list[int]:
    return [n for n in numbers if Message.objects.get(pk=n).starred]


def at_row(page: Any, number: int) -> None:
    """The row that the keyboard is at."""
    expect(page.locator(f"#a{number}")).to_be_focused()


# -- the message that is open --------------------------------------------------------------------


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_star_in_the_pane_comes_off_again(visit: Visit, week: list[int], by: str) -> None:
    page = visit()
    page.click(f"#a{week[0]}")
    star = page.locator("#open-star")
    expect(star).to_have_attribute("aria-pressed", "false")
    for pressed, all_starred in (("true", [week[0]]), ("false", []), ("true", [week[0]])):
        with page.expect_response("**/mail/acts/"):
            star.click() if by == "mouse" else page.keyboard.press("s")
        expect(star).to_have_attribute("aria-pressed", pressed)
        wait_for(page, "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")
        expect(star).to_have_attribute("aria-pressed", pressed)
        expect(page.locator(f"#m{week[0]} .star")).to_have_attribute("aria-pressed", pressed)
        assert starred(week) == all_starred
    assert page.url.endswith(f"/mail/inbox/{week[0]}/")
    if by == "mouse":
        expect(star).to_be_focused()


def test_a_star_beside_the_row_shows_in_the_pane(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.click(f"#a{week[1]}")
    page.click(f"#m{week[1]} .star")
    expect(page.locator("#open-star.on")).to_have_attribute("aria-pressed", "true")
    page.click(".undo button")
    expect(page.locator("#open-star:not(.on)")).to_have_attribute("value", "star")
    expect(page).to_have_title("News of Thursday · (4) Inbox · Restante")


def test_the_star_of_a_conversation_comes_off_again(visit: Visit, lunch: list[int]) -> None:
    page = visit()
    page.click(f"#a{lunch[3]}")
    star = page.locator("#open-star")
    star.click()
    page.wait_for_selector("text=1 message starred.")
    settled(page)
    expect(star).to_have_attribute("value", "unstar")
    assert starred(lunch) == [lunch[3]]
    star.click()
    page.wait_for_selector("text=Star taken off")
    settled(page)
    expect(star).to_have_attribute("value", "star")
    assert starred(lunch) == []
    assert page.locator("#message.conversation").get_attribute("data-open") == str(lunch[3])


def test_a_star_that_is_refused_comes_off_in_row_and_pane(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.click(f"#a{week[0]}")
    page.wait_for_selector("#open-star")
    route(page, "**/mail/acts/", lambda one: one.fulfill(**NO))
    page.click("#open-star")
    page.wait_for_selector("text=That did not work")
    expect(page.locator("#open-star:not(.on)")).to_have_attribute("value", "star")
    expect(page.locator(f"#m{week[0]}:not(.starred) .star")).to_have_attribute("value", f"star:{week[0]}")
    refused(visit, 503)


class Late:
    """Answers that the server has given, and that the page gets when it is told to: they speak of a moment
    that is past."""

    def __init__(self, page: Any, *patterns: str) -> None:
        self._page = page
        self._asked: list[Any] = []
        self._answers: dict[str, tuple[Any, Any]] = {}
        for pattern in patterns:
            route(page, pattern, lambda one: self._asked.append(one))

    def answer(self, ending: str) -> None:
        """Let the server answer what is asked of an address, once it is asked; the page waits on."""
        asked = until_heard(
            self._page,
            lambda: [route for route in self._asked if route.request.url.endswith(ending)],
            f"what is asked of {ending}",
        )
        self._answers[ending] = asked[-1], asked[-1].fetch()

    def let_go(self, ending: str) -> None:
        """Give the page the answer."""
        route, answer = self._answers[ending]
        with self._page.expect_event("requestfinished", lambda one: one == route.request):
            route.fulfill(response=answer)


@pytest.mark.parametrize("first", ["message", "star"])
@pytest.mark.parametrize("before", ["nothing", "another", "found"])
def test_a_star_that_is_pressed_while_its_message_is_on_its_way_shows_in_the_pane(
    visit: Visit, ann: Account, week: list[int], before: str, first: str
) -> None:
    page = visit()
    if before == "another":
        page.click(f"#a{week[3]}")
        page.wait_for_selector(f"#message[data-open='{week[3]}'] #open-star")
    if before == "found":
        page.goto("/mail/search/?q=news")
    late = Late(page, f"**/{week[1]}/*", f"**/{week[1]}/", "**/mail/acts/")
    page.click(f"#a{week[1]}")
    where = f"/{week[1]}/?q=news" if before == "found" else f"/{week[1]}/"
    late.answer(where)
    page.keyboard.press("s")
    expect(page.locator(f"#m{week[1]}.starred .star")).to_have_attribute("aria-pressed", "true")
    late.answer("/mail/acts/")
    for ending in [where, "/mail/acts/"] if first == "message" else ["/mail/acts/", where]:
        late.let_go(ending)
    star = page.locator(f"#message[data-open='{week[1]}'] #open-star")
    expect(star).to_have_attribute("aria-pressed", "true")
    settled(page)
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_have_attribute("value", "unstar")
    expect(page.locator(f"#m{week[1]}.starred .star")).to_have_attribute("aria-pressed", "true")
    assert starred(week) == [week[1]]


def test_what_was_found_and_trashed_offers_the_way_back(visit: Visit, ann: Account, sheds: list[int]) -> None:
    page = visit()
    page.goto(f"/mail/search/{sheds[54]}/?q=shed+54")
    expect(page.locator("#open-stated")).to_have_text("")
    page.click("#open-trash")
    expect(page.locator("#open-restore")).to_be_visible()
    assert page.locator("#open-archive, #open-trash, #open-junk").count() == 0
    expect(page.locator("#open-stated")).to_contain_text("In Trash until")
    assert page.locator("#move-this-to option[value=trash]").count() == 0
    # What had the focus is gone; the keyboard stays in the message.
    expect(page.locator("#message")).to_be_focused()
    page.click(".undo button")
    expect(page.locator("#open-trash")).to_be_visible()
    expect(page.locator("#open-stated")).to_have_text("")
    assert page.locator("#message-acts").get_attribute("data-words") == "shed|54"


def test_a_message_that_leaves_its_folder_by_the_list_is_closed(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    """Also when what takes it away names no message, as restoring a session does not."""
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    page = visit()
    page.goto(f"/mail/trash/{week[0]}/")
    with leads_to(page, "/mail/trash/"):
        page.click("text=Restore all of them")
    page.wait_for_selector("text=2 messages restored.")
    expect(page.locator("#message[data-open]")).to_have_count(0)


# -- moving by keyboard --------------------------------------------------------------------------


def test_by_keyboard_a_folder_is_passed_on_the_way_to_another(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    """WCAG 3.2.2: an arrow key changes the choice, and nothing else."""
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.check(f"#m{week[0]} input")
    select = page.locator("#move-to")
    select.focus()
    button = page.locator("#acts button[value=move]")
    # What comes for keyboards comes with the focus, and is reached by the next press of Tab.
    page.keyboard.press("ArrowDown")
    expect(select).to_have_value("archive")
    page.keyboard.press("ArrowDown")
    expect(select).to_have_value("junk")
    assert asked == []
    expect(page.locator(f"#m{week[0]}.leaving")).to_have_count(0)
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    box = button.bounding_box()
    assert box is not None and min(box["width"], box["height"]) >= 24
    page.keyboard.press("Enter")
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")
    assert Message.objects.get(pk=week[0]).folder.kind == "junk"


def test_enter_moves_to_the_folder_that_was_reached(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.click(f"#a{week[1]}")
    page.locator("#move-this-to").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    assert Message.objects.get(pk=week[1]).folder.kind == "archive"


def test_with_a_pointer_choosing_a_folder_moves(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.check(f"#m{week[0]} input")
    # Headless, the list of a select cannot be clicked at; it is opened by a pointer, and a choice is made.
    page.dispatch_event("#move-to", "pointerdown")
    page.select_option("#move-to", "archive")
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")


def test_move_without_a_folder_asks_for_one(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.check(f"#m{week[0]} input")
    page.locator("#acts button[value=move]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#move-to")).to_be_focused()
    assert ticked(page) == [str(week[0])]


# -- refusals ------------------------------------------------------------------------------------


def test_after_a_refusal_the_keyboard_is_where_it_was(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_selector("#message .text:has-text('It was Friday.')")
    route(page, "**/mail/acts/", lambda one: one.fulfill(**NO))
    page.keyboard.press("e")
    page.wait_for_selector("text=That did not work")
    at_row(page, week[0])
    page.unroute("**/mail/acts/")
    page.keyboard.press("s")
    page.wait_for_selector("text=1 message starred.")
    assert starred(week) == [week[0]]
    refused(visit, 503)


def test_who_has_gone_on_before_a_refusal_is_left_there(visit: Visit, week: list[int]) -> None:
    page = visit()
    held: list[Any] = []
    route(page, "**/mail/acts/", lambda one: held.append(one))
    page.locator(f"#a{week[0]}").focus()
    page.keyboard.press("e")
    page.keyboard.press("j")
    at_row(page, week[2])
    until_heard(page, lambda: held, "the act that is asked for")
    held[0].fulfill(**NO)
    page.wait_for_selector("text=That did not work")
    assert focused(page) == str(week[2])
    refused(visit, 503)


def test_a_refused_undo_can_be_asked_for_again(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.locator(f"#a{week[0]}").focus()
    page.keyboard.press("e")
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")
    page.hover(".undo button")  # while it is pointed at, it stays
    route(page, "**/mail/undo/", lambda one: one.fulfill(**NO))
    page.keyboard.press("z")
    page.wait_for_selector("text=That did not work")
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")
    expect(page.locator(".undo button")).to_be_visible()
    page.unroute("**/mail/undo/")
    page.keyboard.press("z")
    page.wait_for_selector("text=Undone: 1 message.")
    wait_for(page, "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")
    refused(visit, 503)


# -- painted at once -----------------------------------------------------------------------------


def test_undo_is_painted_at_once(visit: Visit, week: list[int]) -> None:
    """The answer is never given: what is seen is what the browser knows."""
    page = visit()
    page.check(f"#m{week[1]} input")
    page.check(f"#m{week[2]} input")
    page.click("#acts button[value=archive]")
    wait_for(page, "Friday", "Tuesday", "Monday")
    page.wait_for_selector("text=2 messages archived.")
    route(page, "**/mail/undo/", lambda one: None)
    page.click(".undo button")
    expect(page.locator(".row:not(.leaving) .subject")).to_have_text(
        [f"News of {day}" for day in ("Friday", "Thursday", "Wednesday", "Tuesday", "Monday")]
    )
    expect(page.locator(".toast")).to_be_hidden()


def test_undoing_a_mark_is_painted_at_once(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.check(f"#m{week[1]} input")
    page.click("#acts button[value=seen]")
    page.wait_for_selector("text=1 message marked as read.")
    route(page, "**/mail/undo/", lambda one: None)
    page.click(".undo button")
    expect(page.locator(f"#m{week[1]}.unread")).to_be_visible()


def test_restoring_a_session_is_painted_at_once(visit: Visit, ann: Account, week: list[int]) -> None:
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    messages.move(ann.mailbox.pk, week[2:3], Folder.objects.get(mailbox=ann.mailbox, kind="trash"))
    page = visit()
    page.goto("/mail/trash/")
    route(page, "**/mail/acts/", lambda one: None)
    page.click("text=Restore all of them")
    expect(page.locator(".row:not(.leaving) .subject")).to_have_text(["News of Wednesday"])
    at_row(page, week[2])


def test_after_the_last_row_is_gone_the_keyboard_is_in_the_list(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    messages.discard(ann.mailbox.pk, week[:2], pop3_session(ann))
    page = visit()
    page.goto("/mail/trash/")
    page.click("text=Restore all of them")
    page.wait_for_selector("text=The trash is empty.")
    expect(page.locator("#list")).to_be_focused()


# -- dragging ------------------------------------------------------------------------------------


# Said after drag.js has heard it.
DRAGS = "() => document.addEventListener('dragend', () => { window.drags = 'ended' })"


def test_a_row_that_is_dropped_nowhere_leaves_the_ticks_as_they_were(visit: Visit, week: list[int]) -> None:
    page = visit()
    page.check(f"#m{week[0]} input")
    page.check(f"#m{week[3]} input")
    page.evaluate(DRAGS)
    page.drag_and_drop(f"#m{week[1]} .subject", ".list-head h1")
    page.wait_for_function("() => window.drags === 'ended'")
    assert ticked(page) == [str(week[0]), str(week[3])]


def test_what_is_dropped_is_that_row_and_other_ticks_stay(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    page = visit()
    page.check(f"#m{week[0]} input")
    page.drag_and_drop(f"#m{week[1]} .subject", ".sidebar a[data-folder=archive]")
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    page.wait_for_selector("text=1 message moved to Archive.")
    assert ticked(page) == [str(week[0])]
    assert Message.objects.get(pk=week[1]).folder.kind == "archive"


def test_before_removing_for_good_the_keyboard_is_at_keep(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    messages.move(ann.mailbox.pk, week[:1], Folder.objects.get(mailbox=ann.mailbox, kind="trash"))
    page = visit()
    page.goto(f"/mail/trash/{week[0]}/")
    page.click("#open-expunge")
    expect(page.locator("#sure button[value=no]")).to_be_focused()
