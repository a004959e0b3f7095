"""Known attacks by mail against the webmail as it is, in Chromium: no script runs, and no request leaves.

`mailboxes/reading/tests/test_browser.py` tries the same on the sanitiser alone. Here they come as letters:
first against all layers, then with the sanitiser taken away, so that the headers of the frame stand alone.
"""

# ruff: noqa: F811  # fixtures of other files come by their names

from collections.abc import Callable
from typing import Any

import pytest

from conftest import IN_CHROMIUM
from mailboxes.models import Account, Message
from mailboxes.reading import SafeHtml
from mailboxes.reading.tests.payloads import ALL
from mailboxes.reading.tests.test_text import HOSTILE
from webmail.remote_images import show_token
from webmail.tests.outside_world import World
from webmail.tests.test_browser import PAINTED, Visit, visit  # noqa: F401
from webmail.tests.test_remote_images import world  # noqa: F401

Post = Callable[..., list[Message]]
pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]

EVIL = "http://evil.test/"


def words(text: str) -> list[str]:
    return text.split()


TAGS = [
    *words(
        "a abbr address applet area article audio b base basefont bgsound blockquote body br button canvas"
    ),
    *words("caption center code col colgroup command data datalist dd del details dialog div dl dt embed"),
    *words(
        "fieldset figure font form frame frameset h1 head header hr html i iframe image img input ins isindex"
    ),
    *words(
        "keygen label layer legend li link listing main map marquee math menu meta meter nav noscript object"
    ),
    *words(
        "ol optgroup option output p param picture plaintext portal pre progress q s script section select"
    ),
    *words(
        "slot source span style sub summary svg table tbody td template textarea tfoot th thead time title"
    ),
    *words("tr track u ul use var video wbr xml xmp x-own"),
]
ATTRIBUTES = [
    *words("action archive attributionsrc background begin cite classid code codebase content data data-src"),
    *words(
        "dynsrc filter formaction from href icon imagesrcset itemtype longdesc lowsrc manifest mask movie"
    ),
    *words("ping poster profile src srcdoc srcset style to usemap values xlink:href xml:base xmlns"),
]
# What some elements need before they load anything.
BESIDE = {
    "link": "rel=stylesheet",
    "input": "type=image",
    "meta": "http-equiv=refresh",
    "object": "type=image/png",
    "embed": "type=image/svg+xml",
    "video": "autoplay",
    "audio": "autoplay",
    "track": "default kind=subtitles",
}


def every_attribute_that_can_load(tag: str) -> str:
    """All attributes, at one element after the other: a URL, and what holds one in styles and documents."""

    def value(attribute: str, url: str) -> str:
        if attribute == "style":
            return f"background:url({url});list-style:url({url}) inside"
        if attribute == "srcdoc":
            return f"&lt;script&gt;ran()&lt;/script&gt;&lt;img src={url}&gt;"
        if attribute == "content":
            return f"0;url={url}"
        return f"{url} 2x" if "srcset" in attribute else url

    beside = BESIDE.get(tag, "")
    return "\n".join(
        f'<{tag} {beside} {attribute}="{value(attribute, f"{EVIL}{tag}/{attribute}")}">x</{tag}>'
        for attribute in ATTRIBUTES
    )


def attacks() -> list[str]:
    # What nothing ends but the end of the document stands last, each in a letter of its own.
    return [payload for _, payload in ALL] + [every_attribute_that_can_load(tag) for tag in TAGS]


@pytest.fixture
def letters(ann: Account, post: Post) -> list[Message]:
    head = b"Subject: attack\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>read</p>"
    return [post(ann, text=head + html.encode("utf-8", "replace") + b"\r\n")[0] for html in attacks()]


# Many frames on one page, each as the message pane has one; done when all have loaded and were painted, and
# the first of them was opened and painted once more after all.
FRAMES = """async (paths) => {
  const opened = (path) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-popups allow-popups-to-escape-sandbox";
    frame.src = path;
    frame.addEventListener("load", done, { once: true });
    document.body.append(frame);
  });
  const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  await Promise.all(paths.map(opened));
  await painted();
  await opened(paths[0]);
  await painted();
}"""
AT_ONCE = 60


def open_frames(page: Any, messages: list[Message], *, images: bool = False) -> None:
    paths = [
        f"/mail/inbox/{message.pk}/html/" + (f"?images={show_token(message)}" if images else "")
        for message in messages
    ]
    for at in range(0, len(paths), AT_ONCE):
        page.goto("/mail/archive/")
        # What runs or loads late is noted on the pages after this one too.
        page.evaluate(FRAMES, paths[at : at + AT_ONCE])
    page.goto("/mail/archive/")
    page.evaluate(PAINTED)


def test_no_attack_runs_or_asks_anything(visit: Visit, letters: list[Message], world: World) -> None:
    """With images on, which lets more through. `visit` notes when a script runs, a policy has to stop
    something, or a request leaves; our own proxy is asked for images, and has none."""
    page = visit()
    open_frames(page, letters, images=True)
    said = visit.said  # type: ignore[attr-defined]
    said[:] = [text for text in said if "Failed to load resource" not in text]
    assert said == []
    assert world.dialled == []


def test_no_text_that_is_an_attack_is_more_than_text(visit: Visit, ann: Account, post: Post) -> None:
    page = visit()
    text = "\n".join(HOSTILE).encode("utf-8", "replace").replace(b"\n", b"\r\n")
    [message] = post(ann, text=b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + text + b"\r\nthe end\r\n")
    page.goto(f"/mail/inbox/{message.pk}/")
    page.locator("#message .text", has_text="the end").wait_for()
    page.evaluate(PAINTED)
    page.goto("/mail/archive/")
    page.evaluate(PAINTED)


def test_without_the_sanitiser_the_frame_stops_them_all(
    visit: Visit, letters: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webmail.letters.render_html", lambda html, **_: SafeHtml(html, 0, 0))
    page = visit()
    errors: list[str] = []
    failed: list[tuple[str, str]] = []
    answered: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: failed.append((request.failure or "", request.url)))
    page.on("response", lambda response: answered.append(response.url))
    open_frames(page, letters)
    assert errors == []
    # What the browser itself has stopped, by our policy or as of another origin, never left it.
    assert {why for why, url in failed if "/mail/" not in url} <= {"csp", "origin"}
    assert len(failed) > 100
    assert [url for url in answered if "evil.test" in url] == []
    visit.said.clear()  # type: ignore[attr-defined]  # the browser says what it has stopped
