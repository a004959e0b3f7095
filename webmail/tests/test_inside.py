"""A letter in a letter is opened as a letter, as safely, and what is attached to it can be had."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mailboxes.models import Account, Message
from webmail.tests.conftest import LETTER

Post = Callable[..., list[Message]]
FRAME_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; frame-ancestors 'self'"
)


def around(inner: bytes, boundary: bytes = b"around", subject: bytes = b"Forwarded") -> bytes:
    return (
        b"From: Bob <bob@example.test>\r\nSubject: " + subject + b"\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n"
        b"--" + boundary + b"\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n"
        b"--" + boundary + b"\r\nContent-Type: message/rfc822\r\n\r\n" + inner + b"\r\n"
        b"--" + boundary + b"--\r\n"
    )


def body(answer: Any) -> str:
    return str(answer.content.decode())


@pytest.fixture
def forwarded(ann: Account, post: Post) -> str:
    """Where a letter lies in which LETTER lies."""
    [message] = post(ann, text=around(LETTER))
    return f"/mail/inbox/{message.pk}/"


def test_a_letter_in_a_letter_is_opened_as_one(browser_of_ann: Client, forwarded: str) -> None:
    assert f'href="{forwarded}part/2/letter/"' in body(browser_of_ann.get(forwarded))
    page = body(browser_of_ann.get(f"{forwarded}part/2/letter/"))
    assert '<h1 id="subject" dir="auto">The garden</h1>' in page
    assert "Garden Weekly" in page
    assert f'href="{forwarded}">Forwarded</a>' in page
    frame = browser_of_ann.get(f"{forwarded}part/2/letter/html/")
    assert frame["Content-Security-Policy"] == FRAME_POLICY
    assert frame["X-Frame-Options"] == "SAMEORIGIN"
    text = body(frame)
    assert ("<b>beans</b>" in text, "data:image/png;base64," in text) == (True, True)
    for gone in ("<script", "onclick", "tracker.test", "cid:"):
        assert gone not in text


def test_what_is_attached_to_it_can_be_had(browser_of_ann: Client, forwarded: str) -> None:
    page = body(browser_of_ann.get(f"{forwarded}part/2/letter/"))
    for part, octets in {"2-2": b"<script>", "2-3": b"%PDF-1.4 secret-pdf"}.items():
        assert f'href="{forwarded}part/{part}/"' in page
        answer = browser_of_ann.get(f"{forwarded}part/{part}/")
        assert answer.content.startswith(octets)
        assert answer["Content-Type"] == "application/octet-stream"
    assert browser_of_ann.get(f"{forwarded}part/2-3/look/")["Content-Type"] == "application/pdf"
    assert browser_of_ann.get(f"{forwarded}part/2/").content.startswith(b"From: Garden Weekly")


def files_in(answer: Any) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_attached_to_it_can_be_had_as_one_file(browser_of_ann: Client, forwarded: str) -> None:
    page = body(browser_of_ann.get(f"{forwarded}part/2/letter/"))
    assert f'href="{forwarded}part/2/letter/attachments.zip"' in page
    answer = browser_of_ann.get(f"{forwarded}part/2/letter/attachments.zip")
    number = forwarded.split("/")[3]
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == f'attachment; filename="attachments-{number}.zip"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    files = files_in(answer)
    assert sorted(files) == ["bill.pdf", "evil.html", "logo.png"]
    for part, name in {"2-2": "evil.html", "2-3": "bill.pdf", "2-4": "logo.png"}.items():
        assert files[name] == browser_of_ann.get(f"{forwarded}part/{part}/").content
    # The letter around it has one attachment: the letter inside, whole.
    [inner] = files_in(browser_of_ann.get(f"{forwarded}attachments.zip")).values()
    assert inner == browser_of_ann.get(f"{forwarded}part/2/").content


def test_a_letter_inside_a_letter_inside_is_emptied_into_a_file_of_its_own(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    [message] = post(ann, text=around(around(LETTER, b"within"), b"without"))
    inbox = f"/mail/inbox/{message.pk}/part"
    files = files_in(browser_of_ann.get(f"{inbox}/2-2/letter/attachments.zip"))
    assert sorted(files) == ["bill.pdf", "evil.html", "logo.png"]
    [inner] = files_in(browser_of_ann.get(f"{inbox}/2/letter/attachments.zip")).values()
    assert inner.startswith(b"From: Garden Weekly")


@pytest.mark.parametrize("part", ["1", "2-2", "2-9", "x", "0"])
def test_what_is_no_letter_has_no_such_file(browser_of_ann: Client, forwarded: str, part: str) -> None:
    assert browser_of_ann.get(f"{forwarded}part/{part}/letter/attachments.zip").status_code == 404


def test_a_letter_inside_without_attachments_has_no_such_file(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    [message] = post(ann, text=around(b"Subject: bare\r\n\r\nHello\r\n"))
    inside = f"/mail/inbox/{message.pk}/part/2/letter/"
    assert "attachments.zip" not in body(browser_of_ann.get(inside))
    assert browser_of_ann.get(f"{inside}attachments.zip").status_code == 404


def test_it_is_its_owners_alone(forwarded: str, bob: Account, logged_in: Callable[..., Client]) -> None:
    browser = logged_in(bob)
    inside = "part/2/letter/"
    for path in (inside, f"{inside}html/", f"{inside}attachments.zip", "part/2-2/", "part/2-2/look/"):
        assert browser.get(forwarded + path).status_code == 404


def test_what_a_letter_inside_says_of_itself_is_not_verified(
    ann: Account, browser_of_ann: Client, post: Post, settings: Any
) -> None:
    settings.HOSTNAME = "mail.example.test"
    head = b"Authentication-Results: mail.example.test; dmarc=pass\r\n"
    [message] = post(ann, text=around(head + LETTER))
    page = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/part/2/letter/"))
    assert "verified" not in page
    assert "Always for" not in page


@pytest.mark.parametrize("part", ["1", "3", "x", "2-1.2", "2-9", "2-2-1", "2-", "-", "2-2", "0"])
def test_what_is_no_letter_is_not_opened_as_one(browser_of_ann: Client, forwarded: str, part: str) -> None:
    for page in ("letter/", "letter/html/"):
        assert browser_of_ann.get(f"{forwarded}part/{part}/{page}").status_code == 404


def test_letters_in_letters_are_opened_so_deep_and_no_deeper(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    raw = b"Subject: the innermost\r\n\r\nHello\r\n"
    for depth in range(20):
        raw = around(raw, b"b%d" % depth, b"number %d" % depth)
    [message] = post(ann, text=raw)
    here = f"/mail/inbox/{message.pk}/part/"
    part, opened = "2", 0
    while (answer := browser_of_ann.get(f"{here}{part}/letter/")).status_code == 200:
        assert f"number {18 - opened}" in body(answer)
        assert body(answer).count("a message in it</a>") == opened
        opened, part = opened + 1, f"{part}-2"
    assert opened == 8
    # What is deeper comes as a file of the last that is opened.
    assert browser_of_ann.get(f"{here}{part.removesuffix('-2')}/").status_code == 200


def test_images_of_a_letter_inside_are_shown_once(
    ann: Account, browser_of_ann: Client, post: Post, settings: Any
) -> None:
    html = (
        b"Subject: in\r\nContent-Type: text/html\r\n\r\n"
        b'<img src="http://pictures.test/a.png" width=30><p>Hello</p>\r\n'
    )
    [message] = post(ann, text=around(html))
    page = f"/mail/inbox/{message.pk}/part/2/letter/"
    assert "Show once" in body(browser_of_ann.get(page))
    answer = browser_of_ann.post(f"/mail/inbox/{message.pk}/images/", {"show": "once", "part": "2"})
    assert answer["Location"].startswith(f"{page}?images=")
    token = answer["Location"].partition("?")[2]
    frame = browser_of_ann.get(f"{page}html/?{token}")
    assert f"/mail/inbox/{message.pk}/image/?u=http%3A%2F%2Fpictures.test" in body(frame)
