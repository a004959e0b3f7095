"""Accounts and addresses as lists: every bad line by its number, all or nothing, passwords once."""

import csv
import re
from collections.abc import Callable
from io import BytesIO, StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password
from django.core.files.storage import default_storage
from django.test import Client

from hosting.console.tests.conftest import Enter
from mailboxes import account_errands, accounts, alias_roster, aliases, audit, errands, roster, tables
from mailboxes.addresses import resolve
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, AuditEntry, Domain, Errand, Mailbox

GOOD = "address,name,quota,password\nx@example.test,Xaver,5M,\ny@example.test,,,correct horse battery\n"
ALIASES = (
    "kind,address,reaches\n"
    "alias,sales@example.test,ann@example.test\n"
    "list,team@example.test,ann@example.test bob@example.test out@elsewhere.test\n"
    "forward,away@example.test,out@elsewhere.test\n"
    "catch-all,@example.test,bob@example.test\n"
)


def bring(desk: Client, text: str, *, confirmed: bool = False, what: str = "accounts") -> str:
    form = {"text": text} | ({"confirmed": "1"} if confirmed else {})
    return desk.post(f"/console/{what}/import/", form, follow=confirmed).content.decode()


def bad_lines(html: str) -> list[tuple[int, str]]:
    found = re.findall(r'<li value="(\d+)">(.*?)</li>', html)
    return [(int(number), text.replace("&#x27;", "'")) for number, text in found]


def done(desk: Client, text: str, what: str = "accounts") -> Errand:
    """The errand of a list, after a worker has had it."""
    bring(desk, text, confirmed=True, what=what)
    errand = Errand.objects.latest("pk")
    errands.run(errand.key)
    errand.refresh_from_db()
    return errand


def test_a_list_is_looked_at_before_anything_changes(desk: Client, domain: Domain) -> None:
    html = bring(desk, GOOD)
    assert "All 2 lines are good" in html
    assert (Account.objects.count(), Errand.objects.count()) == (1, 0)


def test_a_confirmed_list_opens_all_and_the_made_passwords_are_a_file_that_exists_once(
    desk: Client, operator: Account
) -> None:
    errand = done(desk, GOOD)
    assert (errand.state, errand.result, errand.secret) == ("done", {"opened": 2, "passwords": 1}, "")
    path = f"/console/errands/{errand.key}/"
    assert "1 password was made" in desk.get(path).content.decode()
    with default_storage.open(errand.file) as file:
        stored = file.read()
    text = desk.post(f"{path}passwords/").content.decode()
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["address"] for row in rows] == ["x@example.test"]
    assert rows[0]["password"].encode() not in stored
    x, y = Account.objects.get(login="x@example.test"), Account.objects.get(login="y@example.test")
    assert x.check_password(rows[0]["password"])
    assert y.check_password("correct horse battery")
    assert (x.name, x.mailbox.quota_bytes, y.mailbox.quota_bytes) == ("Xaver", 5 * 1024**2, 10_000_000)
    opened = AuditEntry.objects.filter(verb="open_account", actor=operator.login).order_by("pk")
    assert [(one.subject, one.peer) for one in opened] == [(x.login, "127.0.0.1"), (y.login, "127.0.0.1")]
    assert rows[0]["password"] not in str([*opened.values(), *Errand.objects.values()])
    assert not default_storage.exists(errand.file)
    assert desk.post(f"{path}passwords/").headers["Location"] == path
    assert "have been downloaded" in desk.get(path).content.decode()


def test_what_many_opened_at_once_have_is_what_one_has(desk: Client) -> None:
    one = accounts.open_account("one@example.test", "correct horse battery")
    done(desk, "address\nmany@example.test\n")
    many = Account.objects.get(login="many@example.test")

    def facts(account: Account) -> list[object]:
        box = account.mailbox
        own = {"id", "account_id"}
        return [
            {
                name: value
                for name, value in Mailbox.objects.filter(pk=box.pk).values()[0].items()
                if name not in own
            },
            sorted(box.folders.values_list("kind", "name")),
            list(Address.objects.filter(targets__mailbox=box).values_list("kind", "active")),
            (account.role, account.status, account.domain_id),
            AuditEntry.objects.filter(subject=account.login).values_list("verb", "after")[0],
        ]

    assert facts(many) == facts(one)
    assert resolve(many.login).mailboxes == (many.mailbox.pk,)
    assert Domain.objects.get().account_count == 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ann@example.test", "the address ann@example.test exists already"),
        ("sales@example.test", "the address sales@example.test exists already"),
        ("old@example.test", "the address old@example.test was closed and is not given again before"),
        ("a b", "is not an address"),
        ("new@elsewhere.test", "the domain elsewhere.test is not served here"),
        ("new@other.test", "the domain other.test is not served here"),
        ("new@example.test,,much", "is not a size"),
        ("new@example.test,,0", "a quota of 0 would take no mail"),
        ("new@example.test,,,short", "the password is refused"),
        ("new@example.test,,,,", "there are 5 columns"),
        ("good@example.test", "good@example.test stands in line 2 already"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_nothing_is_imported(
    desk: Client, ann: Account, other_domain: Domain, line: str, why: str
) -> None:
    aliases.create_address("sales@example.test", [ann.login])
    aliases.close_address(aliases.create_address("old@example.test", [ann.login]))
    Domain.objects.filter(pk=other_domain.pk).update(closed_at=other_domain.created_at)
    columns = line + "," * (3 - line.count(","))
    html = bring(desk, f"address,name,quota,password\ngood@example.test,,,\n{columns}\n", confirmed=True)
    [[number, text]] = bad_lines(html)
    assert (number, why in text) == (3, True), text
    assert (Account.objects.filter(login="good@example.test").count(), Errand.objects.count()) == (0, 0)


@pytest.mark.parametrize("rest", ["c@example.test,C\n" * 5, 'c@example.test,"C\n' * 5])
def test_a_quote_that_is_missing_is_named_by_the_line_that_it_is_missing_from(
    desk: Client, domain: Domain, rest: str
) -> None:
    html = bring(desk, f'address,name\na@example.test,"A\nA"\nb@example.test,"B\n{rest}')
    [[number, text]] = bad_lines(html)
    assert (number, "this is no CSV" in text) == (4, True)


def test_every_bad_line_is_listed(domain: Domain) -> None:
    read = roster.read_roster("address\n" + "".join(f"bad {n}\n" for n in range(30)))
    assert [problem.number for problem in read.problems] == list(range(2, 32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name\nx\n",
        "address,address\n",
        "x@example.test\n",
        'address\n"x',
        "address\n" * 10_003,
        "address\n",
    ],
)
@pytest.mark.parametrize("what", ["accounts", "addresses"])
def test_what_is_no_list_is_refused(desk: Client, domain: Domain, text: str, what: str) -> None:
    assert desk.post(f"/console/{what}/import/", {"text": text}).status_code == 422


def test_semicolons_a_byte_order_mark_and_a_file_will_do(desk: Client, domain: Domain) -> None:
    file = BytesIO("\ufeffaddress;name\r\nx@example.test;Jürgen\r\n".encode())
    file.name = "list.csv"
    assert "The one line is good" in desk.post("/console/accounts/import/", {"file": file}).content.decode()
    latin = BytesIO("address;name\nx@example.test;Jürgen\n".encode("latin-1"))
    latin.name = "list.csv"
    assert desk.post("/console/accounts/import/", {"file": latin}).status_code == 422


def test_all_or_nothing_also_when_a_name_is_taken_between_the_look_and_the_act(
    desk: Client, ann: Account
) -> None:
    lines = [roster.Line(2, "x@example.test"), roster.Line(3, "ann@example.test")]
    with pytest.raises(Invalid, match=r"^line 3: the address ann@example\.test exists already$"):
        roster.open_all(lines, ["!", "!"], actor="x")
    assert Account.objects.filter(login="x@example.test").count() == 0
    # The same, found out by the worker.
    bring(desk, GOOD, confirmed=True)
    aliases.create_address("y@example.test", [ann.login])
    errand = Errand.objects.latest("pk")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.reason) == (
        "failed",
        "Line 3: the address y@example.test exists already. Nothing was changed.",
    )
    assert Account.objects.filter(login="x@example.test").count() == 0


def test_it_can_be_cancelled_until_it_is_done(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(desk, GOOD, confirmed=True)
    errand = Errand.objects.latest("pk")
    hash_all = roster.hash_all

    def hashed_then_cancelled(*args: object) -> list[str]:
        encoded = hash_all(*args)  # type: ignore[arg-type]
        desk.post(f"/console/errands/{errand.key}/cancel/")
        return encoded

    monkeypatch.setattr(roster, "hash_all", hashed_then_cancelled)
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.secret, errand.file) == ("cancelled", "", "")
    assert Account.objects.count() == 1


def test_a_worker_that_dies_after_the_commit_leaves_the_passwords_and_opens_nobody_twice(
    desk: Client, operator: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(desk, GOOD, confirmed=True)
    errand = Errand.objects.latest("pk")
    work = errands._claim(errand.key)
    assert work is not None
    account_errands.work_on_accounts(work)
    # Killed here: nobody has said that it is done. Another worker takes it once the first is dead for long.
    Errand.objects.update(state="waiting")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result) == ("done", {"opened": 2, "passwords": 1})
    assert Account.objects.count() == 3
    rows = list(csv.DictReader(StringIO(account_errands.take_passwords(errand) or "")))
    assert check_password(rows[0]["password"], Account.objects.get(login="x@example.test").password)


def test_whoever_was_suspended_meanwhile_has_nothing_done(desk: Client, operator: Account) -> None:
    bring(desk, GOOD, confirmed=True)
    accounts.suspend(operator, "gone")
    errand = Errand.objects.latest("pk")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, Account.objects.count()) == ("failed", 1)


def test_whoever_has_another_role_meanwhile_has_nothing_done(desk: Client, operator: Account) -> None:
    bring(desk, GOOD, confirmed=True)
    accounts.set_role(operator, "support")
    errand = Errand.objects.latest("pk")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, Account.objects.count()) == ("failed", 1)


def test_an_administrator_brings_accounts_of_own_domains_with_as_much_room_as_was_agreed(
    enter: Enter, administrator: Account, stranger: Account
) -> None:
    html = bring(enter(administrator), "address,quota\nn@other.test,\nm@example.test,1G\n")
    assert bad_lines(html) == [
        (2, "the domain other.test is not yours"),
        (3, "the quota is more than a mailbox of this domain may have"),
    ]
    assert done(enter(administrator), "address\nn@example.test\n").state == "done"


def test_the_export_has_everybody_and_no_formula(desk: Client, open_account: Callable[..., Account]) -> None:
    Account.objects.filter(pk=open_account("x").pk).update(name="=HYPERLINK(1)")
    response = desk.get("/console/accounts/export.csv")
    text = b"".join(response).decode()
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["address"] for row in rows] == [
        "operator@example.test",
        "x@example.test",
    ]
    assert rows[1]["name"] == "'=HYPERLINK(1)"


def test_what_was_exported_can_be_brought_in_elsewhere(desk: Client, ann: Account, bob: Account) -> None:
    Account.objects.filter(pk=ann.pk).update(name="=Ann")
    text = b"".join(desk.get("/console/accounts/export.csv")).decode()
    read = roster.read_roster(text.replace("ann@", "ann2@"))
    assert [line.name for line in read.lines if line.login == "ann2@example.test"] == ["=Ann"]
    done(desk, ALIASES, "addresses")
    text = b"".join(desk.get("/console/addresses/export.csv?domain=example.test")).decode()
    Address.objects.exclude(kind="primary").delete()
    assert alias_roster.read_aliases(text).problems == []
    assert done(desk, text, "addresses").state == "done"
    assert b"".join(desk.get("/console/addresses/export.csv")).decode() == text


# -- addresses ----------------------------------------------------------------------------------


def test_aliases_lists_forwards_and_catch_alls_are_made_of_a_list(
    desk: Client, operator: Account, ann: Account, bob: Account
) -> None:
    assert "All 4 lines are good" in bring(desk, ALIASES, what="addresses")
    assert Address.objects.exclude(kind="primary").count() == 0
    errand = done(desk, ALIASES, "addresses")
    assert (errand.state, errand.result) == ("done", {"made": 4})
    assert "4 lines were carried out" in desk.get(f"/console/errands/{errand.key}/").content.decode()
    assert resolve("sales@example.test").mailboxes == (ann.mailbox.pk,)
    team = resolve("team@example.test")
    assert (team.mailboxes, [to for _, to in team.forwards]) == (
        (ann.mailbox.pk, bob.mailbox.pk),
        ["out@elsewhere.test"],
    )
    assert [to for _, to in resolve("away@example.test").forwards] == ["out@elsewhere.test"]
    assert resolve("whoever@example.test").mailboxes == (bob.mailbox.pk,)
    assert AuditEntry.objects.filter(verb="create_address", subject=ann.login).count() == 2
    assert AuditEntry.objects.filter(verb="create_address", subject="away@example.test").count() == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nickname,x@example.test,ann@example.test", "'nickname' is no kind"),
        ("alias,x@example.test,", "must reach something"),
        ("alias,x@example.test,nobody@example.test", "there is no open account nobody@example.test"),
        ("alias,x@example.test,out@elsewhere.test", "there is no account out@elsewhere.test here"),
        ("alias,x@example.test,ann@example.test bob@example.test", "make it a list"),
        ("forward,x@example.test,ann@example.test", "make an alias"),
        ("forward,ann@example.test,out@elsewhere.test", "ann@example.test exists already"),
        ("list,good@example.test,ann@example.test", "stands in line 2 already"),
        ("list,x@elsewhere.test,ann@example.test", "the domain elsewhere.test is not served here"),
        ("catch-all,@other.test,nobody@other.test", "there is no open account nobody@other.test"),
        ("catch-all,@elsewhere.test,ann@example.test", "the domain elsewhere.test is not served here"),
        ("list,x@example.test,no address", "is not an address"),
        ("alias,x@example.test", "there are 2 columns"),
    ],
)
def test_a_bad_line_of_addresses_is_named_and_nothing_is_made(
    desk: Client, ann: Account, bob: Account, other_domain: Domain, line: str, why: str
) -> None:
    good = "alias,good@example.test,ann@example.test"
    html = bring(desk, f"kind,address,reaches\n{good}\n{line}\n", confirmed=True, what="addresses")
    [[number, text]] = bad_lines(html)
    assert (number, why in text) == (3, True), text
    assert (Address.objects.exclude(kind="primary").count(), Errand.objects.count()) == (0, 0)


def test_the_bar_of_addresses_moves_line_by_line(
    desk: Client, ann: Account, bob: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    bars = []
    step = errands.Work.step

    def seen(work: errands.Work, done: int = 0) -> None:
        step(work, done)
        row = Errand.objects.get(pk=work.errand.pk)
        bars.append((row.done, row.total))
        # While it moves nobody is kept from anything: what is written comes at the end.
        assert Address.objects.exclude(kind="primary").count() == 0

    monkeypatch.setattr(errands.Work, "step", seen)
    assert done(desk, ALIASES, "addresses").state == "done"
    assert bars == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("when", ["preparing", "writing", "at_the_end"])
def test_addresses_can_be_cancelled_until_they_are_made_and_nothing_is_left_of_them(
    desk: Client, ann: Account, bob: Account, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    bring(desk, ALIASES, confirmed=True, what="addresses")
    errand = Errand.objects.latest("pk")
    of, name = {
        "preparing": (errands.Work, "step"),
        "writing": (audit, "write_all"),
        "at_the_end": (aliases, "set_catch_all"),
    }[when]
    does = getattr(of, name)

    def cancelled_before_it(*given: Any, **named: Any) -> Any:
        errands.cancel(errand)
        return does(*given, **named)

    monkeypatch.setattr(of, name, cancelled_before_it)
    before = AuditEntry.objects.count()
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, errand.result, errand.secret) == ("cancelled", {}, "")
    assert Address.objects.exclude(kind="primary").count() == 0
    assert AuditEntry.objects.count() == before
    assert Domain.objects.exclude(catch_all=None).count() == 0


def test_addresses_are_made_all_or_none_also_when_one_is_taken_meanwhile(
    desk: Client, ann: Account, bob: Account
) -> None:
    bring(desk, ALIASES, confirmed=True, what="addresses")
    read = alias_roster.read_aliases(ALIASES)
    aliases.create_address("away@example.test", [ann.login])
    with pytest.raises(Invalid, match="made by somebody else meanwhile"):
        aliases.make_addresses(alias_roster.prepare(read.lines, actor="x"))
    errand = Errand.objects.latest("pk")
    errands.run(errand.key)
    errand.refresh_from_db()
    assert (errand.state, "away@example.test exists already" in errand.reason) == ("failed", True)
    assert list(Address.objects.exclude(kind="primary").values_list("name", flat=True)) == [
        "away@example.test"
    ]


def test_an_administrator_names_own_accounts_and_addresses_elsewhere_only(
    enter: Enter, administrator: Account, stranger: Account
) -> None:
    text = (
        "kind,address,reaches\n"
        "alias,a@other.test,boss@other.test\n"
        "alias,b@example.test,boss@other.test\n"
        "catch-all,other.test,boss@example.test\n"
        "forward,c@example.test,out@elsewhere.test\n"
    )
    html = bring(enter(administrator), text, what="addresses")
    assert bad_lines(html) == [(number, "the domain other.test is not yours") for number in (2, 3, 4)]


def test_a_cell_that_a_spreadsheet_would_run_is_guarded_and_read_back(domain: Domain) -> None:
    for cell in ("=1", "+ann@example.test", "-1", "@x", "\tx", "plain", "'quoted"):
        rows, problems = tables.read("name\n" + tables.csv_line([cell]), ["name"], ["name"], [], 5)
        assert (rows[0].cells["name"], problems) == (cell, [])
    assert tables.csv_line(["=1"]) == "'=1\r\n"
