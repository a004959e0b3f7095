"""Conversations, each held whole, octet by octet, and split at random. Named after what the RFCs say."""

import dataclasses

import pytest

from smtpd import content, replies
from smtpd.protocol import Close, Connection, Flush, MessageEnded, Policy, Recipient, Reply, StartTLS
from smtpd.tests.conversation import EHLO, LHLO, LMTP, SMTP, Server, Story, converse, tell

pytestmark = pytest.mark.once

MAIL = b"MAIL FROM:<bob@example.org>\r\n"
ANN = b"RCPT TO:<ann@example.test>\r\n"
CAT = b"RCPT TO:<cat@example.test>\r\n"
UNKNOWN = b"RCPT TO:<unknown@example.test>\r\n"
FULL = b"RCPT TO:<full@example.test>\r\n"
LATE = b"RCPT TO:<late@example.test>\r\n"
BODY = b"Subject: x\r\n\r\nhello\r\n"
MESSAGE = b"DATA\r\n" + BODY + b".\r\n"
QUIT = b"QUIT\r\n"

GREETED = ["220", "250"]
MAILED = [*GREETED, "250 2.1.0"]
BYE = "221 2.0.0"


def lmtp(*said: bytes, **options: bool) -> Story:
    return converse(LMTP, LHLO + b"".join(said), **options)


def smtp(*said: bytes, **options: bool) -> Story:
    return converse(SMTP, EHLO + b"".join(said), **options)


# Greeting --------------------------------------------------------------------------------------------


def test_the_server_greets_first_and_says_what_it_offers() -> None:
    story = smtp(QUIT)
    assert story.output.decode().split("\r\n") == [
        "220 mx.example.test ESMTP",
        "250-mx.example.test greets relay.example.test [192.0.2.1]",
        "250-PIPELINING",
        "250-SIZE 1000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-ENHANCEDSTATUSCODES",
        "250-CHUNKING",
        "250-STARTTLS",
        "250 HELP",
        "221 2.0.0 Goodbye",
        "",
    ]
    assert story.closed


def test_lmtp_greets_as_lmtp() -> None:
    assert lmtp(QUIT).output.startswith(b"220 mx.example.test LMTP\r\n250-mx.example.test greets")


@pytest.mark.parametrize(
    ("policy", "verb", "code"),
    [
        (LMTP, b"EHLO x", "500 5.5.1"),
        (LMTP, b"HELO x", "500 5.5.1"),
        (SMTP, b"LHLO x", "500 5.5.1"),
        (SMTP, b"EHLO", "501 5.5.4"),
        (SMTP, b"EHLO two names", "501 5.5.4"),
        (SMTP, b"EHLO " + b"x" * 256, "501 5.5.4"),
        (SMTP, b"HELO x", "250"),
        (SMTP, b"eHlO x  ", "250"),
    ],
)
def test_each_dialect_has_its_own_greeting(policy: Policy, verb: bytes, code: str) -> None:
    assert converse(policy, verb + b"\r\n").codes == ["220", code]


def test_helo_is_answered_in_one_line() -> None:
    assert converse(SMTP, b"HELO x\r\n").output == b"220 mx.example.test ESMTP\r\n250 mx.example.test\r\n"


def test_the_name_in_the_greeting_can_stand_in_a_header() -> None:
    story = converse(SMTP, b"EHLO a(b)\xc3\xa9;<c>\r\n" + MAIL + ANN + MESSAGE)
    assert story.envelopes[0].helo == "a?b????c?"
    assert b"greets a(b)?;<c> [" in story.output


def test_a_greeting_in_the_middle_of_a_message_is_a_reset() -> None:
    assert smtp(MAIL, ANN, EHLO, b"DATA\r\n").codes == [*MAILED, "250 2.1.5", "250", "503 5.5.1"]


@pytest.mark.parametrize(
    ("policy", "hello", "mail", "secure", "protocol"),
    [
        (LMTP, LHLO, b"", False, "LMTP"),
        (LMTP, LHLO, b"", True, "LMTPS"),
        (LMTP, LHLO, b" SMTPUTF8", False, "UTF8LMTP"),
        (LMTP, LHLO, b" SMTPUTF8", True, "UTF8LMTPS"),
        (SMTP, EHLO, b"", False, "ESMTP"),
        (SMTP, EHLO, b"", True, "ESMTPS"),
        (SMTP, EHLO, b" SMTPUTF8", False, "UTF8SMTP"),
        (SMTP, EHLO, b" SMTPUTF8", True, "UTF8SMTPS"),
        (SMTP, b"HELO x\r\n", b"", False, "SMTP"),
        (SMTP, b"HELO x\r\n", b"", True, "SMTP"),
    ],
)
def test_the_protocol_is_named_as_rfc_3848_and_rfc_6531_say(
    policy: Policy, hello: bytes, mail: bytes, secure: bool, protocol: str
) -> None:
    story = converse(policy, hello + b"MAIL FROM:<a@b>" + mail + b"\r\n" + ANN + MESSAGE, secure=secure)
    assert [e.protocol for e in story.envelopes] == [protocol]


# Order -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (MAIL, ["503 5.5.1"]),
        (ANN, ["503 5.5.1"]),
        (b"DATA\r\n", ["503 5.5.1"]),
        (LHLO + ANN, ["250", "503 5.5.1"]),
        (LHLO + b"DATA\r\n", ["250", "503 5.5.1"]),
        (LHLO + MAIL + MAIL, ["250", "250 2.1.0", "503 5.5.1"]),
        (LHLO + MAIL + ANN + MAIL, ["250", "250 2.1.0", "250 2.1.5", "503 5.5.1"]),
        (LHLO + MAIL + b"DATA\r\n", ["250", "250 2.1.0", "503 5.5.1"]),
        (LHLO + MAIL + UNKNOWN + b"DATA\r\n", ["250", "250 2.1.0", "550 5.1.1", "503 5.5.1"]),
        (LHLO + MAIL + ANN + b"RSET\r\n" + MAIL, ["250", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.1.0"]),
        (b"RSET\r\n" + MAIL, ["250 2.0.0", "503 5.5.1"]),
    ],
)
def test_commands_in_the_wrong_order_are_503(said: bytes, codes: list[str]) -> None:
    assert converse(LMTP, said).codes == ["220", *codes]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"NOOP", "250 2.0.0"),
        (b"NOOP with words", "250 2.0.0"),
        (b"RSET", "250 2.0.0"),
        (b"RSET x", "501 5.5.4"),
        (b"HELP", "214 2.0.0"),
        (b"HELP MAIL", "214 2.0.0"),
        (b"VRFY ann", "252 2.5.0"),
        (b"VRFY", "501 5.5.4"),
        (b"EXPN staff", "502 5.5.1"),
        (b"AUTH PLAIN AGEAYg==", "502 5.5.1"),
        (b"QUIT now", "501 5.5.4"),
        (b"TURN", "500 5.5.1"),
        (b"", "500 5.5.1"),
        (b" NOOP", "500 5.5.1"),
        (b"NOOP\x00", "500 5.5.2"),
        (b"NO\rOP", "500 5.5.2"),
        (b"NOOP\r", "500 5.5.2"),
        (b"NOOP \xff", "500 5.5.2"),
        (b"noop \t", "250 2.0.0"),
        ("R\u017fET".encode(), "500 5.5.1"),
    ],
)
def test_the_small_commands(said: bytes, code: str) -> None:
    assert smtp(said + b"\r\n").codes == [*GREETED, code]


def test_every_line_of_help_has_its_enhanced_code() -> None:
    lines = smtp(b"HELP\r\n").output.split(b"\r\n")[-3:-1]
    assert [line[:10] for line in lines] == [b"214-2.0.0 ", b"214 2.0.0 "]


# Lines -----------------------------------------------------------------------------------------------


def test_only_crlf_ends_a_command_line() -> None:
    story = smtp(b"NOOP\nNOOP\r\n")
    assert story.codes == [*GREETED, "500 5.5.2", "250 2.0.0"]
    assert b"bare LF" in story.output


@pytest.mark.parametrize("length", [2046, 2047, 5000, 65_534])
def test_a_line_too_long_is_passed_over(length: int) -> None:
    story = tell(SMTP, [EHLO, b"x" * length + b"\r\nNOOP\r\n"])
    assert story.codes == [*GREETED, "500 5.5.1" if length <= 2046 else "500 5.5.6", "250 2.0.0"]
    pieces = [EHLO, *[b"x"] * length, b"\r", b"\n", b"NOOP\r\n"]
    assert tell(SMTP, pieces) == story


def test_an_endless_line_ends_the_connection() -> None:
    for said in (b"x" * 65_535 + b"\r\nNOOP\r\n", b"x" * 200_000):
        for pieces in ([said], [said[i : i + 1000] for i in range(0, len(said), 1000)]):
            story = tell(SMTP, [EHLO, *pieces])
            assert (story.codes, story.closed) == ([*GREETED, "500 5.5.6"], True)


def test_ten_bad_commands_in_a_row_end_the_connection() -> None:
    story = smtp(b"WHAT\r\n" * 9 + b"NOOP\r\n" + b"WHAT\r\n" * 12)
    assert story.codes == [*GREETED, *["500 5.5.1"] * 9, "250 2.0.0", *["500 5.5.1"] * 9, "421 4.7.0"]
    assert story.closed


def test_bare_lf_lines_count_as_bad_commands() -> None:
    assert smtp(b"NOOP\n" * 12).codes == [*GREETED, *["500 5.5.2"] * 9, "421 4.7.0"]


def test_what_the_peer_said_is_echoed_harmlessly() -> None:
    story = smtp("\u00e9vil\x1b".encode()[:-1] + b"x" * 900 + b"\r\n")
    assert story.output.endswith(b"500 5.5.1 Command not recognised: ?vil" + b"x" * 60 + b"\r\n")


def test_no_reply_line_is_longer_than_512_octets() -> None:
    reply = Reply(250, "2.0.0", "x" * 600 + "\n\u00e9\r")
    first, second, _ = reply.encode().split(b"\r\n")
    assert (len(first) + 2, second) == (512, b"250 2.0.0 ??")


# MAIL and RCPT ---------------------------------------------------------------------------------------

LOCAL_64 = b"l" * 64
DOMAIN_187 = b".".join([b"d" * 61] * 3) + b".d"


@pytest.mark.parametrize(
    ("said", "code", "sender"),
    [
        (b"FROM:<>", "250 2.1.0", ""),
        (b"from:<bob@example.org>", "250 2.1.0", "bob@example.org"),
        (b"FROM: <bob@example.org>", "250 2.1.0", "bob@example.org"),
        (b"FROM:<@a.test,@b.test:bob@example.org>", "250 2.1.0", "bob@example.org"),
        (b'FROM:<"bob smith"@example.org>', "250 2.1.0", '"bob smith"@example.org'),
        (b'FROM:<"bob"@example.org>', "250 2.1.0", "bob@example.org"),
        (rb'FROM:<"b\"o>b\\"@example.org>', "250 2.1.0", r'"b\"o>b\\"@example.org'),
        (b"FROM:<bob@[127.0.0.1]>", "250 2.1.0", "bob@[127.0.0.1]"),
        (b"FROM:<bob@[IPv6:2001:db8::1]>", "250 2.1.0", "bob@[IPv6:2001:db8::1]"),
        (b"FROM:<bob..smith.@example.org>", "250 2.1.0", "bob..smith.@example.org"),
        (
            b"FROM:<" + LOCAL_64 + b"@" + DOMAIN_187 + b">",
            "250 2.1.0",
            (LOCAL_64 + b"@" + DOMAIN_187).decode(),
        ),
        ("FROM:<b\u00f6b@ex\u00e4mple.org> SMTPUTF8".encode(), "250 2.1.0", "b\u00f6b@ex\u00e4mple.org"),
        (b"FROM:<a@b> BODY=8BITMIME SIZE=1000 smtputf8", "250 2.1.0", "a@b"),
        (b"FROM:<a@b> body=7bit", "250 2.1.0", "a@b"),
        (b"FROM:<a@b> SIZE=1001", "552 5.3.4", None),
        (b"FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4", None),
        (b"FROM:<a@b> SIZE=999999999999999999999", "501 5.5.4", None),
        (b"FROM:<a@b> SIZE=ten", "501 5.5.4", None),
        (b"FROM:<a@b> SIZE=", "501 5.5.4", None),
        (b"FROM:<a@b> SIZE", "501 5.5.4", None),
        (b"FROM:<a@b> SIZE=1 SIZE=2", "501 5.5.4", None),
        (b"FROM:<a@b> BODY=BINARYMIME", "555 5.5.4", None),
        (b"FROM:<a@b> BODY", "501 5.5.4", None),
        (b"FROM:<a@b> SMTPUTF8=1", "501 5.5.4", None),
        (b"FROM:<a@b> RET=HDRS", "555 5.5.4", None),
        (b"FROM:<a@b> AUTH=<>", "555 5.5.4", None),
        (b"FROM:<a@b> =", "501 5.5.4", None),
        (b"FROM:<a@b>SIZE=1", "501 5.1.7", None),
        ("FROM:<b\u00f6b@example.org>".encode(), "553 5.6.7", None),
        (b"FROM:bob@example.org", "501 5.5.2", None),
        (b"FROM", "501 5.5.2", None),
        (b"FRM:<a@b>", "501 5.5.2", None),
        (b"FROM:<bob>", "501 5.1.7", None),
        (b"FROM:<bob@>", "501 5.1.7", None),
        (b"FROM:<@example.org>", "501 5.1.7", None),
        (b"FROM:<bob@-example.org>", "501 5.1.7", None),
        (b"FROM:<bob@example..org>", "501 5.1.7", None),
        (b"FROM:<bob smith@example.org>", "501 5.1.7", None),
        (b"FROM:<bob@example.org", "501 5.1.7", None),
        (b'FROM:<"bob@example.org>', "501 5.1.7", None),
        (b'FROM:<""@example.org>', "501 5.1.7", None),
        (b"FROM:<a@b@c>", "501 5.1.7", None),
        (b"FROM:<l" + LOCAL_64 + b"@example.org>", "501 5.1.7", None),
        (b"FROM:<" + LOCAL_64 + b"@" + DOMAIN_187 + b"ddd>", "501 5.1.7", None),
        (b"", "501 5.5.4", None),
    ],
)
def test_mail(said: bytes, code: str, sender: str | None) -> None:
    story = lmtp(b"MAIL " + said + b"\r\n", ANN, MESSAGE)
    assert story.codes[2] == code
    assert [e.sender for e in story.envelopes] == ([] if sender is None else [sender])


@pytest.mark.parametrize(
    ("said", "code", "address"),
    [
        (b"TO:<ann@example.test>", "250 2.1.5", "ann@example.test"),
        (b"to: <Ann@Example.Test>", "250 2.1.5", "Ann@Example.Test"),
        (b"TO:<postmaster>", "250 2.1.5", "postmaster"),
        (b"TO:<Postmaster>", "250 2.1.5", "Postmaster"),
        (b'TO:<"ann lee"@example.test>', "250 2.1.5", "ann lee@example.test"),
        (rb'TO:<"a\"n"@example.test>', "250 2.1.5", 'a"n@example.test'),
        (b'TO:<"a@n"@example.test>', "250 2.1.5", "a@n@example.test"),
        (b"TO:<@relay.test:ann@example.test>", "250 2.1.5", "ann@example.test"),
        (b"TO:<unknown@example.test>", "550 5.1.1", "unknown@example.test"),
        (b"TO:<full@example.test>", "452 4.2.2", "full@example.test"),
        (b"TO:<>", "501 5.1.3", None),
        (b"TO:<ann>", "501 5.1.3", None),
        (b"TO:ann@example.test", "501 5.5.2", None),
        (b"TO:<ann@example.test> NOTIFY=NEVER", "555 5.5.4", None),
        (b"TO:<l" + LOCAL_64 + b"@example.test>", "501 5.1.3", None),
        ("TO:<\u00e4nn@example.test>".encode(), "553 5.6.7", None),
        (b"", "501 5.5.4", None),
    ],
)
def test_rcpt(said: bytes, code: str, address: str | None) -> None:
    story = lmtp(MAIL, b"RCPT " + said + b"\r\n")
    assert story.codes == [*MAILED, code]
    assert story.asked == ([] if address is None else [address])


def test_rcpt_may_be_utf_8_when_mail_said_so() -> None:
    story = lmtp(b"MAIL FROM:<> SMTPUTF8\r\n", "RCPT TO:<\u00e4nn@ex\u00e4mple.test>\r\n".encode())
    assert story.asked == ["\u00e4nn@ex\u00e4mple.test"]


def test_the_envelope_says_what_was_declared() -> None:
    (envelope,) = lmtp(b"MAIL FROM:<> SIZE=7 BODY=8BITMIME\r\n", ANN, MESSAGE).envelopes
    assert (envelope.size_declared, envelope.body, envelope.smtputf8) == (7, "8BITMIME", False)
    assert (envelope.helo, envelope.recipients) == ("relay.example.test", ["ann@example.test"])


def test_too_many_recipients_are_452_and_the_others_get_the_message() -> None:
    story = lmtp(MAIL, ANN * 5, MESSAGE)
    assert story.codes == [*MAILED, *["250 2.1.5"] * 4, "452 4.5.3", "354", *["250 2.0.0"] * 4]


def test_too_many_transactions_end_the_connection() -> None:
    policy = dataclasses.replace(SMTP, max_transactions=2)
    story = converse(policy, EHLO + (MAIL + ANN + MESSAGE) * 2 + MAIL)
    assert (story.codes[-1], len(story.messages), story.closed) == ("421 4.7.0", 2, True)


# DATA ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipients", "codes"),
    [
        (ANN, ["250 2.1.5", "354", "250 2.0.0"]),
        (ANN + CAT + ANN, [*["250 2.1.5"] * 3, "354", *["250 2.0.0"] * 3]),
        (
            UNKNOWN + ANN + FULL + CAT,
            ["550 5.1.1", "250 2.1.5", "452 4.2.2", "250 2.1.5", "354", *["250 2.0.0"] * 2],
        ),
        (ANN + LATE + CAT, [*["250 2.1.5"] * 3, "354", "250 2.0.0", "451 4.3.0", "250 2.0.0"]),
    ],
)
def test_lmtp_answers_once_for_each_accepted_recipient_in_order(recipients: bytes, codes: list[str]) -> None:
    story = lmtp(MAIL, recipients, MESSAGE, QUIT)
    assert story.codes == [*MAILED, *codes, BYE]
    assert [m[2:] for m in story.messages] == [(BODY, len(BODY))]


def test_smtp_answers_once() -> None:
    story = smtp(MAIL, ANN + CAT, MESSAGE, QUIT)
    assert story.codes == [*MAILED, *["250 2.1.5"] * 2, "354", "250 2.0.0", BYE]
    assert story.messages == [("bob@example.org", ["ann@example.test", "cat@example.test"], BODY, len(BODY))]


def test_a_connection_carries_several_messages() -> None:
    story = lmtp((MAIL + ANN + MESSAGE) * 3)
    assert len(story.messages) == 3


def test_the_empty_message() -> None:
    assert lmtp(MAIL, ANN, b"DATA\r\n.\r\n", QUIT).messages[0][2:] == (b"", 0)


def test_dots_stay_stuffed_and_are_not_counted() -> None:
    assert lmtp(MAIL, ANN, b"DATA\r\n..\r\n..a\r\n.\r\n").messages[0][2:] == (b"..\r\n..a\r\n", 7)


@pytest.mark.parametrize(
    "likeness", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\n.\r", b"\r.\r\n"]
)
def test_a_message_cannot_smuggle_another(likeness: bytes) -> None:
    smuggled = b"MAIL FROM:<forged@example.test>\r\n" + ANN + b"DATA\r\nforged\r\n"
    story = lmtp(MAIL, ANN, b"DATA\r\none", likeness, smuggled, b".\r\n", QUIT)
    assert story.codes == [*MAILED, "250 2.1.5", "354", "250 2.0.0", BYE]
    assert [(m[0], m[2]) for m in story.messages] == [("bob@example.org", b"one\r\n..\r\n" + smuggled)]


@pytest.mark.parametrize(("extra", "taken"), [(0, True), (1, False), (5000, False)])
def test_a_message_found_too_large_is_read_to_its_end_and_refused(extra: int, taken: bool) -> None:
    body = b"x" * (998 + extra) + b"\r\n"
    story = lmtp(MAIL, ANN, CAT, b"DATA\r\n", body, b".\r\n", MAIL)
    final = ["250 2.0.0"] * 2 if taken else ["552 5.3.4"] * 2
    assert story.codes == [*MAILED, *["250 2.1.5"] * 2, "354", *final, "250 2.1.0"]
    assert story.aborted == ([] if taken else ["over the size limit"])
    assert len(story.messages) == taken
    assert smtp(MAIL, ANN, CAT, b"DATA\r\n", body, b".\r\n").codes[-1] == final[0]


def test_too_large_is_told_to_the_server_at_once() -> None:
    server = Server(LMTP)
    server.feed(LHLO + MAIL + ANN + b"DATA\r\n")
    server.feed(b"x" * 1001)
    assert (server.story.aborted, server.story.codes[-1]) == (["over the size limit"], "354")


def test_a_sender_who_goes_on_far_beyond_the_limit_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "DISCARD_MARGIN", 500)
    story = lmtp(MAIL, ANN, CAT, b"DATA\r\n", b"x" * 4501, b"\r\n.\r\n", MAIL)
    assert story.codes == [*MAILED, *["250 2.1.5"] * 2, "354", *["552 5.3.4"] * 2]
    assert (story.closed, story.aborted) == (True, ["over the size limit"])


# BDAT ------------------------------------------------------------------------------------------------


def bdat(data: bytes, last: bytes = b"") -> bytes:
    return b"BDAT %d%s\r\n%s" % (len(data), last, data)


LAST = b" LAST"


def test_chunks_are_answered_each_and_the_last_once_for_each_recipient() -> None:
    story = lmtp(MAIL, ANN, CAT, bdat(b"Subject: x\r\n\r"), bdat(b""), bdat(b"\n.\r\nfoo", LAST), QUIT)
    assert story.codes == [*MAILED, *["250 2.1.5"] * 2, *["250 2.0.0"] * 4, BYE]
    assert story.messages[0][2:] == (b"Subject: x\r\n\r\n..\r\nfoo\r\n", 22)


def test_smtp_answers_the_last_chunk_once() -> None:
    story = smtp(MAIL, ANN, CAT, b"BDAT 5 last\r\nhello", QUIT)
    assert story.codes == [*MAILED, *["250 2.1.5"] * 2, "250 2.0.0", BYE]
    assert story.messages[0][2:] == (b"hello\r\n", 7)


def test_a_last_chunk_may_be_empty() -> None:
    assert lmtp(MAIL, ANN, bdat(b"a"), b"BDAT 0 LAST\r\n", QUIT).messages[0][2:] == (b"a\r\n", 3)
    assert lmtp(MAIL, ANN, b"BDAT 0 LAST\r\n", QUIT).messages[0][2:] == (b"", 0)


@pytest.mark.parametrize(
    ("before", "codes"),
    [
        (b"", ["220", "503 5.5.1"]),
        (LHLO, [*GREETED, "503 5.5.1"]),
        (LHLO + MAIL, [*MAILED, "503 5.5.1"]),
        (LHLO + MAIL + UNKNOWN, [*MAILED, "550 5.1.1", "503 5.5.1"]),
    ],
)
def test_the_octets_of_a_refused_chunk_are_not_taken_for_commands(before: bytes, codes: list[str]) -> None:
    for last in (b"", LAST):
        story = converse(LMTP, before + bdat(b"QUIT\r\n" * 3, last) + b"NOOP\r\n")
        assert (story.codes, story.messages) == ([*codes, "250 2.0.0"], [])


def test_a_refused_chunk_changes_nothing_else() -> None:
    story = lmtp(MAIL, b"BDAT 4\r\nQUIT", ANN, MESSAGE)
    assert story.codes == [*MAILED, "503 5.5.1", "250 2.1.5", "354", "250 2.0.0"]


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"1x", b"LAST", b"1" * 21])
def test_a_chunk_of_unknown_size_ends_the_connection(argument: bytes) -> None:
    story = lmtp(MAIL, ANN, b"BDAT " + argument + b"\r\nQUIT\r\n")
    assert (story.codes[3:], story.closed) == (["250 2.1.5", "501 5.5.4"], True)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"BDAT 39\n", "500 5.5.2"),
        (b"bdat 39 \xff\r\n", "500 5.5.2"),
        (b"BDAT\x0039\r\n", "500 5.5.2"),
        (b"BDAT 39 LAST\r\r\n", "500 5.5.2"),
        (b"BDAT\t39\r\n", "500 5.5.1"),
    ],
)
def test_the_chunk_behind_a_line_that_cannot_be_read_is_not_taken_for_commands(
    line: bytes, code: str
) -> None:
    story = lmtp(line, MAIL, b"RCPT TO:<forged@example.test>\r\n")
    assert (story.codes, story.asked, story.closed) == ([*GREETED, code], [], True)


def test_a_chunk_with_a_wrong_word_is_read_and_refused() -> None:
    story = lmtp(MAIL, ANN, b"BDAT 6 FIRST\r\nQUIT\r\n", bdat(b"a", LAST))
    assert story.codes == [*MAILED, "250 2.1.5", "501 5.5.4", "250 2.0.0"]
    assert story.messages[0][2] == b"a\r\n"


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"DATA\r\n", "503 5.5.1"), (MAIL, "503 5.5.1"), (ANN, "503 5.5.1"), (b"NOOP\r\n", "250 2.0.0")],
)
def test_between_chunks_only_chunks_go_on_with_the_message(said: bytes, code: str) -> None:
    story = lmtp(MAIL, ANN, bdat(b"a"), said, bdat(b"b", LAST))
    assert story.codes == [*MAILED, "250 2.1.5", "250 2.0.0", code, "250 2.0.0"]
    assert story.messages[0][2] == b"ab\r\n"


@pytest.mark.parametrize(
    ("said", "reason", "code"),
    [(b"RSET\r\n", "RSET", "250 2.0.0"), (LHLO, "greeted anew", "250"), (QUIT, "QUIT", BYE)],
)
def test_what_clears_all_chunks_that_were_sent(said: bytes, reason: str, code: str) -> None:
    story = lmtp(MAIL, ANN, bdat(b"a"), said)
    assert (story.codes[-1], story.aborted, story.messages) == (code, [reason], [])


def test_a_chunk_over_the_limit_is_read_and_refused_and_so_are_those_after_it() -> None:
    story = lmtp(MAIL, ANN, CAT, bdat(b"a"), bdat(b"x" * 1000), bdat(b"b"), bdat(b"c", LAST), MAIL)
    assert story.codes == [
        *MAILED,
        *["250 2.1.5"] * 2,
        "250 2.0.0",
        *["552 5.3.4"] * 4,
        "250 2.1.0",
    ]
    assert (story.aborted, story.messages) == (["over the size limit"], [])


def test_a_first_chunk_over_the_limit_starts_no_message() -> None:
    story = smtp(MAIL, ANN, bdat(b"x" * 1001, LAST), MAIL)
    assert story.codes == [*MAILED, "250 2.1.5", "552 5.3.4", "250 2.1.0"]
    assert (story.envelopes, story.aborted) == ([], [])


def test_a_chunk_that_grows_over_the_limit_is_refused() -> None:
    story = lmtp(MAIL, ANN, bdat(b"\n" * 600), bdat(b"", LAST))
    assert (story.codes[-2:], story.aborted) == (["552 5.3.4"] * 2, ["over the size limit"])
    story = lmtp(MAIL, ANN, bdat(b"x" * 999, LAST))
    assert (story.codes[-1], story.aborted) == ("552 5.3.4", ["over the size limit"])


def test_a_chunk_far_beyond_the_limit_ends_the_connection() -> None:
    story = lmtp(MAIL, ANN, b"BDAT 99999999999999999999\r\nQUIT\r\n")
    assert (story.codes[-1], story.closed) == ("552 5.3.4", True)
    story = lmtp(b"BDAT 99999999999999999999 LAST\r\nQUIT\r\n")
    assert (story.codes[-1], story.closed) == ("552 5.3.4", True)


def test_refused_chunks_count_as_bad_commands() -> None:
    assert lmtp(bdat(b"QUIT") * 12).codes == [*GREETED, *["503 5.5.1"] * 9, "421 4.7.0"]


# STARTTLS --------------------------------------------------------------------------------------------


def test_what_is_sent_behind_starttls_is_thrown_away() -> None:
    injected = MAIL + b"RCPT TO:<forged@example.test>\r\n"
    story = tell(SMTP, [EHLO + b"STARTTLS\r\n" + injected, EHLO + ANN])
    assert (story.codes, story.tls, story.asked) == ([*GREETED, "220 2.0.0", "250", "503 5.5.1"], 1, [])


def test_half_a_command_behind_starttls_is_thrown_away_too() -> None:
    story = tell(SMTP, [EHLO + b"STARTTLS\r\nRSET", b"NOOP\r\n"])
    assert story.codes == [*GREETED, "220 2.0.0", "250 2.0.0"]
    assert story.output.endswith(b"250 2.0.0 OK\r\n")


def test_what_comes_before_the_handshake_is_thrown_away() -> None:
    connection = Connection(SMTP, peer="")
    connection.receive(EHLO + b"STARTTLS\r\n")
    assert isinstance(connection.next_event(), StartTLS)
    assert not connection.wants_data
    connection.take_output()
    connection.receive(b"NOOP\r\nNO")
    connection.tls_started()
    connection.receive(b"NOOP\r\n")
    assert (connection.next_event(), connection.take_output()) == (None, b"250 2.0.0 OK\r\n")


def test_what_was_said_before_tls_is_forgotten() -> None:
    story = converse(SMTP, EHLO + MAIL + ANN + b"STARTTLS\r\n", MAIL, EHLO, b"DATA\r\n")
    assert story.codes == [*MAILED, "250 2.1.5", "220 2.0.0", "503 5.5.1", "250", "503 5.5.1"]
    inside_tls = story.output.partition(replies.READY_FOR_TLS.encode())[2]
    assert inside_tls.startswith(replies.HELLO_FIRST.encode())
    assert b"STARTTLS" not in inside_tls


def test_tls_in_the_middle_of_chunks_throws_them_away() -> None:
    story = converse(LMTP, LHLO + MAIL + ANN + bdat(b"a") + b"STARTTLS\r\n", LHLO)
    assert (story.aborted, story.messages) == (["STARTTLS"], [])


@pytest.mark.parametrize(
    ("tls_offered", "secure", "said", "code"),
    [
        (True, True, b"STARTTLS", "503 5.5.1"),
        (False, False, b"STARTTLS", "502 5.5.1"),
        (True, False, b"STARTTLS now", "501 5.5.4"),
    ],
)
def test_starttls_is_refused(tls_offered: bool, secure: bool, said: bytes, code: str) -> None:
    policy = dataclasses.replace(SMTP, tls_offered=tls_offered)
    story = converse(policy, EHLO + said + b"\r\nNOOP\r\n", secure=secure)
    assert (story.codes[2:], story.tls) == ([code, "250 2.0.0"], 0)
    assert (b"-STARTTLS" in story.output) == (tls_offered and not secure)


# Questions, bounds, the end --------------------------------------------------------------------------


def asked(policy: Policy = LMTP, said: bytes = LHLO + MAIL + ANN) -> Connection:
    connection = Connection(policy, peer="192.0.2.1")
    connection.receive(said)
    event = connection.next_event()
    assert isinstance(event, Recipient)
    connection.take_output()
    return connection


def test_nothing_goes_on_while_a_question_is_open() -> None:
    connection = asked()
    connection.receive(b"NOOP\r\n")
    assert (connection.next_event(), connection.take_output()) == (None, b"")
    connection.recipient_accepted("ann")
    assert connection.next_event() is None
    assert connection.take_output() == b"250 2.1.5 Recipient OK\r\n250 2.0.0 OK\r\n"


def test_input_behind_a_question_is_bounded() -> None:
    connection = asked()
    for _ in range(64):
        assert connection.wants_data
        connection.receive(b"NOOP " + b"x" * 1017 + b"\r\n")
    assert not connection.wants_data
    connection.recipient_refused(replies.RELAY_DENIED)
    connection.next_event()
    assert connection.wants_data


def test_output_is_bounded() -> None:
    connection = Connection(SMTP, peer="")
    connection.receive(b"HELP\r\n" * 20_000)
    written, most = 0, 0
    while (event := connection.next_event()) is not None:
        assert isinstance(event, Flush)
        output = connection.take_output()
        written, most = written + len(output), max(most, len(output))
    written += len(connection.take_output())
    assert (written, most <= 65 * 1024) == (20_000 * len(replies.HELP.encode()), True)


def test_the_reply_count_is_checked() -> None:
    connection = asked(LMTP, LHLO + MAIL + ANN + CAT + MESSAGE)
    connection.recipient_accepted("ann")
    connection.next_event()
    connection.recipient_accepted("cat")
    while not isinstance(connection.next_event(), MessageEnded):
        pass
    for wrong in ([], [replies.DELIVERED], [replies.DELIVERED] * 3):
        with pytest.raises(ValueError, match="2 replies are due"):
            connection.delivered(wrong)
    connection.delivered([replies.DELIVERED] * 2)


def test_an_answer_without_a_question_is_a_mistake_of_ours() -> None:
    connection = Connection(LMTP, peer="")
    with pytest.raises(RuntimeError, match="no Recipient is waiting"):
        connection.recipient_accepted(1)
    with pytest.raises(RuntimeError, match="no Recipient is waiting"):
        connection.recipient_refused(replies.RELAY_DENIED)
    with pytest.raises(RuntimeError, match="no MessageEnded is waiting"):
        connection.delivered([])
    with pytest.raises(RuntimeError, match="no StartTLS is waiting"):
        connection.tls_started()


@pytest.mark.parametrize(("end", "code"), [("timed_out", "421 4.4.2"), ("shutting_down", "421 4.3.2")])
def test_the_server_ends_the_connection_and_the_message_is_dropped(end: str, code: str) -> None:
    server = Server(LMTP)
    server.feed(LHLO + MAIL + ANN + b"DATA\r\nhalf")
    getattr(server.connection, end)()
    server.work()
    assert (server.story.codes[-1], server.story.closed, len(server.story.aborted)) == (code, True, 1)
    assert (server.connection.wants_data, server.connection.next_event()) == (False, None)


def test_a_message_that_is_being_stored_is_answered_before_the_server_stops() -> None:
    connection = asked(SMTP, EHLO + MAIL + ANN + MESSAGE + b"NOOP\r\n")
    connection.recipient_accepted("ann")
    while not isinstance(connection.next_event(), MessageEnded):
        pass
    connection.take_output()
    connection.shutting_down()
    assert (connection.next_event(), connection.take_output()) == (None, b"")
    connection.delivered([replies.delivered("q1")])
    assert isinstance(connection.next_event(), Close)
    assert connection.take_output() == b"250 2.0.0 Delivered as q1\r\n" + replies.SHUTTING_DOWN.encode()


def test_a_421_of_the_server_closes() -> None:
    connection = asked()
    connection.recipient_refused(replies.TOO_MANY_CONNECTIONS)
    assert isinstance(connection.next_event(), Close)


def test_nothing_is_taken_after_the_end() -> None:
    story = lmtp(QUIT, MAIL, b"x" * 100)
    assert story.codes == [*GREETED, BYE]


def test_every_reply_has_an_enhanced_code_of_its_class() -> None:
    named = [r for r in vars(replies).values() if isinstance(r, Reply)]
    assert len(named) > 40
    assert [r for r in named if r.enhanced[:1] != str(r.code)[0]] == [replies.SEND_MESSAGE]


# What is counted --------------------------------------------------------------------------------------


def test_commands_are_counted_once_by_the_first_answer_and_never_by_names_of_the_peer_s_own() -> None:
    server = Server(LMTP)
    said = [LHLO, MAIL, MAIL, ANN, UNKNOWN, FULL, LATE, MESSAGE, b"HELO x\r\n", b"MAKE up\r\n"]
    said += [b"\xff\r\n", b"rset\r\n", MAIL, ANN, b"BDAT 3 LAST\r\nx\r\n", QUIT]
    for flight in said:
        server.feed(flight)
    assert server.commands == {
        ("LHLO", True): 1,
        ("MAIL", True): 2,
        ("MAIL", False): 1,
        ("RCPT", True): 3,
        ("RCPT", False): 2,
        ("DATA", True): 1,
        ("HELO", False): 1,
        ("OTHER", False): 2,
        ("RSET", True): 1,
        ("BDAT", True): 1,
        ("QUIT", True): 1,
    }


def test_a_goodbye_that_nobody_asked_for_is_no_command() -> None:
    server = Server(SMTP)
    server.feed(EHLO)
    server.connection.timed_out()
    assert server.commands == {("EHLO", True): 1}
