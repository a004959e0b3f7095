"""Accounts opened, changed, closed and purged; a name never brings another's mail with it."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from conftest import PASSWORD
from mailboxes import accounts, aliases, retention
from mailboxes.addresses import add_address, resolve
from mailboxes.exceptions import Invalid, UnknownRecipient
from mailboxes.models import (
    Account,
    Address,
    AddressKind,
    AuditEntry,
    Content,
    DeliveryRecord,
    Domain,
    Folder,
    FolderKind,
    Forwarding,
    ImportedMessage,
    Mailbox,
    Message,
    Status,
)

Post = Callable[..., list[Message]]


def close_long_ago(account: Account) -> None:
    accounts.close(account)
    Account.objects.filter(pk=account.pk).update(closed_at=timezone.now() - timedelta(days=31))


def test_an_account_comes_with_its_mailbox_folders_and_address(ann: Account) -> None:
    assert (ann.login, ann.role, ann.status) == ("ann@example.test", "subscriber", "active")
    assert ann.mailbox.quota_bytes == 10_000_000
    kinds = set(Folder.objects.filter(mailbox=ann.mailbox).values_list("kind", flat=True))
    assert kinds == set(FolderKind) - {FolderKind.OWN}
    assert resolve("ann@example.test").mailboxes == (ann.mailbox.pk,)
    assert AuditEntry.objects.filter(verb="open_account", subject=ann.login, actor="command").count() == 1


def test_a_quota_may_be_given_also_none(open_account: Callable[..., Account]) -> None:
    assert open_account("a", quota=5).mailbox.quota_bytes == 5
    assert open_account("b", quota=0).mailbox.quota_bytes == 0


@pytest.mark.parametrize(
    ("login", "options", "why"),
    [
        ("Ann@Example.test", {}, "the account ann@example.test exists already"),
        ("x@elsewhere.test", {}, "the domain elsewhere.test is not served here"),
        ("no address", {}, "'no address' is not an address"),
        ("new@example.test", {"role": "king"}, "there is no role 'king': choose one of subscriber, "),
        ("alias@example.test", {}, "the address alias@example.test exists already"),
    ],
)
def test_an_account_that_cannot_be_leaves_nothing(
    ann: Account, login: str, options: dict[str, Any], why: str
) -> None:
    add_address("alias@example.test", AddressKind.ALIAS, [ann.mailbox])
    with pytest.raises(Invalid, match=rf"^{re.escape(why)}"):
        accounts.open_account(login, PASSWORD, **options)
    assert (Account.objects.count(), Mailbox.objects.count(), Address.objects.count()) == (1, 1, 2)


def test_a_domain_is_made_once(domain: Domain) -> None:
    with pytest.raises(Invalid, match=r"^the domain example.test exists already$"):
        accounts.create_domain("EXAMPLE.test")
    with pytest.raises(Invalid):
        accounts.create_domain("not a domain")


def test_generated_passwords_are_long_and_differ() -> None:
    passwords = {accounts.generate_password() for _ in range(100)}
    assert len(passwords) == 100
    assert {bool(re.fullmatch(r"(\w{4}-){3}\w{4}", password)) for password in passwords} == {True}


@pytest.mark.parametrize("verb", ["reset_password", "suspend", "restore", "close", "set_service"])
def test_every_change_is_audited_and_raises_the_credential_version(ann: Account, verb: str) -> None:
    if verb == "restore":
        accounts.suspend(ann, "unpaid")
    before = ann.credential_version
    {
        "reset_password": lambda: accounts.reset_password(ann, "x" * 12, actor="bob"),
        "suspend": lambda: accounts.suspend(ann, "unpaid", actor="bob"),
        "restore": lambda: accounts.restore(ann, actor="bob"),
        "close": lambda: accounts.close(ann, actor="bob"),
        "set_service": lambda: accounts.set_service(ann, "pop3", False, actor="bob"),
    }[verb]()
    assert ann.credential_version == before + 1
    entry = AuditEntry.objects.get(verb=verb, actor="bob")
    assert entry.subject == ann.login
    assert "argon2" not in str(entry.after) + str(entry.before)


def test_what_has_no_sense_is_refused(ann: Account) -> None:
    refusals: list[tuple[Callable[[], None], str]] = [
        (lambda: accounts.restore(ann), "^the account ann@example.test is active$"),
        (lambda: accounts.set_service(ann, "imap", True), "^there is no service 'imap'"),
        (lambda: accounts.suspend(ann, "x" * 301), "^the reason has 301 characters"),
    ]
    for refusal, why in refusals:
        with pytest.raises(Invalid, match=why):
            refusal()
    assert ann.credential_version == 1


def test_who_saw_the_account_before_it_was_closed_cannot_suspend_it(ann: Account) -> None:
    stale = Account.objects.get(pk=ann.pk)
    accounts.close(ann)
    verbs: list[Callable[[], None]] = [
        lambda: accounts.suspend(stale, "unpaid"),
        lambda: accounts.close(stale),
    ]
    for verb in verbs:
        with pytest.raises(Invalid, match=r"^the account ann@example.test is closed$"):
            verb()
    assert Account.objects.get(pk=ann.pk).status == Status.CLOSED


def test_a_closed_account_can_be_restored_with_its_mail(ann: Account, post: Post) -> None:
    [message] = post(ann)
    accounts.close(ann)
    accounts.restore(ann)
    assert (ann.status, ann.closed_at) == (Status.ACTIVE, None)
    assert resolve(ann.login).mailboxes == (message.mailbox_id,)


# -- the end ------------------------------------------------------------------------------------


def test_a_name_is_not_given_again_before_it_is_purged(ann: Account) -> None:
    accounts.close(ann)
    assert ann.closed_at is not None
    free = ann.closed_at + timedelta(days=30)
    with pytest.raises(Invalid, match=f"closed and its name is not given again before {free:%Y-%m-%d}$"):
        accounts.open_account("ann@example.test", PASSWORD)
    with pytest.raises(Invalid, match=r"^the address ann@example.test exists already$"):
        add_address("ann@example.test", AddressKind.FORWARD, [], ["x@y.test"])
    assert accounts.purge_closed() == 0


def test_a_new_account_never_inherits_old_mail(
    ann: Account, post: Post, open_account: Callable[..., Account]
) -> None:
    [old] = post(ann)
    close_long_ago(ann)
    assert accounts.purge_closed() == 1
    again = open_account("ann")
    assert again.pk != ann.pk
    assert again.mailbox.pk != old.mailbox_id
    assert Message.objects.count() == 0
    [new] = post(again)
    assert (new.mailbox_id, again.mailbox.pk) == (again.mailbox.pk, new.mailbox_id)
    assert new.uidl != old.uidl
    assert retention.recount(again.mailbox.pk)


def test_a_closed_account_forwards_nothing_and_its_address_goes_with_it(
    ann: Account, outsider: str, open_account: Callable[..., Account]
) -> None:
    aliases.set_forward(ann, outsider)
    assert resolve(ann.login).forwards
    close_long_ago(ann)
    with pytest.raises(UnknownRecipient):
        resolve(ann.login)
    assert accounts.purge_closed() == 1
    assert not Address.objects.exists()
    with pytest.raises(UnknownRecipient):
        resolve(ann.login)
    assert resolve(open_account("ann").login).forwards == ()


def test_a_person_s_name_is_changed_and_audited(ann: Account) -> None:
    accounts.set_name(ann, "  Ann \t Kunde ")
    ann.refresh_from_db()
    assert ann.name == "Ann Kunde"
    entry = AuditEntry.objects.get(verb="set_name")
    assert (entry.subject, entry.before, entry.after) == (ann.login, {"name": ""}, {"name": "Ann Kunde"})


@pytest.mark.parametrize("name", ["x" * 201, "Ann\x07"])
def test_a_name_that_cannot_be_shown_changes_nothing(ann: Account, name: str) -> None:
    with pytest.raises(Invalid, match="at most 200"):
        accounts.set_name(ann, name)
    assert not Account.objects.exclude(name="").exists()


def test_a_purge_leaves_nothing_but_the_records_and_others_mail(
    ann: Account, bob: Account, post: Post, outsider: str
) -> None:
    add_address("only@example.test", AddressKind.ALIAS, [ann.mailbox])
    add_address("both@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox])
    add_address("away@example.test", AddressKind.FORWARD, [ann.mailbox], [outsider])
    [_, of_bob] = post(ann, bob)
    post("away@example.test")
    [only_ann] = post(ann)
    Domain.objects.update(catch_all=ann.mailbox)
    ImportedMessage.objects.create(mailbox=ann.mailbox, fingerprint="f", uidl="u")
    close_long_ago(ann)
    assert accounts.purge_closed() == 1
    assert list(Account.objects.values_list("login", flat=True)) == [bob.login]
    assert list(Mailbox.objects.values_list("account__login", flat=True)) == [bob.login]
    assert list(Message.objects.values_list("pk", flat=True)) == [of_bob.pk]
    names = set(Address.objects.values_list("name", flat=True))
    assert names == {"bob@example.test", "both@example.test", "away@example.test"}
    assert resolve("both@example.test").mailboxes == (bob.mailbox.pk,)
    assert Domain.objects.get().catch_all is None
    assert (ImportedMessage.objects.count(), Forwarding.objects.count()) == (0, 1)
    assert DeliveryRecord.objects.filter(recipient=ann.login).count() == 2
    unused = Content.objects.exclude(unused_since=None)
    assert list(unused.values_list("pk", flat=True)) == [only_ann.content_id]
    assert retention.recount(bob.mailbox.pk)
    assert AuditEntry.objects.get(verb="purge").subject == ann.login


def test_an_account_that_is_restored_meanwhile_is_not_purged(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(ann)
    close_long_ago(ann)
    purge = accounts._purge

    def restored_first(due: Any) -> bool:
        accounts.restore(ann)
        return purge(due)

    monkeypatch.setattr(accounts, "_purge", restored_first)
    assert accounts.purge_closed() == 0
    assert Message.objects.count() == 1


def test_an_account_is_purged_at_once_where_that_is_asked(ann: Account, post: Post) -> None:
    post(ann)
    accounts.purge(ann)
    assert (Account.objects.count(), Message.objects.count(), Address.objects.count()) == (0, 0, 0)
