"""Bursts of commands, as clients send them that do not wait."""

import socket

from hosting.tests.house import House
from hosting.tests.mail_clients import ANSWER_SECONDS, PASSWORD


def _burst(house: House, place: str, octets: bytes) -> bytes:
    """Send everything, say that nothing more will come, and read to the end."""
    address = house.place(place)
    assert isinstance(address, tuple)
    with socket.create_connection(address, ANSWER_SECONDS) as connection:
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        heard = b""
        while part := connection.recv(65_536):
            heard += part
    return heard


def test_a_burst_that_ends_with_eof_is_answered_to_its_end(house: House) -> None:
    ann = house.open("burst")
    commands = (
        b"USER %b\r\nPASS %b\r\n" % (ann.login.encode(), PASSWORD.encode())
        + b"NOOP\r\n" * 1_000
        + b"QUIT\r\n"
    )
    lines = _burst(house, "pop3", commands).splitlines()
    assert [line[:4] for line in lines] == [b"+OK "] * (1 + 2 + 1_000 + 1)


def test_a_burst_without_quit_is_answered_and_deletes_nothing(house: House) -> None:
    ann = house.open("burst2")
    with house.lmtp() as client:
        client.deliver(b"Subject: one\r\n\r\n", ann.login)
    login = b"USER %b\r\nPASS %b\r\n" % (ann.login.encode(), PASSWORD.encode())
    lines = _burst(house, "pop3", login + b"NOOP\r\n" * 500 + b"DELE 1\r\n").splitlines()
    assert lines[-1][:4] == b"+OK "
    assert len(house.messages(ann)) == 1


def test_a_pipelined_lmtp_conversation_is_answered_to_its_end(house: House) -> None:
    ann = house.open("burst3")
    message = b"MAIL FROM:<>\r\nRCPT TO:<%b>\r\nBDAT 15 LAST\r\nSubject: x\r\n\r\n\n" % ann.login.encode()
    heard = _burst(house, "lmtp", b"LHLO burst.test\r\n" + message * 20 + b"QUIT\r\n")
    assert heard.count(b"250 2.0.0 Delivered as ") == 20
    assert len(house.messages(ann)) == 20
