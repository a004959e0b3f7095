"""A new account: few words where the domain is known, and a way on where it cannot be opened."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.test import Client
from django.utils.html import escape

from hosting.console.tests.conftest import Enter
from mailboxes import accounts
from mailboxes.models import Account, Domain

PATH = "/console/accounts/new/"
Page = Callable[..., str]


def test_from_a_domain_s_page_one_word_is_enough_and_the_next_account_is_one_click_away(
    desk: Client, page: Page, domain: Domain, other_domain: Domain
) -> None:
    way = f"{PATH}?domain=other.test"
    assert f'href="{way}"' in page(f"/console/domains/{other_domain.pk}/")
    assert "A new account in other.test" in page(way)
    made = desk.post(way, {"login": "carl"}).content.decode()
    assert Account.objects.filter(login="carl@other.test").exists()
    assert f'href="{way}"' in made
    desk.post(way, {"login": "dora@example.test"})
    assert Account.objects.filter(login="dora@example.test").exists()


def test_an_administrator_of_one_domain_need_not_write_it(enter: Enter, administrator: Account) -> None:
    enter(administrator).post(PATH, {"login": "carl"})
    assert Account.objects.filter(login="carl@example.test").exists()


def test_of_another_s_domain_nothing_is_completed_or_told(enter: Enter, stranger: Account) -> None:
    client = enter(stranger)
    client.post(f"{PATH}?domain=example.test", {"login": "carl"})
    assert list(Account.objects.filter(login__startswith="carl").values_list("login", flat=True)) == [
        "carl@other.test"
    ]
    for login in ("new@example.test", "new@nowhere.test"):
        html = client.post(PATH, {"login": login}).content.decode()
        domain = login.rpartition("@")[2]
        assert f"The domain {domain} is not yours." in html
        assert "Serve it first" not in html


@pytest.mark.parametrize(
    ("login", "said", "way"),
    [
        ("new@nowhere.test", "The domain nowhere.test is not served here.", "domains/new/?name=nowhere.test"),
        ("ann@example.test", "ann@example.test exists already.", "accounts/{ann}/"),
        ("info@example.test", "info@example.test is an address already", "addresses/?q=info%40example.test"),
    ],
)
def test_what_stands_in_the_way_is_named_with_the_way_on(
    desk: Client, ann: Account, login: str, said: str, way: str
) -> None:
    from mailboxes import aliases

    aliases.create_address("info@example.test", [ann.login])
    answer = desk.post(PATH, {"login": login})
    html = answer.content.decode()
    assert answer.status_code == 422
    assert said in html
    assert f'href="/console/{escape(way.format(ann=ann.pk))}' in html


@pytest.mark.parametrize("local", ["a+b", "a&b", "a#b", "a%41"])
def test_the_way_to_an_address_leads_to_it_whatever_it_is_written_with(
    desk: Client, page: Page, ann: Account, local: str
) -> None:
    from mailboxes import aliases

    name = f"{local}@example.test"
    aliases.create_address(name, [ann.login])
    html = desk.post(PATH, {"login": name}).content.decode()
    [way] = re.findall(r'href="(/console/addresses/\?[^"]*)"', html)
    assert f"<td>{escape(name)}</td>" in page(unescape(way))


def test_a_closed_account_of_that_name_is_named_as_what_it_is(desk: Client, ann: Account) -> None:
    accounts.close(ann, reason="moved away")
    html = desk.post(PATH, {"login": ann.login}).content.decode()
    assert "ann@example.test is closed, and its name is not given again before" in html
    assert f'<a href="/console/accounts/{ann.pk}/">To the account</a>' in html


def test_a_closed_address_of_that_name_reaches_nobody_and_is_not_said_to(desk: Client, ann: Account) -> None:
    from mailboxes import aliases

    aliases.close_address(aliases.create_address("info@example.test", [ann.login]), "no more")
    html = desk.post(PATH, {"login": "info@example.test"}).content.decode()
    assert "The address info@example.test was closed and is not given again before" in html
    assert "reaches somebody" not in html
    assert "To the address" in html


def test_a_domain_that_was_missing_is_written_already(page: Page) -> None:
    assert 'value="nowhere.test"' in page("/console/domains/new/", name="nowhere.test")


def test_a_domain_s_page_names_its_administrators_and_an_account_s_page_its_domain(
    page: Page, domain: Domain, administrator: Account, ann: Account
) -> None:
    html = page(f"/console/domains/{domain.pk}/")
    assert f'<a href="/console/accounts/{administrator.pk}/">{administrator.login}</a>' in html
    assert f'<a href="/console/domains/{domain.pk}/">example.test</a>' in page(f"/console/accounts/{ann.pk}/")


def test_an_administrator_whose_account_one_may_not_see_is_named_and_not_linked(
    enter: Enter,
    page: Page,
    domain: Domain,
    other_domain: Domain,
    administrator: Account,
    stranger: Account,
) -> None:
    accounts.set_role(administrator, "domain_administrator", [domain, other_domain])
    way = f"/console/domains/{other_domain.pk}/"
    links = [f'<a href="/console/accounts/{one.pk}/">{one.login}</a>' for one in (administrator, stranger)]
    assert [link in page(way) for link in links] == [True, True]
    html = page(way, client=enter(stranger))
    assert [link in html for link in links] == [False, True]
    assert f"{administrator.login}, " in html
