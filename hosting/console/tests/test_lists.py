"""Lists: from where the last page ended, by prefix, with stored counters and the same few queries."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from hosting.console.tests.conftest import Enter
from mailboxes import accounts, aliases, directory, messages
from mailboxes.models import (
    Account,
    DeliveryRecord,
    Domain,
    Errand,
    Folder,
    Message,
    POP3Session,
    WebSession,
)

Page = Callable[..., str]


def _queries(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as caught:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in caught.captured_queries]


@pytest.mark.parametrize(
    "path",
    [
        "/console/accounts/?q=x",
        "/console/addresses/?q=x",
        "/console/domains/?q=x",
        "/console/find/?q=x",
        "/console/audit/?actor=x",
    ],
)
def test_a_list_of_three_costs_the_queries_of_a_list_of_one_and_counts_nothing(
    desk: Client, open_account: Callable[..., Account], path: str
) -> None:
    def add(number: int) -> None:
        one = open_account(f"x{number}")
        Account.objects.filter(pk=one.pk).update(name=f"X {number}")
        aliases.create_address(f"xa{number}@example.test", [one.login], actor="x")
        accounts.create_domain(f"x{number}.test", actor="x")

    add(1)
    first = _queries(desk, path)
    add(2)
    add(3)
    third = _queries(desk, path)
    assert len(third) == len(first)
    assert [sql for sql in third if "COUNT(" in sql.upper() or "SUM(" in sql.upper()] == []
    assert [sql for sql in third if "OFFSET" in sql.upper()] == []


def _reads(client: Client, path: str) -> int:
    """How often a page asks; that a session was seen is written every few minutes, and so is not counted."""
    return len([sql for sql in _queries(client, path) if sql.startswith("SELECT")])


def test_every_other_page_costs_few_queries_however_much_is_on_it(
    desk: Client,
    operator: Account,
    ann: Account,
    open_account: Callable[..., Account],
    post: Callable[..., list[Message]],
) -> None:
    errand = Errand.objects.create(
        key="a" * 32, kind="accounts", state="running", account=operator, asked_at=timezone.now(), total=9
    )
    inbox = Folder.objects.get(mailbox=ann.mailbox, kind="inbox")
    paths = {
        "mailbox": (f"/console/accounts/{ann.pk}/mailbox/", 7),
        "folder": (f"/console/accounts/{ann.pk}/mailbox/{inbox.pk}/", 5),
        "account": (f"/console/accounts/{ann.pk}/", 19),
        "domain": (f"/console/domains/{ann.domain_id}/", 7),
        "roles": ("/console/roles/", 2),
        "import": ("/console/accounts/import/", 3),
        "import-addresses": ("/console/addresses/import/", 3),
        "errand": (f"/console/errands/{errand.key}/", 3),
    }

    def add(number: int) -> dict[str, int]:
        """Of everything one more; how many queries each page costs then."""
        [gone], _stays = post(ann), post(ann)
        at = timezone.now()
        record = POP3Session(
            session=f"s{number}", mailbox=ann.mailbox, login=ann.login, peer="p", deleted=1,
            started_at=at, ended_at=at, ended="quit",
        )  # fmt: skip
        messages.discard(ann.mailbox.pk, [gone.pk], record)
        one = open_account(f"x{number}")
        aliases.create_address(f"xa{number}@example.test", [one.login, ann.login], actor="x")
        Errand.objects.filter(pk=errand.pk).update(done=number)
        return {name: _reads(desk, path) for name, (path, _cost) in paths.items()}

    first = add(1)
    add(2)
    assert add(3) == first == {name: cost for name, (_path, cost) in paths.items()}


def test_the_accounts_come_page_by_page_each_once(
    page: Page, open_account: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "PAGE_SIZE", 2)
    names = [open_account(name).login for name in ("ab", "b", "a-b", "a", "ab_c")]
    monkeypatch.setattr(directory._page, "__defaults__", (2,))
    seen: list[str] = []
    after = ""
    while True:
        found = directory.accounts(prefix="a", after=after)
        seen += [account.login for account in found.rows]
        if not found.next:
            break
        after = found.next
    assert seen == sorted(name for name in names if name.startswith("a"))
    assert 'href="?q=a&amp;after=a%40example.test"' in page("/console/accounts/", q="a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ann ex", ["ann@example.test"]), ("ÄRGER", ["z@example.test"]), ("nobody", [])],
)
def test_people_are_found_by_the_beginning_of_their_names(
    open_account: Callable[..., Account], text: str, expected: list[str]
) -> None:
    # SQLite knows the small letters of ASCII only.
    of_z = "ärger" if connection.vendor == "sqlite" else "Ärger"
    for login, name in (("ann", "Ann Example"), ("z", of_z)):
        Account.objects.filter(pk=open_account(login).pk).update(name=name)
    assert [account.login for account in directory.find(text).accounts] == expected


def test_an_address_leads_straight_to_its_account(desk: Client, ann: Account) -> None:
    response = desk.get("/console/find/", {"q": " Ann@Example.TEST "})
    assert (response.status_code, response.headers["Location"]) == (302, f"/console/accounts/{ann.pk}/")


def test_so_does_ann_with_detail_unless_that_is_an_address_of_its_own(
    desk: Client, page: Page, ann: Account, bob: Account
) -> None:
    response = desk.get("/console/find/", {"q": "ann+shop@example.test"})
    assert response.headers["Location"] == f"/console/accounts/{ann.pk}/"
    aliases.create_address("ann+bob@example.test", [bob.login])
    assert bob.login in page("/console/find/", q="ann+bob@example.test")


def test_an_ip_address_finds_browsers_and_mail_programs(page: Page, ann: Account) -> None:
    now = timezone.now()
    facts = {"login": ann.login, "peer": "192.0.2.7", "started_at": now}
    WebSession.objects.create(session="w", account=ann, program="Firefox on Linux", seen_at=now, **facts)
    POP3Session.objects.create(
        session="p", mailbox=ann.mailbox, program="K-9", ended_at=now, ended="quit", **facts
    )
    html = page("/console/find/", q="192.0.2.7")
    assert all(text in html for text in ("Firefox on Linux", "still open", "K-9"))


def test_an_alias_is_found_with_the_account_that_it_reaches(page: Page, ann: Account) -> None:
    aliases.create_address("sales@example.test", [ann.login])
    html = page("/console/find/", q="sales@example.test")
    assert f'<a href="/console/accounts/{ann.pk}/">ann@example.test</a>' in html


@pytest.mark.parametrize("text", ["<one@elsewhere.test>", "one@elsewhere.test", "192.0.2.7", "2001:DB8::7"])
def test_a_message_id_and_an_ip_address_find_what_came(
    page: Page, ann: Account, post: Callable[..., Any], text: str
) -> None:
    raw = b"Message-ID: <one@elsewhere.test>\r\nSubject: s\r\n\r\nx\r\n"
    post(ann, text=raw, peer="2001:db8::7" if ":" in text else "192.0.2.7")
    assert "mallory@elsewhere.test" in page("/console/find/", q=text)


def test_what_was_refused_to_an_unknown_address_is_found_by_that_address(page: Page, domain: Domain) -> None:
    DeliveryRecord.objects.create(
        at=timezone.now(),
        recipient="anne@example.test",
        code="550 5.1.1",
        reason="no such address",
        door="smtp",
    )
    assert "550 5.1.1" in page("/console/find/", q="anne@example.test")


@pytest.mark.parametrize("text", ["ann", "ann@example.test", "192.0.2.7", "<one@elsewhere.test>", "example"])
def test_an_administrator_finds_nothing_of_another_domain(
    page: Page, enter: Enter, stranger: Account, ann: Account, post: Callable[..., Any], text: str
) -> None:
    post(ann, text=b"Message-ID: <one@elsewhere.test>\r\n\r\nx\r\n", peer="192.0.2.7")
    html = page("/console/find/", client=enter(stranger), q=text)
    assert "Nothing was found" in html
    assert "@example.test" not in html.replace(escape(text), "")


@pytest.mark.parametrize("text", ["%", "_", "\\", "'", "a\x00b", "𐀀", "@", "<", "<>", "x" * 5_000, "ann@exa"])
def test_odd_words_find_nothing_that_begins_otherwise(desk: Client, ann: Account, text: str) -> None:
    response = desk.get("/console/find/", {"q": text})
    assert response.status_code == 200
    assert (f"/console/accounts/{ann.pk}/" in response.content.decode()) is (text == "ann@exa")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("accounts/?domain=%00", 200),
        ("accounts/new/?domain=%00", 200),
        ("accounts/export.csv?domain=%00", 200),
        ("accounts/export.csv?domain=nowhere.test", 200),
        ("addresses/?domain=%00", 200),
        ("addresses/export.csv?domain=%00", 200),
        ("addresses/export.csv?domain=nowhere.test", 200),
        ("errands/%00/", 404),
        ("inspections/%00/", 404),
    ],
)
def test_a_domain_or_a_key_that_no_database_takes_is_one_that_is_not_there(
    desk: Client, path: str, status: int
) -> None:
    response = desk.get(f"/console/{path}")
    b"".join(response)  # what is streamed asks while it is read
    assert response.status_code == status


def test_a_domain_counts_its_accounts_as_they_come_and_go(domain: Domain, ann: Account, bob: Account) -> None:
    domain.refresh_from_db()
    assert domain.account_count == 2
    accounts.close(bob)
    accounts.purge(bob)
    domain.refresh_from_db()
    assert domain.account_count == 1
