"""Every message shows something sensible, and none, however broken, large or deep, takes long or raises."""

import base64
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.reading import Mail, nested, parse, part_bytes, render_html, render_text, search_text
from mailboxes.reading.mail import SEARCH_MAX
from mailboxes.reading.mime import DEPTH_MAX, PARTS_MAX
from mailboxes.reading.tests.effort import Ordinary

pytestmark = pytest.mark.once

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpus" / "mail"
beside = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of mail is not beside this checkout")


def seen(mail: Mail) -> tuple[str, str, str, bool, list[tuple[str, str, int, str]]]:
    attached = [(part.number, part.filename, part.size, part.kind) for part in mail.attachments]
    sender = mail.sender[0] if mail.sender else None
    name = f"{sender.name} <{sender.address}>" if sender else ""
    return mail.subject, name, mail.body_text[:26].strip(), mail.body_html is not None, attached


# name: subject, sender, the first characters of the text, whether there is HTML, attachments
KNOWN = {
    "attachment_emails/attachment_content_location": (
        *("testing", " <foo@example.com>", "This is the first part.", False),
        [("2", "Photo25.jpg", 227, "image")],
    ),
    "attachment_emails/attachment_message_rfc822": (
        *("testing", " <foo@example.com>", "This is the first part.", False),
        [("2", "ForwardedMessage.eml", 3781, "message")],
    ),
    "attachment_emails/attachment_nonascii_filename": (
        *("testing", " <foo@example.com>", "This is the first part.", False),
        [("2", "ciële.txt", 11, "text")],
    ),
    "attachment_emails/attachment_only_email": (
        *("this message JUST contains an attachment", "Ryan Finnie <rfinnie@domain.dom>", "", False),
        [("1", "blah.gz", 288, "other")],
    ),
    "attachment_emails/attachment_pdf": (
        *("Another PDF with 🎉 Unicode chars in it 🍿", "Test Tester <xxxx@xxxx.com>"),
        *("Just attaching another PDF", False, [("2", "broken.pdf", 1026, "pdf")]),
    ),
    "attachment_emails/attachment_with_base64_encoded_name": (
        *("Fwd: Signed email causes file attachments", "xxxxxxxxx xxxxxxx <xxxxxxxxx.xxxxxxx@gmail.com>"),
        *("We should not include thes", False, [("2", "This is a test.pdf", 399, "pdf")]),
    ),
    "attachment_emails/attachment_with_encoded_name": (
        *("Fwd: Signed email causes file attachments", "xxxxxxxxx xxxxxxx <xxxxxxxxx.xxxxxxx@gmail.com>"),
        *("We should not include thes", False, [("2", "01 Quien Te Dijat. Pitbull.mp3", 399, "other")]),
    ),
    "attachment_emails/attachment_with_quoted_filename": (
        *("Eelanalüüsi päring", "Jeffrey Hardy <jeff@37signals.com>", "", False),
        [("1", "Eelanalüüsi päring.jpg", 1952, "image")],
    ),
    "error_emails/content_transfer_encoding_with_semi_colon": (
        *("Attention", "Shelby <nsukijamq@morozstudio.tk>", "Dear Homeowner,\r\n\r\n \r\n\r\nYo", True, []),
    ),
    "error_emails/content_transfer_encoding_text-html": (
        *(
            "Re: We will help you refinance your home.",
            "chianfong cuthbert <abhijit.862153drinnan@datavalet.com>",
        ),
        *("Hello,\nYou have qualified", True, []),
    ),
    "error_emails/missing_content_disposition": (
        *("Redacted", " <redacted@example.com>", "", False, [("1", "somefile.jpg", 1311, "image")]),
    ),
    "error_emails/missing_body": ("REDACTED", "SCS_2 <redacted@attglobal.net>", "", False, []),
    "error_emails/bad_encoded_subject": ("TEST", "", "TEST", False, []),
    "mime_emails/email_with_similar_boundaries": (
        *("Xxxxxx", "Xxxxx <xxxxxx@xxxxxxxx.xxx>", "Test", True, [("2", "LOGO.png", 3, "image")]),
    ),
    "mime_emails/raw_email7": (
        *("testing", " <foo@example.com>", "This is the first part.", False),
        [("1.2", "test.rb", 25, "text"), ("1.3", "test.pdf", 14, "pdf")],
    ),
    "mime_emails/raw_email_with_nested_attachment": (
        *("Testing attachments", "Jamis Buck <jamis@37signals.com>", "Here is a test of an attac", False),
        [("1.2", "truncated.png", 1902, "image")],
    ),
    "mime_emails/raw_email_with_illegal_boundary": (
        *(
            "Testing outlook",
            "Mikel Lindsaar <email_test@me.nowhere>",
            "Hello\r\nThis is an outlook",
            True,
            [],
        ),
    ),
    "multi_charset/japanese_attachment_long_name": (
        *("まみむめも" * 10, "Mikel Lindsaar <mikel@test.lindsaar.net>", "", False),
        [("1", "かきくけこ" * 5 + ".txt", 18, "text")],
    ),
    "multi_charset/japanese_iso_2022": (
        *("まみむめも", "Mikel Lindsaar <raasdnil@gmail.com>", "すみません。", False, []),
    ),
    "multi_charset/japanese_shift_jis": (
        *(
            "test",
            " <xxxxxxx@docomo.ne.jp>",
            "あいうえお\r\n\r\nこのメールはテスト用のメールです。",
            False,
            [],
        ),
    ),
    "multi_charset/ks_c_5601-1987": ("test", " <from@example.com>", "스티해", False, []),
    "multipart_report_emails/multi_address_bounce1": (
        *("Undelivered Mail Returned to Sender", "Mail Delivery System <MAILER-DAEMON@lvmail01.LL.com>"),
        *("This is the mail system at", False),
        [("2", "delivery-status.txt", 2780, "text"), ("3", "Test of bounce email.eml", 1381, "message")],
    ),
    "rfc2822/example13": (
        "Saying Hello",
        "John Doe <jdoe@machine.example>",
        "This is a message just to",
        False,
        [],
    ),
    "rfc2822/example10": ("", "Pete <pete@silly.test>", "Testing.", False, []),
    "rfc6532/utf8_headers": ("Säying Hello", "Jöhn Doe <jdöe@mächine.example>", "body", False, []),
}


@beside
@pytest.mark.parametrize("name", KNOWN)
def test_a_known_message_shows_what_it_says(name: str) -> None:
    assert seen(parse((CORPUS / f"{name}.eml").read_bytes())) == KNOWN[name]


@pytest.fixture
def no_complaint(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "mailboxes.reading")
    return caplog


@beside
def test_every_message_of_the_corpus_is_read_and_shown(no_complaint: pytest.LogCaptureFixture) -> None:
    files = [file for file in sorted(CORPUS.rglob("*")) if file.is_file()]
    assert len(files) > 100
    for file in files:
        whole = file.read_bytes()
        for raw in (whole, whole.replace(b"\n", b"\r\n"), whole[: len(whole) // 2], whole[:100]):
            read(raw)
        mail = parse(whole)
        assert bool(whole) == bool(mail.headers)
        if mail.body_text.strip():
            assert mail.body_text.split()[0] in search_text(mail)
    assert no_complaint.records == []


def read(raw: bytes) -> Mail:
    """Everything that a door does with a message."""
    mail = parse(raw, authserv_id="mx.example.test")
    numbers = [part.number for part in mail.parts]
    assert len(set(numbers)) == len(numbers)
    assert all(part.filename.isprintable() and part.filename for part in mail.parts)
    for part in mail.parts[:20]:
        octets = part_bytes(raw, part.number)
        if len(octets) < 40_000:
            assert (part.number, len(octets)) == (part.number, part.size)
        if part.kind == "message":
            nested(raw, part.number)
    render_text(mail.body_text)
    if mail.body_html is not None:
        render_html(mail.body_html, cid={})
    search_text(mail).encode()
    return mail


PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r\n\r\n",
            b" ",
            b":",
            b"--b",
            b"--",
            b"=?utf-8?b?",
            b"?=",
            b"<",
            b">",
            b'"',
            b"(",
            b";",
        ),
        *(
            b"Subject: ",
            b"From: ",
            b"Date: ",
            b"References: ",
            b"Authentication-Results: mx; dkim=pass header.d=x",
        ),
        *(
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            b"Content-Type: multipart/alternative; boundary=b",
        ),
        *(
            b"Content-Type: message/rfc822\r\n\r\n",
            b"Content-Type: text/html; charset=",
            b"utf-16",
            b"utf-7",
            b"idna",
        ),
        *(
            b"Content-Type: application/ms-tnef\r\n\r\n\x78\x9f\x3e\x22",
            b"Content-Type: text/calendar\r\n\r\nBEGIN:VEVENT",
        ),
        *(
            b"DTSTART:20260101T000000Z\r\n",
            b"Content-Disposition: attachment; filename*0*=",
            b"Content-ID: <a>",
            b"\0",
        ),
        *(
            b"Content-Transfer-Encoding: base64\r\n\r\n",
            b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 6 x\r\n",
        ),
        *(
            b"\xff",
            b"\xe2\x80\xae",
            b"\xed\xa0\x80",
            b"=\r\n",
            b"=E2",
            b"<img src=cid:a>",
            b"List-Unsubscribe: <https:",
        ),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join) | st.binary(max_size=1_000))
def test_no_octets_are_a_surprise(raw: bytes) -> None:
    from mailboxes.reading.mail import _parse

    _parse(raw, "mx", "")
    read(raw)


def test_a_surprise_is_logged_and_the_raw_text_shown(
    monkeypatch: pytest.MonkeyPatch, no_complaint: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mailboxes.reading.mime.split", lambda _: 1 / 0)
    assert parse(b"Subject: secret\r\n\r\n").body_text == "Subject: secret\r\n\r\n"
    assert [record.getMessage() for record in no_complaint.records] == ["reading parse_failed octets=19"]


# -- the body -----------------------------------------------------------------------------------


def part(kind: str, body: str | bytes, *more: str) -> bytes:
    head = "\r\n".join([f"Content-Type: {kind}", *more]).encode()
    return head + b"\r\n\r\n" + (body.encode() if isinstance(body, str) else body)


def multipart(kind: str, *parts: bytes, boundary: str = "b", more: str = "") -> bytes:
    inside = b"".join(f"--{boundary}\r\n".encode() + one + b"\r\n" for one in parts)
    return part(f"multipart/{kind}; boundary={boundary}{more}", inside + f"--{boundary}--\r\n".encode())


PLAIN, RICH = part("text/plain", "plain"), part("text/html", "<p>rich")
PICTURE = part("image/png", "PNG", "Content-ID: <pic@x>", "Content-Disposition: inline; filename=pic.png")


@pytest.mark.parametrize(
    ("raw", "text", "html", "attached"),
    [
        (PLAIN, "plain", None, []),
        (RICH, "rich", "<p>rich", []),
        (multipart("alternative", PLAIN, RICH), "plain", "<p>rich", []),
        (multipart("alternative", RICH, PLAIN), "plain", "<p>rich", []),
        (multipart("mixed", PLAIN, part("text/plain", "footer")), "plain\nfooter", None, []),
        (
            multipart("mixed", RICH, part("text/plain", "a < b")),
            "rich\na < b",
            '<p>rich\n<hr>\n<div style="white-space:pre-wrap">a &lt; b</div>',
            [],
        ),
        (
            multipart("mixed", PLAIN, part("text/plain; name=notes.txt", "notes")),
            "plain",
            None,
            ["notes.txt"],
        ),
        (multipart("mixed", part("text/plain; name=body.txt", "plain")), "plain", None, []),
        (
            multipart("mixed", part("text/plain", "x", "Content-Disposition: attachment")),
            "",
            None,
            ["attachment.txt"],
        ),
        (
            multipart("related", part("text/html", "<img src='cid:pic@x'>"), PICTURE),
            "",
            "<img src='cid:pic@x'>",
            [],
        ),
        (
            multipart("related", part("text/html", "<img src='cid:pic%40x'>"), PICTURE),
            "",
            "<img src='cid:pic%40x'>",
            [],
        ),
        (multipart("related", RICH, PICTURE), "rich", "<p>rich", ["pic.png"]),
        (
            multipart("related", PICTURE, part("text/html", "root", "Content-ID: <r>"), more='; start="<r>"'),
            "root",
            "root",
            ["pic.png"],
        ),
        (
            multipart("alternative", PLAIN, multipart("related", RICH, PICTURE, boundary="bb")),
            "plain",
            "<p>rich",
            ["pic.png"],
        ),
        (multipart("signed", PLAIN, part("application/pgp-signature", "sig")), "plain", None, []),
        (
            multipart("mixed", PLAIN, part("message/rfc822", "Subject: In/ner\r\n\r\nx")),
            "plain",
            None,
            ["In-ner.eml"],
        ),
        (multipart("digest", b"\r\nSubject: one\r\n\r\nx"), "", None, ["one.eml"]),
        (part("multipart/mixed", "--x\r\n\r\nplain\r\n--x--"), "plain", None, []),
        (part("multipart/mixed; boundary=none", "just text"), "just text", None, []),
        (part("multipart/mixed; boundary=b", "--b\r\n\r\nno end"), "no end", None, []),
        (part("nonsense", "plain"), "", None, ["attachment"]),
        (part("text", "plain"), "plain", None, []),
        (part("text/plain; format=flowed", "one \r\ntwo"), "one two", None, []),
        (
            part("text/html", '<meta charset="koi8-r">\xd4'.encode("latin-1")),
            "т",
            '<meta charset="koi8-r">т',
            [],
        ),
        (part("text/plain; charset=iso-8859-1", b"\x93x\x94"), "“x”", None, []),
        (part("text/plain", b"\xef\xbb\xbfx"), "x", None, []),
        (b"From me Mon Nov 23\r\nSubject: x\r\n\r\nplain", "plain", None, []),
        (b"", "", None, []),
    ],
)
def test_the_letter_is_what_its_writer_meant(
    raw: bytes, text: str, html: str | None, attached: list[str]
) -> None:
    mail = read(raw)
    assert (mail.body_text, mail.body_html) == (text, html)
    assert [one.filename for one in mail.attachments] == attached


def test_a_part_says_what_it_is() -> None:
    raw = multipart("related", part("text/html", "<img src='cid:pic@x'>"), PICTURE)
    body, picture = parse(raw).parts
    assert (body.number, body.kind, body.is_inline) == ("1", "html", True)
    assert (picture.number, picture.content_type, picture.filename, picture.size) == (
        "2",
        "image/png",
        "pic.png",
        3,
    )
    assert (picture.disposition, picture.content_id, picture.is_inline) == ("inline", "pic@x", True)
    assert part_bytes(raw, "2") == b"PNG"


@pytest.mark.parametrize("number", ["", "0", "3", "1.1", "2-1", "1-1", "x", "1-", "-" * 99, "1" * 9_999, "²"])
def test_a_part_that_is_not_there_is_a_key_error(number: str) -> None:
    raw = multipart("mixed", PLAIN, PICTURE)
    with pytest.raises(KeyError):
        part_bytes(raw, number)


def test_a_message_in_a_message_is_opened_with_numbers_that_hold_outside() -> None:
    inner = multipart("mixed", PLAIN, PICTURE, boundary="in")
    outer = multipart("mixed", PLAIN, part("message/rfc822", b"Subject: inner\r\n" + inner), boundary="out")
    mail = nested(outer, "2")
    assert (mail.subject, [one.number for one in mail.parts]) == ("inner", ["2-1", "2-2"])
    assert part_bytes(outer, "2-2") == b"PNG"
    twice = multipart("mixed", part("message/rfc822", outer), boundary="twice")
    assert part_bytes(twice, "1-2-2") == b"PNG"
    assert [one.number for one in nested(twice, "1-2").parts] == ["1-2-1", "1-2-2"]


def test_headers_are_decoded_in_their_order() -> None:
    raw = b"Subject: =?utf-8?q?caf=C3=A9?=\r\nX-A: 1\r\n 2\r\nX-A: \x1b[31m\r\n"
    raw += b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nMessage-ID: <a@x>\r\n"
    raw += b"In-Reply-To: <b@x>\r\nReferences: <c@x> junk <b@x>\r\n\r\n"
    mail = parse(raw)
    assert mail.headers[:3] == [("Subject", "café"), ("X-A", "1 2"), ("X-A", "[31m")]
    assert mail.date == datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert (mail.message_id, mail.in_reply_to, mail.references) == ("<a@x>", ["<b@x>"], ["<c@x>", "<b@x>"])


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b.txt"', "a b.txt"),
        ("attachment; filename*=utf-8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*0*=utf-8''na%C3; filename*1*=%AFve; filename*2=.txt", "naïve.txt"),
        ("attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
        ('attachment; filename="=?utf-8?q?na=C3=AFve.txt?="', "naïve.txt"),
        ("attachment; filename=../../etc/passwd", "passwd"),
        ("attachment; filename=C:\\\\dir\\\\a.txt", "a.txt"),
        ('attachment; filename="/"', "attachment"),
        ('attachment; filename="..."', "attachment"),
        ('attachment; filename="a\u202etxt.exe"', "atxt.exe"),
        ('attachment; filename="a\x00b\x07<c>.txt"', "ab_c_.txt"),
        (f"attachment; filename={'x' * 999}.txt", "x" * 130 + ".txt"),
        ("attachment; filename*9999=x", "attachment"),
        ("attachment", "attachment"),
    ],
)
def test_a_file_has_a_name_that_is_safe(disposition: str, filename: str) -> None:
    mail = parse(part("application/x-thing", "x", f"Content-Disposition: {disposition}"))
    assert [one.filename for one in mail.attachments] == [filename]


def test_search_reads_the_words_and_the_names() -> None:
    raw = multipart("mixed", part("text/html", "<style>no</style><p>One&nbsp;two<p>three"), PICTURE)
    assert search_text(parse(raw)).split() == ["One", "two", "three", "pic.png"]


def test_uuencoded_parts_are_decoded() -> None:
    body = b"begin 644 a.txt\r\n%2&5L;&\\\r\n`\r\nend\r\n"
    assert part_bytes(part("text/x-a", body, "Content-Transfer-Encoding: x-uuencode"), "1") == b"Hello"


# -- time ---------------------------------------------------------------------------------------


def deep(levels: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels)
    )


def deep_messages(levels: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * levels


MB = 1024 * 1024
LARGE: dict[str, Callable[[], bytes]] = {
    "deep multiparts": lambda: deep(1_000) + b"words",
    "deep messages": lambda: deep_messages(30_000),
    "deep and large": lambda: deep(100) + b"x" * (20 * MB),
    "many parts": lambda: multipart("mixed", *[PLAIN] * 10_000),
    "many html parts": lambda: multipart("mixed", *[RICH] * 10_000),
    "many attachments": lambda: multipart("mixed", *[part("application/pdf", "x" * 2_000)] * 5_000),
    "many tnefs": lambda: multipart(
        "mixed", *[part("application/ms-tnef", b"\x78\x9f\x3e\x22" * 500)] * 5_000
    ),
    "long header line": lambda: b"Subject: " + b"x" * (10 * MB) + b"\r\n\r\nbody",
    "long encoded header": lambda: b"Subject: " + b"=?utf-8?q?x?= " * (MB // 2) + b"\r\n\r\nbody",
    "long addresses": lambda: b"To: " + b'"a" <a@x.test>, ' * (MB // 4) + b"\r\n\r\nbody",
    "no body": lambda: b"x: y\r\n" * MB,
    "large base64": lambda: part(
        "image/png", base64.encodebytes(b"x" * (20 * MB)), "Content-Transfer-Encoding: base64"
    ),
    "large base64 text": lambda: part(
        "text/plain", base64.encodebytes(b"x" * 20 * MB), "Content-Transfer-Encoding: base64"
    ),
    "large quoted-printable": lambda: part(
        "text/html", b"=3D" * (5 * MB), "Content-Transfer-Encoding: quoted-printable"
    ),
    "large text": lambda: part("text/plain", b"words " * (3 * MB)),
    "large html": lambda: part("text/html", b"<p>words " * (3 * MB)),
    "boundaries": lambda: part("multipart/mixed; boundary=b", b"--b\r\n" * (3 * MB)),
    "boundaries that are none": lambda: part("multipart/mixed; boundary=b", b"--bx\n" * (3 * MB)),
    "boundaries in levels": lambda: deep(40) + b"--x\r\n" * MB,
    "parameters": lambda: b"Content-Type: text/plain" + b"; a*1=b" * MB + b"\r\n\r\n",
    "semicolons": lambda: b"Content-Type: text/plain" + b";  " * MB + b"\r\n\r\n",
    "quotes": lambda: b"From: " + b'"\\' * MB + b"\r\n\r\n",
    "comments": lambda: b"From: " + b"(" * MB + b"\r\nAuthentication-Results: mx;" + b"(" * MB + b"\r\n\r\n",
    "angles": lambda: (
        b"From: " + b"<" * MB + b"\r\nReferences: " + b"<a" * MB + b"\r\nList-Unsubscribe: " + b"<" * MB
    ),
    "folds": lambda: b"Subject: " + b"\r\n " * MB,
    "results": lambda: b"Authentication-Results: mx" + b"; dkim=pass" * MB + b"\r\n" * 2,
    "calendar": lambda: part("text/calendar", b"BEGIN:VEVENT\r\n" + b"A;B=C:" * MB),
    "calendar folds": lambda: part("text/calendar", b"BEGIN:VEVENT\r\nSUMMARY:" + b"\r\n x" * MB),
    "calendar quotes": lambda: part("text/calendar", b"BEGIN:VEVENT\r\nSUMMARY" + b';A="' * MB),
    "tnef": lambda: part(
        "application/ms-tnef", b"\x78\x9f\x3e\x22\0\0" + (b"\x02\x02\x90\0\0\0\0\0\0\0\0") * MB
    ),
    "cids": lambda: part("text/html", b"cid:" * MB),
    "utf-7": lambda: part("text/plain; charset=utf-7", b"+A" * MB),
    "hosts in names": lambda: b"From: " + b"a@b." * MB + b" <x@y.test>\r\n\r\n",
    "uuencode": lambda: part(
        "text/plain", b"begin 6 x\n" + b"!\n" * (4 * MB), "Content-Transfer-Encoding: x-uuencode"
    ),
    "flowed": lambda: part("text/plain; format=flowed", b"> \r\n" * MB),
}


# What is linear takes up to 30 times as long as an ordinary letter of its size; what is quadratic, thousands.
TIMES_MAX = 200


@pytest.mark.parametrize("name", LARGE)
def test_no_message_is_much_more_work_than_an_ordinary_one_of_its_size(
    name: str, no_complaint: pytest.LogCaptureFixture
) -> None:
    raw = LARGE[name]()
    line = b"An ordinary line of an ordinary letter.\r\n"
    letter = b"Subject: x\r\n\r\n" + line * (max(len(raw), MB) // len(line))
    ordinary = Ordinary(lambda: parse(letter, authserv_id="mx"))
    assert ordinary.times(lambda: parse(raw, authserv_id="mx"), TIMES_MAX) < TIMES_MAX
    mail = parse(raw, authserv_id="mx")
    assert len(mail.parts) <= PARTS_MAX * 2
    assert len(search_text(mail)) <= 600_000
    assert no_complaint.records == []


def test_what_lies_too_deep_is_listed() -> None:
    [leaf] = parse(deep(1_000) + b"words").parts
    assert leaf.number.count(".") == DEPTH_MAX - 1
    assert b"words" in part_bytes(deep(1_000) + b"words", leaf.number)


def test_a_large_part_is_reckoned_to_its_octet() -> None:
    octets = bytes(range(256)) * 1_000
    raw = part("image/png", base64.encodebytes(octets), "Content-Transfer-Encoding: base64")
    assert (parse(raw).parts[0].size, part_bytes(raw, "1") == octets) == (len(octets), True)


# -- what search finds a message by --------------------------------------------------------------


def alternative(text: bytes, html: bytes, *more: bytes) -> bytes:
    parts = [b"Content-Type: text/plain\r\n\r\n" + text, b"Content-Type: text/html\r\n\r\n" + html, *more]
    head = b"Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    return head + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def test_a_message_is_found_by_the_words_that_only_its_html_has() -> None:
    mail = parse(alternative(b"x", b"<p>A <b>xylo</b>phone</p><p>for sale</p><style>p{color:red}</style>"))
    assert search_text(mail).split() == ["x", "A", "xylophone", "for", "sale"]


def test_what_both_say_is_searched_once() -> None:
    mail = parse(alternative(b"One two.\r\nthree", b"<p>ONE two</p><p>three four</p>"))
    assert search_text(mail).split() == ["One", "two.", "three", "three", "four"]


def test_an_invitation_is_found_by_what_and_where() -> None:
    calendar = b"BEGIN:VEVENT\r\nSUMMARY:Harvest\r\nLOCATION:Barn\r\nEND:VEVENT\r\n"
    invited = alternative(b"one", b"<p>one</p>", b"Content-Type: text/calendar\r\n\r\n" + calendar)
    assert search_text(parse(invited)).split() == ["one", "Harvest", "Barn"]


@pytest.mark.parametrize("html", [b"<p>word%d</p>", b"w%d ", b"<b>%d", b"&#%d;<br>"])
def test_the_words_of_html_have_a_bound(html: bytes) -> None:
    page = b"".join(html % number for number in range(80_000))
    text = b" ".join(b"t%d" % number for number in range(200_000))
    found = search_text(parse(alternative(text, page)))
    assert found.startswith("t0 t1") and 200_000 < len(found) <= SEARCH_MAX
