"""App passwords at the real POP3 door: what opens it before and after a second factor is on."""

from typing import Any

import pytest

from hosting.tests.house import House, until
from hosting.tests.mail_clients import PASSWORD
from mailboxes import accounts, app_passwords
from mailboxes.models import Account, AppPassword

pytestmark = pytest.mark.processes

WRONG = b"-ERR [AUTH] wrong user name or password"
NEEDED = (
    b"-ERR [AUTH] this account has a second factor, so mail programs need an app password: "
    b"make one in the webmail"
)
OPEN = b"+OK"


@pytest.fixture(autouse=True)
def with_the_key_of_the_house(house: House, settings: Any) -> None:
    """App passwords that are made here must fit there."""
    settings.SECRET_KEY = house.settings["SECRET_KEY"]


def asked(house: House, account: Account, password: str) -> bytes:
    """The door's answer to this password; of a maildrop that opens only that it does (letters of the house
    about what was changed lie in it)."""
    with house.pop3() as session:
        answer = session.log_in(account.login, password)
    return OPEN if answer.startswith(b"+OK ") and b" octets)" in answer else answer


def make(account: Account, name: str = "telephone") -> str:
    return app_passwords.make(account, name, actor=account.login)


def switch_on(account: Account) -> None:
    accounts.change(account, "add_passkey", account.login, ({}, {}), second_factor=True)


def test_an_app_password_opens_and_its_use_is_noted(house: House) -> None:
    ann = house.open("app-password")
    password = make(ann)
    assert [asked(house, ann, given) for given in (password, PASSWORD)] == [OPEN, OPEN]

    def used() -> AppPassword | None:
        return AppPassword.objects.filter(account=ann).exclude(last_used_at=None).first()

    row = until(used, "the last use")
    assert row is not None
    assert (row.last_used_from, house.sessions(ann.login, 2)[0].ended) == ("127.0.0.1", "dropped")


def test_two_devices_behind_one_address_are_told_apart(house: House) -> None:
    ann = house.open("two-devices")
    with house.lmtp() as client:
        client.deliver(b"Subject: one\r\n\r\n", ann.login)
    laptop, tablet = make(ann, "Thunderbird on the laptop"), make(ann, "tablet in the drawer")
    with house.pop3() as session:
        session.log_in(ann.login, laptop)
        session.ask("RETR 1")
        session.ask("QUIT")
    with house.pop3() as session:
        session.ask('ID ("name" "K-9 Mail")')
        session.log_in(ann.login, tablet)
        session.ask("DELE 1")
        session.ask("QUIT")
    sessions = {session.program: session.deleted for session in house.sessions(ann.login, 2)}
    assert sessions == {"Thunderbird on the laptop": 0, "tablet in the drawer (K-9 Mail)": 1}


def test_with_a_second_factor_only_an_app_password_opens(house: House) -> None:
    ann = house.open("second-factor")
    password = make(ann)
    assert asked(house, ann, PASSWORD) == OPEN  # which the door remembers
    switch_on(ann)
    # Said to who has the right password, and to nobody else.
    assert asked(house, ann, PASSWORD) == NEEDED
    assert asked(house, ann, PASSWORD) == NEEDED
    assert asked(house, ann, "wrong") == WRONG
    assert asked(house, ann, password) == OPEN


def test_revoking_shuts_the_door_at_once(house: House) -> None:
    ann = house.open("revoked")
    switch_on(ann)
    gone, stays = make(ann, "telephone"), make(ann, "laptop")
    for _ in range(2):
        assert [asked(house, ann, password) for password in (gone, stays)] == [OPEN, OPEN]
    telephone = AppPassword.objects.get(account=ann, name="telephone")
    assert app_passwords.revoke(ann, telephone.pk, actor=ann.login)
    assert [asked(house, ann, password) for password in (gone, stays)] == [WRONG, OPEN]
