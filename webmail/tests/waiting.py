"""What tests in Chromium wait for: always what was not so before, so that no wait is over before it begins.

Each is bounded by the page's own patience (`visit`).
"""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import expect

from hosting.tests.house import until

PATIENCE = 180_000  # milliseconds, for the machine may be busy: only a test that fails waits so long
ASIDE = "/mail/version/?aside"  # what nobody else asks for


def settled(page: Any) -> None:
    """Until every answer has come, is shown, and so is in the database: after it nothing moves by itself."""
    page.wait_for_load_state()  # its scripts listen then
    expect(page.locator(".htmx-request")).to_have_count(0)  # by this htmx marks what has asked


@contextmanager
def leads_to(page: Any, path: str) -> Iterator[None]:
    """What is done within leads to this path of the house, with its query: to a page, or to a part of it.

    AssertionError: the page is there already, and the wait would be for nothing; see `anew`.
    """
    here = urlsplit(page.url)._replace(scheme="", netloc="").geturl()
    assert here != path, "is there already"
    yield
    expect(page).to_have_url(path)
    settled(page)


@contextmanager
def anew(page: Any, path: str | re.Pattern[str] = "") -> Iterator[None]:
    """What is done within leads to another document, whose scripts listen then; maybe at the same URL.

    Going back is one: the address changes at once, and the page is loaded anew after that.
    """
    page.evaluate("document.documentElement.dataset.was = 'here'")
    yield
    page.wait_for_selector("html:not([data-was])", state="attached")
    settled(page)
    if path:
        expect(page).to_have_url(path)


def route(page: Any, pattern: str, handler: Callable[[Any], None]) -> None:
    """As `page.route` of a page of the mail; and its requests do pass by there when this returns.

    Chromium tells a page to hand its requests over, and says that it is done before the page has heard of it.
    """
    page.route(pattern, handler)
    page.route(f"**{ASIDE}", lambda one: one.fulfill(status=204))
    asked = f"fetch('{ASIDE}').then(answer => answer.status)"
    until(lambda: page.evaluate(asked) == 204, "requests that are handed over", PATIENCE / 1000)
    page.unroute(f"**{ASIDE}")


def until_heard(page: Any, condition: Callable[[], Any], what: str) -> Any:
    """As `until`; what the page tells is handed to its listeners meanwhile."""

    def heard() -> Any:
        page.evaluate("0")  # Playwright calls a listener while it waits for something of the page
        return condition()

    return until(heard, what, PATIENCE / 1000)


def until_answered(live_server: Any) -> None:
    """Until all is done that browsers which are closed by now have asked of the house.

    It would else be written into the database of the next test, or while the tables are emptied.
    """
    house = live_server.thread.httpd
    # Connections are taken in their order: when this one is closed, those before it have their threads.
    with socket.create_connection(house.server_address, PATIENCE / 1000) as last:
        last.shutdown(socket.SHUT_WR)
        assert last.recv(1) == b""
    answering = house.process_request_thread
    until(
        lambda: all(getattr(one, "_target", None) != answering for one in threading.enumerate()),
        "the last answer of the house",
        PATIENCE / 1000,
    )
