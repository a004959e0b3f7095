"""Whatever octets come: both machines keep to their protocol, both doors stay alive, and small."""

import random
import re
import socket
import ssl
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hosting.tests.house import House, until
from hosting.tests.mail_clients import ANSWER_SECONDS, PASSWORD, Mail, connect, crlf, fetched, stuffed
from mailboxes.models import DeliveryRecord, Message, POP3Session
from mailboxes.wire import DataReader, Stuffer, TopCutter, unstuff
from pop3d.tests.conversations import GUARDED, OPEN, serve
from smtpd.tests.conversation import LMTP, SMTP
from smtpd.tests.conversation import Server as MailServer

MEMORY_ALLOWED = 60_000_000
SPLITS = settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Octets that mean something to somebody, and octets that mean nothing.
POP3_WORDS = (
    b"USER PASS AUTH CAPA ID LANG NOOP QUIT STAT LIST RETR DELE RSET TOP UIDL UTF8 STLS APOP XTND PLAIN LOGIN"
    b" ann@example.test correct horse AGFubgBjb3JyZWN0IGhvcnNl = * -1 0 1 2 3 4 99999999999999999999 \xff\xfe"
    b" \0 \t \r \n \r\n \r\n \r\n \r\n . .. \xc3\xa4 de i-default (NIL) \x16\x03\x01\x02"
).split(b" ")
MAIL_WORDS = (
    b"LHLO EHLO HELO MAIL RCPT DATA BDAT RSET VRFY NOOP HELP EXPN AUTH STARTTLS QUIT FROM:<> FROM:<a@b> XYZ"
    b" TO:<ann@example.test> TO:<unknown@example.test> TO:<late@example.test> SIZE=10 SIZE=99999999999999999"
    b" BODY=8BITMIME SMTPUTF8 LAST 0 5 1100 -1 localhost . .\r\n \r\n.\r\n \n.\n \r \n \r\n \r\n \r\n \r\n"
    b' \xff \0 <> @ , " \\ \x16\x03\x01 Received:x Subject:'
).split(b" ")


def streams(words: list[bytes]) -> "st.SearchStrategy[list[bytes]]":
    piece = st.one_of(
        st.lists(st.sampled_from(words), min_size=1, max_size=8).map(b" ".join),
        st.lists(st.sampled_from(words), min_size=1, max_size=8).map(b"".join),
        st.lists(st.sampled_from(words), min_size=1, max_size=4).map(lambda w: b" ".join(w) + b"\r\n"),
        st.binary(max_size=300),
        st.builds(lambda o, n: bytes([o]) * n, st.integers(0, 255), st.integers(200, 70_000)),
    )
    return st.lists(piece, min_size=1, max_size=12)


# -- the machines, without a socket -------------------------------------------------------------


@pytest.mark.once
@SPLITS
@given(streams(POP3_WORDS), st.booleans(), st.booleans(), st.booleans())
def test_the_pop3_machine_answers_or_hangs_up(
    pieces: list[bytes], secure: bool, logged_in: bool, guarded: bool
) -> None:
    server = serve(OPEN if logged_in or not guarded else GUARDED, secure=secure, logged_in=logged_in)
    for piece in pieces:
        if server.connection.wants_data:
            server.feed(piece)
        assert len(server.connection.arrived) <= 64 * 1024 + len(piece)
    for line in bytes(server.output).split(b"\r\n")[:-1]:
        assert len(line) <= 510
        assert b"\n" not in line
    # Nobody gets in who does not say the password.
    if (
        not logged_in
        and b"AGFubgBjb3JyZWN0IGhvcnNl" not in b"".join(pieces)
        and b"horse" not in b"".join(pieces)
    ):
        assert b"3 messages" not in server.output


@pytest.mark.once
@SPLITS
@given(streams(MAIL_WORDS), st.sampled_from([LMTP, SMTP]))
def test_the_mail_machine_answers_or_hangs_up(pieces: list[bytes], policy: object) -> None:
    server = MailServer(policy)  # type: ignore[arg-type]
    for piece in pieces:
        server.feed(piece)
    for line in server.story.output.split(b"\r\n")[:-1]:
        assert re.fullmatch(rb"[245]\d\d[ -][ -~]*", line), line
        assert len(line) <= 510
    # Every message has a sender, somebody it is for, and the octets that are counted.
    for _, recipients, wire, octets in server.story.messages:
        assert 1 <= len(recipients) <= 4
        assert len(unstuff(wire)) == octets <= 1000
        assert not wire or wire.endswith(b"\r\n")
        assert b"\n" not in wire.replace(b"\r\n", b"")


ENDS = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b".", b"..", b"\r\n.", b"\n.", b"\r.", b"x", b"\0", b"\xff", b"\r\r\n"]
)
TEXTS = st.lists(st.one_of(ENDS, st.binary(max_size=20)), max_size=40).map(b"".join)


@pytest.mark.once
@SPLITS
@given(TEXTS, st.integers(0, 2**32))
def test_data_and_bdat_keep_the_octets_whatever_the_pieces(raw: bytes, seed: int) -> None:
    chance = random.Random(seed)
    for reader, sent, expected in (
        (DataReader(), stuffed(raw), crlf(raw if not raw or raw.endswith(b"\r\n") else raw + b"\r\n")),
        (Stuffer(), raw, crlf(raw)),
    ):
        wire, at = b"", 0
        while at < len(sent):
            step = chance.randrange(1, 9)
            wire += reader.feed(sent[at : at + step])
            at += step
        if isinstance(reader, Stuffer):
            wire += reader.finish()
        else:
            # The sender's CRLF.CRLF is the end; content that held one has ended there.
            assert reader.done
            if reader.rest:
                continue
        assert unstuff(wire) == expected
        assert reader.octets == len(expected)
        assert b"\r\n.\r\n" not in b"\r\n" + wire
        assert TopCutter(10**9).feed(wire) == wire


# -- the doors, with sockets --------------------------------------------------------------------


def noise(chance: random.Random, words: list[bytes]) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 4000))
    if kind == 1:
        return chance.choice([b"x", b"\0", b"\r", b"\n", b"\xff", b"A="]) * chance.randrange(1, 100_000)
    some = [chance.choice(words) for _ in range(chance.randrange(1, 60))]
    return chance.choice([b" ", b"", b"\r\n"]).join(some) + chance.choice([b"", b"\r\n"])


def rounds(
    house: House, kind: str, words: list[bytes], first: list[bytes], turns: int, heard: bytes = b""
) -> int:
    """Connections that say noise, at any point of a conversation, in any pieces, and hang up in any way.

    Those that say all of `first` wait until they have `heard` that it was understood; how many these were.
    """
    whole = 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(house.certificate)
    for turn in range(turns):
        chance = random.Random(turn)
        wire = connect(house.place(kind))
        wire.settimeout(0.05)
        with suppress(OSError):
            if kind == "pop3s" and turn % 3:
                wire.settimeout(ANSWER_SECONDS)
                wire = context.wrap_socket(wire, server_hostname="localhost")
                wire.settimeout(0.05)
            said = chance.randrange(len(first) + 1)
            wire.sendall(b"".join(first[:said]))
            if heard and said == len(first) and (kind != "pop3s" or turn % 3):
                wait_to_hear(wire, heard)
                whole += 1
            for _ in range(chance.randrange(1, 6)):
                wire.sendall(noise(chance, words))
                if chance.randrange(2):
                    with suppress(TimeoutError):
                        wire.recv(65_536)
            if chance.randrange(3) == 0:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            elif chance.randrange(2):
                wire.shutdown(socket.SHUT_WR)
                with suppress(TimeoutError):
                    while wire.recv(65_536):
                        pass
        wire.close()
    return whole


def wait_to_hear(wire: socket.socket, wanted: bytes) -> None:
    before, text = wire.gettimeout(), b""
    wire.settimeout(ANSWER_SECONDS)
    while wanted not in text:
        some = wire.recv(65_536)
        assert some, f"hung up before {wanted!r}: {text!r}"
        text += some
    wire.settimeout(before)


@pytest.mark.processes
def test_the_pop3_door_survives_whatever_is_said_to_it(own_house: House) -> None:
    house = own_house.start()
    ann = house.open("ann")
    with house.lmtp() as client:
        for _ in range(3):
            client.deliver(b"Subject: kept\r\n\r\n" + b"x" * 2000 + b"\r\n", ann.login)
    house.log_in(ann).quit()
    pop3d = house.door("pop3d")
    before = pop3d.memory()
    words = [word for word in POP3_WORDS if word not in (b"QUIT", b"DELE")]
    login = [b"CAPA\r\n", f"USER {ann.login}\r\n".encode(), f"PASS {PASSWORD}\r\n".encode(), b"UIDL\r\n"]
    entered = rounds(house, "pop3", words, login, 150, heard=b"+OK 3 messages")
    entered += rounds(house, "pop3s", words, login, 60, heard=b"+OK 3 messages")
    assert pop3d.process.poll() is None
    assert pop3d.memory() - before < MEMORY_ALLOWED
    with house.log_in(ann) as session:
        assert len(session.retrieve_all()) == 3
        assert session.quit() == b"+OK goodbye"
    # Everybody has left, and has left one record who tried to log in.
    house.door("pop3d").stop()
    assert POP3Session.objects.filter(login=ann.login).exclude(deleted=0).count() == 0
    assert POP3Session.objects.filter(login=ann.login).count() >= entered > 30


@pytest.mark.processes
def test_the_mail_door_survives_whatever_is_said_to_it(own_house: House) -> None:
    house = own_house.start()
    ann = house.open("ann")
    smtpd = house.door("smtpd")
    with house.lmtp() as client:
        client.deliver(b"Subject: first\r\n\r\n", ann.login)
    before = smtpd.memory()
    begin = [
        b"MAIL FROM:<a@b>\r\n",
        f"RCPT TO:<{ann.login}>\r\n".encode(),
        b"DATA\r\n",
        b"Subject: x\r\n\r\n",
    ]
    rounds(house, "lmtp", MAIL_WORDS, [b"LHLO x\r\n", *begin], 120)
    rounds(house, "smtp", MAIL_WORDS, [b"EHLO x\r\n", *begin], 120)
    assert smtpd.process.poll() is None
    assert smtpd.memory() - before < MEMORY_ALLOWED
    with house.lmtp() as client:
        [reply] = client.deliver(b"Subject: last\r\n\r\n", ann.login)
        assert reply.status == "250 2.0.0"
    # Whatever was taken can be fetched, whole.
    with house.log_in(ann) as session:
        messages = session.retrieve_all()
    assert fetched(messages[-1]).original == b"Subject: last\r\n\r\n"
    assert len(messages) == Message.objects.count()
    assert DeliveryRecord.objects.filter(code="250 2.0.0").count() == len(messages)
    until(lambda: list((house.content / "spool").glob("*")) == [], "the spool to be empty")


@pytest.mark.processes
def test_clients_that_stop_reading_cost_little_and_disturb_nobody(own_house: House) -> None:
    house = own_house.start()
    ann, bob = house.open("ann"), house.open("bob")
    size = 8_000_000
    with house.lmtp() as client:
        client.deliver(b"x" * size + b"\r\n", ann.login)
        client.deliver(b"Subject: small\r\n\r\n", bob.login)
    house.log_in(bob).quit()
    pop3d = house.door("pop3d")
    before = pop3d.memory()
    stuck = []
    for _ in range(20):
        session = house.log_in(ann)
        # 160 MB are asked for by each, and none of it is read.
        session.send(b"RETR 1\r\n" * 20 + b"UIDL\r\n" * 2000)
        stuck.append(session)
    for _ in range(5):
        with house.log_in(bob) as session:
            assert len(session.retrieve_all()) == 1
    assert pop3d.memory() - before < MEMORY_ALLOWED
    # One of them reads after all, and has lost nothing.
    assert stuck[0].line() == b"+OK %d octets" % house.messages(ann)[0].size
    assert fetched(stuck[0].lines()).original == b"x" * size + b"\r\n"
    for session in stuck:
        session.drop()
    house.sessions(ann.login, 20)


@pytest.mark.processes
def test_a_message_of_any_size_costs_little_memory(own_house: House) -> None:
    house = own_house.start()
    ann = house.open("ann")
    with house.lmtp() as client:
        client.deliver(b"Subject: small\r\n\r\n", ann.login)
    house.log_in(ann).quit()
    before = {door.name: door.memory() for door in house.doors}
    raw = (b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 + b"\r\n") * 450_000
    with house.lmtp() as client:
        assert [r.status for r in client.deliver(raw, ann.login)] == ["250 2.0.0"]
        assert client.deliver_chunks(raw, ann.login, len(raw)).status == "250 2.0.0"
    with house.log_in(ann, tls=True) as session:
        messages = session.retrieve_all()
    assert [fetched(message).original for message in messages[1:]] == [raw, raw]
    for door in house.doors:
        assert door.memory() - before[door.name] < MEMORY_ALLOWED, door.name


@pytest.mark.processes
def test_more_connections_than_allowed_are_told_so(own_house: House) -> None:
    house = own_house
    house.pop3d(POP3_MAX_CONNECTIONS_PER_ADDRESS="5")
    house.smtpd(SMTPD_MAX_CONNECTIONS_PER_ADDRESS="5")
    ann = house.open("ann")
    sessions = [house.pop3() for _ in range(5)]
    refused = house.pop3()
    assert refused.greeting == b"-ERR [SYS/TEMP] too many connections, try again later"
    assert refused.rest() == b""
    clients = [house.lmtp() for _ in range(5)]
    with pytest.raises(EOFError, match=r"421 4\.7\.0"):
        house.lmtp()
    for wire in (*sessions[1:], *clients[1:]):
        wire.close()

    def served() -> bool:
        try:
            with house.lmtp() as client:
                return client.deliver(b"Subject: x\r\n\r\n", ann.login)[0].status == "250 2.0.0"
        except EOFError:
            return False

    until(served, "room again")
    assert sessions[0].log_in(ann.login).startswith(b"+OK ")


def test_a_file_descriptor_is_free_again_after_each_connection(house: House) -> None:
    door, ports = house.door("pop3d"), (house.port("pop3"), house.port("pop3s"))

    def held() -> int:
        return sum(len(door.connections(port)) for port in ports)

    for turn in range(60):
        wire = connect(house.place("pop3s" if turn % 2 else "pop3"))
        until(held, "a connection that is held")
        wire.sendall(b"\x16\x03\x01" if turn % 3 else b"QUIT\r\n")
        wire.close()
    until(lambda: held() == 0, "the descriptors to be free again")


def test_mail_that_is_begun_and_begun_again_leaves_nothing(house: House) -> None:
    ann = house.open("begun")
    with house.lmtp() as client:
        assert isinstance(client, Mail)
        for _ in range(5):
            client.envelope(ann.login)
            client.send(b"BDAT 400000\r\n" + b"x" * 400_000 + b"RSET\r\n")
            assert [client.reply().status for _ in range(2)] == ["250 2.0.0", "250 2.0.0"]
        assert list((house.content / "spool").glob("*")) == []
    assert house.messages(ann) == []
