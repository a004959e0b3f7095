"""A house whose pages speak German answers SMTP, LMTP and POP3 in the protocols' own English, in ASCII."""

import pytest

from hosting.tests.house import House
from hosting.tests.mail_clients import Wire, trusting
from mailboxes import accounts

pytestmark = pytest.mark.processes

LETTER = b"Subject: a letter\r\n\r\nHello\r\n"


@pytest.fixture
def german_house(own_house: House) -> House:
    own_house.smtpd(LANGUAGE_CODE="de")
    own_house.pop3d(LANGUAGE_CODE="de")
    return own_house


def test_mail_is_taken_and_refused_in_english(german_house: House) -> None:
    ann = german_house.open("ann")
    for client in (german_house.lmtp(), german_house.smtp()):
        # `reply()` decodes as ASCII, so that one letter of German in an answer fails.
        assert [answer.status for answer in client.deliver(LETTER, ann.login)] == ["250 2.0.0"]
        answers = client.envelope("nobody@example.test", "ann@elsewhere.test", "..@example.test", "ann@")
        assert [answer.status[0] for answer in answers] == ["5"] * 4
        assert "No such" in answers[0].text or "no such" in answers[0].text
        assert client.ask("NONSENSE").status.startswith("500")
        assert client.ask("QUIT").text.endswith("Goodbye")


def test_pop3_is_refused_in_english(german_house: House) -> None:
    ann, bob = german_house.open("ann"), german_house.open("bob")
    accounts.suspend(bob, "invoice 7 is open", actor="operator@example.test")
    with german_house.pop3() as session:
        assert session.log_in(ann.login, "wrong").isascii()
    with german_house.pop3() as session:
        refusal = session.log_in(bob.login)
        assert refusal.startswith(b"-ERR ")
        assert refusal.endswith(b"this account is suspended: invoice 7 is open")
    with german_house.log_in(ann) as session:
        said = [session.ask(command) for command in ("STAT", "DELE 9", "NOOP", "NONSENSE", "RSET")]
        assert [answer for answer in said if not answer.isascii()] == []
        assert session.quit() == b"+OK goodbye"


def test_who_asks_for_german_is_answered_in_german(german_house: House) -> None:
    with Wire(german_house.place("pop3"), trusting(german_house.certificate)) as client:
        assert client.line().isascii()
        client.send(b"LANG de\r\nUSER x\r\nQUIT\r\n")
        assert client.rest().decode().endswith("+OK auf Wiedersehen\r\n")
