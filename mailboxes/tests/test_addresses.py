"""How addresses are written down, and what they reach."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailboxes import accounts, aliases
from mailboxes.addresses import Route, add_address, normalise, normalise_domain, resolve, room_in
from mailboxes.exceptions import ForeignDomain, Invalid, RecipientUnavailable, UnknownRecipient
from mailboxes.models import Account, AddressKind, Domain, Mailbox, Target


@pytest.mark.parametrize(
    ("written", "known_as"),
    [
        ("Ann@Example.TEST", "ann@example.test"),
        ("  ann@example.test. ", "ann@example.test"),
        ("Jürgen@BÜCHER.example", "jürgen@xn--bcher-kva.example"),
        ("a\u0308@example.test", "ä@example.test"),
        ("o'neil+x=y@example.test", "o'neil+x=y@example.test"),
        ("ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example"),
        ("ann@例え.test", "ann@xn--r8jz45g.test"),
    ],
)
def test_an_address_has_one_spelling(written: str, known_as: str) -> None:
    assert normalise(written) == known_as
    assert normalise(known_as) == known_as


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "ann",
            "@example.test",
            "ann@",
            "ann@.",
            "ann@a..b",
            "ann@-a.test",
            "ann@a-.test",
            "a b@c.test",
        ),
        *(
            "ann@\r\nexample.test",
            "ann@ example.test",
            "a\0b@example.test",
            "ann@exam\u00adple.test",
            "\udc80@x.test",
        ),
        *(
            "<ann@example.test>",
            '"ann"@example.test',
            "a@b@example.test",
            "a,b@example.test",
            "a\u202eb@example.test",
        ),
        *(
            "x" * 65 + "@example.test",
            "é" * 33 + "@example.test",
            "ann@" + "x" * 64,
            "ann@" + "x." * 200 + "test",
        ),
        *("ann@" + "ü" * 5_000, "ann@xn--" + "ü", "ann@[127.0.0.1]", "ann@*.test"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        normalise(text)


@given(st.text(max_size=80))
def test_any_text_is_an_address_of_one_spelling_or_none(text: str) -> None:
    for written in (text, f"{text}@example.test", f"ann@{text}"):
        try:
            known_as = normalise(written)
        except Invalid:
            continue
        assert normalise(known_as) == known_as
        assert known_as.isprintable() and len(known_as) <= 320


def test_a_domain_may_be_written_with_spaces_around_and_a_dot() -> None:
    assert normalise_domain(" Example.Test. ") == "example.test"
    with pytest.raises(Invalid):
        normalise_domain("")


# -- what an address reaches --------------------------------------------------------------------


def refused(recipient: str, why: type[Exception]) -> None:
    with pytest.raises(why) as raised:
        resolve(recipient)
    assert type(raised.value) is why


def test_an_account_is_reached_by_its_name_in_any_spelling(ann: Account) -> None:
    assert resolve("ann@example.test") == Route("ann@example.test", (ann.mailbox.pk,))
    assert resolve("ANN@Example.Test") == Route("ANN@Example.Test", (ann.mailbox.pk,))


def test_a_route_never_carries_a_line_end(ann: Account) -> None:
    assert resolve("ann@example.test\r\n").recipient == "ann@example.test"
    refused("ann@\r\nexample.test", UnknownRecipient)


def test_detail_after_a_plus_is_passed_over(ann: Account, bob: Account) -> None:
    assert resolve("ann+shop+x@example.test").mailboxes == (ann.mailbox.pk,)
    add_address("ann+bob@example.test", AddressKind.ALIAS, [bob.mailbox])
    assert resolve("ann+bob@example.test").mailboxes == (bob.mailbox.pk,)
    refused("+shop@example.test", UnknownRecipient)


def test_an_alias_reaches_one_or_several(ann: Account, bob: Account) -> None:
    add_address("one@example.test", AddressKind.ALIAS, [bob.mailbox])
    add_address("both@example.test", AddressKind.ALIAS, [bob.mailbox, ann.mailbox, ann.mailbox])
    assert resolve("one@example.test").mailboxes == (bob.mailbox.pk,)
    assert resolve("both@example.test").mailboxes == (ann.mailbox.pk, bob.mailbox.pk)


def test_a_forward_goes_elsewhere_and_may_stay_too(ann: Account, outsider: str) -> None:
    away = add_address("away@example.test", AddressKind.FORWARD, [], [outsider, outsider.upper()])
    assert resolve("away@example.test") == Route("away@example.test", (), ((away.pk, outsider),))
    both = add_address("both@example.test", AddressKind.FORWARD, [ann.mailbox], [outsider])
    expected = Route("both@example.test", (ann.mailbox.pk,), ((both.pk, outsider),))
    assert resolve("both@example.test") == expected


def test_an_unknown_name_and_a_foreign_domain_are_told_apart(ann: Account, outsider: str) -> None:
    refused("nobody@example.test", UnknownRecipient)
    refused("not an address", UnknownRecipient)
    refused(outsider, ForeignDomain)
    refused("ann@sub.example.test", ForeignDomain)


def test_the_catch_all_gets_what_nobody_else_does(ann: Account, bob: Account) -> None:
    Domain.objects.update(catch_all=bob.mailbox)
    assert resolve("whoever@example.test") == Route("whoever@example.test", (bob.mailbox.pk,))
    assert resolve("ann@example.test").mailboxes == (ann.mailbox.pk,)
    assert resolve("ann+x@example.test").mailboxes == (ann.mailbox.pk,)


@pytest.mark.parametrize("recipient", ["ann@example.test", "ann+x@example.test"])
def test_a_closed_accounts_mail_falls_to_nobody(ann: Account, bob: Account, recipient: str) -> None:
    Domain.objects.update(catch_all=bob.mailbox)
    accounts.close(ann)
    refused(recipient, UnknownRecipient)


def test_an_alias_of_a_closed_account_falls_to_nobody_though_it_looks_like_detail(
    ann: Account, bob: Account
) -> None:
    add_address("ann+bob@example.test", AddressKind.ALIAS, [bob.mailbox])
    accounts.close(bob)
    refused("ann+bob@example.test", UnknownRecipient)


def test_an_address_whose_targets_are_gone_falls_to_nobody(ann: Account, bob: Account) -> None:
    Domain.objects.update(catch_all=bob.mailbox)
    add_address("old@example.test", AddressKind.ALIAS, [ann.mailbox])
    Target.objects.filter(address__name="old@example.test").delete()
    refused("old@example.test", UnknownRecipient)


def test_an_alias_goes_on_to_those_whose_accounts_are_open(ann: Account, bob: Account) -> None:
    add_address("both@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox])
    accounts.close(ann)
    assert resolve("both@example.test").mailboxes == (bob.mailbox.pk,)


def test_a_suspended_account_still_gets_mail(ann: Account) -> None:
    accounts.suspend(ann, "unpaid")
    assert resolve("ann@example.test").mailboxes == (ann.mailbox.pk,)


def test_receiving_that_is_off_is_unavailable_and_not_unknown(ann: Account, bob: Account) -> None:
    Domain.objects.update(catch_all=bob.mailbox)
    accounts.set_service(ann, "receiving", False)
    accounts.set_service(bob, "receiving", False)
    refused("ann@example.test", RecipientUnavailable)
    refused("whoever@example.test", RecipientUnavailable)


def test_an_account_that_receives_nothing_forwards_nothing(ann: Account, outsider: str) -> None:
    aliases.set_forward(ann, outsider)
    accounts.set_service(ann, "receiving", False)
    refused(ann.login, RecipientUnavailable)


def test_an_inactive_domain_is_unavailable_whoever_is_meant(ann: Account, outsider: str) -> None:
    add_address("away@example.test", AddressKind.FORWARD, [], [outsider])
    Domain.objects.update(active=False)
    for name in ("ann", "away", "nobody"):
        refused(f"{name}@example.test", RecipientUnavailable)


def test_a_catch_all_whose_account_is_closed_catches_nothing(ann: Account, bob: Account) -> None:
    Domain.objects.update(catch_all=bob.mailbox)
    accounts.close(bob)
    refused("whoever@example.test", UnknownRecipient)


def test_a_recipient_is_one_look_up_and_an_unknown_one_two(
    ann: Account, bob: Account, outsider: str, django_assert_num_queries: Callable[..., Any]
) -> None:
    add_address("both@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox], [outsider])
    for recipient in ("ann@example.test", "ann+x@example.test", "both@example.test"):
        with django_assert_num_queries(1):
            resolve(recipient)
    for recipient, why in (("nobody@example.test", UnknownRecipient), (outsider, ForeignDomain)):
        with django_assert_num_queries(2):
            refused(recipient, why)


# -- addresses made -----------------------------------------------------------------------------


def test_an_address_is_given_once(ann: Account, bob: Account) -> None:
    with pytest.raises(Invalid, match=r"^the address ann@example.test exists already$"):
        add_address("Ann@example.test", AddressKind.ALIAS, [bob.mailbox])
    assert resolve("ann@example.test").mailboxes == (ann.mailbox.pk,)


def test_an_address_of_a_foreign_domain_is_not_given(ann: Account, outsider: str) -> None:
    with pytest.raises(Invalid, match=r"^the domain elsewhere.test is not served here"):
        add_address(outsider, AddressKind.ALIAS, [ann.mailbox])


def test_a_first_look_says_whether_there_is_room(ann: Account, bob: Account) -> None:
    Mailbox.objects.filter(account=ann).update(quota_bytes=100, used_bytes=40)
    both = [ann.mailbox.pk, bob.mailbox.pk]
    assert [room_in(both, octets) for octets in (60, 61)] == [True, False]
    assert room_in([987_654], 1) is False
