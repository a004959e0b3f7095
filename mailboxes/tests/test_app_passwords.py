"""App passwords: each opens mail programs and nothing else, until it is revoked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from conftest import PASSWORD
from mailboxes import accounts, app_passwords, hashers
from mailboxes.app_passwords import Uses
from mailboxes.credentials import WRONG, Service, authenticate, recall
from mailboxes.exceptions import Invalid, LoginRefused
from mailboxes.models import Account, AppPassword, AuditEntry, WebSession
from mailboxes.tests.test_credentials import refused

HOME = "192.0.2.0/24"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that argon2id was asked about."""
    seen: list[str] = []
    verify = hashers.Argon2id.verify

    def noted(self: hashers.Argon2id, password: str, encoded: str) -> bool:
        seen.append(password)
        return verify(self, password, encoded)

    monkeypatch.setattr(hashers.Argon2id, "verify", noted)
    return seen


def make(account: Account, name: str = "telephone") -> str:
    return app_passwords.make(account, name, actor=account.login)


def with_second_factor(account: Account) -> Account:
    Account.objects.filter(pk=account.pk).update(second_factor=True)
    account.refresh_from_db()
    return account


# -- what opens what ----------------------------------------------------------------------------


@pytest.mark.parametrize("service", [Service.POP3, Service.SENDING])
def test_an_app_password_opens_mail_programs(ann: Account, service: Service, hashed: list[str]) -> None:
    password = make(ann)
    login = authenticate(ann.login, password, service, HOME)
    assert (login.account, login.app_password) == (ann.pk, AppPassword.objects.get().pk)
    assert hashed == []


def test_the_webmail_takes_no_app_password(ann: Account) -> None:
    password = make(ann)
    authenticate(ann.login, password, Service.POP3, HOME)
    assert recall(ann.login, password, Service.WEBMAIL, HOME) is None
    assert refused(ann.login, password, service=Service.WEBMAIL).text == WRONG


def test_the_account_s_own_password_opens_too_while_no_second_factor_is_on(ann: Account) -> None:
    make(ann)
    assert authenticate(ann.login, PASSWORD, Service.POP3, HOME).app_password == 0


@pytest.mark.parametrize("service", [Service.POP3, Service.SENDING])
def test_with_a_second_factor_only_app_passwords_open_mail_programs(ann: Account, service: Service) -> None:
    password = make(with_second_factor(ann))
    for by in (authenticate, recall):
        told = refused(ann.login, PASSWORD, service=service, by=by)
        assert (told.reason, told.permanent) == ("app_password_needed", False)
        assert "app password" in told.text
    assert refused(ann.login, "wrong", service=service).text == WRONG
    assert authenticate(ann.login, password, service, HOME).account == ann.pk
    login = authenticate(ann.login, PASSWORD, Service.WEBMAIL, HOME)
    assert (login.second_factor, login.app_password) == (True, 0)


def test_what_was_verified_before_the_second_factor_counts_no_longer(ann: Account) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    with_second_factor(ann)
    assert refused(ann.login, PASSWORD, by=recall).reason == "app_password_needed"


@pytest.mark.parametrize(
    "spelling", [str.upper, lambda text: text.replace("-", ""), lambda text: f" {text} "]
)
def test_hyphens_spaces_and_capitals_do_not_matter(ann: Account, spelling: Callable[[str], str]) -> None:
    assert authenticate(ann.login, spelling(make(ann)), Service.POP3, HOME).account == ann.pk


def test_nobody_opens_anothers_mail_with_an_app_password(ann: Account, bob: Account) -> None:
    password = make(ann)
    assert refused(bob.login, password).text == WRONG
    assert refused("nobody@example.test", password).text == WRONG


def test_an_unknown_address_costs_what_a_known_one_does(
    ann: Account, hashed: list[str], django_assert_num_queries: Callable[..., Any]
) -> None:
    for n, login in enumerate((ann.login, "nobody@example.test"), start=1):
        # as in test_credentials, and one for what looks like an app password
        with django_assert_num_queries(10):
            refused(login, "abcd-efgh-jkmn-pqrs")
        assert len(hashed) == n


def test_suspended_is_suspended(ann: Account) -> None:
    password = make(ann)
    accounts.suspend(ann, "unpaid")
    assert refused(ann.login, password).reason == "suspended"
    accounts.close(ann)
    assert refused(ann.login, password).text == WRONG


def test_a_temporary_password_that_has_run_out_leaves_app_passwords_alone(
    ann: Account, later: Callable[..., Any]
) -> None:
    password = make(ann)
    temporary = accounts.give_temporary_password(ann)
    Account.objects.update(password_until=later(hours=-1))
    assert refused(ann.login, temporary).reason == "password_expired"
    assert authenticate(ann.login, password, Service.POP3, HOME).account == ann.pk


# -- remembered ---------------------------------------------------------------------------------


def test_two_programs_are_remembered_side_by_side_at_one_query_each(
    ann: Account, hashed: list[str], django_assert_num_queries: Callable[..., Any]
) -> None:
    passwords = [make(ann, "telephone"), make(ann, "laptop")]
    for password in passwords:
        authenticate(ann.login, password, Service.POP3, HOME)
    for password, row in zip(passwords, AppPassword.objects.order_by("pk"), strict=True):
        with django_assert_num_queries(1):
            login = recall(ann.login, password, Service.POP3, HOME)
        assert login is not None
        assert login.app_password == row.pk
    assert hashed == []


def test_revoking_bites_at_once(ann: Account) -> None:
    gone, stays = make(ann, "telephone"), make(ann, "laptop")
    for password in (gone, stays):
        authenticate(ann.login, password, Service.POP3, HOME)
    first = AppPassword.objects.order_by("pk")[0]
    assert app_passwords.revoke(ann, first.pk, actor=ann.login)
    assert recall(ann.login, gone, Service.POP3, HOME) is None
    assert refused(ann.login, gone).text == WRONG
    assert authenticate(ann.login, stays, Service.POP3, HOME).account == ann.pk


def test_nobody_revokes_anothers(ann: Account, bob: Account) -> None:
    make(ann)
    version = bob.credential_version
    assert not app_passwords.revoke(bob, AppPassword.objects.get().pk, actor=bob.login)
    bob.refresh_from_db()
    assert (AppPassword.objects.count(), bob.credential_version) == (1, version)


def test_staff_revoke_all(ann: Account, bob: Account) -> None:
    passwords = [make(ann, "telephone"), make(ann, "laptop"), make(bob)]
    assert app_passwords.revoke_all(ann, actor="support@example.test") == 2
    assert refused(ann.login, passwords[0]).text == WRONG
    assert authenticate(bob.login, passwords[2], Service.POP3, HOME).account == bob.pk
    entry = AuditEntry.objects.latest("pk")
    assert (entry.verb, entry.before) == ("revoke_app_passwords", {"count": 2})
    with pytest.raises(Invalid):
        app_passwords.revoke_all(ann, actor="support@example.test")


# -- made ---------------------------------------------------------------------------------------


def test_an_app_password_is_long_random_and_kept_as_a_keyed_hash(ann: Account) -> None:
    first, second = make(ann), make(ann)
    assert first != second
    assert [len(group) for group in first.split("-")] == [4] * 4
    kept = str(list(AppPassword.objects.values()))
    written = str(list(AuditEntry.objects.values()))
    for password in (first, second):
        assert password not in kept + written
        assert password.replace("-", "") not in kept + written


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\0b"])
def test_a_name_is_needed(ann: Account, name: str) -> None:
    with pytest.raises(Invalid):
        make(ann, name)
    assert not AppPassword.objects.exists()


def test_there_is_a_bound(ann: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_passwords, "MOST", 2)
    make(ann), make(ann)
    with pytest.raises(Invalid, match="no more"):
        make(ann)


def test_an_app_password_outlives_a_change_of_the_key_with_a_fallback(ann: Account, settings: Any) -> None:
    password = make(ann)
    old = settings.SECRET_KEY
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [old], "another" * 10
    assert authenticate(ann.login, password, Service.POP3, HOME).account == ann.pk
    settings.SECRET_KEY_FALLBACKS = []
    # It has been written anew meanwhile.
    assert authenticate(ann.login, password, Service.POP3, HOME).account == ann.pk


def test_making_one_ends_nothing(ann: Account) -> None:
    version = ann.credential_version
    make(ann)
    ann.refresh_from_db()
    assert (ann.credential_version, WebSession.objects.count()) == (version, 0)


# -- the last use -------------------------------------------------------------------------------


@pytest.fixture
def telephone(ann: Account) -> AppPassword:
    make(ann)
    return AppPassword.objects.get()


def test_the_last_use_is_noted_now_and_then(
    telephone: AppPassword, django_assert_num_queries: Callable[..., Any]
) -> None:
    uses = Uses()
    assert uses.note(telephone.pk, "192.0.2.1")
    uses.store()
    telephone.refresh_from_db()
    assert telephone.last_used_from == "192.0.2.1"
    for _ in range(100):
        assert not uses.note(telephone.pk, "192.0.2.1")
    with django_assert_num_queries(2):  # a transaction with nothing in it
        uses.store()


def test_another_address_is_noted_at_once(telephone: AppPassword) -> None:
    uses = Uses()
    for peer in ("192.0.2.1", "198.51.100.1"):
        assert uses.note(telephone.pk, peer)
        uses.store()
    telephone.refresh_from_db()
    assert telephone.last_used_from == "198.51.100.1"


def test_uses_that_wait_together_are_stored_together(ann: Account, bob: Account) -> None:
    make(ann), make(bob)
    uses = Uses()
    assert [uses.note(one.pk, "192.0.2.1") for one in AppPassword.objects.all()] == [True, False]
    uses.store()
    assert AppPassword.objects.exclude(last_used_at=None).count() == 2


def test_what_could_not_be_stored_waits_for_the_next_time(
    telephone: AppPassword, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("away")

    uses = Uses()
    uses.note(telephone.pk, "192.0.2.1")
    with monkeypatch.context() as patch:
        patch.setattr(app_passwords, "_store", away)
        with pytest.raises(OperationalError):
            uses.store()
    uses.store()
    telephone.refresh_from_db()
    assert telephone.last_used_from == "192.0.2.1"


def test_a_process_that_was_late_does_not_write_over_a_later_use(telephone: AppPassword) -> None:
    uses = Uses()
    uses.note(telephone.pk, "192.0.2.1")
    later = timezone.now() + timedelta(minutes=1)
    AppPassword.objects.update(last_used_at=later, last_used_from="198.51.100.1")
    uses.store()
    telephone.refresh_from_db()
    assert (telephone.last_used_at, telephone.last_used_from) == (later, "198.51.100.1")


def test_the_memory_of_uses_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_passwords, "NOTED_MAX", 3)
    uses = Uses()
    for number in range(10):
        uses.note(number, "192.0.2.1")
    assert len(uses._noted) == 3


def test_a_wrong_one_is_counted_as_any_wrong_password(ann: Account) -> None:
    for n in range(10):
        refused(ann.login, f"abcd-efgh-jkmn-pqr{'abcdefghjk'[n]}")
    assert refused(ann.login, make(ann)).reason == "throttled"
    with pytest.raises(LoginRefused):
        authenticate(ann.login, PASSWORD, Service.POP3, HOME)


def test_it_gives_nobody_more_guesses_at_the_password(ann: Account) -> None:
    password = make(ann)
    for n in range(9):
        refused(ann.login, f"guess {n}")
    authenticate(ann.login, password, Service.POP3, HOME)
    refused(ann.login, "guess 9")
    assert refused(ann.login, PASSWORD).reason == "throttled"
