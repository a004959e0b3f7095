"""A PDF beside its letter: what guards the page that draws it, and how the letter's page shows it."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from mailboxes.models import Message

PROJECT = Path(__file__).resolve().parents[2]
VENDORED = PROJECT / "static" / "vendor" / "pdfjs"


def body(answer: Any) -> str:
    return str(answer.content.decode())


def test_the_page_that_draws_a_pdf_has_no_origin_and_no_network(browser_of_ann: Client) -> None:
    answer = browser_of_ann.get("/mail/pdf/")
    wanted = {
        "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; "
        "script-src 'self' blob: 'wasm-unsafe-eval'; worker-src blob:; style-src 'self'; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-store",
        "Content-Type": "text/html; charset=utf-8",
        "X-Frame-Options": "SAMEORIGIN",
    }
    assert {name: answer.get(name) for name in wanted} == wanted
    assert [what for what in ("style=", "<style", " onload", "ann@") if what in body(answer)] == []
    assert re.findall(r"<script[^>]*>(.*?)</script>", body(answer)) == [""]


def test_it_takes_no_other_verb(browser_of_ann: Client) -> None:
    assert browser_of_ann.post("/mail/pdf/").status_code == 405


@pytest.mark.parametrize(("language", "said"), [("en", "This PDF cannot be shown"), ("de", "Seite")])
def test_it_speaks_the_readers_language(browser_of_ann: Client, language: str, said: str) -> None:
    page = body(browser_of_ann.get("/mail/pdf/", headers={"accept-language": language}))
    assert f'<html lang="{language}">' in page
    assert said in page


def test_a_letter_shows_a_pdf_in_a_frame_that_is_shut_in(browser_of_ann: Client, letter: Message) -> None:
    page = body(browser_of_ann.get(f"/mail/inbox/{letter.pk}/"))
    frames = re.findall(r"<iframe[^>]* data-pdf=[^>]*>", page)
    wanted = (
        f'<iframe src="/mail/pdf/" sandbox="allow-scripts" data-pdf="/mail/inbox/{letter.pk}/part/3/" '
        'loading="lazy" referrerpolicy="no-referrer" title="bill.pdf">'
    )
    assert frames == [wanted]


def test_without_scripts_it_opens_in_a_window_of_its_own(browser_of_ann: Client, letter: Message) -> None:
    page = body(browser_of_ann.get(f"/mail/inbox/{letter.pk}/"))
    look = f'href="/mail/inbox/{letter.pk}/part/3/look/" target="_blank" rel="noopener"'
    assert f'<a class="without-script" {look}>' in page
    assert '<details class="look needs-script" hidden>' in page


@pytest.mark.once
def test_the_library_is_the_release_that_the_documents_name_and_evaluates_no_text() -> None:
    [version] = re.findall(r"pdf\.js ([\d.]+) ", (PROJECT / "docs" / "dependencies.md").read_text())
    for name in ("pdf.min.mjs", "pdf.worker.min.mjs"):
        text = (VENDORED / name).read_text()
        assert f'"{version}"' in text
        assert re.findall(r"\beval\(|new Function\(", text) == []


@pytest.mark.once
def test_what_the_frame_may_ask_for_is_there_and_may_be_asked_for() -> None:
    """The names that `looks.js` lets pass are those of the library's files."""
    [pattern] = re.findall(
        r"^const NAMES = /(.*)/;$", (PROJECT / "static/webmail/looks.js").read_text(), re.M
    )
    names = [
        str(path.relative_to(VENDORED)) for path in sorted(VENDORED.glob("*/*")) if "LICENSE" not in path.name
    ]
    assert len(names) > 180
    assert [name for name in names if not re.search(pattern.replace(r"\/", "/"), name)] == []
    for other in (
        "../../webmail/webmail.js",
        "cmaps/../../x.bcmap",
        "wasm/qcms_bg.wasm",
        "https://evil.test/",
    ):
        assert not re.search(pattern.replace(r"\/", "/"), other)
