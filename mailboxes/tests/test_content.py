"""Header facts of every kind of mail: exact for known messages, and never an error or a long wait for any."""

import logging
import math
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes.content import (
    ADDRESS_MAX,
    CHARSETS,
    MESSAGE_ID_MAX,
    NAME_MAX,
    SNIPPET_MAX,
    SUBJECT_MAX,
    Facts,
    facts_of,
)

pytestmark = pytest.mark.once

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "mail"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # year to second, in this order


def shown(facts: Facts) -> tuple[str, str, str, datetime | None, str, bool]:
    sender = facts.sender_name, facts.sender_address
    return facts.subject, *sender, facts.sent_at, facts.snippet[:30], facts.has_attachments


# name: subject, sender's name and address, date, the first 30 characters of the snippet, attachments
KNOWN = {
    "plain_emails/raw_email_simple": (
        *("Testing outlook", "Mikel Lindsaar", "mikel@nowhere.com"),
        *(utc(2007, 10, 21, 9, 38, 13), "Hello Mikel", False),
    ),
    "plain_emails/basic_email_lf": (
        *("Testing 123", "Mikel Lindsaar", "test@lindsaar.net"),
        *(utc(2008, 11, 22, 4, 4, 59), "Plain email. Hope it works wel", False),
    ),
    "plain_emails/raw_email": (
        *("NOTE: 한국말로 하는 것", "Jamis Buck", "jamis@37signals.com"),
        *(utc(2005, 5, 2, 22, 7, 5), "대부분의 마찬가지로, 우리는 하나님을 믿습니다. 제 이", False),
    ),
    "plain_emails/raw_email_with_partially_quoted_subject": (
        *('Re: Test: "漢字" mid "漢字" tail', "Jamis Buck", "jamis@37signals.com"),
        *(utc(2005, 5, 2, 22, 7, 5), "대부분의 마찬가지로, 우리는 하나님을 믿습니다. 제 이", False),
    ),
    "attachment_emails/attachment_pdf": (
        *("Another PDF with 🎉 Unicode chars in it 🍿", "Test Tester", "xxxx@xxxx.com"),
        *(utc(2005, 5, 10, 17, 26, 39), "Just attaching another PDF, he", True),
    ),
    "attachment_emails/attachment_only_email": (
        *("this message JUST contains an attachment", "Ryan Finnie", "rfinnie@domain.dom"),
        *(utc(2003, 10, 24, 5, 40, 49), "", True),
    ),
    "attachment_emails/attachment_content_location": (
        *("testing", "", "foo@example.com"),
        *(utc(2005, 6, 6, 20, 21, 22), "This is the first part.", False),
    ),
    "multi_charset/japanese_iso_2022": (
        *("まみむめも", "Mikel Lindsaar", "raasdnil@gmail.com"),
        *(None, "すみません。", False),
    ),
    "multi_charset/japanese_shift_jis": (
        *("test", "", "xxxxxxx@docomo.ne.jp"),
        *(utc(2014, 5, 28, 8, 18, 19), "あいうえお このメールはテスト用のメールです。 今後ともよろ", False),
    ),
    "multi_charset/ks_c_5601-1987": (
        *("test", "", "from@example.com"),
        *(utc(2014, 5, 28, 8, 18, 19), "스티해", False),
    ),
    "mime_emails/email_with_similar_boundaries": (
        *("Xxxxxx", "Xxxxx", "xxxxxx@xxxxxxxx.xxx"),
        *(utc(2012, 4, 6, 1, 1, 1), "Test", True),
    ),
    "rfc6532/utf8_headers": (*("Säying Hello", "Jöhn Doe", "jdöe@mächine.example"), *(None, "body", False)),
    "rfc2822/example06": (
        *("Re: Saying Hello", "Mary Smith", "mary@example.net"),
        *(utc(1997, 11, 21, 16, 1, 10), "This is a reply to your hello.", False),
    ),
    "error_emails/bad_date_header": (
        *("You may_be Eligible for Legitimate_Cash from_GovAgencies!", "Grants-Notification"),
        *("infoz@reactive-outpost.com", None, "", False),
    ),
    "error_emails/missing_body": (
        *("REDACTED", "SCS_2", "redacted@attglobal.net", utc(2001, 11, 27, 23, 2, 35), "", False),
    ),
}


def corpus() -> list[Path]:
    return sorted(CORPUS.glob("*/*.eml"))


@pytest.fixture
def no_complaint(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "mailboxes.content")
    return caplog


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of mail is not beside this checkout")
@pytest.mark.parametrize("name", KNOWN)
def test_a_known_message_shows_what_it_says(name: str) -> None:
    assert shown(facts_of((CORPUS / f"{name}.eml").read_bytes())) == KNOWN[name]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of mail is not beside this checkout")
def test_no_message_of_the_corpus_surprises_us(no_complaint: pytest.LogCaptureFixture) -> None:
    messages = corpus()
    assert len(messages) > 90
    for path in messages:
        whole = path.read_bytes()
        for data in (whole, whole.replace(b"\n", b"\r\n"), whole[: len(whole) // 2], whole[:100]):
            fits(facts_of(data))
    assert no_complaint.records == []


def fits(facts: Facts) -> None:
    """Into its columns, in PostgreSQL too."""
    bounds = {
        facts.subject: SUBJECT_MAX,
        facts.sender_name: NAME_MAX,
        facts.sender_address: ADDRESS_MAX,
        facts.snippet: SNIPPET_MAX,
        facts.message_id: MESSAGE_ID_MAX,
    }
    for text, most in bounds.items():
        assert len(text) <= most
        assert text.replace("\u200d", "").isprintable()
    assert facts.sent_at is None or facts.sent_at.tzinfo is UTC


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
        ),
        *(
            b"Subject: ",
            b"From: ",
            b"Date: ",
            b"Message-ID: ",
            b"References: ",
            b"Mon, 1 Jan 2024 25:61:00 +9999",
        ),
        *(
            b"Content-Type: multipart/mixed; boundary=b",
            b"Content-Type: text/html; charset=",
            b"utf-16",
            b"utf-7",
        ),
        *(
            b"Content-Transfer-Encoding: base64",
            b"Content-Transfer-Encoding: quoted-printable",
            b"&#",
            b"<style>",
        ),
        *(
            b"\0",
            b"\xff",
            b"\xe2\x80\xae",
            b"\xed\xa0\x80",
            b"idna",
            b"hex",
            b"unicode_escape",
            b"=\r\n",
            b"=E2",
        ),
    ]
)


@given(st.binary(max_size=2_000) | st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join))
def test_any_octets_have_facts(data: bytes) -> None:
    facts = facts_of(data)
    fits(facts)
    assert facts == facts_of(bytes(data))


@given(st.lists(PIECES | st.binary(max_size=8), max_size=60).map(b"".join))
def test_no_octets_are_a_surprise(data: bytes) -> None:
    from mailboxes.content import _facts

    fits(_facts(data))


def test_a_surprise_is_logged_and_the_message_delivered_all_the_same(
    monkeypatch: pytest.MonkeyPatch, no_complaint: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mailboxes.content._split", lambda _: 1 / 0)
    assert facts_of(b"Subject: secret\r\n\r\n") == Facts()
    assert [record.getMessage() for record in no_complaint.records] == ["content facts_failed octets=19"]


# -- header fields ------------------------------------------------------------------------------


def field(name: str, value: bytes) -> Facts:
    return facts_of(f"{name}: ".encode() + value + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("written", "subject"),
    [
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?UTF-8?B?Y2Fmw6k=?= au lait", "café au lait"),
        (b"=?utf-8?q?caf=C3?= =?utf-8?q?=A9?=", "café"),
        (b"=?utf-8?q?one?=\r\n =?iso-8859-1?q?_tw=F6?=", "one twö"),
        (b"=?utf-8?q?one?= and =?utf-8?q?two?=", "one and two"),
        (b"=?utf-8*de?q?gr=C3=BCn?=", "grün"),
        (b"=?nonsense?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?b?Y2Fmw6k?=", "café"),
        (b"=?utf-8?b?!?=", ""),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"a\0b\x1b[31m\xe2\x80\xaec", "a b [31mc"),
        (b"  folded\r\n\t and   wide ", "folded and wide"),
        (b"x" * 9_000, "x" * 255),
    ],
)
def test_a_subject_is_read_as_it_was_meant(written: bytes, subject: str) -> None:
    assert field("Subject", written).subject == subject


@pytest.mark.parametrize(
    ("written", "sender"),
    [
        (b"Ann <ann@x.test>", ("Ann", "ann@x.test")),
        (b'"Example, Ann \\"A\\"" <ann@x.test>', ('Example, Ann "A"', "ann@x.test")),
        (b"=?utf-8?q?Example=2C_Ann?= <ann@x.test>", ("Example, Ann", "ann@x.test")),
        (b"ann@x.test (Ann)", ("Ann", "ann@x.test")),
        (b"ann@x.test", ("", "ann@x.test")),
        (b"ann@x.test, Bob <bob@x.test>", ("", "ann@x.test")),
        (b"Ann <ann@x.test>, Bob <bob@x.test>", ("Ann", "ann@x.test")),
        (b"Pete (A chap) <pete(his account)@silly.test>", ("Pete", "pete@silly.test")),
        (b"<>", ("", "")),
        (b"Ann <ann@x.test", ("", "Ann <ann@x.test")),
        (b"", ("", "")),
    ],
)
def test_a_sender_is_read_as_it_was_meant(written: bytes, sender: tuple[str, str]) -> None:
    facts = field("From", written)
    assert (facts.sender_name, facts.sender_address) == sender


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        (b"Mon, 23 Nov 2026 10:00:00 +0100", utc(2026, 11, 23, 9)),
        (b"23 Nov 26 10:00 GMT", utc(2026, 11, 23, 10)),
        (b"Mon, 23 Nov 2026 10:00:00 -0000 (UTC)", utc(2026, 11, 23, 10)),
        (b"Mon, 31 Feb 2026 10:00:00 +0000", None),
        (b"Mon, 23 Nov 2026 10:00:00 +9999", None),
        (b"Fri, 31 Dec 9999 23:59:59 -0100", None),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_a_date_is_a_moment_or_nothing(written: bytes, moment: datetime | None) -> None:
    assert field("Date", written).sent_at == moment


def test_the_first_of_a_field_counts_and_its_name_has_no_case() -> None:
    assert facts_of(b"SUBJECT : one\r\nsubject: two\r\n\r\nsubject: three").subject == "one"


# -- the body -----------------------------------------------------------------------------------


def multipart(*parts: bytes, kind: str = "mixed", boundary: str = "b") -> bytes:
    lines = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    head = f"Content-Type: multipart/{kind}; boundary={boundary}\r\n\r\n".encode()
    return head + b"preamble\r\n" + lines + f"--{boundary}--\r\nepilogue".encode()


@pytest.mark.parametrize(
    ("message", "snippet"),
    [
        (b"\r\n> quoted\r\nanswer\r\n-- \r\nAnn", "answer Ann"),
        (b"Content-Type: text/plain; charset=iso-8859-15\r\n\r\n5 \xa4", "5 €"),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\nsoft=\r\nbreak =C3=A9", "softbreak é"),
        (b"Content-Transfer-Encoding: BASE64\r\n\r\nSGVs\r\nbG8=", "Hello"),
        (b"Content-Type: text/html\r\n\r\n<style>p{}</style><!-- x --><p>A&nbsp;&amp; B", "A & B"),
        (b"Content-Type: text/html\r\n\r\n<p>&#" + b"9" * 9_000 + b";", "\ufffd"),
        (b"Content-Type: application/pdf\r\n\r\n%PDF", ""),
        (multipart(b"Content-Type: image/png\r\n\r\nPNG", b"\r\nwords"), "words"),
        (multipart(b"\r\n", multipart(b"\r\ninner", kind="alternative", boundary="bb")), "inner"),
        (multipart(b"\r\nno headers at all: here"), "no headers at all: here"),
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx", ""),
        (b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx', ""),
        (b"Content-Type: text/plain; charset=idna\r\n\r\nwords", "words"),
        (b"no header, no body", ""),
    ],
)
def test_a_snippet_is_the_first_words(message: bytes, snippet: str) -> None:
    assert facts_of(message).snippet == snippet


@pytest.mark.parametrize("shift", range(4))
def test_a_text_that_is_cut_inside_a_character_is_still_that_text(shift: int) -> None:
    body = b"x" * shift + "日本語".encode() * 4_000
    assert facts_of(b"\r\n" + body).snippet == ("x" * shift + "日本語" * 100)[:200]


@pytest.mark.parametrize(
    ("part", "attached"),
    [
        (b"Content-Disposition: attachment; filename=x\r\n\r\n", True),
        (b"Content-Type: application/pdf\r\n\r\n", True),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n", True),
        (b"Content-Type: image/png\r\nContent-Disposition: inline\r\n\r\n", False),
        (b"Content-Type: application/pgp-signature\r\n\r\n", False),
        (b"Content-Type: text/html\r\n\r\n<p>", False),
        (b"\r\nContent-Disposition: attachment", False),
    ],
)
def test_an_attachment_is_what_says_so_or_what_no_reader_shows(part: bytes, attached: bool) -> None:
    assert facts_of(multipart(b"\r\nwords", part)).has_attachments is attached


def test_charsets_are_those_that_take_linear_time() -> None:
    assert not {"idna", "punycode", "unicode_escape", "hex_codec", "zlib_codec"} & set(CHARSETS.values())
    assert {"\u20ac".encode(CHARSETS[name]).decode(CHARSETS[name]) for name in ("utf8", "windows_1252")} == {
        "€"
    }


# -- time ---------------------------------------------------------------------------------------

HEAD = 64 * 1024


def filled(start: bytes, filling: bytes) -> bytes:
    return (start + filling * (HEAD // len(filling)))[:HEAD]


NASTY = {
    "angles": filled(b"From: ", b"<"),
    "open angles in references": filled(b"References: ", b"<a"),
    "encoded words": filled(b"Subject: ", b"=?"),
    "unended encoded words": filled(b"Subject: ", b"=?a?q?b"),
    "many encoded words": filled(b"Subject: ", b"=?a?q?b?= "),
    "comments": filled(b"From: a <", b"("),
    "quotes": filled(b"From: ", b'"\\"'),
    "spaces after an angle": filled(b"From: <", b" "),
    "semicolons": filled(b"Content-Type: multipart/mixed", b";"),
    "parameters": filled(b"Content-Type: multipart/mixed", b"; boundary  "),
    "spaces in a parameter": filled(b"Content-Type: multipart/mixed; boundary", b" "),
    "lines": filled(b"", b"a\n"),
    "fields": filled(b"", b"Subject: x\r\n"),
    "folds": filled(b"Subject: ", b"\r\n "),
    "returns": filled(b"Subject: ", b"\r"),
    "boundaries": filled(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"\r\n--b"),
    "boundaries that are none": filled(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n", b"\n--bx"),
    "nested multiparts": filled(b"", b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"),
    "tags": filled(b"Content-Type: text/html\r\n\r\n", b"<"),
    "styles": filled(b"Content-Type: text/html\r\n\r\n", b"<style></style"),
    "html comments": filled(b"Content-Type: text/html\r\n\r\n", b"<!--"),
    "entities": filled(b"Content-Type: text/html\r\n\r\n", b"&#x9"),
    "spaces": filled(b"\r\n", b" "),
    "soft line ends": filled(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b"=\r\n"),
    "utf-7": filled(b"Content-Type: text/plain; charset=utf-7\r\n\r\n", b"+A"),
    "zero width": filled(b"\r\n", "\u200b".encode()),
    "dates": filled(b"Date: ", b"1 "),
}


def work_for(data: bytes) -> float:
    """Seconds of the processor: time in which it does something else does not count."""
    best = math.inf
    for _ in range(5):
        start = time.thread_time()
        facts_of(data)
        best = min(best, time.thread_time() - start)
    return best


@pytest.mark.parametrize("name", NASTY)
def test_no_message_is_much_work(name: str, no_complaint: pytest.LogCaptureFixture) -> None:
    plain = work_for(filled(b"Subject: x\r\n\r\n", b"An ordinary line of an ordinary letter.\r\n"))
    assert no_complaint.records == []
    assert work_for(NASTY[name]) < 250 * plain, (
        "the worst that is linear takes 45 times; a quadratic one thousands"
    )
    assert no_complaint.records == []
