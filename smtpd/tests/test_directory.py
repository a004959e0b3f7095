"""What Postfix is told about domains and recipients; where the store fails, never that they are unknown."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError

from mailboxes import accounts, aliases, domains
from mailboxes.addresses import add_address
from mailboxes.exceptions import ClosedDomain
from mailboxes.models import AddressKind, Domain, Mailbox
from smtpd import directory
from smtpd.intake import Wanted, reply_to, routes_of
from smtpd.socketmap import Answer, Result

FOUND = Answer(Result.OK, "here")
NOT_FOUND = Answer(Result.NOTFOUND)
SUSPENDED = Answer(Result.OK, "450 4.2.1 Mailbox is suspended, try again later")


def about(key: str) -> tuple[Answer, Answer]:
    """What `recipients` and `access` say of an address."""
    return directory.look_up("recipients", key), directory.look_up("access", key)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("example.test", FOUND),
        ("EXAMPLE.test", FOUND),
        ("elsewhere.test", NOT_FOUND),
        (".example.test", NOT_FOUND),
        ("mail.example.test", NOT_FOUND),
        ("test", NOT_FOUND),
        ("", NOT_FOUND),
        ("x" * 4000, NOT_FOUND),
        ("\udcff.test", NOT_FOUND),
    ],
)
def test_a_domain_is_found_if_it_is_ours(domain: Any, key: str, answer: Answer) -> None:
    assert directory.look_up("domains", key) == answer


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("ann@example.test", FOUND),
        ("Ann@Example.TEST", FOUND),
        ("ann+shop@example.test", FOUND),
        ("office@example.test", FOUND),
        ("away@example.test", FOUND),
        ("nobody@example.test", NOT_FOUND),
        ("ann@elsewhere.test", NOT_FOUND),
        ("@example.test", NOT_FOUND),
        ("example.test", NOT_FOUND),
        ("ann", NOT_FOUND),
        ("ann@", NOT_FOUND),
        ("", NOT_FOUND),
        ("a\0b@example.test", NOT_FOUND),
        ("\udcff@example.test", NOT_FOUND),
        ("x" * 4000 + "@example.test", NOT_FOUND),
    ],
)
def test_a_recipient_is_found_if_it_reaches_anything(ann: Any, key: str, answer: Answer) -> None:
    add_address("office@example.test", AddressKind.ALIAS, [ann.mailbox])
    add_address("away@example.test", AddressKind.FORWARD, forward_to=["ann@elsewhere.test"])
    assert about(key) == (answer, NOT_FOUND)


@pytest.mark.parametrize("key", ["ann@example.test", "ann+x@example.test", "nobody@example.test"])
def test_of_a_closed_domain_no_recipient_is_taken_in_the_words_that_our_own_door_has(
    ann: Any, key: str
) -> None:
    domains.close_domain(Domain.objects.get(), "contract over")
    closed = Answer(Result.OK, "550 5.1.2 This domain takes no mail any more")
    assert about(key) == (FOUND, closed)
    [refused] = routes_of([Wanted(key)])
    assert isinstance(refused, ClosedDomain)
    assert reply_to(refused).encode() == b"550 5.1.2 This domain takes no mail any more\r\n"


def test_an_alias_that_is_suspended_is_put_off_and_one_that_is_closed_is_unknown(ann: Any) -> None:
    alias = aliases.create_address("sales@example.test", [ann.login])
    aliases.suspend_address(alias, "too much mail")
    assert about(alias.name) == (FOUND, SUSPENDED)
    aliases.close_address(alias)
    assert about(alias.name) == (NOT_FOUND, NOT_FOUND)


def test_of_a_domain_with_a_catch_all_every_recipient_is_found(ann: Any) -> None:
    Domain.objects.update(catch_all=Mailbox.objects.get(account=ann))
    assert about("anybody@example.test") == (FOUND, NOT_FOUND)
    assert about("@example.test") == (NOT_FOUND, NOT_FOUND)


def test_a_suspended_account_gets_its_mail(ann: Any) -> None:
    accounts.suspend(ann, "unpaid")
    assert about(ann.login) == (FOUND, NOT_FOUND)


def test_a_mailbox_whose_receiving_is_off_is_there_and_refused_for_now(ann: Any, bob: Any) -> None:
    accounts.set_service(ann, "receiving", False)
    assert about(ann.login) == (FOUND, SUSPENDED)
    assert about(bob.login) == (FOUND, NOT_FOUND)


def test_a_domain_that_is_off_is_ours_and_its_recipients_are_refused_for_now(ann: Any) -> None:
    Domain.objects.update(active=False)
    assert directory.look_up("domains", "example.test") == FOUND
    assert about(ann.login) == (FOUND, SUSPENDED)
    assert about("nobody@example.test") == (FOUND, SUSPENDED)


def test_a_closed_account_is_unknown(ann: Any) -> None:
    accounts.close(ann)
    assert about(ann.login) == (NOT_FOUND, NOT_FOUND)


@pytest.mark.once
@pytest.mark.parametrize("name", ["", "Recipients", "recipient", "domain", "\udcff"])
def test_a_map_that_there_is_not_is_a_wrong_setting(name: str) -> None:
    answer = directory.look_up(name, "ann@example.test")
    assert answer == Answer(Result.PERM, "no such map: there are domains, recipients and access")


@pytest.mark.parametrize(
    ("name", "key"),
    [("domains", "example.test"), *[(n, "ann@example.test") for n in ("recipients", "access")]],
)
def test_a_database_that_is_away_is_never_an_answer(ann: Any, name: str, key: str) -> None:
    away = OperationalError("server closed the connection unexpectedly")
    with (
        mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=away),
        pytest.raises(OperationalError),
    ):
        directory.look_up(name, key)


def test_each_answer_costs_few_queries(ann: Any, django_assert_max_num_queries: Callable[..., Any]) -> None:
    for name, key, queries in (
        ("domains", "example.test", 1),
        ("recipients", "ann@example.test", 1),
        ("recipients", "nobody@example.test", 2),
        ("access", "ann@example.test", 1),
    ):
        with django_assert_max_num_queries(queries):
            directory.look_up(name, key)
