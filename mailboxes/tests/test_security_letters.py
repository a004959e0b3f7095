"""Letters about changes of security: one for each, whoever made it, and none that gives a secret away."""

import json
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from time import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, transaction

from mailboxes import accounts, app_passwords, house_mail, passkeys, secondfactor, security_letters, storage
from mailboxes.audit import Actor
from mailboxes.exceptions import StoreUnavailable
from mailboxes.models import Account, AppPassword, Content, FolderKind, Mailbox, Message, Passkey, WebSession
from mailboxes.passkeys import Site
from mailboxes.retention import recount
from mailboxes.tests.test_exporting import retrieved
from mailboxes.tests.test_secondfactor import set_up
from mailboxes.web_sessions import begin

pytestmark = pytest.mark.django_db

# Runs a change and then what follows its commit, which a test's own transaction never sees.
Do = Callable[[Callable[[], Any]], Any]
STAFF = Actor("support@example.test", "198.51.100.9")


@pytest.fixture
def do(django_capture_on_commit_callbacks: Any) -> Do:
    def make(change: Callable[[], Any]) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return change()

    return make


def letters_to(account: Account) -> list[EmailMessage]:
    mailbox = Mailbox.objects.select_related("account").get(account=account)
    parsed = [message_from_bytes(raw, policy=policy.default) for raw in retrieved(mailbox)]
    assert all(isinstance(one, EmailMessage) and one.defects == [] for one in parsed)
    return [one for one in parsed if isinstance(one, EmailMessage)]


def the_letter_to(account: Account) -> tuple[str, str]:
    [letter] = letters_to(account)
    return letter["Subject"], text_of(letter)


def text_of(letter: EmailMessage) -> str:
    return str(letter.get_content()).replace("\r\n", "\n")


def by_owner(account: Account) -> Actor:
    return Actor(account.login, "192.0.2.7")


def give_passkey(account: Account, name: str = "My telephone") -> int:
    made = Passkey.objects.create(account=account, name=name, credential=name, public_key=b"x")
    Account.objects.filter(pk=account.pk).update(second_factor=True)
    return made.pk


def add_passkey(account: Account, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made = SimpleNamespace(credential_id=b"id", credential_public_key=b"key", sign_count=0)
    monkeypatch.setattr(passkeys, "verify_registration_response", lambda **_: made)
    site = Site("mail.example.test", "https://mail.example.test")
    answer = json.dumps({"response": {}})
    return passkeys.add(account, "My telephone", answer, "eA", site, actor=by_owner(account))


def revoke(account: Account) -> None:
    assert app_passwords.revoke(account, AppPassword.objects.get().pk, actor=by_owner(account))


# Each with what must be there before, the change, and what the letter says of it.
CHANGES: dict[str, tuple[Callable[[Account], Any], Callable[[Account], Any], str]] = {
    "authenticator set up": (bool, lambda ann: set_up(ann, time()), "An authenticator app was set up"),
    "authenticator removed": (
        lambda ann: set_up(ann, time()),
        lambda ann: secondfactor.remove_authenticator(ann, actor=by_owner(ann)),
        "The authenticator app was removed",
    ),
    "passkey removed": (
        give_passkey,
        lambda ann: passkeys.remove(ann, Passkey.objects.get().pk, actor=by_owner(ann)),
        "A passkey was removed",
    ),
    "recovery codes": (
        give_passkey,
        lambda ann: secondfactor.renew_recovery_codes(ann, actor=by_owner(ann)),
        "New recovery codes were made, and the old ones are void",
    ),
    "second factor reset": (
        give_passkey,
        lambda ann: secondfactor.reset(ann, actor=STAFF),
        "The second factor was removed",
    ),
    "app password made": (
        bool,
        lambda ann: app_passwords.make(ann, "Tablet", actor=by_owner(ann)),
        "An app password was made",
    ),
    "app password revoked": (
        lambda ann: app_passwords.make(ann, "Tablet", actor=by_owner(ann)),
        revoke,
        "An app password was revoked",
    ),
    "all app passwords revoked": (
        lambda ann: app_passwords.make(ann, "Tablet", actor=by_owner(ann)),
        lambda ann: app_passwords.revoke_all(ann, actor=STAFF),
        "All app passwords were revoked",
    ),
    "password changed": (
        bool,
        lambda ann: accounts.reset_password(ann, "another one entirely", actor=by_owner(ann)),
        "The password was changed",
    ),
    "password reset": (
        bool,
        lambda ann: accounts.give_temporary_password(ann, actor=STAFF),
        "The password was reset, and a temporary one was given",
    ),
    "sessions ended": (
        bool,
        lambda ann: accounts.end_sessions(ann, actor=STAFF),
        "All sessions in browsers were ended",
    ),
    "other sessions ended": (
        lambda ann: begin(ann.pk, ann.login, peer="192.0.2.8", program="Firefox"),
        lambda ann: accounts.end_other_sessions(ann, "", actor=by_owner(ann)),
        "All other sessions in browsers were ended",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_told_once_and_without_a_secret(ann: Account, bob: Account, do: Do, name: str) -> None:
    before, change, what = CHANGES[name]
    before(ann)
    ann.refresh_from_db()
    given = do(lambda: change(ann))
    subject, text = the_letter_to(ann)
    assert subject == f"Security: {what}"
    assert f"- {what}.\n" in text
    assert letters_to(bob) == []
    for secret in given if isinstance(given, list) else [given] if isinstance(given, str) else []:
        assert secret not in text


def test_a_passkey_is_told_by_its_name_and_codes_made_with_it_cost_no_second_letter(
    ann: Account, do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = do(lambda: add_passkey(ann, monkeypatch))
    subject, text = the_letter_to(ann)
    assert (len(codes), subject) == (10, "Security: A passkey was set up")
    assert "- Its name: My telephone\n" in text
    assert not [code for code in codes if code in text]


def test_the_letter_says_when_from_where_and_what_to_do(ann: Account, do: Do) -> None:
    do(lambda: app_passwords.make(ann, "Tablet", actor=by_owner(ann)))
    [letter] = letters_to(ann)
    text = text_of(letter)
    assert (letter["From"], letter["To"]) == ("postmaster@example.test", "ann@example.test")
    assert (letter["Auto-Submitted"], letter["Return-Path"]) == ("auto-generated", "<>")
    assert "lets into your mailbox ann@example.test was changed" in text
    assert "- Its name: Tablet\n" in text
    assert "- From the address: 192.0.2.7\n" in text
    assert "- When: " in text
    assert "(UTC)" in text
    assert "If it was not you, somebody else is in your account." in text
    assert "http" not in text
    message = Message.objects.get()
    assert (message.folder.kind, message.seen, message.envelope_sender) == (FolderKind.INBOX, False, "")
    assert recount(ann.mailbox.pk)


@pytest.mark.parametrize(
    ("who", "said"),
    [(STAFF, "- By: your provider (support@example.test)\n"), ("command", "- By: your provider\n")],
)
def test_what_staff_did_is_told_with_whom_to_ask_and_not_where_they_sit(
    ann: Account, do: Do, who: Actor | str, said: str
) -> None:
    give_passkey(ann)
    do(lambda: secondfactor.reset(ann, actor=who))
    _, text = the_letter_to(ann)
    assert said in text
    assert "198.51.100.9" not in text
    assert "If you have not, call your provider and ask who did." in text
    assert "- The password alone lets in now" in text


def test_one_passkey_of_two_removed_leaves_more_than_the_password(ann: Account, do: Do) -> None:
    give_passkey(ann, "one")
    other = give_passkey(ann, "two")
    do(lambda: passkeys.remove(ann, other, actor=by_owner(ann)))
    assert "The password alone" not in the_letter_to(ann)[1]


def test_it_is_written_in_the_language_of_the_account(ann: Account, do: Do) -> None:
    Account.objects.filter(pk=ann.pk).update(language="de")
    do(lambda: accounts.reset_password(ann, "another one entirely", actor=by_owner(ann)))
    subject, text = the_letter_to(ann)
    assert subject == "Sicherheit: Das Passwort wurde geändert"
    assert "Von der Adresse: 192.0.2.7" in text
    assert "your" not in text


def test_opening_an_account_and_what_is_no_matter_of_security_are_told_by_nobody(
    open_account: Callable[..., Account], do: Do
) -> None:
    carl = do(lambda: open_account("carl"))
    do(lambda: accounts.set_service(carl, "pop3", False, actor=STAFF))
    do(lambda: accounts.set_quota(carl, 5_000_000, actor=STAFF))
    do(lambda: accounts.suspend(carl, "unpaid", actor=STAFF))
    do(lambda: accounts.end_other_sessions(carl, "", actor=by_owner(carl)))
    assert letters_to(carl) == []


def test_a_change_that_is_undone_is_not_told(ann: Account, do: Do) -> None:
    def undone() -> None:
        with transaction.atomic():
            accounts.reset_password(ann, "another one entirely", actor=by_owner(ann))
            transaction.set_rollback(True)

    do(undone)
    assert letters_to(ann) == []


def test_a_closed_account_gets_none(ann: Account, do: Do) -> None:
    accounts.close(ann)
    do(lambda: accounts.end_sessions(ann, actor=STAFF))
    assert Message.objects.count() == 0


@pytest.mark.parametrize("fault", ["full", "away"])
def test_what_cannot_be_delivered_stops_no_change_and_leaves_nothing(
    ann: Account, do: Do, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    kept: list[Any] = []
    removed = storage.remove_content

    def remove(key: Any) -> None:
        kept.append(key)
        removed(key)

    monkeypatch.setattr(storage, "remove_content", remove)
    if fault == "full":
        Mailbox.objects.filter(account=ann).update(quota_bytes=100)
    else:
        monkeypatch.setattr(house_mail, "deliver", _refuse)
    version = ann.credential_version
    do(lambda: accounts.end_sessions(ann, actor=STAFF))
    ann.refresh_from_db()
    assert ann.credential_version == version + 1
    assert (Message.objects.count(), Content.objects.count(), len(kept)) == (0, 0, 1)
    assert "verb=end_sessions not_delivered=" in caplog.text


def _refuse(arrivals: Any) -> Any:
    raise StoreUnavailable("database: OperationalError")


@pytest.mark.django_db(transaction=True)
def test_what_fails_while_the_letter_is_written_undoes_no_change(
    ann: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(account: Account, change: Any) -> Any:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(security_letters, "_letter", fail)
    version = ann.credential_version
    accounts.end_sessions(ann, actor=STAFF)  # has been done, so nobody is told that it failed
    ann.refresh_from_db()
    assert ann.credential_version == version + 1
    assert "the connection is gone" in caplog.text


def test_every_change_has_its_letter_here() -> None:
    said = {what for _, _, what in CHANGES.values()} | {"A passkey was set up"}
    assert said == {str(what) for what in security_letters.CHANGES.values()}


def test_only_the_sessions_that_are_open_count(ann: Account, bob: Account) -> None:
    keep = begin(ann.pk, ann.login, peer="192.0.2.7", program="Firefox")
    begin(ann.pk, ann.login, peer="192.0.2.8", program="Safari")
    begin(bob.pk, bob.login, peer="192.0.2.9", program="Edge")
    assert accounts.end_other_sessions(ann, keep, actor=by_owner(ann)) == 1
    assert accounts.end_other_sessions(ann, keep, actor=by_owner(ann)) == 0
    assert WebSession.objects.filter(ended_at=None).count() == 2
