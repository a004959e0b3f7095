"""POP3 conversations, each whole, byte by byte and cut at every position, named after what the RFCs say."""

from __future__ import annotations

import ast
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

import pop3d
from pop3d import texts
from pop3d.protocol import (
    OUTPUT_HIGH_WATER,
    Close,
    Commands,
    Connection,
    Event,
    Expunge,
    Flush,
    Login,
    Policy,
    Retrieve,
    StartTLS,
    State,
)
from pop3d.tests.conversations import BODY, GUARDED, LOGIN, OPEN, Server, ThreeMessages, converse, serve

pytestmark = pytest.mark.once

OPENED = b"+OK now send the password\r\n+OK 3 messages (3320 octets)\r\n"
LISTED = b"+OK 3 messages (3320 octets)\r\n1 120\r\n2 200\r\n3 3000\r\n.\r\n"
SENT = b"+OK %d octets\r\n%b.\r\n" % (len(BODY) - 1, BODY)
WRONG = b"-ERR [AUTH] wrong user name or password\r\n"
UNKNOWN = b"-ERR unknown command\r\n"
TOO_LONG = b"-ERR the line is too long\r\n"
NO_BASE64 = b"-ERR this is not base64\r\n"
IN_THE_CLEAR = (
    b"-ERR your password would travel in the clear: "
    b"set your mail program to SSL/TLS or STARTTLS (command STLS), then log in\r\n"
)
USERNAME, PASSWORD = b"+ VXNlcm5hbWU6\r\n", b"+ UGFzc3dvcmQ6\r\n"


def base64(octets: bytes) -> bytes:
    return b64encode(octets)


# After login: what is said, what is answered. No event leaves the machine in these.
ANSWERS = [
    # RFC 1939 section 5
    (b"STAT\r\n", b"+OK 3 3320\r\n"),
    (b"LIST\r\n", LISTED),
    (b"LIST 2\r\n", b"+OK 2 200\r\n"),
    (b"DELE 2\r\n", b"+OK message 2 will be deleted at QUIT\r\n"),
    (b"NOOP\r\n", b"+OK still here\r\n"),
    (b"RSET\r\n", b"+OK 3 messages (3320 octets)\r\n"),
    # RFC 1939 section 7
    (b"UIDL\r\n", b"+OK 3 messages (3320 octets)\r\n1 uid-0001\r\n2 uid-0002\r\n3 uid-0003\r\n.\r\n"),
    (b"UIDL 3\r\n", b"+OK 3 uid-0003\r\n"),
    # "Keywords are case-insensitive", and neither a bare LF nor spaces at the end disturb.
    (b"stat\r\nStAt\nSTAT  \r\nlist  2  \n", b"+OK 3 3320\r\n" * 3 + b"+OK 2 200\r\n"),
    # "The server must not list messages marked as deleted", and numbers stay.
    (
        b"DELE 2\r\nLIST\r\nUIDL\r\nSTAT\r\nLIST 3\r\nUIDL 3\r\n",
        (
            b"+OK message 2 will be deleted at QUIT\r\n"
            b"+OK 2 messages (3120 octets)\r\n1 120\r\n3 3000\r\n.\r\n"
            b"+OK 2 messages (3120 octets)\r\n1 uid-0001\r\n3 uid-0003\r\n.\r\n"
            b"+OK 2 3120\r\n+OK 3 3000\r\n+OK 3 uid-0003\r\n"
        ),
    ),
    # "If any messages have been marked as deleted, they are unmarked."
    (
        b"DELE 1\r\nDELE 3\r\nSTAT\r\nRSET\r\nSTAT\r\nDELE 1\r\n",
        (
            b"+OK message 1 will be deleted at QUIT\r\n+OK message 3 will be deleted at QUIT\r\n+OK 1 200\r\n"
            b"+OK 3 messages (3320 octets)\r\n+OK 3 3320\r\n+OK message 1 will be deleted at QUIT\r\n"
        ),
    ),
    # A command has its arguments and no others.
    (b"STAT 1\r\n", b"-ERR this command takes no argument\r\n"),
    (b"NOOP x\r\n", b"-ERR this command takes no argument\r\n"),
    (b"RSET 1\r\n", b"-ERR this command takes no argument\r\n"),
    (b"CAPA x\r\n", b"-ERR this command takes no argument\r\n"),
    (b"QUIT now\r\n", b"-ERR this command takes no argument\r\n"),
    (b"TOP\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    (b"TOP 1\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    (b"TOP 1 -1\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    (b"TOP 1 x\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    (b"TOP 1 1 1\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    (b"TOP 1 " + b"9" * 200 + b"\r\n", b"-ERR TOP needs a message number and a number of lines\r\n"),
    # What belongs before login is not possible any more.
    *(
        (verb + b"\r\n", b"-ERR you are already logged in; this is only possible before\r\n")
        for verb in (b"USER ann", b"PASS x", b"AUTH", b"AUTH PLAIN", b"STLS", b"UTF8")
    ),
    # Not commands at all.
    (b"\r\n", UNKNOWN),
    (b" STAT\r\n", UNKNOWN),
    (b"STAT\0\r\n", UNKNOWN),
    (b"STAT\r\r\n", UNKNOWN),
    (b"STAT\t1\r\n", UNKNOWN),
    (b"LAST\r\n", UNKNOWN),
    (b"APOP ann c4c9334bac560ecc979e58001b3e22fb\r\n", UNKNOWN),
    (b"\xff\xfe\r\n", UNKNOWN),
    # RFC 2971
    (b'ID ("name" "Thunderbird" "version" "128.1")\r\nid nil\r\n', b"+OK noted\r\n+OK noted\r\n"),
    (b"ID\r\nID (\r\n", b'-ERR ID takes NIL or a list like ("name" "value")\r\n' * 2),
]


@pytest.mark.parametrize(("said", "answered"), ANSWERS)
def test_a_command_in_the_transaction_state_is_answered(said: bytes, answered: bytes) -> None:
    assert converse(said, logged_in=True) == (answered, [])


WRONG_NUMBERS = [
    (b"x", b"-ERR this is not a message number\r\n"),
    (b"+1", b"-ERR this is not a message number\r\n"),
    (b"-1", b"-ERR this is not a message number\r\n"),
    (b"1x", b"-ERR this is not a message number\r\n"),
    (b"1.0", b"-ERR this is not a message number\r\n"),
    (b"1_0", b"-ERR this is not a message number\r\n"),
    (b"1\x00", b"-ERR this is not a message number\r\n"),
    ("²".encode(), b"-ERR this is not a message number\r\n"),
    (b"0", b"-ERR no such message, there are only 3\r\n"),
    (b"4", b"-ERR no such message, there are only 3\r\n"),
    (b"9" * 10, b"-ERR no such message, there are only 3\r\n"),
    (b"9" * 200, b"-ERR no such message, there are only 3\r\n"),
    (b"0" * 10 + b"1", b"-ERR no such message, there are only 3\r\n"),
    (b"2", b"-ERR message 2 is already deleted\r\n"),
]


@pytest.mark.parametrize("command", [b"LIST %b", b"UIDL %b", b"RETR %b", b"DELE %b", b"TOP %b 0"])
@pytest.mark.parametrize(("number", "answered"), WRONG_NUMBERS)
def test_a_message_number_is_positive_and_refers_to_a_message_that_is_not_deleted(
    command: bytes, number: bytes, answered: bytes
) -> None:
    said = b"DELE 2\r\n" + command % number + b"\r\nSTAT\r\n"
    marked = b"+OK message 2 will be deleted at QUIT\r\n"
    assert converse(said, logged_in=True) == (marked + answered + b"+OK 2 3120\r\n", [])


@pytest.mark.parametrize("command", [b"RETR", b"DELE", b"RETR ", b"DELE  "])
def test_retr_and_dele_require_a_message_number(command: bytes) -> None:
    assert converse(command + b"\r\n", logged_in=True) == (b"-ERR the message number is missing\r\n", [])


def test_a_second_number_is_not_a_number() -> None:
    answered, events = converse(b"RETR 1 2\r\nDELE 1 2\r\n", logged_in=True)
    assert (answered, events) == (b"-ERR this is not a message number\r\n" * 2, [])


def test_an_empty_maildrop_has_an_empty_listing() -> None:
    server = serve()
    server.maildrop = ThreeMessages([])
    server.feed(LOGIN + b"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nQUIT\r\n")
    assert server.output == (
        b"+OK now send the password\r\n+OK 0 messages (0 octets)\r\n+OK 0 0\r\n"
        b"+OK 0 messages (0 octets)\r\n.\r\n+OK 0 messages (0 octets)\r\n.\r\n"
        b"-ERR no such message, there are only 0\r\n+OK goodbye\r\n"
    )


def test_a_listing_is_the_maildrops_own_octets_when_nothing_is_deleted() -> None:
    listing = b"1 120\r\n2 200\r\n3 3000\r\n"
    server = serve(logged_in=True)
    marks = server.connection.marks
    assert marks.unmarked(listing) is listing
    marks.delete(2)
    assert marks.unmarked(listing) == b"1 120\r\n3 3000\r\n"


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (b"RETR 1\r\n", Retrieve(1, None)),
        (b"retr 003\r\n", Retrieve(3, None)),
        (b"TOP 1 0\r\n", Retrieve(1, 0)),
        (b"TOP 2 10\r\n", Retrieve(2, 10)),
        (b"TOP  2   4294967295 \r\n", Retrieve(2, 4294967295)),
    ],
)
def test_retr_sends_the_message_and_top_its_header_and_that_many_lines(said: bytes, asked: Event) -> None:
    assert converse(said, logged_in=True) == (SENT, [asked])


def test_commands_may_be_pipelined() -> None:
    said = LOGIN + b"STAT\r\nRETR 1\r\nDELE 1\r\nRETR 2\r\nDELE 2\r\nQUIT\r\nSTAT\r\n"
    answered, events = converse(said)
    assert answered == (
        OPENED
        + b"+OK 3 3320\r\n"
        + SENT
        + b"+OK message 1 will be deleted at QUIT\r\n"
        + SENT
        + b"+OK message 2 "
        b"will be deleted at QUIT\r\n+OK 2 messages deleted, goodbye\r\n"
    )
    assert events == [
        Login("ann@example.test", "correct horse", "USER"),
        Retrieve(1, None),
        Retrieve(2, None),
        Expunge((1, 2)),
        Close(),
    ]


# Before login: what is said, what is answered, what is asked for.
def plain(name: str, password: str) -> Login:
    return Login(name, password, "PLAIN")


LOGINS: list[tuple[bytes, bytes, list[Event]]] = [
    (LOGIN, OPENED, [Login("ann@example.test", "correct horse", "USER")]),
    # RFC 1939 section 7: "the server may treat spaces in the argument as part of the password"
    (
        b"USER  ann@example.test \r\nPASS  two  spaces \r\n",
        b"+OK now send the password\r\n" + WRONG,
        [Login("ann@example.test", " two  spaces ", "USER")],
    ),
    (
        b"USER ann\r\nPASS tab\tand\0nul\r\r\n",
        b"+OK now send the password\r\n" + WRONG,
        [Login("ann", "tab\tand\0nul\r", "USER")],
    ),
    (
        b"user Ann B\r\npass STAT\r\n",
        b"+OK now send the password\r\n" + WRONG,
        [Login("Ann B", "STAT", "USER")],
    ),
    # RFC 6856 section 2: user names and passwords may be UTF-8
    (
        "USER jürgen\r\nPASS größe\r\n".encode(),
        b"+OK now send the password\r\n" + WRONG,
        [Login("jürgen", "größe", "USER")],
    ),
    (
        "USER jürgen\r\n".encode("latin-1"),
        b"-ERR the user name must be UTF-8 without control characters\r\n",
        [],
    ),
    (
        b"USER ann\r\n" + "PASS größe\r\n".encode("latin-1"),
        b"+OK now send the password\r\n-ERR the password must be UTF-8\r\n",
        [],
    ),
    (b"USER\r\nUSER  \r\n", b"-ERR the user name is missing\r\n" * 2, []),
    (b"USER an\0n\r\n", b"-ERR the user name must be UTF-8 without control characters\r\n", []),
    (b"USER ann\x1b[2J\r\n", b"-ERR the user name must be UTF-8 without control characters\r\n", []),
    (
        "USER ann\u202etxet\r\n".encode(),
        b"-ERR the user name must be UTF-8 without control characters\r\n",
        [],
    ),
    (
        b"USER ann\r\nPASS\r\nPASS \r\n",
        b"+OK now send the password\r\n" + b"-ERR the password is missing\r\n" * 2,
        [],
    ),
    # "PASS: may only be given … after a successful USER command"
    (b"PASS secret\r\n", b"-ERR send the user name first (USER)\r\n", []),
    (
        b"USER ann\r\nPASS no\r\nPASS correct horse\r\n",
        b"+OK now send the password\r\n" + WRONG + b"-ERR send the user name first (USER)\r\n",
        [Login("ann", "no", "USER")],
    ),
    # The last user name counts.
    (
        b"USER bob\r\nUSER ann\r\nPASS no\r\n",
        b"+OK now send the password\r\n" * 2 + WRONG,
        [Login("ann", "no", "USER")],
    ),
    # RFC 5034 and RFC 4616
    (b"AUTH\r\nAUTH \r\n", b"+OK ways to log in:\r\nPLAIN\r\nLOGIN\r\n.\r\n" * 2, []),
    (
        b"AUTH PLAIN " + base64(b"\0ann\0correct horse") + b"\r\n",
        b"+OK 3 messages (3320 octets)\r\n",
        [plain("ann", "correct horse")],
    ),
    (
        b"auth plain\r\n" + base64(b"ann\0ann\0correct horse") + b"\r\n",
        b"+ \r\n+OK 3 messages (3320 octets)\r\n",
        [plain("ann", "correct horse")],
    ),
    (
        b"AUTH PLAIN " + base64("\0jürgen\0 größe ".encode()) + b" \r\n",
        WRONG,
        [plain("jürgen", " größe ")],
    ),
    (
        b"AUTH PLAIN " + base64(b"bob\0ann\0correct horse") + b"\r\n",
        b"-ERR logging in on behalf of another user is not possible\r\n",
        [],
    ),
    *(
        (b"AUTH PLAIN %b\r\n" % response, b"-ERR " + text + b"\r\n", list[Event]())
        for response, text in [
            (b"=", b"PLAIN needs a user name and a password, separated by NUL (RFC 4616)"),
            (base64(b"ann"), b"PLAIN needs a user name and a password, separated by NUL (RFC 4616)"),
            (base64(b"ann\0pw"), b"PLAIN needs a user name and a password, separated by NUL (RFC 4616)"),
            (base64(b"\0ann\0p\0w"), b"PLAIN needs a user name and a password, separated by NUL (RFC 4616)"),
            (base64(b"\0\0pw"), b"the user name is missing"),
            (base64(b"\0ann\0"), b"the password is missing"),
            (base64(b"\0an\nn\0pw"), b"the user name must be UTF-8 without control characters"),
            (base64(b"\0ann\0\xff"), b"the password must be UTF-8"),
            (b"*", b"this is not base64"),
            (b"YW5u YW5u", b"this is not base64"),
            (b"YW5", b"this is not base64"),
            (b"YW5u=", b"this is not base64"),
            (b"\xff\0", b"this is not base64"),
        ]
    ),
    # RFC 5034 section 4: "If the client wishes to cancel … it issues a line with a single "*""
    (
        b"AUTH PLAIN\r\n*\r\nCAPA x\r\n",
        b"+ \r\n-ERR login cancelled\r\n-ERR this command takes no argument\r\n",
        [],
    ),
    (b"AUTH LOGIN\r\nYW5u\r\n*\r\n", USERNAME + PASSWORD + b"-ERR login cancelled\r\n", []),
    (b"AUTH PLAIN\r\n=\r\nXYZ\r\n", b"+ \r\n" + NO_BASE64 + UNKNOWN, []),
    (b"AUTH PLAIN\r\nQUIT!\r\nXYZ\r\n", b"+ \r\n" + NO_BASE64 + UNKNOWN, []),
    (
        b"AUTH LOGIN\r\n" + base64(b"ann") + b"\r\n" + base64(b"correct horse") + b"\r\nSTAT\r\n",
        USERNAME + PASSWORD + b"+OK 3 messages (3320 octets)\r\n+OK 3 3320\r\n",
        [Login("ann", "correct horse", "LOGIN")],
    ),
    (
        b"AUTH login " + base64(b"ann") + b"\r\n" + base64(b"a\0b") + b"\r\n",
        PASSWORD + WRONG,
        [Login("ann", "a\0b", "LOGIN")],
    ),
    (b"AUTH LOGIN =\r\n" + base64(b"pw") + b"\r\n", PASSWORD + b"-ERR the user name is missing\r\n", []),
    (b"AUTH LOGIN\r\nYW5u\r\n\r\n", USERNAME + PASSWORD + b"-ERR the password is missing\r\n", []),
    (b"AUTH LOGIN\r\nnonsense!\r\nXYZ\r\n", USERNAME + NO_BASE64 + UNKNOWN, []),
    (b"AUTH CRAM-MD5\r\nXYZ\r\n", b"-ERR unknown way to log in; use PLAIN or LOGIN\r\n" + UNKNOWN, []),
    # A failed exchange leaves the connection as it was.
    (
        b"AUTH PLAIN YQ==\r\n" + LOGIN,
        b"-ERR PLAIN needs a user name and a password, separated by NUL (RFC 4616)\r\n" + OPENED,
        [Login("ann@example.test", "correct horse", "USER")],
    ),
    # What belongs after login is not possible yet.
    *(
        (verb + b"\r\n", b"-ERR log in first\r\n", list[Event]())
        for verb in (
            *(b"STAT", b"LIST", b"LIST 1", b"UIDL", b"RETR 1"),
            *(b"TOP 1 0", b"DELE 1", b"RSET", b"NOOP", b"noop"),
        )
    ),
    (b"XYZZY\r\n", UNKNOWN, []),
    (b"QUIT\r\nUSER ann\r\n", b"+OK goodbye\r\n", [Close()]),
    (b'ID ("name" "K-9" "version" NIL)\r\nQUIT\r\n', b"+OK noted\r\n+OK goodbye\r\n", [Close()]),
]


@pytest.mark.parametrize(("said", "answered", "events"), LOGINS)
def test_a_command_in_the_authorization_state_is_answered(
    said: bytes, answered: bytes, events: list[Event]
) -> None:
    assert converse(said) == (answered, events)


def test_the_greeting_announces_no_apop() -> None:
    connection = Connection(OPEN, secure=False)
    connection.greet()
    assert connection.take_output() == b"+OK pop.example.test POP3 server ready\r\n"
    assert connection.take_output() == b""


def test_a_password_does_not_appear_in_the_repr_of_its_event() -> None:
    assert repr(Login("ann", "hunter2", "USER")) == "Login(login='ann', mechanism='USER')"


# Where a password would travel in the clear (RFC 8314 section 3).


@pytest.mark.parametrize(
    "said", [b"USER ann", b"PASS x", b"AUTH", b"AUTH PLAIN", b"AUTH PLAIN AGFubgB4", b"AUTH LOGIN"]
)
def test_no_login_is_tried_in_the_clear(said: bytes) -> None:
    assert converse(said + b"\r\n", policy=GUARDED) == (IN_THE_CLEAR, [])


BOTH = b"TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\nUTF8 USER\r\nLANG\r\n"
WAYS = b"USER\r\nSASL PLAIN LOGIN\r\n"


@pytest.mark.parametrize(
    ("policy", "secure", "logged_in", "announced"),
    [
        (OPEN, False, False, BOTH + WAYS + b"STLS\r\n"),
        (OPEN, True, False, BOTH + WAYS),
        (OPEN, False, True, BOTH + WAYS),
        (OPEN, True, True, BOTH + WAYS),
        (GUARDED, False, False, BOTH + b"STLS\r\n"),
        (GUARDED, True, False, BOTH + WAYS),
        (Policy("h", "Restante", tls_offered=False, plaintext_login=True), False, False, BOTH + WAYS),
    ],
)
def test_capa_announces_what_is_true_in_each_state(
    policy: Policy, secure: bool, logged_in: bool, announced: bytes
) -> None:
    answered, events = converse(b"CAPA\r\n", policy=policy, secure=secure, logged_in=logged_in)
    assert answered == b"+OK this server can do:\r\n" + announced + b"IMPLEMENTATION Restante\r\n.\r\n"
    assert events == []


# STLS (RFC 2595 section 4).


def test_stls_begins_tls_and_capa_changes() -> None:
    server = serve(GUARDED)
    server.feed(b"stls\r\n")
    server.feed(b"CAPA\r\n" + LOGIN)
    assert server.output == (
        b"+OK begin TLS negotiation\r\n"
        b"+OK this server can do:\r\n" + BOTH + WAYS + b"IMPLEMENTATION Restante\r\n.\r\n" + OPENED
    )
    assert server.events == [StartTLS(), Login("ann@example.test", "correct horse", "USER")]
    assert server.connection.secure is True


@pytest.mark.parametrize(
    "pieces", [[b"STLS\r\nUSER evil\r\nPASS x\r\nCA"], [b"STLS\r\n", b"USER evil\r\n", b"CA"]]
)
def test_what_is_pipelined_after_stls_is_never_answered(pieces: list[bytes]) -> None:
    connection = Connection(OPEN, secure=False)
    for piece in pieces:
        connection.receive(piece)
        connection.next_event()
    assert connection.next_event() is None
    assert connection.take_output() == b"+OK begin TLS negotiation\r\n"
    connection.tls_started()
    assert connection.next_event() is None
    connection.receive(b"PASS x\r\n")
    assert connection.next_event() is None
    assert connection.take_output() == b"-ERR send the user name first (USER)\r\n"


def test_the_server_discards_any_knowledge_obtained_from_the_client_before_tls() -> None:
    connection = Connection(OPEN, secure=False)
    connection.receive(b'USER evil\r\nUTF8\r\nLANG de\r\nID ("name" "x")\r\n' + b"y" * 300 + b"\r\nSTLS\r\n")
    assert connection.next_event() == StartTLS()
    assert (connection.login_name, connection.utf8, connection.program) == ("evil", True, "x")
    connection.take_output()
    connection.tls_started()
    assert (connection.login_name, connection.utf8, connection.program) == ("", False, "")
    connection.receive(b"PASS x\r\n")
    assert connection.next_event() is None
    assert connection.take_output() == b"-ERR send the user name first (USER)\r\n"


def test_stls_is_not_permitted_while_tls_is_active() -> None:
    assert converse(b"STLS\r\n", secure=True) == (b"-ERR TLS is already on\r\n", [])


def test_stls_is_refused_where_it_is_not_offered_or_has_an_argument() -> None:
    policy = Policy("h", "Restante", tls_offered=False, plaintext_login=True)
    assert converse(b"STLS\r\n", policy=policy) == (b"-ERR TLS is not available here\r\n", [])
    assert converse(b"STLS now\r\n") == (b"-ERR this command takes no argument\r\n", [])


def test_a_failed_handshake_ends_the_connection() -> None:
    connection = Connection(OPEN, secure=False)
    connection.receive(b"STLS\r\n")
    assert connection.next_event() == StartTLS()
    connection.take_output()
    connection.tls_failed()
    assert connection.next_event() == Close()
    assert (connection.take_output(), connection.state) == (b"", State.CLOSED)


# UTF8 and LANG (RFC 6856).


def test_utf8_is_for_the_authorization_state_only() -> None:
    server = serve()
    server.feed(b"UTF8 x\r\nUTF8\r\nUTF8\r\n")
    assert server.output == b"-ERR this command takes no argument\r\n" + b"+OK UTF-8 is on\r\n" * 2
    assert server.connection.utf8 is True


@pytest.mark.parametrize("logged_in", [False, True])
@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (b"LANG\r\n", b"+OK languages:\r\nen English\r\nde Deutsch\r\ni-default Default language\r\n.\r\n"),
        (b"LANG de\r\nXYZ\r\n", b"+OK de ist jetzt die Sprache\r\n-ERR unbekannter Befehl\r\n"),
        (b"lang DE-at\r\nXYZ\r\n", b"+OK de ist jetzt die Sprache\r\n-ERR unbekannter Befehl\r\n"),
        (
            b"LANG de\r\nLANG *\r\nXYZ\r\n",
            b"+OK de ist jetzt die Sprache\r\n+OK en is now the language\r\n" + UNKNOWN,
        ),
        (b"LANG i-default\r\n", b"+OK i-default is now the language\r\n"),
        (b"LANG sv\r\nXYZ\r\n", b"-ERR unknown language; LANG lists them\r\n" + UNKNOWN),
        (
            b"LANG de\r\nLANG sv\r\n",
            "+OK de ist jetzt die Sprache\r\n-ERR unbekannte Sprache; LANG zählt sie auf\r\n".encode(),
        ),
    ],
)
def test_lang_lists_the_languages_or_chooses_one(said: bytes, answered: bytes, logged_in: bool) -> None:
    assert converse(said, logged_in=logged_in) == (answered, [])


def test_a_german_session_is_german() -> None:
    said = b"LANG de\r\n" + LOGIN + b"LIST\r\nDELE 2\r\nRETR 9\r\nQUIT\r\n"
    answered, _ = converse(said)
    assert answered.decode() == (
        "+OK de ist jetzt die Sprache\r\n"
        "+OK jetzt bitte das Passwort senden\r\n+OK 3 Nachrichten (3320 Oktette)\r\n"
        "+OK 3 Nachrichten (3320 Oktette)\r\n1 120\r\n2 200\r\n3 3000\r\n.\r\n"
        "+OK Nachricht 2 wird bei QUIT gelöscht\r\n-ERR diese Nachricht gibt es nicht, es sind nur 3 da\r\n"
        "+OK 1 Nachrichten gelöscht, auf Wiedersehen\r\n"
    )


def test_every_text_is_complete_in_both_languages() -> None:
    said = {name: text for name, text in vars(texts).items() if isinstance(text, texts.Text)}
    assert len(said) > 40
    for name, (english, german) in said.items():
        assert english.isascii() and english.decode().isprintable() and english, name
        assert german.decode().isprintable() and german, name
        assert english != german, name
        assert re.findall(b"%.", english) == re.findall(b"%.", german), name
        assert max(len(english), len(german)) < 300, (
            name
        )  # RFC 2449 section 4: with code and a host name, 512


# Lines.


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (b"NOOP" + b" " * 249 + b"\r\n", b"+OK still here\r\n"),  # 255 octets
        (b"NOOP" + b" " * 250 + b"\n", b"+OK still here\r\n"),
        (b"NOOP" + b" " * 250 + b"\r\nNOOP\r\n", TOO_LONG + b"+OK still here\r\n"),  # 256
        (b"NOOP" + b" " * 251 + b"\nNOOP\r\n", TOO_LONG + b"+OK still here\r\n"),
        (b"x" * 1000 + b"\r\nNOOP\r\n", TOO_LONG + b"+OK still here\r\n"),
        # The rest of a line that is too long is not a command, not even one that may be longer.
        (b"x" * 300 + b"NOOP\r\n", TOO_LONG),
        (b"x" * 300 + b"AUTH PLAIN\r\n", TOO_LONG),
    ],
)
def test_a_command_has_at_most_255_octets_with_crlf(said: bytes, answered: bytes) -> None:
    assert converse(said, logged_in=True) == (answered, [])


def test_a_line_over_64_kib_ends_the_connection() -> None:
    bearable = b"x" * (64 * 1024 - 1) + b"\n"
    assert converse(bearable + b"CAPA x\r\n") == (TOO_LONG + b"-ERR this command takes no argument\r\n", [])
    goodbye = b"-ERR the line is far too long, goodbye\r\n"
    assert converse(b"x" + bearable + b"CAPA\r\n") == (goodbye, [Close()])
    server = serve()
    server.feed(b"x" * (64 * 1024 - 1))
    assert server.events == []
    server.feed(b"x")  # whatever comes now, it is over
    assert (bytes(server.output), server.events) == (goodbye, [Close()])


def test_an_endless_line_costs_no_memory() -> None:
    server = serve()
    for _ in range(60):
        server.feed(b"x" * 1000)
        assert len(server.connection.arrived) <= 255
    assert server.output == b""
    for _ in range(100):
        server.feed(b"x" * 1000)
    assert server.output == b"-ERR the line is far too long, goodbye\r\n"
    assert (server.events, len(server.connection.arrived)) == ([Close()], 0)


def test_a_sasl_response_may_be_longer_than_a_command() -> None:
    name, password = "a" * 1000, "p" * 5000
    response = base64(f"\0{name}\0{password}".encode())
    assert converse(b"AUTH PLAIN\r\n" + response + b"\r\n") == (b"+ \r\n" + WRONG, [plain(name, password)])
    assert converse(b"auth plain " + response + b"\r\n") == (WRONG, [plain(name, password)])
    # Over 8192 it ends the exchange.
    assert converse(b"AUTH PLAIN\r\n" + b"A" * 8191 + b"\r\nXYZ\r\n") == (b"+ \r\n" + TOO_LONG + UNKNOWN, [])


# Those who do not speak POP3.


@pytest.mark.parametrize(("logged_in", "patience"), [(False, 10), (True, 20)])
def test_too_many_bad_commands_in_a_row_end_the_connection(logged_in: bool, patience: int) -> None:
    bad = b"XYZ\r\n" * (patience - 1)
    good = b"CAPA\r\n"
    server = serve(logged_in=logged_in)
    server.feed(bad + good + bad)
    assert server.events == []
    assert server.output.count(UNKNOWN) == 2 * (patience - 1)
    server.output.clear()
    server.feed(b"XYZ\r\nCAPA\r\n")
    assert server.output == b"-ERR too many commands that were not understood, goodbye\r\n"
    assert server.events == [Close()]


def test_asking_for_what_is_not_there_is_not_a_bad_command() -> None:
    assert converse(b"LIST 9\r\n" * 50, logged_in=True) == (
        b"-ERR no such message, there are only 3\r\n" * 50,
        [],
    )


def test_a_wrong_password_is_not_a_bad_command_and_five_end_the_connection() -> None:
    attempt = b"XYZ\r\n" * 9 + b"AUTH PLAIN AGFubgB4\r\n"
    answered, events = converse(attempt * 6)
    assert answered == (UNKNOWN * 9 + WRONG) * 5
    assert events == [plain("ann", "x")] * 5 + [Close()]


# The server's side.


def test_while_an_event_is_unanswered_further_input_waits() -> None:
    connection = Connection(OPEN, secure=False)
    connection.receive(LOGIN + b"STAT\r\n")
    assert isinstance(connection.next_event(), Login)
    assert connection.next_event() is None
    assert connection.take_output() == b"+OK now send the password\r\n"
    assert connection.login_name == "ann@example.test"
    connection.login_accepted(ThreeMessages())
    assert connection.next_event() is None
    assert connection.take_output() == b"+OK 3 messages (3320 octets)\r\n+OK 3 3320\r\n"


def test_the_server_stops_reading_when_much_input_waits() -> None:
    connection = Connection(OPEN, secure=False)
    connection.receive(LOGIN)
    connection.next_event()
    connection.receive(b"STAT\r\n" * 10922)
    wanted = [connection.wants_data]
    connection.receive(b"STAT")
    wanted.append(connection.wants_data)
    connection.login_accepted(ThreeMessages())
    connection.next_event()
    wanted.append(connection.wants_data)
    assert wanted == [True, False, True]


def test_a_client_that_does_not_read_costs_bounded_memory() -> None:
    server = serve()
    server.maildrop = ThreeMessages([1] * 10_000)
    server.feed(LOGIN + b"UIDL\r\n" * 200)
    listing = len(server.maildrop.unique_listing())
    assert server.largest_output < OUTPUT_HIGH_WATER + listing + 100
    assert len(server.output) > 200 * listing


def test_flush_comes_again_until_the_output_is_taken() -> None:
    connection = Connection(OPEN, secure=False)
    connection.receive(LOGIN + b"RETR 1\r\nSTAT\r\n")
    connection.next_event()
    connection.login_accepted(ThreeMessages())
    connection.next_event()
    connection.retrieve_started(OUTPUT_HIGH_WATER)
    connection.add_output(b"x" * OUTPUT_HIGH_WATER)
    connection.retrieve_finished()
    assert [connection.next_event(), connection.next_event()] == [Flush(), Flush()]
    assert connection.take_output().endswith(b"x.\r\n")
    assert connection.next_event() is None
    assert connection.take_output() == b"+OK 3 3320\r\n"


def refused(text: str, code: str = "AUTH", before: bytes = b"") -> bytes:
    connection = Connection(OPEN, secure=False)
    connection.receive(before + LOGIN)
    assert isinstance(connection.next_event(), Login)
    connection.take_output()
    connection.login_refused(text, code)
    assert (connection.state, connection.login_name) == (State.AUTHORIZATION, "")
    assert connection.next_event() is None
    return connection.take_output()


def test_a_refusal_is_one_printable_line() -> None:
    assert refused("try again later", "SYS/TEMP") == b"-ERR [SYS/TEMP] try again later\r\n"
    assert refused("a\r\n+OK b\0\x1b\tc\u202e") == b"-ERR [AUTH] a +OK b c\r\n"
    assert refused("Grüße, größer – naïve ☃") == b"-ERR [AUTH] Gruesse, groesser - naive ?\r\n"
    for before in (b"UTF8\r\n", b"LANG de\r\n"):
        assert refused("Grüße ☃", before=before) == "-ERR [AUTH] Grüße ☃\r\n".encode()
    assert refused("x" * 1000) == b"-ERR [AUTH] " + b"x" * 498 + b"\r\n"
    assert refused("x" * 1000, before=b"UTF8\r\n") == b"-ERR [AUTH] " + b"x" * 498 + b"\r\n"
    cut = refused("ü" * 1000, "IN-USE", before=b"UTF8\r\n")
    assert cut == "-ERR [IN-USE] {}\r\n".format("ü" * 248).encode()
    assert len(cut) <= 512


def retrieving(command: bytes = b"RETR 1\r\n") -> Connection:
    connection = Connection(OPEN, secure=False)
    connection.receive(LOGIN + command)
    connection.next_event()
    connection.login_accepted(ThreeMessages())
    connection.next_event()
    connection.take_output()
    return connection


def test_a_message_that_cannot_be_sent_is_an_honest_error() -> None:
    connection = retrieving()
    connection.retrieve_failed(temporary=True)
    assert connection.take_output() == (
        b"-ERR [SYS/TEMP] the message cannot be read just now; please try again later\r\n"
    )
    connection = retrieving()
    connection.retrieve_failed(temporary=False)
    assert connection.take_output() == b"-ERR [SYS/PERM] the message is no longer there\r\n"
    connection = retrieving()
    connection.retrieve_started(120)
    with pytest.raises(RuntimeError):
        connection.retrieve_failed(temporary=True)


def test_quit_is_answered_after_the_deletions() -> None:
    connection = retrieving(b"DELE 3\r\nDELE 1\r\nQUIT\r\nSTAT\r\n")
    assert (connection.state, connection.next_event(), connection.take_output()) == (State.UPDATE, None, b"")
    connection.expunged()
    assert connection.take_output() == b"+OK 2 messages deleted, goodbye\r\n"
    assert [connection.next_event(), connection.next_event()] == [Close(), None]
    connection = retrieving(b"DELE 3\r\nDELE 1\r\nQUIT\r\nSTAT\r\n")
    connection.expunge_failed()
    assert connection.take_output() == (
        b"-ERR [SYS/TEMP] the messages could not be deleted just now; all are still there\r\n"
    )
    assert [connection.next_event(), connection.next_event()] == [Close(), None]
    assert connection.state is State.CLOSED


def test_a_session_that_ends_without_quit_deletes_nothing() -> None:
    for end, answered in [
        (Connection.timed_out, b""),  # RFC 1939 section 3: without sending any response
        (
            Connection.shutting_down,
            b"-ERR [SYS/TEMP] the server is going down; nothing was deleted, please try again soon\r\n",
        ),
    ]:
        server = serve(logged_in=True)
        server.feed(b"DELE 1\r\n")
        server.output.clear()
        end(server.connection)
        end(server.connection)
        server.feed(b"QUIT\r\n")
        assert (bytes(server.output), server.events) == (answered, [Close()])


@pytest.mark.parametrize("end", [Connection.timed_out, Connection.shutting_down])
def test_nothing_is_said_where_it_would_be_taken_for_something_else(
    end: Callable[[Connection], None],
) -> None:
    sending = retrieving()
    sending.retrieve_started(120)
    sending.add_output(b"half a mess")
    deleting = retrieving(b"DELE 1\r\nQUIT\r\n")
    shaking_hands = Connection(OPEN, secure=False)
    shaking_hands.receive(b"STLS\r\n")
    shaking_hands.next_event()
    end(sending)
    end(deleting)
    end(shaking_hands)
    assert sending.take_output() == b"+OK 120 octets\r\nhalf a mess"
    assert deleting.take_output() == b""
    assert shaking_hands.take_output() == b"+OK begin TLS negotiation\r\n"
    assert [sending.next_event(), deleting.next_event()] == [Close(), Close()]


def test_an_answer_that_nobody_waits_for_is_the_servers_mistake() -> None:
    connection = Connection(OPEN, secure=False)
    answers: list[Callable[[], None]] = [
        lambda: connection.login_accepted(ThreeMessages()),
        lambda: connection.login_refused("no"),
        lambda: connection.retrieve_started(1),
        lambda: connection.add_output(b"x"),
        lambda: connection.retrieve_finished(),
        lambda: connection.retrieve_failed(temporary=True),
        lambda: connection.expunged(),
        lambda: connection.expunge_failed(),
        lambda: connection.tls_started(),
        lambda: connection.tls_failed(),
    ]
    for answer in answers:
        with pytest.raises(RuntimeError):
            answer()
    connection.receive(LOGIN)
    connection.next_event()
    connection.timed_out()
    with pytest.raises(RuntimeError):
        connection.login_accepted(ThreeMessages())


@pytest.mark.parametrize(
    ("argument", "program"),
    [
        (b'("name" "Thunderbird" "version" "128.1")', "Thunderbird 128.1"),
        (b'("VERSION" "2" "Name" "K-9 Mail" "os" NIL)', "K-9 Mail 2"),
        (b'("name" "a \\"b\\" \\\\c")', 'a "b" \\c'),
        (b'("name" "a\x1bb\xff")', "ab\N{REPLACEMENT CHARACTER}"),
        (b'("name" NIL)', ""),
        (b"()", ""),
        (b"nil", ""),
        (b'("name" "' + b"x" * 200 + b'")', "x" * 80),
    ],
)
def test_id_tells_the_program_in_one_printable_line(argument: bytes, program: str) -> None:
    server = serve()
    server.feed(b"ID " + argument + b"\r\n")
    assert (bytes(server.output), server.connection.program) == (b"+OK noted\r\n", program)


# The machine itself.

PURE = ["commands", "events", "lines", "marks", "program", "protocol", "replies", "sasl", "session", "texts"]


@pytest.mark.parametrize("module", PURE)
def test_the_machine_imports_the_standard_library_only_and_nothing_that_talks(module: str) -> None:
    tree = ast.parse((Path(pop3d.__file__).parent / f"{module}.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    outside = {name for name in names if not (name == "pop3d" or name.removeprefix("pop3d.") in PURE)}
    assert outside <= sys.stdlib_module_names | {"collections.abc"}
    assert not outside & {"asyncio", "socket", "ssl", "os", "time", "logging"}


# -- what is counted ------------------------------------------------------------------------------


def counted(*said: bytes, secure: bool = False) -> dict[tuple[bytes, bool], int]:
    commands = Commands()
    server = Server(Connection(OPEN, secure=secure, commands=commands))
    for line in said:
        server.feed(line)
    return dict(commands)


def test_commands_are_counted_by_their_answers_and_never_by_names_of_the_peer_s_own() -> None:
    said = b"STAT\r\nLIST\r\nLIST 9\r\nRETR 1\r\nRETR 9\r\nTOP 1\r\nuser x\r\nMAKE up\r\nDELE 1\r\nQUIT\r\n"
    assert counted(b"CAPA\r\n", LOGIN, said) == {
        (b"CAPA", True): 1,
        (b"USER", True): 1,
        (b"PASS", True): 1,
        (b"STAT", True): 1,
        (b"LIST", True): 1,
        (b"LIST", False): 1,
        (b"RETR", True): 1,
        (b"RETR", False): 1,
        (b"TOP", False): 1,
        (b"USER", False): 1,
        (b"OTHER", False): 1,
        (b"DELE", True): 1,
        (b"QUIT", True): 1,
    }


def test_a_login_is_counted_when_it_is_answered() -> None:
    plain = b"AUTH PLAIN\r\n" + base64(b"\0ann@example.test\0correct horse") + b"\r\n"
    assert counted(b"USER ann\r\nPASS wrong\r\n", plain) == {
        (b"USER", True): 1,
        (b"PASS", False): 1,
        (b"AUTH", True): 1,
    }
    cancelled = b"AUTH PLAIN\r\n*\r\n" + b"x" * 300 + b"\r\n"
    assert counted(cancelled) == {(b"AUTH", False): 1, (b"OTHER", False): 1}
    assert counted(b"STLS\r\n") == {(b"STLS", True): 1}


@pytest.mark.parametrize("event", [Retrieve, Expunge])
def test_what_fails_in_the_store_is_counted_as_refused(event: type[Event]) -> None:
    commands = Commands()
    connection = Connection(OPEN, secure=False, commands=commands)
    Server(connection).feed(LOGIN)
    connection.receive(b"RETR 1\r\n" if event is Retrieve else b"DELE 1\r\nQUIT\r\n")
    assert isinstance(connection.next_event(), event)
    if event is Retrieve:
        connection.retrieve_failed(temporary=True)
    else:
        connection.expunge_failed()
    assert commands[b"RETR" if event is Retrieve else b"QUIT", False] == 1
    assert commands[b"RETR" if event is Retrieve else b"QUIT", True] == 0
