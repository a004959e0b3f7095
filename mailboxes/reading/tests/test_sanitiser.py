"""Nothing runs and nothing loads, whatever a sender writes; what is harmless stays."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailboxes.reading import markup, sanitiser
from mailboxes.reading.sanitiser import HTML_MAX, SafeHtml, render_html
from mailboxes.reading.tests.effort import Ordinary
from mailboxes.reading.tests.oracle import OURS, canonical, complaints
from mailboxes.reading.tests.payloads import ALL, PAYLOADS

pytestmark = pytest.mark.once

CID = {"a": f"{OURS}1"}


def proxied(url: str) -> str:
    return f"{OURS}proxy?{len(url)}"


def shown(html: str) -> str:
    return render_html(html, cid=CID).html


def test_there_are_attacks_of_every_kind() -> None:
    assert len(ALL) > 250
    assert len({payload for _, payload in ALL}) == len(ALL)
    assert min(map(len, PAYLOADS.values())) >= 4


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("remote", [None, proxied])
def test_an_attack_leaves_only_what_is_allowed(kind: str, remote: sanitiser.Remote | None) -> None:
    for payload in PAYLOADS[kind]:
        for html in (payload, f"<p>before {payload} after</p>", f"<table><tr><td>{payload}", f"<b>{payload}"):
            result = render_html(html, cid=CID, remote=remote)
            assert (html, complaints(result.html)) == (html, [])


@pytest.mark.parametrize("kind", PAYLOADS)
def test_what_was_sanitised_is_left_as_it_is(kind: str) -> None:
    for payload in PAYLOADS[kind]:
        once = render_html(payload, cid={})
        if not once.link_warnings:
            assert canonical(shown(once.html)) == canonical(once.html)


MARKUP = st.lists(
    st.sampled_from(
        [piece for _, payload in ALL for piece in re.split(r"(?<=[<>'\"= ])", payload) if piece]
        + [
            "<",
            ">",
            "'",
            '"',
            "=",
            "/",
            "<!--",
            "-->",
            "]]>",
            "\0",
            "\u2028",
            "&#",
            "&lt;",
            "</style>",
            "<p>",
        ]
    ),
    max_size=30,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(MARKUP | st.text(max_size=200))
def test_any_text_becomes_only_what_is_allowed(html: str) -> None:
    result = render_html(html, cid=CID)
    assert complaints(result.html) == []
    assert complaints(render_html(html, cid=CID, remote=proxied).html) == []
    assert complaints(shown(result.html)) == []


# -- what stays ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "result"),
    [
        ("<p>One<p>Two", "<p>One</p><p>Two</p>"),
        ("a < b & c &amp; d", "a &lt; b &amp; c &amp; d"),
        ("<b>bold<i>both</i></b>", "<b>bold<i>both</i></b>"),
        ("<b>bold<p>block</b>after</p>", "<b>bold</b><p><b>block</b>after</p>"),
        ('<p style="color:#333;mso-x:y;COLOR:red">x', '<p style="color:#333;color:red">x</p>'),
        ('<p style="margin:0 auto!important">x', '<p style="margin:0 auto!important">x</p>'),
        ('<p style="width:calc(100% - 20px)">x', '<p style="width:calc(100% - 20px)">x</p>'),
        ('<p style="width:99999px;color:notacolour">x', "<p>x</p>"),
        (
            "<p style=\"font-family:'Segoe UI',Arial\">x",
            '<p style="font-family:&quot;Segoe UI&quot;,Arial">x</p>',
        ),
        ('<p style="color:rgb(1, 2, 3)">x', '<p style="color:rgb(1, 2, 3)">x</p>'),
        ('<p class="a b" id=c>x', '<p class="m-a m-b" id="m-c">x</p>'),
        ("<td>cell</td>", "cell"),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", None),
        ("<ul><li>a<li>b</ul>c", "<ul><li>a</li><li>b</li></ul>c"),
        ("<img src=cid:a alt=x>", f'<img src="{OURS}1" alt="x">'),
        ("<img src=cid:none width=10 height=20>", '<img alt="" height="20" width="10">'),
        ("<font color=red face=Arial size=2>x", '<font color="red" face="Arial" size="2">x</font>'),
        ("<picture><source srcset=x><img src=cid:a></picture>", f'<img alt="" src="{OURS}1">'),
        ("<o:p>&nbsp;</o:p>text", "&nbsp;text"),
        ("<!--[if mso]><p>Outlook</p><![endif]--><![if !mso]>others<![endif]>", "others"),
        ("<title>no</title><textarea>no</textarea><script>no</script>yes", "yes"),
    ],
)
def test_harmless_html_stays(html: str, result: str | None) -> None:
    if result is None:
        assert shown(html).replace("<tbody>", "").count("<td>") == 3
        assert shown(html).endswith("</table>d")
    else:
        assert shown(html) == result


def test_a_link_opens_elsewhere_and_tells_nothing() -> None:
    assert shown("<a href=' https://a.test/?x=1&amp;y '>x</a>") == (
        '<a href="https://a.test/?x=1&amp;y" target="_blank" rel="noopener noreferrer nofollow">x</a>'
    )


def test_a_style_sheet_is_written_anew_with_the_senders_names_prefixed() -> None:
    html = """<style>.a, td.b > #c { color: RED; -x: y }
      @media only screen and (max-width: 600px) { [class=d] { width: 100% !important } } </style>
      <p class=a>x""".replace("\n      <p", "<p")
    assert shown(html) == (
        "<style>.m-a, td.m-b > #m-c{color:RED}"
        "@media only screen and (max-width:600px){.m-d{width:100%!important}}</style>"
        '<p class="m-a">x</p>'
    )


def test_the_body_tags_colours_belong_to_everything() -> None:
    html = "<html><body bgcolor=#ffeedd text=black style='margin:0;position:fixed'><p>x</body></html>"
    assert shown(html) == '<div style="background-color:#ffeedd;color:black;margin:0"><p>x</p></div>'


def test_remote_images_are_counted_and_left_out() -> None:
    html = "<img src=http://a.test/1><img src=http://a.test/1><img src=//a.test/2 width=9><td background=http://b.test/3>"
    result = render_html(html + "<p style='background:url(https://c.test/4) red'>x", cid={})
    assert (result.blocked_remote, result.remote_used) == (3, 0)
    assert result.html == '<img alt=""><img alt=""><img alt="" width="9"><p style="background:none red">x</p>'


def test_remote_images_go_through_the_proxy_when_the_reader_asks() -> None:
    seen = []

    def remote(url: str) -> str:
        seen.append(url)
        return f"{OURS}{len(seen)}"

    html = (
        "<img src=' http://a.test/1\n'><img src=//a.test/2><p style='background:url(\"https://c.test/4\")'>x"
    )
    result = render_html(html, cid={}, remote=remote)
    assert seen == ["http://a.test/1", "https://a.test/2", "https://c.test/4"]
    assert (result.blocked_remote, result.remote_used) == (0, 3)
    assert result.html == (
        f'<img alt="" src="{OURS}1"><img alt="" src="{OURS}2">'
        f'<p style="background:url(&quot;{OURS}3&quot;)">x</p>'
    )


def test_nobody_guesses_an_address_of_ours() -> None:
    html = f"<img src=cid:a><img src={OURS}1><img src={OURS}2><a href={OURS}1>x</a>"
    assert shown(html).count(OURS) == 1
    assert 'href="' not in shown(html)


# -- links that lie -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("<a href=https://evil.test/>https://bank.test/login</a>", "other_host"),
        ("<a href=https://evil.test/>www.bank.test</a>", "other_host"),
        ("<a href=https://evil.test/>bank.com</a>", "other_host"),
        ("<a href=https://evil.test/>Log in at <b>bank</b>.com now</a>", "other_host"),
        ("<a href=https://evil.test/>ba<span></span>nk.com</a>", "other_host"),
        ("<a href=https://evil.test/>bank\u200b.com</a>", "other_host"),
        ("<a href=https://evil.test/>&#98;ank.com</a>", "other_host"),
        ("<a href=https://evil.test/>ｂａｎｋ.com</a>", "other_host"),
        ("<a href=https://evil.test/><img alt='https://bank.test'></a>", "other_host"),
        ("<a href=https://evil.test/>service@bank.com</a>", "other_host"),
        ("<a href=mailto:x@evil.test>service@bank.com</a>", "other_host"),
        ("<a href='https://bank.com.evil.test/'>bank.com</a>", "other_host"),
        ("<a href='https://bank.com@evil.test/'>bank.com</a>", "other_host"),
        ("<a href='https:\\\\evil.test\\@bank.com'>bank.com</a>", "other_host"),
        ("<a href='ht\ttps://evil.test'>bank.com</a>", "other_host"),
        ("<a href='https://evil.test#@bank.com'>bank.com</a>", "other_host"),
        ("<b><a href=https://evil.test/>bank.com", "other_host"),
        ("<a href=https://evil.test/><table><tr><td>bank.com</a>", "other_host"),
        ("<a href=https://evil.test/><div><p>bank.com</a></div>", "other_host"),
        ("<a href=https://bank.com@evil.test/>click</a>", "userinfo"),
        ("<a href=https://аpple.com/>click</a>", "mixed_scripts"),
        ("<a href=https://xn--80ak6aa92e.com/>click</a>", "lookalike"),
    ],
)
def test_a_link_that_lies_is_marked_and_reported(link: str, code: str) -> None:
    result = render_html(f"<p>{link}", cid={})
    assert [warning.code for warning in result.link_warnings] == [code]
    assert result.html.count('class="restante-link-warning"') == 1
    assert complaints(result.html) == []


@pytest.mark.parametrize(
    "link",
    [
        "<a href=https://bank.test/x>https://bank.test/login</a>",
        "<a href=https://www.bank.test/>bank.test</a>",
        "<a href=https://click.bank.com/>Offers of bank.com</a>",
        "<a href=https://BANK.test./>bank.test</a>",
        "<a href=https://xn--bcher-kva.test/>https://bücher.test</a>",
        "<a href=https://bücher.test/>BÜCHER.test</a>",
        "<a href=https://evil.test/>report.pdf</a>",
        "<a href=https://evil.test/>We use Node.js and v1.2</a>",
        "<a href=https://evil.test/>more</a>",
        "<a>https://bank.test</a>",
        "<a href=javascript:x>https://bank.test</a>",
        "<a href=https://xn--fiq228c.test/>click</a>",
    ],
)
def test_an_honest_link_is_not_marked(link: str) -> None:
    result = render_html(link, cid={})
    assert result.link_warnings == []
    assert "restante" not in result.html


def test_no_style_of_the_sender_hides_the_mark() -> None:
    html = """<style>span{display:none!important}.restante-link-warning{display:none!important}</style>
      <a href=https://evil.test/ style="font-size:0">https://bank.test</a>"""
    result = shown(html)
    assert 'style="display:inline!important;visibility:visible!important' in result
    assert ".restante" not in result


def test_the_mark_cannot_be_forged() -> None:
    assert "restante" not in shown("<span class='restante-link-warning restante-cut'>x</span>").replace(
        "m-restante", ""
    )


# -- time and size ------------------------------------------------------------------------------


def filled(unit: str, length: int = HTML_MAX) -> str:
    return (unit * (length // len(unit) + 1))[:length]


NEWSLETTER = (
    "<table><tr><td class='pad' width=600 style='padding:0 20px;font-family:Arial,sans-serif;color:#333'>"
    "<a href='https://news.test/?u=1&amp;x=2' style='color:#06c'><img src='https://img.news.test/1.png' "
    "width=280 height=120 alt='Item' style='display:block'></a><p style='margin:0'>Lorem dolor sit amet, "
    "consectetur adipiscing elit. <b>Now 9</b></p></td></tr></table>"
)
UNITS = [
    *(
        "<div>",
        "<div><p>",
        "<b><p>x",
        "<p><b>x",
        "<font color=red>",
        "<li>",
        "<table>",
        "<table><td>",
        "<a href=x>",
    ),
    *(
        "<",
        "</",
        "<!--",
        '<a x="',
        "<svg>",
        "<style>",
        "<style></style>",
        "&",
        "&a",
        "&amp;",
        "&zzz;",
        "&#1;",
        "</div>",
    ),
    *(
        "</p>",
        "<b><i></b></i>",
        "<b><div></b></div>",
        "<p style='color:red'>",
        "<table><div></td>",
        "<a  ",
        "\0",
    ),
    *(
        "<h1><h2>",
        "<a href=http://a.test>b.com</a>",
        "<a = = =",
        "<span></div>",
        "<ul><li>",
        "<b><p></b>",
        "x" * 99,
    ),
    *(
        "<p title='" + "&a" * 999 + "'>",
        "<i><table><b>",
        "<a><table>",
        "<b x><p></b><table><b y>",
        "<!-->",
        "<?",
        "<a/",
    ),
]
WHOLES = {
    "attributes": "<a " + " ".join(f"x{at}" for at in range(80_000)) + ">x",
    "many attributes": ("<a " + " ".join(f"x{at}" for at in range(95)) + ">x") * 1_500,
    "formatting": "<p>" + "".join(f"<font color=a{at}>" for at in range(500)) + "<p>x" * 90_000,
    "different styles": "".join(
        f"<p style='width:{at}px;height:calc({at}px + 1px)'>" for at in range(11_000)
    ),
    "remote images": "".join(f"<p style='background:url(http://a/{at})'>" for at in range(14_000)),
    "brackets in styles": "".join(f"<p style='width:{'(' * 4_000}{at}'>" for at in range(150)),
    **{
        f"sheet of {unit}": f"<style>{filled(unit, 95_000)}</style>x"
        for unit in (
            "a{b:c}",
            "{",
            "@media x{",
            "a,",
            "'",
            "\\",
            "url(",
            "/*",
            "(",
            "[",
            "a{color:rgb(1,1,1)}",
            "<!--",
        )
    },
}


# The worst takes 4 times as long as the newsletter; what is quadratic, hundreds of times.
TIMES_MAX = 20


@pytest.fixture(scope="module")
def newsletter() -> Ordinary:
    return Ordinary(lambda: render_html(filled(NEWSLETTER), cid={}))


@pytest.mark.parametrize(
    "html", [*map(filled, UNITS), *WHOLES.values()], ids=[*map(ascii, (u[:20] for u in UNITS)), *WHOLES]
)
def test_no_html_takes_much_longer_than_a_newsletter_of_its_size(html: str, newsletter: Ordinary) -> None:
    rendered: list[SafeHtml] = []
    assert newsletter.times(lambda: rendered.append(render_html(html, cid={})), TIMES_MAX) < TIMES_MAX
    assert len(rendered[0].html) < 8 * HTML_MAX


def test_too_much_html_is_cut_between_tags_with_a_notice() -> None:
    result = render_html(NEWSLETTER * 3_000, cid={})
    assert result.cut
    assert result.html.endswith('<p class="restante-cut">[…]</p>')
    assert complaints(result.html) == []
    assert not render_html(NEWSLETTER, cid={}).cut


def test_a_deep_message_keeps_its_words() -> None:
    result = shown("<div>" * 5_000 + "words" + "</div>" * 5_000 + "after")
    assert "words" in result
    assert result.endswith("after")
    assert result.count("<div>") == markup.DEPTH_MAX


@pytest.mark.parametrize("tag", ["div", "b", "span", "table", "li", "td", "p"])
def test_what_is_left_open_stays_bounded(tag: str) -> None:
    deepest = depth = 0
    for mark in re.finditer(
        r"<(/?)[a-z0-9]+(?<!br|hr)(?<!img)[^>]*>", shown(f"<table><{tag} class=x>x" * 20_000)
    ):
        depth += -1 if mark[1] else 1
        deepest = max(deepest, depth)
    assert deepest < 6 * markup.DEPTH_MAX


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ("<!doctype html><html dir=ltr lang='de-AT'><body>x", "de-AT"),
        ('<HTML LANG = "fr">x', "fr"),
        ("<html lang=pt-BR>x", "pt-BR"),
        ("<html xml:lang=de>x", "de"),
        ("<html>x<p lang=de>", ""),
        ("<p lang=de>x", ""),
        ("<html lang='\"><script>'>x", ""),
        ("<html lang=deutschland>x", ""),
        (" " * 20_000 + "<html lang=de>x", ""),
        ("<html " * 20_000, ""),
    ],
)
def test_a_page_says_its_language(html: str, language: str) -> None:
    assert render_html(html, cid={}).language == language


@pytest.mark.parametrize(
    ("html", "image"),
    [
        ("<img>", '<img alt="">'),
        ("<IMG/SRC=cid:a>", f'<img alt="" src="{OURS}1">'),
        ("<img alt src=cid:a>", f'<img alt="" src="{OURS}1">'),
        ("<img alt='a cat' src=cid:a>", f'<img alt="a cat" src="{OURS}1">'),
        ("<img ALT=x>", '<img alt="x">'),
    ],
)
def test_an_image_without_words_is_passed_over_when_a_page_is_read_aloud(html: str, image: str) -> None:
    assert render_html(html, cid={"a": f"{OURS}1"}).html == image
