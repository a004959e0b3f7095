"""What a letter shows beside its text, in Chromium: images from outside, letters inside, print, PDF."""

# ruff: noqa: F811  # fixtures of other files come by their names

import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from conftest import IN_CHROMIUM
from mailboxes import indexing
from mailboxes.models import Account, Message
from mailboxes.tests.test_conversations import letter as letter_of
from webmail.tests.conftest import LETTER
from webmail.tests.outside_world import World
from webmail.tests.test_browser import (  # noqa: F401  # the fixtures of a browser
    AXE,
    PHONE,
    Visit,
    refused,
    visit,
)
from webmail.tests.test_inside import around
from webmail.tests.test_remote_images import newsletter, world  # noqa: F401
from webmail.tests.waiting import leads_to, settled

Post = Callable[..., list[Message]]
pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]

PDF = b"""%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R
/Resources <</Font <</F 5 0 R>>>>>> endobj
4 0 obj <</Length 44>> stream
BT /F 24 Tf 40 100 Td (A bill of 12 euro) Tj ET
endstream endobj
5 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj
trailer <</Root 1 0 R>>
"""


def width_of(page: Any, image: str) -> int:
    """How wide an image of the letter is by itself; 0: it was not loaded. Waits until that is known."""
    found = page.frame_locator(".html-frame").locator(image).first
    # Looked at again and again: in this frame, where no script runs, nobody is told when it has loaded.
    expect(found).to_have_js_property("complete", True)
    return int(found.evaluate("one => one.naturalWidth"))


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_images_from_outside_are_shown_when_the_reader_asks(
    visit: Visit,
    ann: Account,
    post: Post,
    world: World,
    size: str,
) -> None:
    """`visit` fails the test when the browser asks anybody but us."""
    [message] = post(ann, text=newsletter())
    page = visit(**(PHONE if size == "phone" else {}))
    page.goto(f"/mail/inbox/{message.pk}/")
    letter = page.frame_locator(".html-frame")
    expect(letter.locator("div")).to_have_text("x")  # the last of it
    assert letter.locator("img[src]").count() == 0
    page.click("text=Show once")
    page.wait_for_selector("text=Images are shown.")
    assert width_of(page, "img[src]") == 2
    assert "images=" in page.url
    page.reload()
    assert width_of(page, "img[src]") == 2
    page.goto(f"/mail/inbox/{message.pk}/")
    page.click("text=Always for news@letters.test")
    page.wait_for_selector("text=are always shown")
    page.goto(f"/mail/inbox/{message.pk}/")
    assert width_of(page, "img[src]") == 2
    page.click(".remote-images >> text=Change")
    page.wait_for_url("**/mail/account/senders/")
    page.click("text=Ask me again")
    page.wait_for_selector("text=There are none.")


def test_images_are_shown_without_scripts_too(
    visit: Visit,
    ann: Account,
    post: Post,
    world: World,
) -> None:
    [message] = post(ann, text=newsletter())
    page = visit(java_script_enabled=False)
    page.goto(f"/mail/inbox/{message.pk}/")
    page.click("text=Show once")
    page.wait_for_selector("text=Images are shown.")
    assert width_of(page, "img[src]") == 2


def test_a_letter_inside_a_letter_is_opened_and_left_again(
    visit: Visit,
    ann: Account,
    post: Post,
) -> None:
    [message] = post(ann, text=around(LETTER))
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    page.click(".part >> text=Open")
    page.wait_for_url("**/part/2/letter/")
    page.frame_locator(".html-frame").locator("b", has_text="beans").wait_for()
    # By keyboard: these links are scrolled to, and a click right then goes to the frame that lay there.
    with page.expect_download() as download:
        page.press(".part:has-text('bill.pdf') >> text=Download", "Enter")
    assert download.value.suggested_filename == "bill.pdf"
    page.press(".crumbs >> text=Forwarded", "Enter")
    page.wait_for_url(f"**/mail/inbox/{message.pk}/")


def test_all_attachments_come_as_one_zip(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=LETTER)
    page = visit()
    page.goto(f"/mail/inbox/{message.pk}/")
    with page.expect_download() as download:
        page.click("text=Download all as a zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["evil.html", "bill.pdf", "logo.png"]


def test_a_letter_is_printed_whole_and_on_white(visit: Visit, ann: Account, post: Post) -> None:
    """Not as the frame, which a printer cuts at its height: as a page of its own, head and all."""
    lines = "".join(f"<p>line {number}</p>" for number in range(300))
    raw = f"From: Ann <a@b.test>\r\nSubject: Long\r\nContent-Type: text/html\r\n\r\n{lines}\r\n"
    [message] = post(ann, text=raw.encode())
    page = visit(color_scheme="dark")
    page.goto(f"/mail/inbox/{message.pk}/")
    with page.expect_popup() as opened:
        page.click(".bars >> text=Print")
    printed = opened.value
    printed.wait_for_selector("text=line 299")
    printed.wait_for_load_state()
    assert printed.locator(".restante-head").inner_text().startswith("Long\nAnn a@b.test")
    assert printed.evaluate("getComputedStyle(document.documentElement).filter") == "none"
    # A letter that fits one page is 1 to 3 KB; some eight pages are more.
    assert printed.pdf().count(b"/Type /Page\n") > 4


IS_DARK = "invert(0.91) hue-rotate(180deg)"


def test_dark_letters_are_dark_and_can_be_as_they_came(
    visit: Visit,
    ann: Account,
    post: Post,
) -> None:
    [message] = post(ann, text=LETTER)
    page = visit(color_scheme="dark")
    page.goto(f"/mail/inbox/{message.pk}/")

    # The page is there before its frame is: that one is waited for.
    letter = page.frame_locator(".html-frame").locator("html")
    expect(letter).to_have_css("filter", IS_DARK)
    # The frame that goes is not looked at while it does: Chromium may leave that without an answer.
    with leads_to(page, f"/mail/inbox/{message.pk}/?colours=original"):
        page.click("text=Original colours")
    expect(letter).to_have_css("filter", "none")
    with leads_to(page, f"/mail/inbox/{message.pk}/"):
        page.click("text=Dark colours")
    expect(letter).to_have_css("filter", IS_DARK)


@pytest.mark.parametrize(("device", "chosen"), [("light", "dark"), ("dark", "light")])
def test_a_choice_of_colours_counts_more_than_the_device_also_without_scripts(
    visit: Visit,
    ann: Account,
    post: Post,
    device: str,
    chosen: str,
) -> None:
    [message] = post(ann, text=LETTER)
    page = visit(color_scheme=device, java_script_enabled=False)
    page.goto("/mail/account/appearance/")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.check(f"[name=colours][value={chosen}]")
    with page.expect_navigation():
        page.click("form[action='/colours/'] button")
    expect(page.locator("meta[name=color-scheme]")).to_have_attribute("content", chosen)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    page.goto(f"/mail/inbox/{message.pk}/")
    expect(page.locator(".bars .dark-only")).to_be_visible(visible=chosen == "dark")
    letter = page.frame_locator(".html-frame").locator("html")
    expect(letter).to_have_css("filter", IS_DARK if chosen == "dark" else "none")
    if chosen == "dark":
        page.click("text=Original colours")
        expect(page.locator(".html-frame.original")).to_be_visible()
        expect(letter).to_have_css("filter", "none")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_axe_finds_nothing_serious_on_the_pages_of_a_letter(
    visit: Visit,
    ann: Account,
    post: Post,
    world: World,
    colours: str,
    size: str,
) -> None:
    listed = b"List-Unsubscribe: <https://letters.test/off>, <mailto:off@letters.test?subject=off>\r\n"
    [message], [nested] = post(ann, text=listed + newsletter()), post(ann, text=around(LETTER))
    page = visit(bypass_csp=True, color_scheme=colours, **(PHONE if size == "phone" else {}))
    here = f"/mail/inbox/{message.pk}/"
    page.goto(here)
    page.click("text=Always for")
    page.wait_for_selector("text=are always shown")
    paths = [here, f"{here}?show=text", f"{here}unsubscribe/", "/mail/account/senders/"]
    paths += [f"/mail/inbox/{nested.pk}/part/2/letter/", "/mail/inbox/99999/"]
    paths += [f"{here}html/", f"{here}html/?print", f"{here}headers/"]
    paths += [f"/mail/inbox/{nested.pk}/part/2/letter/{page}/" for page in ("html", "headers")]
    refused(visit, 404)
    found = {}
    for path in paths:
        page.goto(path)
        page.evaluate(AXE)
        results = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
        found[path] = [f"{one['id']} {one['nodes'][0]['target']}" for one in results["violations"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert found == {path: [] for path in paths}


@pytest.mark.parametrize("scripts", [True, False])
def test_a_text_is_looked_at_in_place(visit: Visit, ann: Account, post: Post, scripts: bool) -> None:
    attached = (
        b"Content-Type: text/plain; name=notes.txt\r\nContent-Disposition: attachment; filename=notes.txt"
    )
    head = b"Subject: Papers\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    parts = b"--b\r\n\r\nSee this.\r\n--b\r\n" + attached + b"\r\n\r\nNotes of the harvest\r\n--b--\r\n"
    [message] = post(ann, text=head + parts)
    page = visit(java_script_enabled=scripts)
    page.goto(f"/mail/inbox/{message.pk}/")
    page.click(".part:has-text('notes.txt') summary")
    expect(page.frame_locator("iframe[title='notes.txt']").locator("body")).to_contain_text("harvest")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_one_letter_of_a_conversation_is_put_elsewhere_and_axe_finds_nothing(
    visit: Visit, ann: Account, post: Post, colours: str, size: str
) -> None:
    texts = [letter_of("1@x.test"), letter_of("2@x.test", "1@x.test"), letter_of("3@x.test", "1@x.test")]
    talk = [post(ann, text=text)[0].pk for text in texts]
    indexing.drain(600)
    options: dict[str, Any] = {"color_scheme": colours, "bypass_csp": True}
    page = visit(**options, **(PHONE if size == "phone" else {}))
    page.goto(f"/mail/inbox/{talk[2]}/?earlier={talk[2]}")
    found = {"earlier": violations(page)}
    page.goto(f"/mail/inbox/{talk[0]}/")
    page.click(f"#l{talk[0]} .letter-acts > summary")
    found["open"] = violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.press(f"#l{talk[0]} button[value='trash:{talk[0]}']", "Enter")
    expect(page.locator(f"#l{talk[0]}")).to_have_count(0)
    expect(page.locator(f"#l{talk[1]}")).to_be_attached()
    settled(page)
    page.goto(f"/mail/trash/{talk[0]}/")
    expect(page.locator("#message")).to_contain_text("Restore")
    assert found == {"earlier": [], "open": []}


def violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    results = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    return [f"{one['id']} {one['nodes'][0]['target']}" for one in results["violations"]]
