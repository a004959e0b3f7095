"""One change to many addresses: shown first, done to those alone that may be changed, audited for each."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hosting.console.tests.conftest import Enter
from mailboxes import aliases
from mailboxes.models import Account, Address, AuditEntry

PATH = "/console/addresses/bulk/"
Page = Callable[..., str]


@pytest.fixture
def three(ann: Account) -> list[Address]:
    return [aliases.create_address(f"{name}@example.test", [ann.login]) for name in ("a", "b", "c")]


def form(chosen: list[Address], act: str, **more: str) -> dict[str, object]:
    return {"address": [one.pk for one in chosen], "act": act, **more}


def states() -> list[str]:
    return [one.status for one in Address.objects.exclude(kind="primary").order_by("name")]


def test_what_is_to_be_done_and_to_which_is_shown_before_anything_changes(
    desk: Client, three: list[Address]
) -> None:
    html = desk.post(PATH, form(three[:2], "close")).content.decode()
    assert "Close: 2 addresses" in html
    assert [one.name in html for one in three] == [True, True, False]
    assert desk.post(PATH, form(three, "close", confirmed="1", reason="")).status_code == 422
    assert desk.post(PATH, form(three, "explode", confirmed="1", reason="x")).status_code == 422
    assert states() == ["active"] * 3


@pytest.mark.parametrize(
    ("act", "state"), [("suspend", "suspended"), ("close", "closed"), ("restore", "active")]
)
def test_each_is_changed_as_a_single_one_is_and_audited_with_the_reason(
    desk: Client, operator: Account, three: list[Address], act: str, state: str
) -> None:
    if act == "restore":
        for one in three:
            aliases.close_address(one, "before")
    answer = desk.post(PATH, form(three[:2], act, confirmed="1", reason="they left", q="a"))
    assert answer.headers["Location"] == "/console/addresses/?q=a"
    assert states() == [state, state, "closed" if act == "restore" else "active"]
    entries = AuditEntry.objects.filter(reason="they left")
    assert {(one.verb, one.actor) for one in entries} == {(f"{act}_address", operator.login)}
    assert entries.count() == 2
    standing = list(Address.objects.filter(pk__in=[one.pk for one in three[:2]]).values_list("status_reason"))
    assert standing == [("" if act == "restore" else "they left",)] * 2


def test_what_cannot_be_changed_is_left_and_named(desk: Client, page: Page, three: list[Address]) -> None:
    aliases.close_address(three[0], "gone")
    desk.post(PATH, form(three, "suspend", confirmed="1", reason="why"))
    assert states() == ["closed", "suspended", "suspended"]
    html = page("/console/addresses/")
    assert "2 are changed." in html
    assert "1 is left as it was. a@example.test: The address a@example.test is closed." in html


def test_an_account_s_own_address_and_another_s_are_passed_over(
    desk: Client, enter: Enter, stranger: Account, ann: Account, three: list[Address]
) -> None:
    own = Address.objects.get(name=ann.login)
    desk.post(PATH, form([own], "close", confirmed="1", reason="x"))
    enter(stranger).post(PATH, form(three, "close", confirmed="1", reason="x"))
    own.refresh_from_db()
    assert (own.status, states()) == ("active", ["active"] * 3)


def test_boxes_stand_beside_what_can_be_changed_and_belong_to_one_form(
    page: Page, enter: Enter, support: Account, three: list[Address]
) -> None:
    html = page("/console/addresses/")
    assert html.count('form="many" name="address"') == 3
    assert html.count('id="many"') == 1
    assert 'id="many"' not in page("/console/addresses/", client=enter(support))


def test_to_put_down_the_change_of_a_list_costs_no_more_statements_however_long_it_is(
    desk: Client, ann: Account, bob: Account, django_assert_num_queries: Any
) -> None:
    """Each of those whom it reached reads of it on their time line."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    short = aliases.create_address("short@example.test", [ann.login])
    long = aliases.create_address("long@example.test", [ann.login, bob.login])
    with CaptureQueriesContext(connection) as caught:
        desk.post(PATH, form([short], "suspend", confirmed="1", reason="why"))
    with django_assert_num_queries(len(caught)):
        desk.post(PATH, form([long], "suspend", confirmed="1", reason="why"))
    told = AuditEntry.objects.filter(verb="suspend_address", reason="why").order_by("subject")
    assert list(told.values_list("subject", flat=True)) == [ann.login, ann.login, bob.login]
