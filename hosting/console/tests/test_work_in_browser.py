"""What staff do all day, in Chromium: find out who deleted a letter, change many accounts, bring a list in,
look into a mailbox; as it looks, to whom it can be read, and without scripts.

With SCREENSHOTS=folder each page is also kept there, wide and narrow, light and dark.
"""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import expect

from conftest import BROWSER_PATIENCE, IN_CHROMIUM
from hosting.console.tests.conftest import Enter
from mailboxes import accounts, aliases, domains, errands, inspections, messages
from mailboxes.models import Account, DeliveryRecord, Domain, Errand, Message, POP3Session, SessionEnd
from webmail.tests.waiting import until_answered

pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
AXE = Path(settings.BASE_DIR) / "webmail" / "tests" / "vendor" / "axe" / "axe.min.js"
SHAPES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
SCREENSHOTS = os.environ.get("SCREENSHOTS", "")
LOOKS = [("wide", "light"), ("phone", "dark")]
if SCREENSHOTS:
    LOOKS += [("wide", "dark"), ("phone", "light")]
Post = Callable[..., list[Message]]
Sit = Callable[..., Any]


@pytest.fixture
def sit(chromium: Any, live_server: Any, enter: Enter) -> Iterator[Sit]:
    """Somebody's browser at a page. Whatever a page says on its console fails the test."""
    said: list[str] = []
    contexts = []

    def make(who: Account, path: str, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(BROWSER_PATIENCE)
        contexts.append(context)
        key = enter(who).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if _is_fault(message) else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)  # until the load event: style sheets and scripts are there
        return page

    yield make
    for context in contexts:
        context.close()
    until_answered(live_server)
    assert said == []


def _is_fault(message: Any) -> bool:
    """A form with a mistake in it (422) and a look that is over (403) are pages like others."""
    meant = ("status of 422" in message.text) or ("status of 403" in message.text)
    return message.type != "log" and not meant


def session_of(account: Account, name: str, program: str, peer: str, hours_ago: int = 0) -> POP3Session:
    at = timezone.now() - timedelta(hours=hours_ago)
    return POP3Session(
        session=name,
        mailbox=account.mailbox,
        login=account.login,
        peer=peer,
        tls="TLSv1.3",
        program=program,
        started_at=at,
        ended_at=at,
        ended=SessionEnd.QUIT,
    )


@pytest.fixture
def letters(ann: Account, post: Post) -> list[Message]:
    """Five letters, two of which a tablet that was forgotten in a drawer has deleted."""
    came = [
        post(
            ann, text=f"From: Shop <shop@elsewhere.test>\r\nSubject: Order {n}\r\n\r\nText {n}\r\n".encode()
        )[0]
        for n in range(1, 6)
    ]
    for number, (program, peer) in enumerate([("Thunderbird 128", "192.0.2.10"), ("K-9 Mail", "192.0.2.11")]):
        messages.discard(ann.mailbox.pk, [], session_of(ann, f"poll{number}", program, peer, 1))
    culprit = session_of(ann, "culprit", "Apple Mail on iPad", "198.51.100.7")
    culprit.deleted = 2
    messages.discard(ann.mailbox.pk, [came[1].pk, came[3].pk], culprit)
    return came


def test_support_finds_which_device_deleted_a_message_and_brings_it_back(
    sit: Sit, support: Account, ann: Account, letters: list[Message]
) -> None:
    page = sit(support, "/console/")
    page.wait_for_selector("[data-find]")
    page.fill("[data-find]", "ann@example.test")
    page.press("[data-find]", "Enter")
    page.wait_for_url(f"**/console/accounts/{ann.pk}/")
    guilty = page.locator("li.session", has_text="deleted 2")
    guilty.wait_for()
    text = guilty.inner_text()
    assert "Apple Mail on iPad" in text
    assert "198.51.100.7" in text
    assert page.locator("li.session").count() == 3
    # Nothing of what stands in a letter, and no way to it.
    assert "Text 2" not in page.content()
    assert page.locator("a[href*='inspect'], form[action*='inspect']").count() == 0
    guilty.get_by_role("button", name="put these back").click()
    page.wait_for_url(f"**/console/accounts/{ann.pk}/mailbox/")
    page.get_by_text("2 messages are back where they lay.").wait_for()
    assert "Text 2" not in page.content()
    assert page.locator("form[action*='inspect']").count() == 0
    # One line typed, one button pressed; and the subscriber has all five again.
    mail = sit(ann, "/mail/inbox/")
    mail.get_by_text("Order 5").first.wait_for()
    for number in range(1, 6):
        assert mail.get_by_text(f"Order {number}").count() >= 1


def test_support_sees_on_each_deleted_message_who_deleted_it_and_restores_since_a_moment(
    sit: Sit, support: Account, ann: Account, letters: list[Message]
) -> None:
    page = sit(support, f"/console/accounts/{ann.pk}/mailbox/")
    rows = page.locator("tr", has_text="by Apple Mail on iPad at 198.51.100.7")
    rows.first.wait_for()
    assert rows.count() == 2
    page.get_by_role("button", name="Put back", exact=True).click()
    page.get_by_text("2 messages are back where they lay.").wait_for()
    assert Message.objects.in_mailbox(ann.mailbox).inbox().count() == 5


@pytest.mark.parametrize("scripts", [True, False])
def test_many_accounts_are_changed_at_once(
    sit: Sit, operator: Account, open_account: Callable[..., Account], scripts: bool
) -> None:
    many = [open_account(f"m{number}") for number in range(3)]
    page = sit(operator, "/console/accounts/?q=m", java_script_enabled=scripts)
    if scripts:
        page.check("[data-tick-all]")
        page.uncheck(f"input[value='{many[1].pk}']")
        expect(page.get_by_role("button", name="The chosen ones (2)")).to_be_visible()
    else:
        assert not page.locator("[data-tick-all]").is_visible()
        for one in (many[0], many[2]):
            page.check(f"input[value='{one.pk}']")
    page.select_option("#bulk-act", "suspend")
    page.locator("button[value=chosen]").click()
    page.get_by_role("heading", name="Suspend: 2 accounts").wait_for()
    page.fill("#id_reason", "the invoice is open")
    page.get_by_role("button", name="Do it to all 2 accounts").click()
    page.get_by_text("2 are changed.").wait_for()
    assert [Account.objects.get(pk=one.pk).status for one in many] == ["suspended", "active", "suspended"]


def test_a_list_is_brought_in_with_a_bar_and_its_passwords_are_downloaded_once(
    sit: Sit, operator: Account
) -> None:
    page = sit(operator, "/console/accounts/import/")
    page.fill("#id_text", "address,name\nx@example.test,Xaver\nbad line\n")
    page.get_by_role("button", name="Look at every line").click()
    page.get_by_text("1 bad line: nothing was imported").wait_for()
    page.fill("#id_text", "address,name\nx@example.test,Xaver\n")
    page.get_by_role("button", name="Look at every line").click()
    page.get_by_role("button", name="Open 1 account").click()
    page.locator("#errand progress").wait_for()
    errand = Errand.objects.get()
    errands.run(errand.key)
    page.locator("#errand[data-state=done]").wait_for()
    page.get_by_text("1 account was opened.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the passwords").click()
    text = Path(download.value.path()).read_text()
    password = text.splitlines()[1].partition(",")[2]
    assert Account.objects.get(login="x@example.test").check_password(password)
    page.reload()
    page.get_by_text("The passwords have been downloaded").wait_for()


def test_a_look_into_a_mailbox_is_told_to_its_owner(
    sit: Sit, operator: Account, ann: Account, letters: list[Message]
) -> None:
    page = sit(operator, f"/console/accounts/{ann.pk}/mailbox/")
    page.get_by_text("Open the contents").click()
    page.fill("#inspect-reason", "you asked us to find Order 1")
    page.get_by_role("button", name="Open the mail").click()
    page.get_by_role("link", name="Order 1").click()
    page.get_by_text("Text 1").wait_for()
    page.get_by_role("button", name="Shut it now").click()
    page.get_by_text("The mailbox is shut again.").wait_for()
    page.go_back()
    page.reload()
    page.get_by_role("heading", name="This look is over").wait_for()
    assert not Message.objects.filter(seen=True).exists()
    mail = sit(ann, "/mail/inbox/")
    banner = mail.locator(".looked-into")
    banner.wait_for()
    assert "you asked us to find Order 1" in banner.inner_text()
    with mail.expect_navigation():
        banner.get_by_role("button", name="I have read this").click()
    expect(mail).to_have_url("/mail/inbox/")
    expect(banner).to_have_count(0)


@pytest.fixture
def paths(
    operator: Account, ann: Account, bob: Account, letters: list[Message], other_domain: Domain
) -> dict[str, str]:
    """Every page, with something of every kind on it."""
    accounts.suspend(bob, "the invoice of March is open: call 0800 123")
    aliases.create_address("sales@example.test", [ann.login])
    team = aliases.create_address("team@example.test", [ann.login, bob.login])
    aliases.suspend_address(team, "too much")
    aliases.close_address(aliases.create_address("away@example.test", ["out@elsewhere.test"]), "moved")
    aliases.set_catch_all(Domain.objects.get(name="example.test"), ann.login)
    aliases.set_catch_all(Domain.objects.get(name="example.test"), "")
    domains.close_domain(other_domain, "contract over")
    now = timezone.now()
    DeliveryRecord.objects.create(
        at=now,
        mailbox=ann.mailbox,
        recipient="ann+shop@example.test",
        sender="shop@elsewhere.test",
        code="452 4.2.2",
        reason="Mailbox is full, try again later",
        door="smtp",
        peer="198.51.100.7",
    )
    made = {"account": operator, "asked_at": now}
    running = Errand.objects.create(key="a" * 32, kind="accounts", state="running", done=3, total=10, **made)
    ended = Errand.objects.create(
        key="b" * 32,
        kind="accounts",
        state="done",
        result={"opened": 3, "passwords": 3},
        file="errands/x",
        file_until=now + timedelta(days=1),
        **made,
    )
    look = inspections.begin(ann.mailbox, operator, "you asked us to find Order 1", actor="x")
    over = inspections.begin(ann.mailbox, operator, "you asked us to find Order 1", actor="x")
    inspections.end(over, actor="x")
    return {
        "domains": "/console/domains/",
        "domain": f"/console/domains/{ann.domain_id}/",
        "domain-closed": f"/console/domains/{other_domain.pk}/",
        "domain-new": "/console/domains/new/",
        "accounts": "/console/accounts/",
        "account-new": "/console/accounts/new/",
        "account": f"/console/accounts/{ann.pk}/",
        "account-suspended": f"/console/accounts/{bob.pk}/",
        "mailbox": f"/console/accounts/{ann.pk}/mailbox/",
        "folder": f"/console/accounts/{ann.pk}/mailbox/{letters[0].folder_id}/",
        "address-change": f"/console/addresses/{team.pk}/",
        "addresses": "/console/addresses/",
        "address-new": "/console/addresses/new/",
        "import": "/console/accounts/import/",
        "import-addresses": "/console/addresses/import/",
        "errand": f"/console/errands/{running.key}/",
        "errand-done": f"/console/errands/{ended.key}/",
        "inspection": f"/console/inspections/{look.key}/",
        "inspected": f"/console/inspections/{look.key}/messages/{letters[0].pk}/",
        "inspection-over": f"/console/inspections/{over.key}/",
        "find": "/console/find/?q=198.51.100.7",
        "find-nothing": "/console/find/?q=zzz",
        "roles": "/console/roles/",
        "audit": "/console/audit/",
    }


@pytest.mark.parametrize(("size", "colours"), LOOKS)
def test_axe_finds_nothing_on_any_page_and_none_is_wider_than_its_window(
    sit: Sit, operator: Account, paths: dict[str, str], size: str, colours: str
) -> None:
    page = sit(operator, paths["roles"], color_scheme=colours, bypass_csp=True, **SHAPES[size])
    found: dict[str, list[str]] = {}
    for name, path in paths.items():
        page.goto(path)
        found[name] = _judge(page, name, size, colours)
    assert found == {name: [] for name in paths}


@pytest.mark.parametrize(("size", "colours"), LOOKS)
def test_axe_finds_nothing_on_pages_that_an_act_leads_to(
    sit: Sit, operator: Account, ann: Account, paths: dict[str, str], size: str, colours: str
) -> None:
    page = sit(operator, "/console/accounts/", color_scheme=colours, bypass_csp=True, **SHAPES[size])
    found: dict[str, list[str]] = {}
    page.check("[data-tick-all]")
    page.locator("button[value=chosen]").click()
    page.wait_for_selector("#id_reason")
    found["bulk"] = _judge(page, "bulk", size, colours)
    page.goto("/console/accounts/import/")
    page.fill("#id_text", "address,name\nx@example.test,Xaver\n")
    page.get_by_role("button", name="Look at every line").click()
    page.get_by_role("button", name="Open 1 account").wait_for()
    found["import-good"] = _judge(page, "import-good", size, colours)
    page.goto("/console/accounts/import/")
    page.fill("#id_text", "address,name\nx@example.test,Xaver\nbad line\n")
    page.get_by_role("button", name="Look at every line").click()
    page.get_by_text("1 bad line: nothing was imported").wait_for()
    found["import-bad"] = _judge(page, "import-bad", size, colours)
    for name, field, button in (
        ("account-new", "#id_login", "Open the account"),
        ("address-new", "#id_name", "Make the address"),
    ):
        page.goto(paths[name])
        page.fill(field, "no address")
        if name == "address-new":
            page.fill("#id_reaches", "nobody@example.test")
        page.get_by_role("button", name=button).click()
        page.locator(".errorlist").first.wait_for()
        found[f"{name}-422"] = _judge(page, f"{name}-422", size, colours)
    page.goto(paths["account-suspended"])
    page.get_by_text("Reset the password").click()
    page.get_by_role("button", name="Make a temporary password").click()
    page.locator("[data-secret]").wait_for()
    found["password"] = _judge(page, "password", size, colours)
    mail = sit(ann, "/mail/inbox/", color_scheme=colours, bypass_csp=True, **SHAPES[size])
    mail.wait_for_selector(".looked-into")
    if SCREENSHOTS:
        mail.screenshot(path=f"{SCREENSHOTS}/banner-{size}-{colours}.png")
    found["banner"] = [one for one in _axe(mail) if "looked-into" in one]
    assert found == {name: [] for name in found}


# What lies beyond an edge to the side: of the window, or of a box that must then be scrolled or hides it.
BEYOND = """() => [...document.querySelectorAll(".work, .scroll, .menu, .view-sheet, .find input")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().left < 0)
    .map((one) => one.className || one.tagName)"""


@pytest.mark.parametrize("name", ["roles", "audit"])
def test_in_german_on_a_telephone_nothing_lies_beyond_the_edge(
    sit: Sit, operator: Account, paths: dict[str, str], name: str
) -> None:
    page = sit(operator, paths[name], locale="de-DE", **SHAPES["phone"])
    page.click(".view summary")
    page.locator(".view-sheet").wait_for()
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(BEYOND) == []
    assert page.locator(".menu a").last.is_visible()


def _judge(page: Any, name: str, size: str, colours: str) -> list[str]:
    page.wait_for_load_state()  # its style sheets have come
    for one in page.locator("details").all():
        one.evaluate("one => { one.open = true }")
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}-{size}-{colours}.png", full_page=True)
    wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return [*_axe(page), *(["wider than its window"] if wider else [])]


def _axe(page: Any) -> list[str]:
    page.evaluate(AXE.read_text())
    results = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'][:200]}"
        for one in results["violations"]
        for node in one["nodes"]
    ]
