"""What stands on a page has its room: nothing covers, cuts off or pushes aside what stands beside it."""

from collections.abc import Callable
from typing import Any

import pytest

from mailboxes import indexing, messages
from mailboxes.models import Account, Folder, FolderKind, Message
from mailboxes.tests.test_conversations import letter
from webmail.tests.test_browser import PHONE, Visit, pytestmark, visit

__all__ = ["pytestmark", "visit"]  # what pytest finds here
Post = Callable[..., list[Message]]

HTML = b"Content-Type: text/html\r\n\r\n"
# So much higher than what stands in it may a frame be, in pixels: some lines of text.
ROOM = 150
LINE = b"A line of a longer letter that goes on for a while, and then for another while.<br>"
LETTERS = [
    b"<p>Dear Ann,</p><p>&nbsp;</p><p>could you send me the plans?</p><p>Bob</p>",
    b"<div>Yes.</div><blockquote><p>could you send me the plans?</p></blockquote>",
    b"<p>" + LINE * 12 + b"</p>",
    b"Thanks!",
]
NEWSLETTER = b"""From: News <news@x.test>\r
Subject: The news\r
Content-Type: text/html\r
\r
<table width=600 style="min-width: 600px"><tr><td width=600>
<img src="https://x.test/a.png" width=560 height=90 alt="The news">
<p>Some words of a line that is too long for a phone, as a newsletter has them.</p>
</td></tr></table>
"""
# What of a row of tools lies upon what, or beyond its end.
COVERED = """bar => {
  const within = bar.getBoundingClientRect();
  const boxes = [...bar.querySelectorAll("button, select, a, input, .tool-name")]
    .filter(one => one.checkVisibility())
    .map(one => ({ one, name: one.id || one.textContent.trim(), ...one.getBoundingClientRect().toJSON() }))
    .filter(box => box.width > 2);
  const beyond = boxes.filter(box => box.right > within.right + 1 || box.left < within.left - 1);
  const apart = (a, b) => a === b || a.one.contains(b.one) || b.one.contains(a.one)
    || Math.min(a.right, b.right) - Math.max(a.left, b.left) <= 1
    || Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) <= 1;
  const upon = boxes.filter(a => boxes.some(b => !apart(a, b)));
  return [...beyond, ...upon].map(box => box.name);
}"""


@pytest.fixture
def talk(ann: Account, post: Post) -> list[int]:
    """A conversation in HTML, oldest first."""
    made = []
    for number, html in enumerate(LETTERS, 1):
        own, *before = [f"{n}@x.test" for n in range(number, 0, -1)]
        head = letter(own, *before[::-1]).partition(b"\r\n\r\n")[0]
        made.append(post(ann, text=head + b"\r\n" + HTML + html)[0].pk)
    indexing.drain(600)
    ann.mailbox.conversations = True
    ann.mailbox.save(update_fields=["conversations"])
    return made


@pytest.mark.parametrize("device", [{}, PHONE], ids=["wide", "phone"])
def test_a_frame_in_a_conversation_is_about_as_high_as_its_letter(
    visit: Visit, talk: list[int], device: dict[str, Any]
) -> None:
    page = visit(f"/mail/inbox/{talk[-1]}/", **device)
    assert page.locator(".html-frame").count() == len(talk)
    for number in talk:
        frame = page.locator(f"#l{number} .html-frame")
        frame.scroll_into_view_if_needed()
        inside = frame.content_frame.locator("body")
        inside.wait_for()
        needed = inside.evaluate("body => body.getBoundingClientRect().height")
        shown = frame.evaluate("frame => frame.clientHeight")
        assert needed <= shown <= needed + ROOM, number


def test_a_newsletter_is_no_wider_than_a_phone(visit: Visit, ann: Account, post: Post) -> None:
    [message] = post(ann, text=NEWSLETTER)
    page = visit(f"/mail/inbox/{message.pk}/", **PHONE)
    inside = page.frame_locator(".html-frame").locator("html")
    inside.wait_for()
    assert inside.evaluate("html => html.scrollWidth - html.clientWidth") == 0


@pytest.mark.parametrize("device", [{}, PHONE], ids=["wide", "phone"])
def test_no_tool_covers_another_in_a_language_of_long_words(
    visit: Visit, ann: Account, post: Post, device: dict[str, Any]
) -> None:
    Account.objects.filter(pk=ann.pk).update(language="de")
    lie = {kind: post(ann)[0].pk for kind in ("inbox", "archive", "junk", "trash")}
    for kind, number in lie.items():
        folder = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind(kind))
        messages.move(ann.mailbox.pk, [number], folder)
    page = visit(**device)
    for kind, number in lie.items():
        page.goto(f"/mail/{kind}/")
        assert page.locator(".list .toolbar").evaluate(COVERED) == [], kind
        page.goto(f"/mail/{kind}/{number}/")
        assert page.locator(".message-tools").evaluate(COVERED) == [], kind


def test_a_long_subject_is_read_whole(visit: Visit, ann: Account, post: Post) -> None:
    subject = " ".join(f"word{n}" for n in range(60))
    [message] = post(ann, text=f"Subject: {subject}\r\n\r\nHello\r\n".encode())
    page = visit(f"/mail/inbox/{message.pk}/")
    assert page.inner_text("#subject") == subject
