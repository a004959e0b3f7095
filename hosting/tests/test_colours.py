"""Light, dark or as the device is: chosen in a browser, and so in every page that it is shown."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from conftest import PASSWORD
from hosting.unavailable import bad_request, server_error, unavailable
from mailboxes.models import Account, Message

pytestmark = pytest.mark.django_db

# By what is chosen: what the browser is told of the page, and when it takes the dark colours.
SAID = {
    "": ("light dark", 'media="screen and (prefers-color-scheme: dark)"'),
    "light": ("light", None),
    "dark": ("dark", 'media="screen"'),
}


def is_said(page: str, chosen: str) -> bool:
    scheme, media = SAID[chosen]
    sheet = page.partition("/static/dark.css")[2].partition(">")[0]
    return f'name="color-scheme" content="{scheme}"' in page and (media in sheet if media else not sheet)


@pytest.mark.parametrize("chosen", ["light", "dark"])
def test_a_choice_counts_in_this_browser_from_the_next_page_on(client: Client, chosen: str) -> None:
    assert is_said(client.get("/login/").text, "")
    answer = client.post("/colours/", {"colours": chosen, "next": "/login/"})
    assert answer["Location"] == "/login/"
    assert is_said(client.get("/login/").text, chosen)
    assert is_said(client.get("/mail/no/such/page/").text, chosen)
    assert is_said(Client().get("/login/").text, ""), "another browser"
    client.post("/colours/", {"colours": "", "next": "/login/"})
    assert is_said(client.get("/login/").text, "")


def test_the_cookie_is_kept_and_no_script_reads_it(client: Client) -> None:
    cookie = client.post("/colours/", {"colours": "dark"}).cookies["colours"]
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (365 * 24 * 3600, True, "Lax")


@pytest.mark.parametrize("wrong", ["pink", 'dark" onload="x', "light dark"])
def test_what_is_neither_light_nor_dark_is_refused_and_a_forged_cookie_is_none(
    client: Client, wrong: str
) -> None:
    assert client.post("/colours/", {"colours": wrong}).status_code == 400
    client.cookies["colours"] = wrong
    assert is_said(client.get("/login/").text, "")


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test", "javascript:alert(1)", ""])
def test_choosing_leads_nowhere_else(client: Client, elsewhere: str) -> None:
    assert client.post("/colours/", {"colours": "dark", "next": elsewhere})["Location"] == "/"
    assert client.get("/colours/").status_code == 405


def test_pages_of_our_own_faults_have_the_chosen_colours() -> None:
    request = RequestFactory().get("/")
    request.COOKIES["colours"] = "dark"
    for page in (unavailable(request), bad_request(request), server_error(request)):
        assert is_said(page.content.decode(), "dark"), page.status_code
    try:
        raise OperationalError
    except OperationalError:
        assert server_error(request).status_code == 503


@pytest.mark.parametrize("chosen", SAID)
def test_the_webmail_and_the_console_offer_what_is_not_chosen(
    client: Client, operator: Account, settings: Any, chosen: str
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "optional"
    client.post("/login/", {"login": operator.login, "password": PASSWORD})
    client.post("/colours/", {"colours": chosen})
    page = client.get("/mail/account/appearance/").text
    assert f'name="colours" value="{chosen}" checked' in page
    assert page.count('name="colours"') == 3
    console = client.get("/console/").text
    assert f'name="colours" value="{chosen}" aria-pressed="true"' in console
    assert console.count('aria-pressed="true"') == 2, "the language is the other"
    assert is_said(console, chosen)


@pytest.mark.parametrize("chosen", SAID)
def test_a_letter_in_html_follows_and_so_does_its_own_switch(
    client: Client, ann: Account, post: Callable[..., list[Message]], chosen: str
) -> None:
    [message] = post(ann, text=b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>Hello</p>\r\n")
    client.post("/login/", {"login": ann.login, "password": PASSWORD})
    client.post("/colours/", {"colours": chosen})
    frame = f"/mail/inbox/{message.pk}/html/"
    inverted = {
        "": "@media screen and (prefers-color-scheme: dark) {\n  html { background: #ffffff; filter: invert",
        "light": "",
        "dark": "@media screen {\n  html { background: #ffffff; filter: invert",
    }[chosen]
    letter = client.get(frame).text
    assert inverted in letter
    assert ("invert" in letter) is bool(inverted)
    assert "invert" not in client.get(frame, {"colours": "original"}).text
    assert "invert" not in client.get(frame, {"print": ""}).text
