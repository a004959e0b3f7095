"""Plain text is as hostile a place as HTML: links and quotes are made of what was escaped, in linear time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.reading.links import LinkWarning
from mailboxes.reading.tests.effort import Ordinary
from mailboxes.reading.tests.oracle import tree
from mailboxes.reading.tests.payloads import ALL
from mailboxes.reading.text import NAMES_MAX, TEXT_MAX, render_text, text_warnings, unflowed

pytestmark = pytest.mark.once

REL = 'target="_blank" rel="noopener noreferrer nofollow"'
HOSTILE = [
    'http://a.test/"onmouseover="ran()',
    "http://a.test/'onmouseover='ran()",
    "http://a.test/<script>ran()</script>",
    'http://a.test/"><img src=x onerror=ran()>',
    "http://a.test/&quot;onclick=ran()",
    "http://a.test/&#34;onclick=ran()",
    "http://a.test/&amp;quot; onclick=ran()",
    'mailto:x@a.test"onclick=ran()',
    'mailto:"><script>ran()</script>',
    "javascript:ran()",
    "javascript://a.test/%0aran()",
    "data:text/html,<script>ran()</script>",
    'http://http://a.test/"onclick=ran()//',
    "[http://a.test/](javascript:ran())",
    "<a href=http://evil.test/1>x</a>",
    "<img src=http://evil.test/2.png>",
    "![x](http://evil.test/3.png)",
    "##http://a.test/##<img src=x onerror=ran()>",
    "[[0]] {{0}} %s \x000\x00 \x01 __link0__ ##str_replacement_0##",
    "> <details ontoggle=ran() open>\n> x",
    "> </details></div><script>ran()</script>",
    "-- \n<script>ran()</script>",
    "\u202ehttp://a.test/\u202c<script>",
    "\x0c<script>ran()</script>\x0b\x85\u2028<script>ran()</script>",
    "http://a.test/\u2028onclick=ran()",
    'http://a.test/\x00"<b>',
]


def complaints(html: str) -> list[str]:
    found = []
    for element in tree(html).iter():
        attributes = dict(element.attrib)
        if element.tag == "a":
            href = str(attributes.pop("href", ""))
            if not re.fullmatch(r"(?:https?://|mailto:)[^\s\"'<>]+", href, re.IGNORECASE):
                found.append(f"href {href}")
            if attributes != {"target": "_blank", "rel": "noopener noreferrer nofollow"}:
                found.append(f"a {attributes}")
        elif element.tag not in {"html", "head", "body", "div", "details", "summary", "p"}:
            found.append(f"tag {element.tag}")
        elif set(attributes) - {"class", "open"}:
            found.append(f"{element.tag} {attributes}")
    return found


@pytest.mark.parametrize("text", HOSTILE + [payload for _, payload in ALL])
def test_a_hostile_text_is_only_text_and_links(text: str) -> None:
    for written in (
        text,
        f"> {text}\n\nanswer",
        f"x\n-- \n{text}",
        f"({text})",
        text.replace("<", "http://a.test/<"),
    ):
        assert complaints(render_text(written)) == []


@given(
    st.lists(
        st.sampled_from(
            [
                "http://",
                "mailto:",
                "www.",
                "a.test",
                "<",
                ">",
                '"',
                "'",
                "&",
                ";",
                "quot",
                "\n",
                "> ",
                "-- ",
                ")",
                "(",
                ".",
            ]
        )
        | st.text(max_size=5),
        max_size=40,
    ).map("".join)
)
def test_any_text_shows_all_its_words(text: str) -> None:
    html = render_text(text)
    assert complaints(html) == []
    seen = "".join(tree(html).itertext()).replace("…", "")
    for word in re.findall(r"[a-zA-Z0-9]+", text):
        assert word in seen


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", "<div></div>"),
        ("1 < 2 & 3", "<div>1 &lt; 2 &amp; 3</div>"),
        ("see http://a.test.", f'<div>see <a href="http://a.test" {REL}>http://a.test</a>.</div>'),
        (
            "(http://a.test/x_(y))",
            f'<div>(<a href="http://a.test/x_(y)" {REL}>http://a.test/x_(y)</a>)</div>',
        ),
        (
            "<http://a.test?a=1&b=2>",
            f'<div>&lt;<a href="http://a.test?a=1&amp;b=2" {REL}>http://a.test?a=1&amp;b=2</a>&gt;</div>',
        ),
        ("HTTPS://A.test/!", f'<div><a href="HTTPS://A.test/" {REL}>HTTPS://A.test/</a>!</div>'),
        ("mailto:ann@a.test,", f'<div><a href="mailto:ann@a.test" {REL}>mailto:ann@a.test</a>,</div>'),
        ("http:// https:// mailto:", "<div>http:// https:// mailto:</div>"),
        (
            "(see www.a.test/x?a=1&b).",
            f'<div>(see <a href="https://www.a.test/x?a=1&amp;b" {REL}>www.a.test/x?a=1&amp;b</a>).</div>',
        ),
        (
            "www. www.a www..test ann@www.a.test /www.a.test",
            "<div>www. www.a www..test ann@www.a.test /www.a.test</div>",
        ),
        ("javascript:x ftp://a.test", "<div>javascript:x ftp://a.test</div>"),
        ("a\r\nb\rc\nd", "<div>a\nb\nc\nd</div>"),
        ("x\n-- \nAnn", '<div>x</div><div class="signature">-- \nAnn</div>'),
        ("a\x00\x07\u202eb", "<div>ab</div>"),
    ],
)
def test_a_text_is_shown_as_it_was_meant(text: str, html: str) -> None:
    assert render_text(text) == html


def test_quotes_fold_by_depth() -> None:
    assert render_text("Yes.\n\nAnn wrote:\n> one\n>> two\n> > three\n> four", quote_label="<q>") == (
        '<div>Yes.\n\nAnn wrote:</div><details class="quote"><summary>&lt;q&gt;</summary><div>one</div>'
        '<details class="quote"><summary>&lt;q&gt;</summary><div>two\nthree</div></details>'
        "<div>four</div></details>"
    )


def test_a_short_quote_that_is_answered_is_open() -> None:
    html = render_text("> lunch?\nYes.\n" + "> long\n" * 20 + "Also.\n> rest")
    assert [" open" in tag for tag in re.findall(r"<details[^>]*>", html)] == [True, False, False]


@pytest.mark.parametrize(
    ("written", "delete_space", "read"),
    [
        ("one \ntwo\nthree", False, "one two\nthree"),
        ("one \ntwo", True, "onetwo"),
        ("> one \n> two\nthree", False, "> one two\nthree"),
        ("> one \n>> two", False, "> one \n>> two"),
        (" From me\n >stuffed", False, "From me\n>stuffed"),
        ("text \n-- \nAnn", False, "text \n-- \nAnn"),
        ("", False, ""),
    ],
)
def test_flowed_lines_flow(written: str, delete_space: bool, read: str) -> None:
    assert unflowed(written, delete_space=delete_space) == read


# -- time ---------------------------------------------------------------------------------------

UNITS = [
    *(
        "http://",
        "http://a.test/(",
        "http://a.test/)",
        ")",
        "http://a.test/" + ")" * 999 + " ",
        "&",
        "<",
        ">",
        "> ",
        ">>>> \n",
    ),
    *(
        ">\nx\n",
        "-- \n",
        "\n",
        "\r",
        "mailto:",
        "http://a.test.......... ",
        "a" * 50,
        "\u202e",
        "&amp;",
        "x>\n",
        " \n",
        "> \n>> \n",
    ),
    *("http://" + "&amp;" * 99, "http://a.test/]]]]"),
]


def filled(unit: str) -> str:
    return (unit * (TEXT_MAX // len(unit) + 1))[:TEXT_MAX]


# The worst takes 7 times as long as a letter of its size; what is quadratic, thousands of times.
TIMES_MAX = 60


@pytest.fixture(scope="module")
def letter() -> Ordinary:
    text = filled("A letter of several words, as people write them.\n")
    return Ordinary(lambda: render_text(unflowed(text)))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: ascii(unit[:20]))
def test_no_text_takes_long(unit: str, letter: Ordinary) -> None:
    text = filled(unit)
    assert letter.times(lambda: render_text(unflowed(text)), TIMES_MAX) < TIMES_MAX


def test_too_long_a_text_is_cut_with_a_notice() -> None:
    html = render_text("word " * TEXT_MAX)
    assert html.endswith('<p class="restante-cut">[…]</p>')
    assert len(html) < TEXT_MAX + 1_000


# -- links that are not what they look like -----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("See https://bank.test/ and mailto:ann@bank.test.", []),
        ("www.bank.test@evil.test/", [("userinfo", "www.bank.test", "evil.test")]),
        ("https://web.archive.test/2026/https://bank.test/", []),
        ("https://b\u0430nk.test/", [("mixed_scripts", "b\u0430nk.test", "xn--bnk-6cd.test")]),
        ("> https://xn--bnk-6cd.test/x", [("mixed_scripts", "b\u0430nk.test", "xn--bnk-6cd.test")]),
        ("(https://\u0440\u0430\u0443.test/)", [("lookalike", "\u0440\u0430\u0443.test", "xn--80a5ak.test")]),
        ("https://bank.test@evil.test/x", [("userinfo", "bank.test", "evil.test")]),
        ("https://bank.test&x@evil.test/?a=1&b=2", [("userinfo", "bank.test&x", "evil.test")]),
        (
            "-- \nhttps://bank.test@evil.test/1 https://bank.test@evil.test/2",
            [("userinfo", "bank.test", "evil.test")],
        ),
        (
            "https://a.test@evil.test/ https://b.test@evil.test/",
            [("userinfo", "a.test", "evil.test"), ("userinfo", "b.test", "evil.test")],
        ),
        ('"https://bank.test@evil.test/', [("userinfo", "bank.test", "evil.test")]),
        ('&lt;a href="https://bank.test@evil.test/"', [("userinfo", "bank.test", "evil.test")]),
        ("", []),
    ],
)
def test_links_of_a_plain_text_are_warned_of(text: str, warnings: list[tuple[str, str, str]]) -> None:
    assert text_warnings(render_text(text)) == [LinkWarning(*one) for one in warnings]


def test_links_are_looked_at_so_many_and_no_more() -> None:
    text = "\n".join(f"https://bank.test@evil{number}.test/" for number in range(5_000))
    assert len(text_warnings(render_text(text))) == NAMES_MAX
