"""The list and the message: what they show, what they cost, and what headers guard them."""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosting.csp import PAGE_POLICY
from mailboxes import messages
from mailboxes.models import Account, Content, Folder, Mailbox, Message
from mailboxes.storage import remove_content
from mailboxes.tests.test_messages import pop3_session

Post = Callable[..., list[Message]]
FRAME_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; frame-ancestors 'self'"
)
# Functions called for one more row of a list, and for a request that asks no more than who is logged in. They
# were 400 and 3,500 when this was written; 890 and 5,100 before each was looked at closely.
ROW_CALLS = 650
REQUEST_CALLS = 4_500
SHUT = "sandbox; default-src 'none'; frame-ancestors 'self'"


def body(answer: Any) -> str:
    text: str = answer.content.decode()
    return text


# -- headers ------------------------------------------------------------------------------------


def test_every_page_may_load_its_own_files_only(browser_of_ann: Client) -> None:
    answer = browser_of_ann.get("/mail/inbox/")
    assert answer["Content-Security-Policy"] == PAGE_POLICY
    assert PAGE_POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )
    assert answer["Cache-Control"] == "private, no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert body(answer).count("style=") == 0


def test_mails_html_is_served_shut_in(browser_of_ann: Client, letter: Message) -> None:
    answer = browser_of_ann.get(f"/mail/inbox/{letter.pk}/html/")
    wanted = {
        "Content-Security-Policy": FRAME_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "private, no-store",
        "Content-Type": "text/html; charset=utf-8",
        "X-Frame-Options": "SAMEORIGIN",
    }
    assert {name: answer.get(name) for name in wanted} == wanted
    text = body(answer)
    assert "<b>beans</b>" in text
    assert "data:image/png;base64," in text
    for gone in ("<script", "onclick", "tracker.test", "cid:"):
        assert gone not in text


@pytest.mark.parametrize(
    ("path", "content_type", "disposition", "policy"),
    [
        ("part/2/", "application/octet-stream", 'attachment; filename="evil.html"', SHUT),
        ("part/2/look/", "text/plain; charset=utf-8", 'inline; filename="evil.html"', SHUT),
        ("part/4/", "application/octet-stream", 'attachment; filename="logo.png"', SHUT),
        ("part/1.2/look/", "image/png", None, SHUT),
        ("source/", "text/plain; charset=utf-8", None, SHUT),
        ("source/?download", "application/octet-stream", "attachment; filename=", SHUT),
        ("attachments.zip", "application/zip", "attachment; filename=", SHUT),
        (
            "part/3/look/",
            "application/pdf",
            'inline; filename="bill.pdf"',
            "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'",
        ),
    ],
)
def test_no_piece_of_a_message_is_served_as_what_its_sender_says(
    browser_of_ann: Client,
    letter: Message,
    path: str,
    content_type: str,
    disposition: str | None,
    policy: str,
) -> None:
    answer = browser_of_ann.get(f"/mail/inbox/{letter.pk}/{path}")
    assert answer.status_code == 200
    assert answer["Content-Type"] == content_type
    assert answer.get("Content-Disposition", "").startswith(disposition or "")
    assert answer["Content-Security-Policy"] == policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private, no-store"


def test_what_only_calls_itself_a_picture_is_not_looked_at(browser_of_ann: Client, letter: Message) -> None:
    assert browser_of_ann.get(f"/mail/inbox/{letter.pk}/part/4/look/").status_code == 404


def test_all_attachments_come_as_one_zip(browser_of_ann: Client, letter: Message) -> None:
    import io
    import zipfile

    answer = browser_of_ann.get(f"/mail/inbox/{letter.pk}/attachments.zip")
    with zipfile.ZipFile(io.BytesIO(b"".join(answer))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["evil.html", "bill.pdf", "logo.png"]
        assert archive.read("bill.pdf") == b"%PDF-1.4 secret-pdf"


@pytest.mark.parametrize("part", ["9", "0", "1.9", "2-1", "x", "1.2.3.4"])
def test_a_part_that_is_none_is_not_found(browser_of_ann: Client, letter: Message, part: str) -> None:
    for path in (f"part/{part}/", f"part/{part}/look/"):
        assert browser_of_ann.get(f"/mail/inbox/{letter.pk}/{path}").status_code == 404


# -- what it costs ------------------------------------------------------------------------------


def _queries(count: Any, client: Client, path: str) -> int:
    with count() as seen:
        assert client.get(path).status_code == 200
    return len(seen)


@pytest.fixture
def count() -> Any:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


@pytest.mark.parametrize("path", ["/mail/inbox/", "/mail/trash/", "/mail/account/", "/mail/folders/"])
def test_a_list_costs_as_many_queries_at_one_row_as_at_three(
    ann: Account, browser_of_ann: Client, post: Post, count: Any, path: str
) -> None:
    def come() -> None:
        [stays], [goes] = post(ann), post(ann)
        messages.discard(ann.mailbox.pk, [goes.pk], pop3_session(ann, f"s{goes.pk}"))
        Folder.objects.create(mailbox=ann.mailbox, kind="own", name=f"own {stays.pk}")

    come()
    at_one = _queries(count, browser_of_ann, path)
    come()
    come()
    assert _queries(count, browser_of_ann, path) == at_one
    assert at_one <= 6


def _calls(client: Client, path: str) -> int:
    """How many functions a page calls: what it costs, on any machine. What is made once was made before."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    client.get(path)
    sys.setprofile(count)
    try:
        assert client.get(path).status_code == 200
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("path", ["/mail/inbox/", "/mail/search/?q=in:inbox"])
def test_a_row_of_a_list_is_written_in_few_steps(
    ann: Account, browser_of_ann: Client, post: Post, path: str
) -> None:
    post(ann)
    at_one = _calls(browser_of_ann, path)
    for _ in range(20):
        post(ann)
    assert (_calls(browser_of_ann, path) - at_one) / 20 < ROW_CALLS


def test_who_is_logged_in_is_found_out_in_few_steps(browser_of_ann: Client) -> None:
    assert _calls(browser_of_ann, "/mail/version/") < REQUEST_CALLS


def test_an_open_message_costs_as_many_queries_in_any_company(
    ann: Account, browser_of_ann: Client, post: Post, count: Any
) -> None:
    [first] = post(ann)
    path = f"/mail/inbox/{first.pk}/"
    browser_of_ann.get(path)
    alone = _queries(count, browser_of_ann, path)
    post(ann)
    post(ann)
    assert _queries(count, browser_of_ann, path) == alone
    assert alone <= 8


def test_new_mail_is_asked_for_by_one_query_besides_the_session(
    ann: Account, browser_of_ann: Client, post: Post, count: Any
) -> None:
    first = browser_of_ann.get("/mail/version/")
    assert first.json() == {"version": Mailbox.objects.get(account=ann).version}
    known = {"If-None-Match": first["ETag"]}
    with count() as queries:
        same = browser_of_ann.get("/mail/version/", headers=known)
    assert (same.status_code, same.content, len(queries)) == (304, b"", 2)
    post(ann)
    assert browser_of_ann.get("/mail/version/", headers=known).status_code == 200


# -- what is shown ------------------------------------------------------------------------------


def test_pages_lead_to_each_other(ann: Account, browser_of_ann: Client, post: Post) -> None:
    now = timezone.now()
    for age in range(52):
        post(ann, text=b"Subject: number %d.\r\n\r\n" % age, received_at=now - timedelta(minutes=age))
    first = body(browser_of_ann.get("/mail/inbox/"))
    assert ("number 49." in first, "number 50." in first, "Newer</a>" in first) == (True, False, False)
    older = first.split('" rel="next"')[0].rpartition('href="')[2]
    second = body(browser_of_ann.get(older))
    assert ("number 49." in second, "number 50." in second, "Older</a>" in second) == (False, True, False)
    newer = second.split('" rel="prev"')[0].rpartition('href="')[2]
    assert "number 49." in body(browser_of_ann.get(newer))


def test_opening_marks_as_read_and_asking_for_the_head_does_not(
    browser_of_ann: Client, letter: Message
) -> None:
    browser_of_ann.head(f"/mail/inbox/{letter.pk}/")
    assert Message.objects.get(pk=letter.pk).seen is False
    browser_of_ann.get(f"/mail/inbox/{letter.pk}/")
    assert Message.objects.get(pk=letter.pk).seen is True
    assert Folder.objects.get(pk=letter.folder_id).unread_count == 0


def test_a_link_to_a_message_that_was_moved_still_finds_it(
    ann: Account, browser_of_ann: Client, letter: Message, folder_of: Callable[..., Folder]
) -> None:
    messages.move(ann.mailbox.pk, [letter.pk], folder_of(ann, "archive"))
    assert browser_of_ann.get(f"/mail/inbox/{letter.pk}/")["Location"] == f"/mail/archive/{letter.pk}/"


def test_the_part_that_is_asked_for_is_all_that_comes(browser_of_ann: Client, letter: Message) -> None:
    def ask(path: str, target: str) -> str:
        return body(browser_of_ann.get(path, headers={"HX-Request": "true", "HX-Target": target}))

    only_list = ask("/mail/inbox/", "list")
    assert ("<html" in only_list, 'id="list"' in only_list, 'id="message"' in only_list) == (
        False,
        True,
        False,
    )
    only_message = ask(f"/mail/inbox/{letter.pk}/", "message")
    assert ('id="list"' in only_message, 'id="message"' in only_message) == (False, True)
    assert 'hx-swap-oob="true"' in only_message


def test_header_derived_text_is_escaped_wherever_it_stands(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    evil = "<img src=x onerror=alert(1)>\"'"
    raw = (
        f"From: {evil} <a@b.test>\r\nTo: {evil} <c@d.test>\r\nSubject: {evil}\r\nX-{evil}: {evil}\r\n"
        f"Content-Type: text/plain; name={evil}\r\n"
        f'Content-Disposition: attachment; filename="{evil}"\r\n\r\n{evil}\r\n'
    ).encode()
    [message] = post(ann, text=raw)
    for path in ("", "headers/", "?show=text"):
        assert "<img src=x" not in body(browser_of_ann.get(f"/mail/inbox/{message.pk}/{path}"))
    assert "<img src=x" not in body(browser_of_ann.get("/mail/inbox/"))


def test_a_message_whose_bytes_are_gone_says_so(browser_of_ann: Client, letter: Message) -> None:
    remove_content(Content.objects.get().pk)
    page = browser_of_ann.get(f"/mail/inbox/{letter.pk}/")
    assert page.status_code == 200
    assert "is gone from the store" in body(page)
    for path in ("html/", "source/", "headers/", "attachments.zip", "part/2/"):
        assert browser_of_ann.get(f"/mail/inbox/{letter.pk}/{path}").status_code == 404


def test_four_hundred_recipients_are_folded(ann: Account, browser_of_ann: Client, post: Post) -> None:
    many = ", ".join(f"Person {n} <p{n}@example.org>" for n in range(400))
    [message] = post(ann, text=f"From: a@b.test\r\nTo: {many}\r\nSubject: All\r\n\r\nHello\r\n".encode())
    text = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))
    assert "to Person 0 and 399 others" in text
    assert "p399@example.org" in text


def test_what_pop3_deleted_is_said_with_when_and_whence(
    ann: Account, browser_of_ann: Client, letter: Message
) -> None:
    session = pop3_session(ann)
    messages.discard(ann.mailbox.pk, [letter.pk], session)
    said = f"on {session.ended_at:%-d %B} at {session.ended_at:%H:%M} from 192.0.2.1"
    assert "Your mail program deleted" in body(browser_of_ann.get("/mail/trash/"))
    text = body(browser_of_ann.get(f"/mail/trash/{letter.pk}/"))
    assert "Deleted by your mail program" in text
    # The session of the test did not count what it deleted; when and whence are those of its record.
    assert said in text


def test_broken_and_empty_mail_is_shown(ann: Account, browser_of_ann: Client, post: Post) -> None:
    for raw in (
        b"\r\n",
        b"no header at all\r\n",
        b"Subject: \xff\xfe\x00\r\n\r\n\x00\x01\r\n",
        b": :\r\n:\r\n",
    ):
        [message] = post(ann, text=raw)
        for path in ("", "html/", "source/", "headers/"):
            assert browser_of_ann.get(f"/mail/inbox/{message.pk}/{path}").status_code in {200, 404}
    assert browser_of_ann.get("/mail/inbox/").status_code == 200


# -- small things that one meets ----------------------------------------------------------------


def test_whoever_asks_for_the_url_of_a_form_comes_to_its_page(
    browser_of_ann: Client, letter: Message
) -> None:
    """So does who logs in again after a session has ended under an open form."""
    pages = {
        "/mail/account/security/password/": "/mail/account/security/",
        "/mail/account/moving/export/": "/mail/account/moving/",
        "/mail/account/pop3-delete/": "/mail/account/programs/",
        "/mail/acts/": "/mail/",
        f"/mail/inbox/{letter.pk}/images/": f"/mail/inbox/{letter.pk}/",
    }
    found = {path: browser_of_ann.get(path) for path in pages}
    assert {path: (answer.status_code, answer["Location"]) for path, answer in found.items()} == {
        path: (302, page) for path, page in pages.items()
    }
    assert {browser_of_ann.get(page, follow=True).status_code for page in pages.values()} == {200}
    assert {browser_of_ann.put(path).status_code for path in pages} == {405}


def test_links_of_a_plain_text_that_lie_are_warned_of(
    ann: Account, browser_of_ann: Client, post: Post
) -> None:
    text = "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    text += "https://b\u0430nk.test/ and https://bank.test@evil.test/x\r\n"
    [message] = post(ann, text=text.encode())
    html = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/"))
    assert "A link shows bank.test but leads to evil.test." in html
    assert "A link leads to xn--bnk-6cd.test, which mixes letters of different scripts." in html


@pytest.mark.parametrize(("said", "language"), [(b"<html lang=de>", "de"), (b"", "und")])
def test_a_letter_to_print_says_its_subject_and_its_language(
    ann: Account, browser_of_ann: Client, post: Post, said: bytes, language: str
) -> None:
    [message] = post(ann, text=b"Subject: A <b>bill\r\nContent-Type: text/html\r\n\r\n" + said + b"<p>x")
    for query in ("", "?print"):
        html = body(browser_of_ann.get(f"/mail/inbox/{message.pk}/html/{query}"))
        assert f'<html lang="{language}">' in html
        assert "<title>A &lt;b&gt;bill</title>" in html
