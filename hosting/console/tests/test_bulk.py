"""One change to many accounts: what is confirmed is done, to those alone who may be changed."""

from collections.abc import Callable

import pytest
from django.test import Client

from hosting.console.tests.conftest import Enter
from hosting.console.views import bulk as view
from mailboxes import accounts, bulk, directory, errands
from mailboxes.models import Account, AuditEntry, Domain, Errand, Status

PATH = "/console/accounts/bulk/"


@pytest.fixture
def many(open_account: Callable[..., Account]) -> list[Account]:
    return [open_account(f"m{number}") for number in range(3)]


def form(chosen: list[Account], act: str, confirmed: int | None = None, **more: str) -> dict[str, object]:
    ticked = {"account": [one.pk for one in chosen], "which": "chosen", "act": act}
    return {**ticked, **({} if confirmed is None else {"confirmed": confirmed}), **more}


def statuses() -> dict[str, str]:
    return dict(Account.objects.values_list("login", "status"))


def test_what_is_to_be_done_and_to_whom_is_shown_before_anything_changes(
    desk: Client, many: list[Account]
) -> None:
    before = AuditEntry.objects.count()
    html = desk.post(PATH, form(many[:2], "suspend")).content.decode()
    assert "Suspend: 2 accounts" in html
    assert all(one.login in html for one in many[:2])
    assert many[2].login not in html
    assert desk.post(PATH, form(many[:2], "suspend", 2, reason="")).status_code == 422
    assert (set(statuses().values()), AuditEntry.objects.count()) == ({"active"}, before)


@pytest.mark.parametrize("act", bulk.ACTS)
def test_each_change_is_the_one_that_a_single_account_gets_audited_with_the_reason(
    desk: Client, operator: Account, many: list[Account], act: str
) -> None:
    if act == "restore":
        for one in many:
            accounts.close(one)
    desk.post(PATH, form(many[:2], act, 2, reason="because", quota="3M"))
    entries = AuditEntry.objects.filter(reason="because").order_by("pk")
    assert [one.subject for one in entries] == [one.login for one in many[:2]]
    assert {(one.actor, one.peer) for one in entries} == {(operator.login, "127.0.0.1")}
    for one in many:
        one.refresh_from_db()
        one.mailbox.refresh_from_db()
    first, last = many[0], many[2]
    service, _, on = act.rpartition("_")
    if act == "quota":
        assert (first.mailbox.quota_bytes, last.mailbox.quota_bytes) == (3 * 1024**2, 10_000_000)
    elif on in {"on", "off"}:
        assert getattr(first.mailbox, f"{service}_enabled") is (on == "on")
        assert getattr(last.mailbox, f"{service}_enabled")
    else:
        expected = {"suspend": "suspended", "close": "closed", "restore": "active", "end_sessions": "active"}
        assert (first.status, last.status) == (expected[act], "closed" if act == "restore" else "active")


def test_accounts_of_staff_and_ones_own_are_left(
    enter: Enter, desk: Client, operator: Account, administrator: Account, many: list[Account]
) -> None:
    everybody = [operator, administrator, *many]
    html = desk.post(PATH, form(everybody, "close")).content.decode()
    assert "Close: 4 accounts" in html
    html = enter(administrator).post(PATH, form(everybody, "close")).content.decode()
    assert "Close: 3 accounts" in html
    enter(administrator).post(PATH, form(everybody, "close", 3, reason="x"))
    assert statuses() == {
        operator.login: "active",
        administrator.login: "active",
        **{one.login: "closed" for one in many},
    }


def test_an_administrator_changes_nobody_of_another_domain_however_it_is_asked(
    enter: Enter, stranger: Account, many: list[Account]
) -> None:
    client, before = enter(stranger), AuditEntry.objects.count()
    everybody = {"which": "all", "act": "close", "confirmed": "3", "reason": "x", "domain": "example.test"}
    for given in (form(many, "close", 3, reason="x"), everybody):
        assert client.post(PATH, given).status_code == 302
    assert (set(statuses().values()), AuditEntry.objects.count()) == ({"active"}, before)


def test_an_administrator_gives_many_no_more_room_than_was_agreed(
    enter: Enter, administrator: Account, many: list[Account]
) -> None:
    client = enter(administrator)
    response = client.post(PATH, form(many, "quota", 3, reason="x", quota="1G"), follow=True)
    assert "3 are left as they were." in response.content.decode()
    assert set(
        Account.objects.filter(pk__in=[one.pk for one in many]).values_list("mailbox__quota_bytes", flat=True)
    ) == {10_000_000}


def test_all_that_the_list_shows_by_its_beginning_its_domain_and_its_state(
    desk: Client, many: list[Account], ann: Account, other_domain: Domain
) -> None:
    accounts.suspend(many[1], "unpaid")
    given = {"which": "all", "act": "restore", "q": "m", "status": "suspended", "domain": "example.test"}
    html = desk.post(PATH, given).content.decode()
    assert "1 account" in html
    assert many[1].login in html
    desk.post(PATH, given | {"confirmed": "1", "reason": "paid"})
    assert statuses()[many[1].login] == "active"
    html = desk.post(PATH, {"which": "all", "act": "suspend", "q": "m"}).content.decode()
    assert "Suspend: 3 accounts" in html
    assert ann.login not in html
    assert desk.post(PATH, {"which": "all", "act": "suspend", "domain": "other.test"}).status_code == 302


def test_it_is_asked_again_when_meanwhile_others_match(
    desk: Client, many: list[Account], open_account: Callable[..., Account]
) -> None:
    given = {"which": "all", "act": "suspend", "q": "m", "reason": "x", "confirmed": "3"}
    open_account("m9")
    response = desk.post(PATH, given)
    assert (response.status_code, "other accounts that match" in response.content.decode()) == (422, True)
    assert set(statuses().values()) == {"active"}


def test_too_many_are_refused(desk: Client, many: list[Account], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "CHOSEN_MAX", 2)
    response = desk.post(PATH, {"which": "all", "act": "suspend", "q": "m"}, follow=True)
    assert "narrow the list first" in response.content.decode()


def test_more_than_a_page_waits_for_are_an_errand(
    desk: Client, operator: Account, many: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "AT_ONCE_MAX", 2)
    accounts.close(many[2])
    response = desk.post(PATH, form(many, "suspend", 3, reason="unpaid"))
    errand = Errand.objects.get()
    assert response.headers["Location"] == f"/console/errands/{errand.key}/"
    assert statuses()[many[0].login] == "active"
    errands.run(errand.key)
    html = desk.get(f"/console/errands/{errand.key}/").content.decode()
    assert "2 accounts were changed." in html
    assert f"{many[2].login}: the account {many[2].login} is closed" in html
    assert [statuses()[one.login] for one in many] == ["suspended", "suspended", "closed"]
    entries = AuditEntry.objects.filter(verb="suspend")
    assert {(one.actor, one.reason, one.peer) for one in entries} == {(operator.login, "unpaid", "127.0.0.1")}


def test_an_errand_that_is_cancelled_stops_where_it_is(
    desk: Client, operator: Account, many: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "AT_ONCE_MAX", 2)
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0)
    desk.post(PATH, form(many, "suspend", 3, reason="unpaid"))
    errand, suspend = Errand.objects.get(), accounts.suspend

    def suspended_then_cancelled(*args: object, **options: object) -> None:
        suspend(*args, **options)  # type: ignore[arg-type]
        desk.post(f"/console/errands/{errand.key}/cancel/")

    monkeypatch.setattr(accounts, "suspend", suspended_then_cancelled)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, Account.objects.filter(status=Status.SUSPENDED).count()) == ("cancelled", 1)


def test_the_list_of_one_state_looks_through_a_part_and_goes_on(
    page: Callable[..., str], many: list[Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.suspend(many[2], "unpaid")
    html = page("/console/accounts/", status="suspended")
    assert (many[2].login in html, many[0].login in html) == (True, False)
    monkeypatch.setattr(directory, "LOOKED_THROUGH", 2)
    seen, after, pages = [], "", 0
    while True:
        found = directory.accounts(status="suspended", after=after)
        seen += [one.login for one in found.rows]
        pages += 1
        if not found.next:
            break
        after = found.next
    assert (seen, pages) == ([many[2].login], 2)
    assert "only a part of the accounts was looked through" in page("/console/accounts/", status="suspended")
    assert "any" in page("/console/accounts/", status="nonsense")


def test_changing_more_accounts_costs_as_many_queries_each(
    many: list[Account], django_assert_max_num_queries: Callable[..., object]
) -> None:
    pks = [one.pk for one in many]
    with django_assert_max_num_queries(1 + 3 * 9):  # type: ignore[attr-defined]
        outcome = bulk.change_all(pks, bulk.Change("suspend", "x"), bulk.Bounds(but=0), actor="x")
    assert (outcome.changed, outcome.left) == (3, 0)
