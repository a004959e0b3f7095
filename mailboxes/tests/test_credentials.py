"""One gate, one throttle (invariant 6)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connections

from conftest import PASSWORD
from mailboxes import accounts, credentials, hashers
from mailboxes.credentials import WRONG, Login, Service, authenticate, recall
from mailboxes.exceptions import LoginRefused
from mailboxes.models import Account, LoginThrottle, Mailbox
from mailboxes.throttle import GUESSES

HOME, CAFE = "192.0.2.0/24", "198.51.100.0/24"


def refused(
    login: str,
    password: str,
    *,
    service: Service = Service.POP3,
    network: str = HOME,
    by: Callable[..., Any] = authenticate,
) -> LoginRefused:
    with pytest.raises(LoginRefused) as raised:
        by(login, password, service, network)
    return raised.value


def guess(login: str, *, times: int = GUESSES, network: str = HOME) -> list[float]:
    return [refused(login, f"guess {n}", network=network).delay for n in range(times)]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that is hashed."""
    seen: list[str] = []
    verify = hashers.Argon2id.verify

    def noted(self: hashers.Argon2id, password: str, encoded: str) -> bool:
        seen.append(password)
        return verify(self, password, encoded)

    monkeypatch.setattr(hashers.Argon2id, "verify", noted)
    return seen


# -- right and wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("service", Service)
def test_the_right_password_opens(ann: Account, service: Service) -> None:
    box = Mailbox.objects.get(account=ann)
    expected = Login(ann.pk, "ann@example.test", box.pk, box.version, box.rearranged_version)
    assert authenticate("ann@example.test", PASSWORD, service, HOME) == expected
    assert recall("ann@example.test", PASSWORD, service, HOME) == expected


@pytest.mark.parametrize("login", ["ANN@Example.TEST", " ann@example.test ", "ann@example.test."])
def test_a_login_name_is_an_address_in_any_spelling(ann: Account, login: str) -> None:
    assert authenticate(login, PASSWORD, Service.POP3, HOME).account == ann.pk


@pytest.mark.parametrize("login", ["jörg@bücher.test", "JÖRG@BÜCHER.TEST", "jörg@xn--bcher-kva.test"])
def test_a_domain_in_other_letters_is_one_domain(db: None, login: str) -> None:
    accounts.create_domain("Bücher.test")
    account = accounts.open_account("Jörg@bücher.test", PASSWORD)
    assert account.login == "jörg@xn--bcher-kva.test"
    assert authenticate(login, PASSWORD, Service.POP3, HOME).account == account.pk


NOBODY = ["nobody@example.test", "ann@elsewhere.test", "ann", "", "a\0b@example.test", "\udc80@example.test"]


@pytest.mark.parametrize("login", [*NOBODY, "x" * 5_000])
def test_an_unknown_address_looks_and_costs_what_a_wrong_password_does(
    ann: Account, hashed: list[str], login: str
) -> None:
    wrong, hashed_for_wrong = refused(ann.login, "wrong"), len(hashed)
    unknown = refused(login, "wrong")
    assert (unknown.text, unknown.reason, unknown.delay, unknown.permanent) == (
        wrong.text,
        wrong.reason,
        wrong.delay,
        wrong.permanent,
    )
    assert wrong.text == WRONG
    assert (hashed_for_wrong, len(hashed)) == (1, 2)


def test_an_unknown_address_makes_the_queries_that_a_wrong_password_does(
    ann: Account, django_assert_num_queries: Callable[..., Any]
) -> None:
    for login in (ann.login, "nobody@example.test"):
        # throttle, row, the first guess inserted inside a savepoint, and three of the count
        with django_assert_num_queries(9):
            refused(login, "wrong")


def test_an_unknown_address_is_throttled_as_a_known_one(ann: Account) -> None:
    assert guess(ann.login) == guess("nobody@example.test")
    assert refused(ann.login, "x").text == refused("nobody@example.test", "x").text


@pytest.mark.parametrize(
    "password", ["", "x" * 100_000, "\udcff", "a\0b", PASSWORD + "\udcff", PASSWORD + "?"]
)
def test_any_password_is_only_wrong(ann: Account, hashed: list[str], password: str) -> None:
    assert refused(ann.login, password).text == WRONG
    assert len(hashed) == 1


def test_a_password_is_not_cut_where_it_is_too_long(ann: Account) -> None:
    accounts.reset_password(ann, "x" * 1_024)
    assert refused(ann.login, "x" * 1_025).text == WRONG
    assert authenticate(ann.login, "x" * 1_024, Service.POP3, HOME).account == ann.pk


# -- what is remembered -------------------------------------------------------------------------


def test_recalling_costs_no_hash_and_one_query(
    ann: Account, hashed: list[str], django_assert_num_queries: Callable[..., Any]
) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    with django_assert_num_queries(1):
        assert recall(ann.login, PASSWORD, Service.POP3, CAFE) is not None
    assert len(hashed) == 1


def test_what_was_not_verified_is_not_recalled(ann: Account) -> None:
    assert recall(ann.login, PASSWORD, Service.POP3, HOME) is None
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    assert recall(ann.login, "wrong", Service.POP3, HOME) is None
    assert recall("nobody@example.test", PASSWORD, Service.POP3, HOME) is None


@pytest.mark.parametrize("change", ["password", "suspend", "service", "close"])
def test_every_change_ends_what_was_verified(ann: Account, change: str) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    {
        "password": lambda: accounts.reset_password(ann, "another one entirely"),
        "suspend": lambda: accounts.suspend(ann, "unpaid"),
        "service": lambda: accounts.set_service(ann, "webmail", False),
        "close": lambda: accounts.close(ann),
    }[change]()
    assert recall(ann.login, PASSWORD, Service.POP3, HOME) is None


def test_the_memory_has_a_bound(ann: Account, bob: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "REMEMBERED_MAX", 1)
    for account in (ann, bob):
        authenticate(account.login, PASSWORD, Service.POP3, HOME)
    assert recall(ann.login, PASSWORD, Service.POP3, HOME) is None
    assert recall(bob.login, PASSWORD, Service.POP3, HOME) is not None


# -- who may not --------------------------------------------------------------------------------


def test_only_the_right_password_learns_why_the_door_is_shut(ann: Account) -> None:
    accounts.suspend(ann, "call 0800 123")
    assert refused(ann.login, "wrong").text == WRONG
    for by in (authenticate, recall):
        told = refused(ann.login, PASSWORD, by=by)
        assert (told.text, told.reason, told.permanent) == (
            "this account is suspended: call 0800 123",
            "suspended",
            True,
        )
    accounts.restore(ann)
    assert authenticate(ann.login, PASSWORD, Service.POP3, HOME).account == ann.pk


def test_a_closed_account_is_nobody(ann: Account) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    accounts.close(ann)
    assert (refused(ann.login, PASSWORD).text, refused(ann.login, PASSWORD).reason) == (
        WRONG,
        "wrong_password",
    )


@pytest.mark.parametrize("service", Service)
def test_a_service_that_is_off_is_refused_and_the_others_are_not(ann: Account, service: Service) -> None:
    accounts.set_service(ann, service.value, False)
    told = refused(ann.login, PASSWORD, service=service)
    assert (told.text, told.reason) == (f"{service.name} is switched off for this mailbox", "service_off")
    assert refused(ann.login, PASSWORD, service=service, by=recall).reason == "service_off"
    for other in set(Service) - {service}:
        assert authenticate(ann.login, PASSWORD, other, HOME).account == ann.pk


def test_an_account_without_a_mailbox_is_told_so(domain: Any, encoded_password: str) -> None:
    Account.objects.create(login="job@example.test", domain=domain, password=encoded_password)
    assert refused("job@example.test", PASSWORD).reason == "no_mailbox"


# -- the throttle -------------------------------------------------------------------------------


def test_delays_grow_and_then_nothing_is_tried(ann: Account, hashed: list[str]) -> None:
    assert guess(ann.login) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    told = refused(ann.login, PASSWORD)
    assert (told.reason, told.text) == (
        "throttled",
        "too many wrong passwords from your network: try again in 15 minutes",
    )
    assert len(hashed) == GUESSES


def test_the_throttle_closes_for_that_address_from_that_network_only(ann: Account, bob: Account) -> None:
    guess(ann.login)
    assert refused(ann.login, PASSWORD, network=HOME).reason == "throttled"
    assert authenticate(ann.login, PASSWORD, Service.POP3, CAFE).account == ann.pk
    assert authenticate(bob.login, PASSWORD, Service.POP3, HOME).account == bob.pk


def test_the_throttle_is_one_for_all_services_and_spellings(ann: Account) -> None:
    guess("ANN@example.test")
    for service in Service:
        assert refused(ann.login, PASSWORD, service=service).reason == "throttled"


def test_what_is_remembered_cannot_be_guessed_past_the_throttle(ann: Account) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    guess(ann.login)
    assert refused(ann.login, PASSWORD, by=recall).reason == "throttled"
    assert recall(ann.login, "wrong", Service.POP3, HOME) is None
    assert recall(ann.login, PASSWORD, Service.POP3, CAFE) is not None


def test_the_same_wrong_passwords_again_are_no_new_guesses(ann: Account) -> None:
    for _ in range(3 * GUESSES):
        for old in ("the password of last year", "the one before"):
            assert refused(ann.login, old).reason == "wrong_password"
    assert LoginThrottle.objects.get().failures == 2
    assert authenticate(ann.login, PASSWORD, Service.POP3, HOME).account == ann.pk


def test_the_right_password_forgets_the_wrong_ones(ann: Account) -> None:
    guess(ann.login, times=GUESSES - 1)
    authenticate(ann.login, PASSWORD, Service.POP3, HOME)
    assert LoginThrottle.objects.count() == 0


def test_the_throttle_opens_after_its_time(
    ann: Account, later: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    guess(ann.login)
    LoginThrottle.objects.update(last_failure_at=later(minutes=-14))
    assert refused(ann.login, PASSWORD).text.endswith("try again in 1 minutes")
    LoginThrottle.objects.update(last_failure_at=later(minutes=-16))
    assert refused(ann.login, "guess again").delay == 0.25
    assert authenticate(ann.login, PASSWORD, Service.POP3, HOME).account == ann.pk


def test_no_password_can_be_learned_from_what_the_throttle_keeps(ann: Account) -> None:
    refused(ann.login, "wrong")
    throttle = LoginThrottle.objects.get()
    assert (len(throttle.guesses), len(throttle.key)) == (9, 64)
    assert "ann" not in throttle.key


@pytest.mark.django_db(transaction=True)
def test_guesses_at_the_same_moment_are_all_counted(ann: Account, encoded_password: str) -> None:
    def one(n: int) -> str:
        try:
            return refused(ann.login, f"guess {n}").reason
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(one, range(8)))
    assert reasons == ["wrong_password"] * 8
    assert LoginThrottle.objects.get().failures == 8


def test_passwords_are_argon2id_with_modest_memory() -> None:
    assert make_password("x").startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
