"""Who is quicker than the answers, in Chromium: what was asked for last is shown, and nothing gets lost."""

from typing import Any

import pytest
from playwright.sync_api import expect

from mailboxes import messages
from mailboxes.models import Account, Folder, Message
from webmail.tests.test_browser import Post, Visit, focused, pytestmark, ticked, visit, wait_for, week
from webmail.tests.test_browser_acts import Late
from webmail.tests.waiting import route, settled

__all__ = ["pytestmark", "visit", "week"]  # what pytest finds here
BOTH_ORDERS = pytest.mark.parametrize("first", [0, 1], ids=["in-order", "the-last-first"])
NEWS = "document.dispatchEvent(new Event('visibilitychange'))"


def let_go(late: Late, first: int, *endings: str) -> None:
    """Both answers, of which that one comes first."""
    for ending in (endings[first], endings[1 - first]):
        late.let_go(ending)


def shows(page: Any, folder: str, number: int | None = None, title: str = "") -> None:
    """List, message, address, title and the marked row go together."""
    settled(page)
    expect(page).to_have_url(f"/mail/{folder}/{number}/" if number else f"/mail/{folder}/")
    expect(page.locator("#list")).to_have_attribute("data-folder", folder)
    if number:
        expect(page.locator(f"#message[data-open='{number}']")).to_be_visible()
        expect(page.locator(f"#m{number}[data-open]:not(.unread)")).to_be_visible()
        assert page.title().startswith(f"{title} · ")
    else:
        expect(page.locator("#message[data-open]")).to_have_count(0)
        assert title in page.title()


@BOTH_ORDERS
def test_of_two_messages_the_one_that_was_opened_last_is_shown(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    one, other = f"/{week[1]}/", f"/{week[3]}/"
    late = Late(page, f"**{one}", f"**{other}")
    page.click(f"#a{week[1]}")
    late.answer(one)
    page.click(f"#a{week[3]}")
    late.answer(other)
    let_go(late, first, one, other)
    shows(page, "inbox", week[3], "News of Tuesday")
    page.keyboard.press("j")
    expect(page.locator(f"#message[data-open='{week[4]}']")).to_be_visible()


@BOTH_ORDERS
def test_of_two_folders_the_one_that_was_opened_last_is_shown(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    late = Late(page, "**/mail/trash/", "**/mail/archive/")
    page.click("#folder-trash")
    late.answer("/trash/")
    page.click("#folder-archive")
    late.answer("/archive/")
    let_go(late, first, "/trash/", "/archive/")
    shows(page, "archive", title="Archive")


@BOTH_ORDERS
def test_a_message_does_not_follow_its_reader_to_another_folder(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    one = f"/{week[1]}/"
    late = Late(page, f"**{one}", "**/mail/archive/")
    page.click(f"#a{week[1]}")
    late.answer(one)
    page.click("#folder-archive")
    late.answer("/archive/")
    let_go(late, first, one, "/archive/")
    shows(page, "archive", title="Archive")


@BOTH_ORDERS
def test_a_folder_does_not_come_over_the_message_that_was_opened_after_it(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    one = f"/{week[1]}/"
    late = Late(page, f"**{one}", "**/mail/archive/")
    page.click("#folder-archive")
    late.answer("/archive/")
    page.click(f"#a{week[1]}")
    late.answer(one)
    let_go(late, first, "/archive/", one)
    shows(page, "inbox", week[1], "News of Thursday")


@BOTH_ORDERS
def test_a_message_that_is_opened_while_an_act_is_on_its_way_has_its_address_and_title(
    visit: Visit, week: list[int], first: int
) -> None:
    """The answer to the act brings new rows, among them the one whose link was followed."""
    page = visit()
    one = f"/{week[1]}/"
    late = Late(page, f"**{one}", "**/mail/acts/")
    page.click(f"#m{week[3]} .star")
    late.answer("/mail/acts/")
    page.click(f"#a{week[1]}")
    late.answer(one)
    let_go(late, first, "/mail/acts/", one)
    shows(page, "inbox", week[1], "News of Thursday")
    assert list(Message.objects.filter(starred=True).values_list("pk", flat=True)) == [week[3]]


@BOTH_ORDERS
def test_a_folder_that_is_opened_while_an_act_is_on_its_way_comes(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    late = Late(page, "**/mail/trash/", "**/mail/acts/")
    page.check(f"#m{week[3]} input")
    page.click("#acts button[value=trash]")
    late.answer("/mail/acts/")
    page.click("#folder-trash")
    late.answer("/trash/")
    let_go(late, first, "/mail/acts/", "/trash/")
    shows(page, "trash", title="Trash")
    wait_for(page, "Tuesday")


@BOTH_ORDERS
def test_what_is_opened_after_the_open_message_was_archived_stays_open(
    visit: Visit, week: list[int], first: int
) -> None:
    page = visit()
    page.click(f"#a{week[0]}")
    page.wait_for_selector(f"#message[data-open='{week[0]}']")
    one = f"/{week[2]}/"
    late = Late(page, f"**{one}", "**/mail/acts/")
    page.click("#open-archive")
    late.answer("/mail/acts/")
    page.click(f"#a{week[2]}")
    late.answer(one)
    let_go(late, first, "/mail/acts/", one)
    shows(page, "inbox", week[2], "News of Wednesday")
    wait_for(page, "Thursday", "Wednesday", "Tuesday", "Monday")


def test_news_of_a_folder_does_not_follow_its_reader_to_another(
    visit: Visit, ann: Account, week: list[int], post: Post
) -> None:
    page = visit()
    late = Late(page, "**/mail/inbox/", "**/mail/archive/")
    post(ann, text=b"Subject: News of Saturday\r\n\r\nNew.\r\n")
    page.evaluate(NEWS)
    late.answer("/inbox/")
    page.click("#folder-archive")
    late.answer("/archive/")
    let_go(late, 1, "/inbox/", "/archive/")
    shows(page, "archive", title="Archive")


def test_news_that_is_older_than_a_reading_calls_nothing_unread(
    visit: Visit, ann: Account, week: list[int], post: Post
) -> None:
    page = visit()
    one = f"/{week[1]}/"
    late = Late(page, "**/mail/inbox/", f"**{one}")
    post(ann, text=b"Subject: News of Saturday\r\n\r\nNew.\r\n")
    page.evaluate(NEWS)
    late.answer("/inbox/")
    page.click(f"#a{week[1]}")
    late.answer(one)
    let_go(late, 1, "/inbox/", one)
    shows(page, "inbox", week[1], "News of Thursday")
    # It comes with the next look.
    page.unroute_all()
    page.evaluate(NEWS)
    wait_for(page, "Saturday", "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")


def test_the_list_that_an_act_brings_calls_nothing_unread_that_was_read_meanwhile(
    visit: Visit, week: list[int]
) -> None:
    page = visit()
    late = Late(page, "**/mail/acts/")
    page.click(f"#m{week[3]} .star")
    late.answer("/mail/acts/")
    for number in (week[1], week[2]):
        page.click(f"#a{number}")
        expect(page.locator(f"#message[data-open='{number}']")).to_be_visible()
    late.let_go("/mail/acts/")
    settled(page)
    for number in (week[1], week[2]):
        expect(page.locator(f"#m{number}:not(.unread)")).to_be_visible()
    page.unroute_all()
    page.keyboard.press("U")
    expect(page.locator(f"#m{week[2]}.unread")).to_be_visible()
    settled(page)
    expect(page.locator(f"#m{week[2]}.unread")).to_be_visible()


def test_new_mail_still_appears_after_a_link_was_gone_before_its_answer(
    visit: Visit, ann: Account, week: list[int], post: Post
) -> None:
    page = visit()
    one = f"/{week[1]}/"
    late = Late(page, f"**{one}", "**/mail/acts/")
    page.click(f"#m{week[3]} .star")
    late.answer("/mail/acts/")
    page.click(f"#a{week[1]}")
    late.answer(one)
    let_go(late, 0, "/mail/acts/", one)
    settled(page)
    post(ann, text=b"Subject: News of Saturday\r\n\r\nNew.\r\n")
    page.evaluate(NEWS)
    wait_for(page, "Saturday", "Friday", "Thursday", "Wednesday", "Tuesday", "Monday")


def test_a_page_that_its_reader_did_not_wait_for_can_be_asked_for_again(
    visit: Visit, ann: Account, post: Post
) -> None:
    many = [post(ann, text=b"Subject: Letter %d\r\n\r\nText\r\n" % n)[0].pk for n in range(60)][::-1]
    page = visit()
    held: list[Any] = []
    route(page, "**/mail/inbox/?before=*", lambda one: held.append(one))
    page.locator(f"#a{many[49]}").focus()
    page.keyboard.press("j")
    page.click(f"#a{many[48]}")
    expect(page.locator(f"#message[data-open='{many[48]}']")).to_be_visible()
    page.unroute("**/mail/inbox/?before=*")
    page.locator(f"#a{many[49]}").focus()
    page.keyboard.press("j")
    expect(page.locator(f"#message[data-open='{many[50]}']")).to_be_visible()
    assert focused(page) == str(many[50])


def test_what_is_asked_before_removing_for_good_may_be_asked_again_at_once(
    visit: Visit, ann: Account, week: list[int]
) -> None:
    """That a sheet was closed is told some time after it was."""
    messages.move(ann.mailbox.pk, week[:2], Folder.objects.get(mailbox=ann.mailbox, kind="trash"))
    page = visit()
    page.goto("/mail/trash/")
    page.check(f"#m{week[0]} input")
    page.click("#acts button[value=expunge]")
    page.evaluate(
        "() => { document.getElementById('sure').close('no');"
        " document.querySelector('#acts button[value=expunge]').click() }"
    )
    page.click("#sure button[value=yes]")
    wait_for(page, "Thursday")
    assert not Message.objects.filter(pk=week[0]).exists()


# As when the answer has replaced the row before its drag has ended: of that, the page hears nothing.
DRAG_WITHOUT_AN_END = """([row, folder]) => {
  const dataTransfer = new DataTransfer();
  const tell = (one, what) => {
    one.dispatchEvent(new DragEvent(what, { bubbles: true, cancelable: true, dataTransfer }));
  };
  tell(document.querySelector(row), 'dragstart');
  tell(document.querySelector(folder), 'dragover');
  tell(document.querySelector(folder), 'drop');
}"""


def test_other_ticks_stay_when_the_answer_comes_before_the_end_of_a_drag(
    visit: Visit, week: list[int]
) -> None:
    page = visit()
    page.check(f"#m{week[0]} input")
    page.evaluate(DRAG_WITHOUT_AN_END, [f"#m{week[1]}", "#folder-archive"])
    wait_for(page, "Friday", "Wednesday", "Tuesday", "Monday")
    assert ticked(page) == [str(week[0])]
    assert Message.objects.get(pk=week[1]).folder.kind == "archive"


COUNT_ANSWERS = """() => {
  window.answers = 0;
  document.addEventListener('htmx:beforeSend', event =>
    event.detail.xhr.addEventListener('loadend', () => { window.answers++ }));
}"""


def test_a_click_counts_although_an_answer_comes_while_it_is_made(visit: Visit, week: list[int]) -> None:
    """The answer brings new rows, and the one that is pressed would be gone when it is released."""
    page = visit()
    page.evaluate(COUNT_ANSWERS)
    late = Late(page, "**/mail/acts/")
    page.click(f"#m{week[3]} .star")
    late.answer("/mail/acts/")
    page.hover(f"#a{week[1]} .subject")
    page.mouse.down()
    late.let_go("/mail/acts/")
    page.wait_for_function("() => window.answers === 1")
    page.mouse.up()
    shows(page, "inbox", week[1], "News of Thursday")
    expect(page.locator(f"#m{week[3]}.starred")).to_be_visible()
    assert list(Message.objects.filter(starred=True).values_list("pk", flat=True)) == [week[3]]
