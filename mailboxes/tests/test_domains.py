"""Domains and addresses suspended, closed, brought back and purged; their names go to nobody meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from conftest import PASSWORD
from mailboxes import accounts, aliases, domains, tasks
from mailboxes.addresses import resolve, resolve_all
from mailboxes.credentials import Service, authenticate, recall
from mailboxes.exceptions import (
    ClosedDomain,
    Invalid,
    LoginRefused,
    RecipientRefused,
    RecipientUnavailable,
    UnknownRecipient,
)
from mailboxes.models import Account, Address, AuditEntry, Content, Domain, Message, Target

Post = Callable[..., list[Message]]
OUT = "out@elsewhere.test"


def refused(recipient: str) -> type[RecipientRefused]:
    with pytest.raises(RecipientRefused) as raised:
        resolve(recipient)
    return type(raised.value)


def why_refused(login: str) -> str:
    with pytest.raises(LoginRefused) as raised:
        authenticate(login, PASSWORD, Service.POP3, "192.0.2.0/24")
    assert raised.value.permanent
    return raised.value.text


def long_ago(what: Domain | Address | Account) -> None:
    type(what)._default_manager.filter(pk=what.pk).update(closed_at=timezone.now() - timedelta(days=31))


@pytest.fixture
def other(db: None) -> Domain:
    return accounts.create_domain("other.test", default_quota=1_000_000)


# -- domains ------------------------------------------------------------------------------------


def test_a_closed_domain_takes_no_mail_for_any_of_its_names(ann: Account, bob: Account) -> None:
    domain = Domain.objects.get()
    aliases.create_address("sales@example.test", [ann.login])
    aliases.create_address("away@example.test", [OUT])
    aliases.set_catch_all(domain, bob.login)
    domains.close_domain(domain, "contract over")
    for name in ("ann", "ann+x", "sales", "away", "whoever"):
        assert refused(f"{name}@example.test") is ClosedDomain


def test_nor_do_its_accounts_get_any_through_lists_and_catch_alls_of_other_domains(
    ann: Account, other: Domain
) -> None:
    aliases.create_address("list@other.test", [ann.login, OUT])
    aliases.create_address("only@other.test", [ann.login])
    aliases.set_catch_all(other, ann.login)
    domains.close_domain(Domain.objects.get(name="example.test"), "contract over")
    route = resolve("list@other.test")
    assert (route.mailboxes, [to for _, to in route.forwards]) == ((), [OUT])
    assert refused("only@other.test") is UnknownRecipient
    assert refused("whoever@other.test") is UnknownRecipient


@pytest.mark.parametrize(
    ("verb", "said"), [(domains.close_domain, "closed"), (domains.suspend_domain, "suspended")]
)
def test_nobody_of_it_may_log_in_and_reads_why(
    ann: Account, verb: Callable[[Domain, str], None], said: str
) -> None:
    authenticate(ann.login, PASSWORD, Service.POP3, "192.0.2.0/24")
    domain = Domain.objects.get()
    verb(domain, "call 0800 123")
    assert why_refused(ann.login) == f"the domain example.test is {said}: call 0800 123"
    # Also whom this process remembers; and a wrong password learns nothing.
    with pytest.raises(LoginRefused):
        recall(ann.login, PASSWORD, Service.POP3, "192.0.2.0/24")
    with pytest.raises(LoginRefused) as raised:
        authenticate(ann.login, "wrong", Service.POP3, "192.0.2.0/24")
    assert raised.value.reason == "wrong_password"
    domains.restore_domain(domain)
    assert authenticate(ann.login, PASSWORD, Service.POP3, "192.0.2.0/24").account == ann.pk


def test_mail_for_a_suspended_domain_still_comes_in_unless_it_is_put_off_too(ann: Account) -> None:
    domain = Domain.objects.get()
    domains.suspend_domain(domain, "unpaid")
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)
    domains.switch_domain(domain, False)
    assert refused(ann.login) is RecipientUnavailable


def test_a_domain_is_restored_as_it_was(ann: Account, bob: Account) -> None:
    domain = Domain.objects.get()
    alias = aliases.create_address("sales@example.test", [ann.login])
    aliases.set_catch_all(domain, bob.login)
    accounts.suspend(bob, "unpaid")
    before = (list(Account.objects.order_by("pk").values()), list(Target.objects.order_by("pk").values()))
    domains.close_domain(domain, "by mistake")
    tasks.retention()
    domains.restore_domain(domain)
    assert (
        list(Account.objects.order_by("pk").values()),
        list(Target.objects.order_by("pk").values()),
    ) == before
    assert resolve(alias.name).mailboxes == (ann.mailbox.pk,)
    assert resolve("whoever@example.test").mailboxes == (bob.mailbox.pk,)
    with pytest.raises(Invalid, match="is active"):
        domains.restore_domain(domain)


def test_the_name_of_a_closed_domain_is_not_given_again_and_nothing_is_made_in_it(ann: Account) -> None:
    domain = Domain.objects.get()
    domains.close_domain(domain, "over")
    domain.refresh_from_db()
    assert domain.closed_at is not None
    free = f"{domain.closed_at + timedelta(days=30):%Y-%m-%d}"
    with pytest.raises(Invalid, match=f"was closed and its name is not given again before {free}"):
        accounts.create_domain("example.test")
    with pytest.raises(Invalid, match=r"the domain example\.test is closed"):
        accounts.open_account("new@example.test", PASSWORD)
    with pytest.raises(Invalid, match=r"the domain example\.test is closed"):
        aliases.create_address("new@example.test", [OUT])
    with pytest.raises(Invalid, match="closed already"):
        domains.close_domain(domain, "again")
    with pytest.raises(Invalid, match="is closed"):
        domains.suspend_domain(domain, "too")


def test_after_the_grace_time_all_of_it_goes_and_the_name_is_free(
    ann: Account, bob: Account, other: Domain, post: Post
) -> None:
    domain = Domain.objects.get(name="example.test")
    post(ann, bob)
    post(bob)
    kept = accounts.open_account("kept@other.test", PASSWORD)
    post(kept)
    aliases.create_address("away@example.test", [OUT])
    aliases.create_address("list@other.test", [ann.login, kept.login])
    aliases.set_catch_all(other, bob.login)
    domains.close_domain(domain, "over")
    tasks.retention()
    assert Account.objects.count() == 3
    long_ago(domain)
    result = tasks.retention()
    assert (result["domains"], result["accounts"]) == (1, 0)
    assert list(Domain.objects.values_list("name", "account_count")) == [("other.test", 1)]
    assert list(Account.objects.values_list("login", flat=True)) == ["kept@other.test"]
    assert sorted(Address.objects.values_list("name", flat=True)) == ["kept@other.test", "list@other.test"]
    assert Message.objects.count() == 1
    assert Content.objects.filter(unused_since=None).count() == 1
    assert resolve("list@other.test").mailboxes == (kept.mailbox.pk,)
    assert refused("whoever@other.test") is UnknownRecipient
    verbs = AuditEntry.objects.filter(actor="job").order_by("pk").values_list("verb", "subject")
    assert list(verbs) == [("purge", ann.login), ("purge", bob.login), ("purge_domain", "example.test")]
    accounts.create_domain("example.test")
    assert accounts.open_account("ann@example.test", PASSWORD).mailbox.message_count == 0


def test_a_domain_that_is_restored_while_it_is_purged_keeps_what_there_still_is(
    ann: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = Domain.objects.get()
    domains.close_domain(domain, "over")
    long_ago(domain)
    purge = accounts.purge

    def purged_and_restored(account: Account) -> None:
        purge(account)
        domains.restore_domain(Domain.objects.get())

    monkeypatch.setattr(accounts, "purge", purged_and_restored)
    assert domains.purge_closed_domains() == 0
    assert resolve(bob.login).mailboxes == (bob.mailbox.pk,)


def test_who_could_undo_it_is_not_shut_out(operator: Account) -> None:
    domain = Domain.objects.get()
    for verb in (domains.close_domain, domains.suspend_domain):
        with pytest.raises(Invalid, match=r"operator@example.test is an operator's account"):
            verb(domain, "over")
    with pytest.raises(Invalid, match="needs its reason"):
        domains.suspend_domain(Domain.objects.get(), " ")


# -- aliases, lists, forwards -------------------------------------------------------------------


@pytest.fixture(params=["alias", "list", "forward"])
def address(request: Any, ann: Account, bob: Account) -> Address:
    reaches = {"alias": [ann.login], "list": [ann.login, bob.login, OUT], "forward": [OUT]}[request.param]
    return aliases.create_address("team@example.test", reaches)


def test_a_suspended_address_asks_senders_to_come_again(address: Address, bob: Account) -> None:
    aliases.set_catch_all(Domain.objects.get(), bob.login)
    before = resolve(address.name)
    aliases.suspend_address(address, "too much mail")
    assert (address.status, address.status_reason) == ("suspended", "too much mail")
    assert refused(address.name) is RecipientUnavailable
    assert refused("team+x@example.test") is RecipientUnavailable
    aliases.restore_address(address)
    assert (resolve(address.name), address.status_reason) == (before, "")


def test_a_closed_address_is_refused_and_falls_to_nobody_until_it_is_restored(
    address: Address, bob: Account
) -> None:
    aliases.set_catch_all(Domain.objects.get(), bob.login)
    before = resolve(address.name)
    aliases.close_address(address, "no longer used")
    assert refused(address.name) is UnknownRecipient
    assert refused("team+x@example.test") is UnknownRecipient
    with pytest.raises(Invalid, match=r"was closed and is not given again before \d{4}-\d\d-\d\d"):
        aliases.create_address(address.name, [OUT])
    with pytest.raises(Invalid, match=r"was closed and is not given again before \d{4}-\d\d-\d\d"):
        accounts.open_account(address.name, PASSWORD)
    with pytest.raises(Invalid, match="is closed"):
        aliases.suspend_address(address, "x")
    tasks.retention()
    aliases.restore_address(address)
    assert resolve(address.name) == before
    with pytest.raises(Invalid, match="active already"):
        aliases.restore_address(address)


def test_after_the_grace_time_its_name_is_free(address: Address, ann: Account) -> None:
    aliases.close_address(address)
    long_ago(address)
    assert tasks.retention()["addresses"] == 1
    assert refused(address.name) is UnknownRecipient
    assert aliases.create_address(address.name, [ann.login]).name == address.name


def test_each_change_is_on_the_line_of_everybody_whom_it_concerns(ann: Account, bob: Account) -> None:
    address = aliases.create_address("team@example.test", [ann.login, bob.login])
    aliases.close_address(address, "no longer used", actor="boss")
    entries = AuditEntry.objects.filter(verb="close_address").order_by("subject")
    assert [(one.subject, one.actor, one.reason) for one in entries] == [
        (ann.login, "boss", "no longer used"),
        (bob.login, "boss", "no longer used"),
    ]
    assert entries[0].before == {
        "address": "team@example.test",
        "reaches": [ann.login, bob.login],
        "status": "active",
    }


def test_the_address_of_an_account_is_changed_with_its_account(ann: Account) -> None:
    own = Address.objects.get(name=ann.login)
    changes: list[Callable[[], None]] = [
        lambda: aliases.suspend_address(own, "x"),
        lambda: aliases.close_address(own),
        lambda: aliases.restore_address(own),
    ]
    for change in changes:
        with pytest.raises(Invalid, match="is the address of an account"):
            change()
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)


def test_rcpt_is_one_query_whatever_stands_behind_the_names(
    ann: Account, bob: Account, django_assert_num_queries: Callable[..., Any]
) -> None:
    aliases.suspend_address(aliases.create_address("a@example.test", [ann.login]), "x")
    aliases.close_address(aliases.create_address("b@example.test", [bob.login]))
    with django_assert_num_queries(1):
        found = resolve_all(["ann@example.test", "a@example.test", "b+x@example.test"])
    assert [type(one).__name__ for one in found] == ["Route", "RecipientUnavailable", "UnknownRecipient"]


def test_a_refusal_knows_whose_mail_it_would_have_been(ann: Account) -> None:
    accounts.set_service(ann, "receiving", False)
    [found] = resolve_all(["ann+shop@example.test"])
    assert isinstance(found, RecipientUnavailable)
    assert found.mailboxes == (ann.mailbox.pk,)
