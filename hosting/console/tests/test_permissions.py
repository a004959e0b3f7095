"""Who may do what: the page, the table behind it, and what every URL of the console does, are the same.

The two tables of this file are written by hand from what was agreed, not read from the code.
"""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosting.console.permissions import STAFF, TABLE, Act, Reach
from hosting.console.tests.conftest import Enter
from hosting.console.urls import urlpatterns
from mailboxes import aliases, inspections
from mailboxes.models import Account, Address, AuditEntry, Domain, Errand, Folder, Message, Role

# What each role may do: o operator, d domain administrator (own domains), s support.
AGREED = {
    Act.LOOK_UP: "ods",
    Act.SEE_FOLDERS: "ods",
    Act.RESTORE_MAIL: "ods",
    Act.RESET: "ods",
    Act.RESET_SECOND_FACTOR: "ods",
    Act.REVOKE_APP_PASSWORDS: "ods",
    Act.OPEN: "od",
    Act.CHANGE: "od",
    Act.ADDRESS: "od",
    Act.READ_AUDIT: "od",
    Act.SEE_HOUSE: "os",
    Act.SERVE_DOMAINS: "o",
    Act.MANAGE_STAFF: "o",
    Act.OPEN_CONTENTS: "o",
}
# Every URL: who may use it, what its path names (a domain, an account, an address, or nothing), its method.
URLS = {
    "home": ("ods", "", "get"),
    "days": ("os", "", "get"),
    "room": ("os", "", "get"),
    "health": ("os", "", "get"),
    "find": ("ods", "", "get"),
    "roles": ("ods", "", "get"),
    "domains": ("ods", "", "get"),
    "create_domain": ("o", "", "post"),
    "domain": ("ods", "domain", "get"),
    "switch_domain": ("o", "domain", "post"),
    "suspend_domain": ("o", "domain", "post"),
    "close_domain": ("o", "domain", "post"),
    "restore_domain": ("o", "domain", "post"),
    "default_quota": ("o", "domain", "post"),
    "catch_all": ("od", "domain", "post"),
    "accounts": ("ods", "", "get"),
    "create_account": ("od", "", "post"),
    "bulk": ("od", "", "post"),
    "import": ("od", "", "post"),
    "export": ("od", "", "get"),
    "account": ("ods", "account", "get"),
    "service": ("od", "account", "post"),
    "name": ("od", "account", "post"),
    "quota": ("od", "account", "post"),
    "suspend": ("od", "account", "post"),
    "restore": ("od", "account", "post"),
    "close": ("od", "account", "post"),
    "password": ("ods", "account", "post"),
    "end_sessions": ("ods", "account", "post"),
    "reset_second_factor": ("ods", "account", "post"),
    "revoke_app_passwords": ("ods", "account", "post"),
    "alias": ("od", "account", "post"),
    "forward": ("od", "account", "post"),
    "role": ("o", "account", "post"),
    "mailbox": ("ods", "account", "get"),
    "folder": ("ods", "folder", "get"),
    "restore_mail": ("ods", "account", "post"),
    "addresses": ("ods", "", "get"),
    "create_address": ("od", "", "post"),
    "change_address": ("od", "address", "post"),
    "address_bulk": ("od", "", "post"),
    "suspend_address": ("od", "address", "post"),
    "close_address": ("od", "address", "post"),
    "restore_address": ("od", "address", "post"),
    "import_addresses": ("od", "", "post"),
    "export_addresses": ("od", "", "get"),
    "errand": ("od", "errand", "get"),
    "cancel_errand": ("od", "errand", "post"),
    "passwords": ("od", "errand", "post"),
    "inspect": ("o", "account", "post"),
    "inspection": ("o", "inspection", "get"),
    "end_inspection": ("o", "inspection", "post"),
    "inspected_folder": ("o", "inspected_folder", "get"),
    "inspected": ("o", "inspected", "get"),
    "inspected_html": ("o", "inspected", "get"),
    "inspected_part": ("o", "inspected_part", "get"),
    "audit": ("od", "", "get"),
    "audit_export": ("od", "", "get"),
}
LETTER = b"""\
Subject: a plan
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/html

<p>Look at this.</p>
--x
Content-Type: application/pdf
Content-Disposition: attachment; filename=plan.pdf

%PDF-1.4
--x--
""".replace(b"\n", b"\r\n")
LETTERS = {"o": Role.OPERATOR, "d": Role.DOMAIN_ADMINISTRATOR, "s": Role.SUPPORT}
# For accounts of staff, support and domain administrators may look and nothing else.
SEEN_OF_STAFF = {"account"}


def test_every_url_of_the_console_is_in_this_table() -> None:
    assert sorted(str(pattern.name) for pattern in urlpatterns) == sorted(URLS)


def test_the_table_is_what_was_agreed() -> None:
    expected = {
        act: {
            role: (Reach.OWN if letter == "d" else Reach.ALL) if letter in letters else Reach.NONE
            for letter, role in LETTERS.items()
        }
        for act, letters in AGREED.items()
    }
    assert expected == TABLE


def test_the_page_shows_the_table(page: Callable[..., str]) -> None:
    html = page("/console/roles/")
    rows = re.findall(r'<tr> ?<th scope="row">(.*?)</th>(.*?)</tr>', html)
    shown = {act: re.findall(r"<td[^>]*>(.*?)</td>", cells) for act, cells in rows}
    assert shown == {
        act.value.replace("'", "&#x27;"): [TABLE[act][role].value for role in STAFF] for act in Act
    }


PathOf = Callable[..., str]


@pytest.fixture
def path_of(ann: Account, bob: Account, domain: Domain, post: Callable[..., list[Message]]) -> PathOf:
    """The path of a URL for ann, her mailbox, her domain or her alias; errands and inspections are those of
    somebody of the staff, bob's where nobody is named."""
    alias = aliases.create_address("alias@example.test", [ann.login])
    trash = Folder.objects.get(mailbox=ann.mailbox, kind="trash")
    [letter] = post(ann, text=LETTER)
    named: dict[str, tuple[object, ...]] = {
        "": (),
        "account": (ann.pk,),
        "folder": (ann.pk, trash.pk),
        "domain": (domain.pk,),
        "address": (alias.pk,),
    }

    def make(name: str, whose: Account | None = None) -> str:
        kind, owner = URLS[name][1], whose or bob
        if kind == "errand":
            made = Errand.objects.create(
                key="a" * 32, kind="accounts", account=owner, state="done", asked_at=timezone.now()
            )
            args: tuple[object, ...] = (made.key,)
        elif kind.startswith("inspect"):
            key = inspections.begin(ann.mailbox, owner, "ann asked us to look", actor=owner.login).key
            more = {
                "inspected_folder": (trash.pk,),
                "inspected": (letter.pk,),
                "inspected_part": (letter.pk, "2"),
            }
            args = (key, *more.get(kind, ()))
        else:
            args = named[kind]
        return reverse(f"console:{name}", args=args)

    return make


def _ask(client: Client, name: str, path: str) -> int:
    # An empty form changes nothing where that can be helped; where it cannot, that is the test's own account.
    return int((client.post(path) if URLS[name][2] == "post" else client.get(path)).status_code)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("letter", LETTERS)
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    enter: Enter,
    operator: Account,
    support: Account,
    administrator: Account,
    path_of: PathOf,
    letter: str,
    name: str,
) -> None:
    who = {"o": operator, "s": support, "d": administrator}[letter]
    path = path_of(name, who)
    before = AuditEntry.objects.count()
    status = _ask(enter(who), name, path)
    if letter in URLS[name][0]:
        assert status in {200, 302, 422}
    else:
        assert (status, AuditEntry.objects.count()) == (403, before)


@pytest.mark.parametrize("name", URLS)
def test_the_administrator_of_another_domain_finds_nothing_of_this_one(
    enter: Enter, stranger: Account, path_of: PathOf, name: str
) -> None:
    path, before = path_of(name), AuditEntry.objects.count()
    client = enter(stranger)
    response = client.post(path) if URLS[name][2] == "post" else client.get(path)
    if "d" not in URLS[name][0]:
        assert response.status_code == 403
    elif URLS[name][1]:
        assert response.status_code == 404
    else:
        assert response.status_code in {200, 302, 422}
        body = b"".join(response) if response.streaming else response.content
        assert b"example.test" not in re.sub(rb'placeholder="[^"]*"', b"", body)
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize(
    "name", [name for name, (_, kind, _) in URLS.items() if kind.startswith(("err", "ins"))]
)
def test_what_an_operator_began_is_no_other_operators(
    desk: Client, path_of: PathOf, support: Account, name: str
) -> None:
    Account.objects.filter(pk=support.pk).update(role="operator")
    path, before = path_of(name, support), AuditEntry.objects.count()
    assert (_ask(desk, name, path), AuditEntry.objects.count()) == (404, before)


@pytest.mark.parametrize("name", URLS)
def test_a_subscriber_is_refused_and_nobody_is_asked_to_log_in(
    client: Client, enter: Enter, ann: Account, path_of: PathOf, name: str
) -> None:
    path, before = path_of(name), AuditEntry.objects.count()
    assert _ask(enter(ann), name, path) == 403
    response = client.post(path) if URLS[name][2] == "post" else client.get(path)
    assert (response.status_code, response.headers["Location"].partition("?")[0]) == (302, "/login/")
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize(
    "name", [name for name, (_, kind, _) in URLS.items() if kind in {"account", "folder"}]
)
@pytest.mark.parametrize("whose", ["operator", "boss", "support"])
@pytest.mark.parametrize("letter", "ds")
def test_who_helps_subscribers_changes_no_account_of_staff(
    enter: Enter,
    operator: Account,
    support: Account,
    administrator: Account,
    letter: str,
    whose: str,
    name: str,
) -> None:
    target = Account.objects.get(login=f"{whose}@example.test")
    version, before = target.credential_version, AuditEntry.objects.count()
    folder = Folder.objects.get(mailbox=target.mailbox, kind="trash")
    args = [target.pk, folder.pk] if name == "folder" else [target.pk]
    status = _ask(
        enter(administrator if letter == "d" else support), name, reverse(f"console:{name}", args=args)
    )
    assert status == (200 if name in SEEN_OF_STAFF else 403)
    target.refresh_from_db()
    assert (target.credential_version, AuditEntry.objects.count()) == (version, before)


def test_an_administrator_makes_nothing_in_or_for_a_domain_that_is_anothers(
    enter: Enter, administrator: Account, stranger: Account, ann: Account, domain: Domain
) -> None:
    client, theirs = enter(administrator), "boss@other.test"
    before = (Account.objects.count(), Address.objects.count(), AuditEntry.objects.count())
    forms: list[tuple[str, list[int], dict[str, str]]] = [
        ("create_account", [], {"login": "new@other.test"}),
        ("create_address", [], {"name": "new@other.test", "reaches": ann.login}),
        ("create_address", [], {"name": "new@example.test", "reaches": theirs}),
        ("alias", [ann.pk], {"name": "new@other.test"}),
        ("catch_all", [domain.pk], {"to": theirs}),
        ("import", [], {"text": "address\nnew@other.test\n", "confirmed": "1"}),
    ]
    for name, args, form in forms:
        response = client.post(reverse(f"console:{name}", args=args), form)
        assert response.status_code in {302, 422}, name
    assert (Account.objects.count(), Address.objects.count(), AuditEntry.objects.count()) == before
    assert Domain.objects.get(pk=domain.pk).catch_all_id is None


def test_a_domain_administrator_gives_no_more_room_than_was_agreed(
    enter: Enter, administrator: Account, ann: Account
) -> None:
    client = enter(administrator)
    client.post(f"/console/accounts/{ann.pk}/quota/", {"quota": "10000001"})
    client.post("/console/accounts/new/", {"login": "new@example.test", "quota": "1G"})
    client.post("/console/accounts/import/", {"text": "address,quota\nn@example.test,1G\n", "confirmed": "1"})
    ann.mailbox.refresh_from_db()
    assert (ann.mailbox.quota_bytes, Account.objects.filter(login__startswith="n").count()) == (10_000_000, 0)
    client.post(f"/console/accounts/{ann.pk}/quota/", {"quota": "10000000"})
    assert AuditEntry.objects.filter(verb="set_quota", actor=administrator.login).count() == 1


def test_an_operator_cannot_lock_oneself_out(desk: Client, operator: Account) -> None:
    base = f"/console/accounts/{operator.pk}"
    desk.post(f"{base}/suspend/", {"reason": "x"})
    desk.post(f"{base}/close/", {"reason": "x"})
    desk.post(f"{base}/service/", {"service": "webmail", "webmail": "0"})
    desk.post(f"{base}/role/", {"role": "subscriber"})
    operator.refresh_from_db()
    assert (operator.status, operator.role, operator.mailbox.webmail_enabled) == ("active", "operator", True)


def test_a_session_ends_with_the_right_to_it(desk: Client, operator: Account) -> None:
    assert desk.get("/console/").status_code == 200
    Account.objects.filter(pk=operator.pk).update(credential_version=99)
    assert desk.get("/console/").status_code == 302


def test_no_page_of_the_console_stays_in_a_cache_and_each_has_the_house_s_policy(desk: Client) -> None:
    response = desk.get("/console/accounts/")
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
