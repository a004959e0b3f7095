"""Postfix's socketmap protocol (socketmap_table(5)), octet by octet."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smtpd.asking import MAX_INPUT
from smtpd.socketmap import MALFORMED, MAX_REQUEST, MAX_TEXT, Answer, Connection, Lookup, Result
from smtpd.tests.asked import Asked

pytestmark = pytest.mark.once

OK, NOTFOUND, TEMP, PERM = Result.OK, Result.NOTFOUND, Result.TEMP, Result.PERM
PERM_MALFORMED = b"46:PERM malformed request, closing the connection,"


def netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


def found(lookup: Lookup) -> Answer:
    """Keys that begin with a are found, with t are temporary errors, all others are not."""
    return {"a": Answer(OK, "here"), "t": Answer(TEMP, "later")}.get(lookup.key[:1], Answer(NOTFOUND))


def tell(data: bytes, *sizes: int) -> Asked:
    """A conversation, fed in pieces of these sizes and then the rest."""
    server = Asked(Connection(), found)
    server.feed(data, *sizes)
    return server


# -- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(OK, "here"), b"7:OK here,"),
        (Answer(NOTFOUND), b"9:NOTFOUND ,"),
        (Answer(TEMP, "try again later"), b"20:TEMP try again later,"),
        (Answer(PERM, "no such map"), b"16:PERM no such map,"),
        (Answer(OK), b"3:OK ,"),
        (Answer(TEMP, "line\r\nbreak \xe9"), b"18:TEMP line??break ?,"),
        (Answer(TEMP, "x" * 300), b"205:TEMP " + b"x" * MAX_TEXT + b","),
        (MALFORMED, PERM_MALFORMED),
    ],
)
def test_a_reply_is_a_netstring_of_a_word_a_space_and_printable_text(answer: Answer, said: bytes) -> None:
    assert answer.encode() == said


@pytest.mark.parametrize(
    ("request_", "lookup"),
    [
        (b"27:recipients ann@example.test,", Lookup("recipients", "ann@example.test")),
        (b"20:domains example.test,", Lookup("domains", "example.test")),
        (b"8:domains ,", Lookup("domains", "")),
        (b"4:m a ,", Lookup("m", "a ")),
        (b"2: x,", Lookup("", "x")),
        (b"6:m \xc3\xa4\xc3\xb6,", Lookup("m", "äö")),
        (b"4:m \xff\xfe,", Lookup("m", "\udcff\udcfe")),
        (b"6:m a\r\n,,", Lookup("m", "a\r\n,")),
        (b"6:m 1:a,,", Lookup("m", "1:a,")),
        (netstring(b"m " + b"x" * (MAX_REQUEST - 2)), Lookup("m", "x" * (MAX_REQUEST - 2))),
    ],
)
def test_a_request_is_a_netstring_of_a_map_a_space_and_a_key(request_: bytes, lookup: Lookup) -> None:
    connection = Connection()
    connection.receive(request_)
    assert connection.next_event() == lookup
    assert connection.next_event() is None
    assert connection.take_output() == b""
    connection.answer(Answer(OK, "here"))
    assert connection.take_output() == b"7:OK here,"
    assert connection.next_event() is None


def test_whoever_sends_several_requests_gets_the_replies_in_their_order() -> None:
    server = tell(b"3:m a,3:m b,3:m t,3:n a,")
    assert server.output == b"7:OK here,9:NOTFOUND ,10:TEMP later,7:OK here,"
    assert server.asked == [Lookup("m", "a"), Lookup("m", "b"), Lookup("m", "t"), Lookup("n", "a")]
    assert server.closed == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"x",
        b"GET / HTTP/1.1\r\n\r\n",
        b":m a,",
        b"-3:m a,",
        b"+3:m a,",
        b" 3:m a,",
        b"3 :m a,",
        b"03:m a,",
        b"3:m a;",
        b"3:m ab",
        b"2:m a,",
        b"1_0:m 12345678,",
        "٣:m a,".encode(),
        b"4097:",
        b"9999:",
        b"10000:",
        b"99999",
        b"0:,",
        b"3:abc,",
        b"\r\n",
        b"\x00",
    ],
)
def test_what_is_no_request_is_refused_for_good_and_ends_the_connection(bad: bytes) -> None:
    server = tell(bad + b"3:m a,")
    assert (server.asked, server.output, server.closed) == ([], PERM_MALFORMED, 1)
    assert not server.connection.wants_data
    server.feed(b"3:m a,")
    assert (server.asked, server.output, server.closed) == ([], PERM_MALFORMED, 1)


@pytest.mark.parametrize("part", [b"", b"0", b"3", b"27", b"4096", b"3:", b"3:m", b"3:m a"])
def test_what_may_still_become_a_request_is_waited_for(part: bytes) -> None:
    server = tell(part)
    assert (server.asked, server.output, server.closed) == ([], b"", 0)
    assert server.connection.wants_data


def test_who_does_not_wait_for_the_reply_is_read_no_further_than_the_bound() -> None:
    connection = Connection()
    connection.receive(b"3:m a,")
    assert isinstance(connection.next_event(), Lookup)
    piece = b"3:m a," * 100
    received = 0
    while connection.wants_data and received < 10 * MAX_INPUT:
        connection.receive(piece)
        assert connection.next_event() is None
        received += len(piece)
    assert MAX_INPUT <= received < MAX_INPUT + len(piece)
    connection.answer(Answer(NOTFOUND))
    for _ in range(received // 6):
        assert connection.next_event() == Lookup("m", "a")
        connection.answer(Answer(NOTFOUND))
    assert connection.next_event() is None
    assert connection.wants_data


def test_nobody_is_greeted_and_nobody_is_told_goodbye() -> None:
    connection = Connection()
    for say in (connection.greet, connection.timed_out, connection.shutting_down, connection.tls_started):
        say()
        assert connection.take_output() == b""


# -- whatever the pieces ------------------------------------------------------------------------

PIECES = [
    b"3:m a,",
    b"27:recipients ann@example.test,",
    b"8:domains ,",
    b"3:m t,",
    b"0:,",
    b"3:m a",
    b",",
    b"12",
    b":",
    b"4096:m ",
    b"x",
    b"\xff",
]
streams = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=60)


def test_octet_by_octet_the_conversation_is_the_same() -> None:
    stream = b"3:m a,20:domains example.test,3:m t,3:m b,"
    assert tell(stream, *[1] * len(stream)).seen == tell(stream).seen


@given(streams, st.lists(st.integers(0, 9), max_size=20))
@example(b"010:m a,", [1])
@example(b"99999", [4])
def test_any_pieces_make_the_same_conversation(stream: bytes, sizes: list[int]) -> None:
    assert tell(stream, *sizes).seen == tell(stream).seen


@given(st.lists(st.tuples(st.sampled_from(["m", "n"]), st.text(max_size=30)), max_size=10))
def test_every_request_is_asked_once_and_answered_once(lookups: list[tuple[str, str]]) -> None:
    server = tell(b"".join(netstring(f"{name} {key}".encode()) for name, key in lookups))
    assert server.asked == [Lookup(name, key) for name, key in lookups]
    assert server.closed == 0
    assert len(_netstrings(server.output)) == len(lookups)


def _netstrings(data: bytes) -> list[bytes]:
    found = []
    while data:
        length, _, rest = data.partition(b":")
        found.append(rest[: int(length)])
        assert rest[int(length) : int(length) + 1] == b","
        data = rest[int(length) + 1 :]
    return found
