"""Domains, addresses and the audit's pages."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from conftest import PASSWORD
from hosting.console.tests.conftest import Enter
from mailboxes import accounts, aliases, directory
from mailboxes.addresses import resolve
from mailboxes.exceptions import ClosedDomain, RecipientUnavailable, UnknownRecipient
from mailboxes.models import Account, Address, AuditEntry, Domain, Target

Page = Callable[..., str]


def test_a_domain_and_its_first_account_from_nothing(desk: Client, page: Page) -> None:
    response = desk.post("/console/domains/new/", {"name": "New.TEST", "default_quota": "1G"})
    made = Domain.objects.get(name="new.test")
    assert (response.headers["Location"], made.default_quota_bytes) == (
        f"/console/domains/{made.pk}/",
        1024**3,
    )
    desk.post("/console/accounts/new/", {"login": "first@new.test"})
    assert "first@new.test" in page("/console/accounts/", domain="new.test")
    assert desk.post("/console/domains/new/", {"name": "new.test"}).status_code == 422


def test_a_catch_all_is_set_and_taken_away(desk: Client, ann: Account) -> None:
    path = f"/console/domains/{ann.domain_id}/catch-all/"
    desk.post(path, {"to": ann.login})
    assert resolve("whoever@example.test").mailboxes == (ann.mailbox.pk,)
    desk.post(path, {"to": "", "reason": "too much spam"})
    with pytest.raises(UnknownRecipient):
        resolve("whoever@example.test")


def test_a_catch_all_that_was_taken_away_can_be_put_back(desk: Client, page: Page, ann: Account) -> None:
    path = f"/console/domains/{ann.domain_id}/"
    desk.post(f"{path}catch-all/", {"to": ann.login})
    assert "Before, it was" not in page(path)
    desk.post(f"{path}catch-all/", {"to": "", "reason": "too much spam"})
    assert f"Before, it was {ann.login}. “too much spam”" in page(path)
    desk.post(f"{path}catch-all/", {"to": ann.login})
    assert resolve("whoever@example.test").mailboxes == (ann.mailbox.pk,)
    assert "Before, it was" not in page(path)


def test_so_can_a_forward(desk: Client, page: Page, ann: Account) -> None:
    path = f"/console/accounts/{ann.pk}/"
    desk.post(f"{path}forward/", {"to": "out@elsewhere.test"})
    desk.post(f"{path}forward/", {"to": "", "reason": "he is back"})
    assert "Before, it was out@elsewhere.test. “he is back”" in page(path)
    desk.post(f"{path}forward/", {"to": "out@elsewhere.test"})
    assert [to for _, to in resolve(ann.login).forwards] == ["out@elsewhere.test"]


@pytest.mark.parametrize("what", ["catch-all", "forward"])
def test_neither_is_switched_off_without_a_reason(desk: Client, page: Page, ann: Account, what: str) -> None:
    where = f"domains/{ann.domain_id}" if what == "catch-all" else f"accounts/{ann.pk}"
    path, to = f"/console/{where}/{what}/", ann.login if what == "catch-all" else "out@elsewhere.test"
    verb = f"set_{what.replace('-', '_')}"

    def reasons() -> list[str]:
        return list(AuditEntry.objects.filter(verb=verb).order_by("pk").values_list("reason", flat=True))

    desk.post(path, {"to": to})
    for reason in ("", "  ", "x" * 301):
        desk.post(path, {"to": "", "reason": reason})
    assert reasons() == [""]
    assert "Say why." in page(f"/console/{where}/")
    desk.post(path, {"to": "", "reason": "x" * 300})
    assert reasons() == ["", "x" * 300]


@pytest.fixture
def customer(other_domain: Domain, encoded_password: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    """A subscriber of another domain than the operator's."""
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "make_password", lambda _: encoded_password)
        return accounts.open_account("cus@other.test", PASSWORD)


def test_a_domain_is_suspended_and_its_subscribers_read_why(
    client: Client, enter: Enter, desk: Client, page: Page, customer: Account
) -> None:
    path, browser = f"/console/domains/{customer.domain_id}", enter(customer)
    assert browser.get("/mail/inbox/").status_code == 200
    desk.post(f"{path}/suspend/", {"reason": ""})
    assert browser.get("/mail/inbox/").status_code == 200
    desk.post(f"{path}/suspend/", {"reason": "call 0800 123"})
    assert browser.get("/mail/inbox/").status_code == 302
    response = client.post("/login/", {"login": customer.login, "password": PASSWORD})
    assert (response.status_code, "call 0800 123" in response.content.decode()) == (403, True)
    assert "nobody of it can log in" in page(f"{path}/")
    assert "call 0800 123" in page(f"/console/accounts/{customer.pk}/")
    assert resolve(customer.login).mailboxes == (customer.mailbox.pk,)
    desk.post(f"{path}/restore/")
    assert browser.get("/mail/inbox/").status_code == 200


def test_a_domain_is_closed_by_its_name_and_restored(
    desk: Client, page: Page, enter: Enter, customer: Account
) -> None:
    path, browser = f"/console/domains/{customer.domain_id}", enter(customer)
    desk.post(f"{path}/close/", {"reason": "contract over", "name": "example.test"})
    assert resolve(customer.login).mailboxes == (customer.mailbox.pk,)
    desk.post(f"{path}/close/", {"reason": "contract over", "name": "other.test"})
    with pytest.raises(ClosedDomain):
        resolve(customer.login)
    assert browser.get("/mail/inbox/").status_code == 302
    closed_at = Domain.objects.values_list("closed_at", flat=True).get(name="other.test")
    assert closed_at is not None
    gone = f"{timezone.localtime(closed_at) + timedelta(days=30):%Y-%m-%d}"
    assert f"kept until {gone}" in page(f"{path}/")
    response = desk.post("/console/domains/new/", {"name": "other.test"})
    assert f"not given again before {gone}" in response.content.decode()
    assert desk.post("/console/accounts/new/", {"login": "new@other.test"}).status_code == 422
    desk.post(f"{path}/restore/")
    assert resolve(customer.login).mailboxes == (customer.mailbox.pk,)


def test_nobody_shuts_the_domain_of_ones_own_account(desk: Client, page: Page, operator: Account) -> None:
    path = f"/console/domains/{operator.domain_id}"
    desk.post(f"{path}/suspend/", {"reason": "x"})
    desk.post(f"{path}/close/", {"reason": "x", "name": "example.test"})
    assert Domain.objects.get().status == "active"
    assert "somebody else has to suspend or close it" in page(f"{path}/")


def test_a_domain_that_is_put_off_asks_senders_to_come_again(desk: Client, ann: Account) -> None:
    path = f"/console/domains/{ann.domain_id}/switch/"
    desk.post(path, {"active": "0", "reason": "moving"})
    with pytest.raises(RecipientUnavailable):
        resolve(ann.login)
    desk.post(path, {"active": "1"})
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)


def test_lists_and_forwards_are_made_suspended_closed_and_restored(
    desk: Client, page: Page, ann: Account, bob: Account
) -> None:
    form = {"name": "team@example.test", "reaches": f"{ann.login}\n{bob.login}\nout@elsewhere.test\n"}
    desk.post("/console/addresses/new/", form)
    route = resolve("team@example.test")
    assert route.mailboxes == (ann.mailbox.pk, bob.mailbox.pk)
    assert [to for _, to in route.forwards] == ["out@elsewhere.test"]
    team = f"/console/addresses/{Address.objects.get(name='team@example.test').pk}"
    desk.post(f"{team}/suspend/", {"reason": "too much mail"})
    with pytest.raises(RecipientUnavailable):
        resolve("team@example.test")
    assert "too much mail" in page("/console/addresses/", q="team")
    desk.post(f"{team}/close/", {"reason": "no longer used"})
    with pytest.raises(UnknownRecipient):
        resolve("team@example.test")
    desk.post(f"{team}/restore/")
    assert resolve("team@example.test") == route
    desk.post(f"{team}/close/", {"reason": ""})
    assert resolve("team@example.test") == route


def test_who_joins_and_leaves_a_list(desk: Client, page: Page, ann: Account, bob: Account) -> None:
    team = aliases.create_address("team@example.test", [ann.login])
    path = f"/console/addresses/{team.pk}/"
    assert re.search(rf">\s*{ann.login}</textarea>", page(path))
    desk.post(path, {"reaches": f"{bob.login}\nout@elsewhere.test"})
    route = resolve(team.name)
    assert (route.mailboxes, route.forwards) == ((bob.mailbox.pk,), ((team.pk, "out@elsewhere.test"),))
    entries = AuditEntry.objects.filter(verb="change_address").order_by("subject")
    assert [entry.subject for entry in entries] == [ann.login, bob.login]
    assert entries[0].before == {"address": team.name, "reaches": [ann.login]}
    assert entries[0].after == {"address": team.name, "reaches": [bob.login, "out@elsewhere.test"]}


@pytest.mark.parametrize("reaches", ["nobody@example.test", "\n", "no address"])
def test_a_list_that_cannot_be_stays_as_it_was(desk: Client, ann: Account, reaches: str) -> None:
    team = aliases.create_address("team@example.test", [ann.login])
    assert desk.post(f"/console/addresses/{team.pk}/", {"reaches": reaches}).status_code == 422
    assert resolve(team.name).mailboxes == (ann.mailbox.pk,)


def test_neither_an_account_s_own_address_nor_a_closed_one_is_changed(
    desk: Client, ann: Account, bob: Account
) -> None:
    closed = aliases.create_address("team@example.test", [ann.login])
    aliases.close_address(closed)
    for address in (closed, Address.objects.get(name=ann.login)):
        assert desk.post(f"/console/addresses/{address.pk}/", {"reaches": bob.login}).status_code == 422
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)


def test_a_list_of_many_shows_some_and_says_that_there_are_more(
    page: Page, open_account: Callable[..., Account]
) -> None:
    members = [open_account(f"member{number}").login for number in range(5)]
    aliases.create_address("team@example.test", members)
    shown = page("/console/addresses/", q="team")
    assert [login for login in members if login in shown] == members[: directory.TARGETS_SHOWN]
    assert "and more" in shown


def test_an_address_whose_account_has_gone_is_listed_all_the_same(
    page: Page, ann: Account, outsider: str
) -> None:
    aliases.set_forward(ann, outsider)
    Target.objects.filter(mailbox=ann.mailbox).delete()
    assert ann.login in page("/console/addresses/")


def test_the_name_of_a_person_is_changed(desk: Client, page: Page, ann: Account) -> None:
    desk.post(f"/console/accounts/{ann.pk}/name/", {"name": "Ann Kunde"})
    assert "Ann Kunde" in page(f"/console/accounts/{ann.pk}/")


@pytest.mark.parametrize(
    "form",
    [
        {"name": "team@example.test", "reaches": "nobody@example.test"},
        {"name": "ann@example.test", "reaches": "out@elsewhere.test"},
        {"name": "team@elsewhere.test", "reaches": "ann@example.test"},
        {"name": "team@example.test", "reaches": "\n"},
        {"name": "team@example.test", "reaches": "no address"},
    ],
)
def test_an_address_that_cannot_be_is_refused(desk: Client, ann: Account, form: dict[str, str]) -> None:
    before = Address.objects.count()
    assert desk.post("/console/addresses/new/", form).status_code == 422
    assert Address.objects.count() == before


def test_the_address_of_an_account_is_not_closed(desk: Client, ann: Account) -> None:
    desk.post(f"/console/addresses/{Address.objects.get(name=ann.login).pk}/close/", {"reason": "x"})
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)


def test_the_audit_is_searched_and_exported(desk: Client, page: Page, ann: Account) -> None:
    yesterday = timezone.localdate() - timedelta(days=1)  # asked before: midnight may come meanwhile
    accounts.suspend(ann, "unpaid, see invoice", actor="dora@example.test")
    for query in (
        {"subject": "Ann@example.test"},
        {"actor": "dora@example.test"},
        {"subject": "example.test"},
    ):
        assert "unpaid, see invoice" in page("/console/audit/", **query)
    assert "unpaid" not in page("/console/audit/", until=f"{yesterday}")
    lines = b"".join(desk.get("/console/audit/export.csv", {"actor": "dora@example.test"})).decode()
    heading, line = lines.splitlines()
    assert heading == "at,actor,from,verb,subject,before,after,reason"
    assert line.endswith(',"unpaid, see invoice"')


def test_an_administrator_reads_the_audit_of_own_domains_only(
    page: Page, enter: Enter, stranger: Account, ann: Account
) -> None:
    client = enter(stranger)
    assert "boss@other.test" in page("/console/audit/", client=client)
    assert "ann@example.test" not in page("/console/audit/", client=client, subject="example.test").replace(
        'value="example.test"', ""
    )
