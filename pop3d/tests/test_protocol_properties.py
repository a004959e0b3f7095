"""What holds for every POP3 session, whatever is sent and however it arrives."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pop3d.lines import SASL_LIMIT
from pop3d.protocol import Close, Expunge, Retrieve
from pop3d.tests.conversations import BODY, LOGIN, ThreeMessages, serve

pytestmark = pytest.mark.once

WORDS = st.sampled_from(
    b"USER PASS AUTH UTF8 LANG CAPA ID NOOP QUIT STAT LIST RETR DELE RSET TOP UIDL XYZ PLAIN LOGIN = *"
    b" AGFubgBjb3JyZWN0IGhvcnNl YW5u Y29ycmVjdCBob3JzZQ== ann@example.test wrong 0 1 2 3 4 99999999999 -1 de"
    b' en ("name" "x") \xff \x00 \xc3\xa4'.split()
)
LINE = st.lists(WORDS, min_size=1, max_size=4).map(b" ".join)
STREAM = st.lists(
    st.one_of(LINE, st.just(LOGIN.strip()), st.just(b"x" * 256), st.just(b"AUTH PLAIN " + b"A" * 300)),
    max_size=12,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))


@given(STREAM, st.lists(st.integers(0, 2000)), st.booleans())
@settings(max_examples=300, deadline=None)
def test_replies_do_not_depend_on_how_the_octets_arrive(
    stream: bytes, cuts: list[int], logged_in: bool
) -> None:
    whole = serve(logged_in=logged_in)
    whole.feed(stream)
    pieces = serve(logged_in=logged_in)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        pieces.feed(stream[start:end])
    assert (pieces.output, pieces.events) == (whole.output, whole.events)
    assert (pieces.connection.state, pieces.connection.deleted) == (
        whole.connection.state,
        whole.connection.deleted,
    )


PART = re.compile(
    rb"\.|\d+ [!-~]+|PLAIN|LOGIN|en English|de Deutsch|i-default Default language|TOP|UIDL"
    rb"|PIPELINING|RESP-CODES|AUTH-RESP-CODE|EXPIRE NEVER|UTF8 USER|LANG|USER|SASL PLAIN LOGIN|STLS"
    rb"|IMPLEMENTATION Restante"
)


def assert_only_replies(output: bytes) -> None:
    """Every line is `+OK `, `-ERR ` or `+ `, or a known part of a multi-line reply, and none is too long."""
    for line in output.replace(BODY, b"").splitlines(keepends=True):
        assert line.endswith(b"\r\n")
        assert len(line) <= 512
        assert line.startswith((b"+OK ", b"-ERR ", b"+ ")) or PART.fullmatch(line[:-2]), line


@given(
    st.lists(st.one_of(st.binary(max_size=600), LINE, st.just(b"\r\n")), max_size=30),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_octets_raise_or_are_answered_with_anything_but_a_reply(
    pieces: list[bytes], secure: bool, logged_in: bool
) -> None:
    server = serve(secure=secure, logged_in=logged_in)
    for piece in pieces:
        server.feed(piece)
        assert len(server.connection.arrived) < SASL_LIMIT
    assert_only_replies(bytes(server.output))


class Session(RuleBasedStateMachine):
    """A session after login beside a model of it: number -> octets, unique id, deleted."""

    @initialize(sizes=st.lists(st.integers(0, 10**9), max_size=6))
    def log_in(self, sizes: list[int]) -> None:
        self.server = serve()
        self.server.maildrop = ThreeMessages(sizes)
        self.server.feed(LOGIN)
        self.server.events.clear()
        self.model = {n: (octets, f"uid-{n:04}".encode(), False) for n, octets in enumerate(sizes, 1)}
        self.open = True

    def say(self, command: bytes) -> bytes:
        self.server.output.clear()
        self.server.events.clear()
        self.server.feed(command + b"\r\n")
        return bytes(self.server.output)

    def kept(self) -> dict[int, tuple[int, bytes]]:
        return {n: (octets, uidl) for n, (octets, uidl, deleted) in self.model.items() if not deleted}

    def refusal(self, number: int) -> bytes:
        if number in self.model:
            return b"-ERR message %d is already deleted\r\n" % number
        return b"-ERR no such message, there are only %d\r\n" % len(self.model)

    numbers = st.integers(0, 8)

    @precondition(lambda self: self.open)
    @rule()
    def stat(self) -> None:
        kept = self.kept()
        assert self.say(b"STAT") == b"+OK %d %d\r\n" % (len(kept), sum(o for o, _ in kept.values()))

    @precondition(lambda self: self.open)
    @rule()
    def list_all(self) -> None:
        kept = self.kept()
        head = b"+OK %d messages (%d octets)\r\n" % (len(kept), sum(o for o, _ in kept.values()))
        scan = b"".join(b"%d %d\r\n" % (n, octets) for n, (octets, _) in kept.items())
        unique = b"".join(b"%d %b\r\n" % (n, uidl) for n, (_, uidl) in kept.items())
        assert self.say(b"LIST") == head + scan + b".\r\n"
        assert self.say(b"UIDL") == head + unique + b".\r\n"

    @precondition(lambda self: self.open)
    @rule(number=numbers)
    def list_one(self, number: int) -> None:
        kept = self.kept()
        if number in kept:
            assert self.say(b"LIST %d" % number) == b"+OK %d %d\r\n" % (number, kept[number][0])
            assert self.say(b"UIDL %d" % number) == b"+OK %d %b\r\n" % (number, kept[number][1])
        else:
            assert self.say(b"LIST %d" % number) == self.refusal(number)
            assert self.say(b"UIDL %d" % number) == self.refusal(number)

    @precondition(lambda self: self.open)
    @rule(number=numbers, lines=st.one_of(st.none(), st.integers(0, 20)))
    def retrieve(self, number: int, lines: int | None) -> None:
        reply = self.say(b"RETR %d" % number if lines is None else b"TOP %d %d" % (number, lines))
        if number in self.kept():
            assert self.server.events == [Retrieve(number, lines)]
            assert reply == b"+OK %d octets\r\n%b.\r\n" % (len(BODY) - 1, BODY)
        else:
            assert (self.server.events, reply) == ([], self.refusal(number))

    @precondition(lambda self: self.open)
    @rule(number=numbers)
    def delete(self, number: int) -> None:
        if number in self.kept():
            assert self.say(b"DELE %d" % number) == b"+OK message %d will be deleted at QUIT\r\n" % number
            self.model[number] = (*self.model[number][:2], True)
        else:
            assert self.say(b"DELE %d" % number) == self.refusal(number)

    @precondition(lambda self: self.open)
    @rule()
    def reset(self) -> None:
        self.model = {n: (octets, uidl, False) for n, (octets, uidl, _) in self.model.items()}
        total = sum(octets for octets, _, _ in self.model.values())
        assert self.say(b"RSET") == b"+OK %d messages (%d octets)\r\n" % (len(self.model), total)

    @precondition(lambda self: self.open)
    @rule()
    def quit(self) -> None:
        deleted = tuple(n for n, (_, _, gone) in self.model.items() if gone)
        reply = self.say(b"QUIT")
        if deleted:
            assert self.server.events == [Expunge(deleted), Close()]
            assert reply == b"+OK %d messages deleted, goodbye\r\n" % len(deleted)
        else:
            assert self.server.events == [Close()]
            assert reply == b"+OK goodbye\r\n"
        self.open = False

    @precondition(lambda self: not self.open)
    @rule()
    def nothing_after_quit(self) -> None:
        assert self.say(b"STAT") == b""
        assert self.server.events == []

    @invariant()
    def counts_the_deleted(self) -> None:
        assert self.server.connection.deleted == sum(gone for _, _, gone in self.model.values())


Session.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestSession = Session.TestCase
