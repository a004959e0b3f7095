"""A support desk's day in Chromium, on the screen and on a telephone: three clicks to a message that is back,
lists that fit, many addresses at once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import expect

from conftest import BROWSER_PATIENCE, IN_CHROMIUM
from hosting.console.tests.conftest import Enter
from hosting.console.tests.test_mailbox_page import folder, lies_in
from hosting.console.tests.test_work_in_browser import SHAPES
from mailboxes import aliases, messages
from mailboxes.models import Account, Address, FolderKind, WebSession
from webmail.tests.waiting import until_answered

pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
Sit = Callable[..., Any]


@pytest.fixture
def sit(chromium: Any, live_server: Any, enter: Enter) -> Iterator[Sit]:
    """Somebody's browser at a page."""
    contexts = []

    def make(who: Account, path: str, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(BROWSER_PATIENCE)
        contexts.append(context)
        key = enter(who).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        page = context.new_page()
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    until_answered(live_server)


def test_a_message_that_a_browser_deleted_is_back_where_the_caller_s_time_line_shows_it(
    sit: Sit, enter: Enter, support: Account, ann: Account, post: Callable[..., Any]
) -> None:
    [letter] = post(ann, text=b"From: Shop <shop@trade.test>\r\nSubject: The bill\r\n\r\nText\r\n")
    enter(ann)
    browser = WebSession.objects.get(account=ann).session
    trash = folder(ann, FolderKind.TRASH)
    messages.move(ann.mailbox.pk, [letter.pk], trash, browser=browser)
    page = sit(support, "/console/", **SHAPES["phone"])
    page.fill("[data-find]", ann.login)
    page.press("[data-find]", "Enter")
    line = page.locator("li.delivery", has_text="The bill")
    expect(line).to_contain_text("in the webmail, by a test at 127.0.0.1")
    line.get_by_role("button", name="put it back").click()
    expect(page.get_by_text("1 message is back where it lay.")).to_be_visible()
    expect(line).to_contain_text("lies in: Inbox")
    assert lies_in(letter) == "inbox"


def test_on_a_telephone_no_list_has_a_second_direction_to_scroll_in(
    sit: Sit, operator: Account, ann: Account, post: Callable[..., Any]
) -> None:
    [letter] = post(
        ann, text=b"From: Shop <shop@trade.test>\r\nSubject: " + b"The long bill " * 12 + b"\r\n\r\n.\r\n"
    )
    messages.move(ann.mailbox.pk, [letter.pk], folder(ann, FolderKind.TRASH))
    aliases.create_address("info@example.test", [ann.login, "someone@elsewhere.test"])
    page = sit(operator, "/console/accounts/", **SHAPES["phone"])
    wide = []
    for path in (
        "accounts/",
        "addresses/",
        "domains/",
        "find/?q=ann@",
        "find/?q=example",
        "find/?q=127.0.0.1",
        f"accounts/{ann.pk}/mailbox/",
    ):
        page.goto(f"/console/{path}")
        hidden = page.locator(".scroll").evaluate_all(
            "all => all.map((one) => one.scrollWidth - one.clientWidth).filter((beyond) => beyond > 0)"
        )
        if hidden or page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            wide.append((path, hidden))
    assert wide == []


@pytest.mark.parametrize("shape", SHAPES)
def test_chosen_addresses_are_closed_together(sit: Sit, operator: Account, ann: Account, shape: str) -> None:
    for name in ("a", "b", "c"):
        aliases.create_address(f"{name}@example.test", [ann.login])
    page = sit(operator, "/console/addresses/", **SHAPES[shape])
    page.get_by_label("Choose a@example.test").check()
    page.get_by_label("Choose c@example.test").check()
    page.select_option("#bulk-act", "close")
    page.get_by_role("button", name="The chosen ones (2)").click()
    page.fill("[name=reason]", "the shop is shut")
    page.get_by_role("button", name="Do it to all 2 addresses").click()
    expect(page.get_by_text("2 are changed.")).to_be_visible()
    found = Address.objects.exclude(kind="primary").order_by("name")
    assert [one.status for one in found] == ["closed", "active", "closed"]
