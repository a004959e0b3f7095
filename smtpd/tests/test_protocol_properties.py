"""What holds for any conversation: the pieces do not matter, nothing raises, nothing grows."""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpd.paths import parse_mail, parse_rcpt
from smtpd.protocol import MAX_INPUT, MAX_OUTPUT, Policy
from smtpd.replies import Refusal
from smtpd.tests.conversation import EHLO, LHLO, LMTP, SMTP, Server, split, tell

pytestmark = pytest.mark.once

LINES = [
    LHLO,
    EHLO,
    b"HELO x\r\n",
    b"MAIL FROM:<bob@example.org>\r\n",
    b"MAIL FROM:<> SIZE=2000\r\n",
    b"RCPT TO:<ann@example.test>\r\n",
    b"RCPT TO:<cat@example.test>\r\n",
    b"RCPT TO:<unknown@example.test>\r\n",
    b"RCPT TO:<late@example.test>\r\n",
    b"DATA\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\r\n.\n",
    b"\r.\r",
    b"BDAT 5\r\nhello",
    b"BDAT 3 LAST\r\n.\r\n",
    b"BDAT 1100\r\n" + b"x" * 1100,
    b"BDAT 700 LAST\r\n" + b"\n" * 700,
    b"RSET\r\n",
    b"NOOP\r\n",
    b"NOOP\n",
    b"VRFY x\r\n",
    b"what\r\n",
    b"QUIT\r\n",
    b"x" * 900,
    b"x" * 3000 + b"\r\n",
    b"\x00\xff\r",
]
# Streams that get somewhere: whole messages between the lines.
MESSAGES = [
    hello + b"MAIL FROM:<a@b>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<cat@example.test>\r\n" + content
    for hello in (b"", LHLO, EHLO)
    for content in (
        b"DATA\r\none\r\n.\r\n",
        b"DATA\r\n.\r\n",
        b"BDAT 3 LAST\r\none",
        b"DATA\r\n" + b"y\n" * 600 + b"\r\n.\r\n",
    )
]
streams = st.lists(st.sampled_from(LINES + MESSAGES), max_size=25).map(b"".join)
policies = st.sampled_from([LMTP, SMTP])


@settings(max_examples=400, deadline=None)
@given(policies, streams, st.integers(0, 2**32))
def test_any_pieces_make_the_same_conversation(policy: Policy, stream: bytes, seed: int) -> None:
    chance = random.Random(seed)
    whole = tell(policy, [stream])
    assert tell(policy, split(stream, chance)) == whole
    assert tell(policy, [stream[i : i + 1] for i in range(len(stream))]) == whole


@settings(max_examples=400, deadline=None)
@given(
    policies,
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([*LINES, *MESSAGES, b"STARTTLS\r\n"])), max_size=30
    ),
)
def test_arbitrary_octets_never_raise_and_never_pile_up(policy: Policy, pieces: list[bytes]) -> None:
    server = Server(policy)
    for piece in pieces:
        server.feed(piece)
        connection = server.connection
        assert len(connection._input) <= 2048
        assert (connection._output, len(connection._events)) == ([], 0)


@settings(max_examples=30, deadline=None)
@given(policies, streams.filter(bool), st.integers(1, 5000))
def test_what_waits_is_bounded_for_a_server_that_never_answers(
    policy: Policy, stream: bytes, size: int
) -> None:
    connection = Server(policy).connection
    flood = stream * (300_000 // len(stream) + 1)
    for at in range(0, 300_000, size):
        if connection.wants_data:
            connection.receive(flood[at : at + size])
        connection.next_event()
        assert len(connection._input) <= MAX_INPUT + size
        assert connection._output_size <= MAX_OUTPUT + 2048


@settings(max_examples=500, deadline=None)
@given(policies, streams)
def test_lmtp_answers_each_recipient_and_smtp_each_message(policy: Policy, stream: bytes) -> None:
    story = tell(policy, [stream])
    delivered = sum(code.startswith(("250 2.0.0", "451 4.3.0")) for code in story.codes)
    due = sum(len(m[1]) if policy is LMTP else 1 for m in story.messages)
    assert delivered >= due
    assert len(story.envelopes) >= len(story.messages) + len(story.aborted)


addresses = st.text(st.sampled_from('<>@"\\.,: abé\xa0[]-1=SIZE'), max_size=40)


@settings(max_examples=1000)
@given(addresses)
def test_any_path_is_parsed_or_refused(text: str) -> None:
    for parse in (lambda: parse_mail(f"FROM:{text}"), lambda: parse_rcpt(f"TO:{text}", smtputf8=True)):
        with contextlib.suppress(Refusal):
            parse()


@settings(max_examples=500)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20))
def test_a_quoted_local_part_comes_back_as_it_was(local: str) -> None:
    quoted = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_rcpt(f"TO:<{quoted}@example.test>", smtputf8=False) == f"{local}@example.test"
    sender = parse_mail(f"FROM:<{quoted}@example.test>").sender
    assert parse_mail(f"FROM:<{sender}>").sender == sender
    assert parse_rcpt(f"TO:<{sender}>", smtputf8=False) == f"{local}@example.test"
