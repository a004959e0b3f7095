"""Postfix's policy delegation protocol (SMTPD_POLICY_README), octet by octet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpd.asking import MAX_INPUT
from smtpd.delegation import MAX_ATTRIBUTES, MAX_LINE, MAX_TEXT, Connection, Question
from smtpd.tests.asked import Asked

pytestmark = pytest.mark.once

# What Postfix 3.7 sends at RCPT.
ASKED = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\n"
    b"client_name=relay.elsewhere.test\nclient_port=34567\nhelo_name=relay.elsewhere.test\n"
    b"sender=m@elsewhere.test\nrecipient=ann@example.test\nrecipient_count=0\nqueue_id=\n"
    b"instance=7b1.67430a2c.9f3e1.0\nsize=12345\netrn_domain=\nstress=\n\n"
)
QUESTION = Question(
    "RCPT", "ann@example.test", "m@elsewhere.test", "192.0.2.7", "relay.elsewhere.test", 12345
)
LEAST = b"request=smtpd_access_policy\nprotocol_state=RCPT\nrecipient="


def tell(data: bytes, *sizes: int) -> Asked:
    """A conversation, fed in pieces of these sizes and then the rest; each answer names the recipient."""
    server = Asked(Connection(), lambda question: f"550 5.1.1 {question.recipient}")
    server.feed(data, *sizes)
    return server


def test_a_request_is_lines_and_an_empty_line_and_so_is_the_reply() -> None:
    connection = Connection()
    connection.receive(ASKED)
    assert connection.next_event() == QUESTION
    assert connection.next_event() is None
    assert connection.take_output() == b""
    connection.answer("DUNNO")
    assert connection.take_output() == b"action=DUNNO\n\n"
    assert connection.next_event() is None


@pytest.mark.parametrize(
    ("line", "question"),
    [
        (b"", Question("RCPT", "a@b")),
        (b"sender=\n", Question("RCPT", "a@b")),
        (b"sender=a=b@c\n", Question("RCPT", "a@b", sender="a=b@c")),
        ("sender=grün@c\n".encode(), Question("RCPT", "a@b", sender="grün@c")),
        (b"sender=\xff@c\n", Question("RCPT", "a@b", sender="\udcff@c")),
        (b"size=17\n", Question("RCPT", "a@b", octets=17)),
        (b"size=-17\n", Question("RCPT", "a@b")),
        (b"size=1_7\n", Question("RCPT", "a@b")),
        ("size=١٧\n".encode(), Question("RCPT", "a@b")),
        (b"size=" + b"9" * 19 + b"\n", Question("RCPT", "a@b")),
        (b"protocol_state=DATA\n", Question("DATA", "a@b")),
        (b"helo_name=" + b"x" * (MAX_LINE - 11) + b"\n", Question("RCPT", "a@b", helo="x" * (MAX_LINE - 11))),
        (b"never_heard_of=1\n" * 97, Question("RCPT", "a@b")),
    ],
)
def test_what_a_request_may_say(line: bytes, question: Question) -> None:
    assert tell(LEAST + b"a@b\n" + line + b"\n").seen[0] == [question]


def test_attributes_of_one_request_are_not_those_of_the_next() -> None:
    server = tell(ASKED + LEAST + b"b@example.test\n\n" + ASKED)
    assert server.asked == [QUESTION, Question("RCPT", "b@example.test"), QUESTION]
    assert server.output == b"".join(
        b"action=550 5.1.1 %b@example.test\n\n" % name for name in (b"ann", b"b", b"ann")
    )
    assert server.closed == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"EHLO relay.elsewhere.test\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"request=junk\nprotocol_state=RCPT\nrecipient=a\n\n",
        b"protocol_state=RCPT\nrecipient=a\n\n",
        b"request=smtpd_access_policy\nrecipient=a\n\n",
        b"request=smtpd_access_policy\nprotocol_state=RCPT\n\n",
        b"request=smtpd_access_policy\r\nprotocol_state=RCPT\r\nrecipient=a\r\n\r\n",
        b"x" * MAX_LINE,
        b"a=" + b"x" * (MAX_LINE - 2) + b"\n",
        b"a=1\n" * (MAX_ATTRIBUTES + 1),
    ],
)
def test_what_is_no_request_ends_the_connection_without_a_word(bad: bytes) -> None:
    server = tell(bad + ASKED)
    assert server.seen == ([], b"", 1)
    assert not server.connection.wants_data
    server.feed(ASKED)
    assert server.seen == ([], b"", 1)


@pytest.mark.parametrize(
    "part", [b"", b"r", b"request=smtpd_access_policy\n", ASKED[:-1], b"x" * (MAX_LINE - 1)]
)
def test_what_may_still_become_a_request_is_waited_for(part: bytes) -> None:
    server = tell(part)
    assert server.seen == ([], b"", 0)
    assert server.connection.wants_data


def test_a_reply_is_one_line_of_printable_ascii_however_it_is_made() -> None:
    server = tell(LEAST + "ä\r".encode() + b"x" * 1000 + b"\n\n")
    assert server.output == b"action=550 5.1.1 ??" + b"x" * (MAX_TEXT - 12) + b"\n\n"


def test_who_does_not_wait_for_the_reply_is_read_no_further_than_the_bound() -> None:
    connection = Connection()
    connection.receive(ASKED)
    assert connection.next_event() == QUESTION
    received = 0
    while connection.wants_data and received < 10 * MAX_INPUT:
        connection.receive(ASKED)
        assert connection.next_event() is None
        received += len(ASKED)
    assert MAX_INPUT <= received < MAX_INPUT + len(ASKED)
    connection.answer("DUNNO")
    for _ in range(received // len(ASKED)):
        assert connection.next_event() == QUESTION
        connection.answer("DUNNO")
    assert connection.next_event() is None
    assert connection.wants_data


def test_nobody_is_greeted_and_nobody_is_told_goodbye() -> None:
    connection = Connection()
    for say in (connection.greet, connection.timed_out, connection.shutting_down, connection.tls_started):
        say()
        assert connection.take_output() == b""


PIECES = [ASKED, LEAST + b"a\n\n", LEAST, b"\n", b"\n\n", b"a=1\n", b"=", b"x", b"request=", b"\xff"]
streams = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join) | st.binary(max_size=60)


def test_octet_by_octet_the_conversation_is_the_same() -> None:
    stream = ASKED + LEAST + b"b\n\n" + b"no request\n"
    assert tell(stream, *[1] * len(stream)).seen == tell(stream).seen


@given(streams, st.lists(st.integers(0, 50), max_size=20))
def test_any_pieces_make_the_same_conversation(stream: bytes, sizes: list[int]) -> None:
    assert tell(stream, *sizes).seen == tell(stream).seen
