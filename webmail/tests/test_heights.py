"""How high a letter's HTML wants to be, by what stands in it."""

import re
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings

from mailboxes.reading.tests.effort import Ordinary
from webmail.heights import LOOKED_AT, STEPS, Rows, rows_of

pytestmark = pytest.mark.once
SHEET = Path(settings.BASE_DIR) / "static" / "webmail" / "heights.css"

HEIGHTS = {
    "nothing": ("", Rows(3, 3)),
    "a word": ("Yes!", Rows(3, 3)),
    "lines": ("one<br>two<br>three<br>four", Rows(4, 4)),
    "paragraphs keep their distance": ("<p>one</p><p>two</p><p>three</p><p>four</p>", Rows(8, 8)),
    "a long line is several, and more on a phone": ("word " * 48, Rows(3, 6)),
    "cells of a row stand side by side": (
        "<table><tbody><tr><td>a</td><td>b</td><td>c</td><td>d</td></tr></tbody></table>",
        Rows(3, 3),
    ),
    "a space that does not break holds a line": ("<p>&nbsp;</p>" * 4, Rows(8, 8)),
    "lines as they were typed": ("<pre>one\ntwo\n\nfour\nfive\nsix</pre>", Rows(6, 6)),
    "lines of a style": ('<div style="white-space:pre-wrap">one\ntwo\nthree\nfour</div>', Rows(4, 4)),
    "lines of a style sheet": (
        "<style>.a{white-space:pre-line}</style><p>one\ntwo\nthree</p>",
        Rows(6, 6),
    ),
    "white space holds none": ("<div>\n \n</div>\n" * 40, Rows(3, 3)),
    "a style sheet is no text": ("<style>" + "p { margin: 0 } " * 200 + "</style>Yes!", Rows(3, 3)),
    "a picture that says how high it is": ('<img src="x" height="240"><br>Yes!', Rows(15, 15)),
    "a picture that does not": ('<img src="x">', Rows()),
    "a picture that was left out": ('<img alt="a logo" height="240">Yes!', Rows(3, 3)),
    "a newsletter": ("<p>news</p>" * 100, Rows()),
    "more than is looked at": ("x" * (LOOKED_AT + 1), Rows()),
    "many lines on a phone only": ("word " * 600, Rows(48, STEPS[-1])),
}


@pytest.mark.parametrize("name", HEIGHTS)
def test_the_rows_are_those_that_the_text_takes(name: str) -> None:
    html, rows = HEIGHTS[name]
    assert rows_of(html) == rows


def test_the_style_sheet_has_a_height_for_each_step() -> None:
    sheet = SHEET.read_text()
    for prefix in ("", "narrow-"):
        found = re.findall(rf"\.{prefix}rows-(\d+) {{\s+--rows: (\d+);", sheet)
        assert found == [(str(step), str(step)) for step in STEPS]


def test_no_letter_takes_much_longer_than_one_of_paragraphs() -> None:
    ordinary = Ordinary(lambda: rows_of(filled("<p>some words</p>")))
    for piece in ("<p>", "<b>x", "&nbsp;", "x<br>", "&amp;lt;", "> ", "<img>", "<", "<style>", "<pre>\n"):
        html = filled(piece)
        assert ordinary.times(partial(rows_of, html), 30) < 30, piece


def filled(piece: str) -> str:
    return piece * (LOOKED_AT // len(piece))
