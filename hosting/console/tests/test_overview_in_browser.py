"""How the house is doing, in Chromium: as it looks, for whom it can be read, and with no script at all.

With SCREENSHOTS=folder each page of the console is also kept there, wide and narrow, light and dark.
"""

import math
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from conftest import BROWSER_PATIENCE, IN_CHROMIUM
from hosting.console.tests.conftest import Enter
from mailboxes import beats
from mailboxes.models import Account, HourlyCount, LargeMailbox, Mailbox
from webmail.tests.waiting import until_answered

pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
AXE = Path(settings.BASE_DIR) / "webmail" / "tests" / "vendor" / "axe" / "axe.min.js"
SHAPES: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
PATHS = {
    "overview": "/console/",
    "days": "/console/days/",
    "room": "/console/room/",
    "health": "/console/health/",
}
SCREENSHOTS = os.environ.get("SCREENSHOTS", "")
OTHERS = {
    "accounts": "/console/accounts/",
    "account-new": "/console/accounts/new/",
    "import": "/console/accounts/import/",
    "addresses": "/console/addresses/",
    "address-new": "/console/addresses/new/",
    "domains": "/console/domains/",
    "domain-new": "/console/domains/new/",
    "audit": "/console/audit/",
    "roles": "/console/roles/",
    "find": "/console/find/?q=subscriber",
}
LOOKS = [("wide", "light"), ("phone", "dark")]
DAYS = 90 if SCREENSHOTS else 32
if SCREENSHOTS:
    LOOKS += [("wide", "dark"), ("phone", "light")]
Look = Callable[..., Any]


@pytest.fixture
def look(chromium: Any, live_server: Any, operator: Account, enter: Enter) -> Iterator[Look]:
    """Opens a page as the operator. Whatever it says on its console fails the test."""
    said: list[str] = []
    contexts = []
    key = enter(operator).cookies[settings.SESSION_COOKIE_NAME].value

    def make(path: str, **options: Any) -> Any:
        context = chromium.new_context(base_url=live_server.url, **options)
        context.set_default_timeout(BROWSER_PATIENCE)
        contexts.append(context)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)  # until the load event: style sheets and scripts are there
        return page

    yield make
    for context in contexts:
        context.close()
    until_answered(live_server)
    assert said == []


@pytest.fixture
def busy_house(open_account: Callable[..., Account]) -> None:
    """Weeks of mail, a process that is gone, and mailboxes of all sizes."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyCount.objects.bulk_create(
        HourlyCount(hour=hour, name=name, value=value)
        for hour in (now - timedelta(hours=back) for back in range(DAYS * 24))
        for name, value in _hour(hour, now).items()
    )
    rows = []
    for rank in range(1, 8):
        box = open_account(f"subscriber{rank}").mailbox
        used = 1_900_000_000 // rank
        Mailbox.objects.filter(pk=box.pk).update(used_bytes=used, quota_bytes=2 * 1024**3)
        grown = (-1) ** rank * 12_345_678 if rank != 3 else 0
        rows.append(LargeMailbox(rank=rank, mailbox=box, used_bytes=used, grown_bytes=grown, counted_at=now))
    LargeMailbox.objects.bulk_create(rows)
    for name, value in ("domains", 3), ("accounts", 12_345), ("messages", 4_567_890):
        HourlyCount.objects.create(hour=now, name=f"total_{name}", value=value)
    figures: dict[str, dict[str, float]] = {
        "smtpd": {"connections": 12, "connections_total": 48_213, "messages_in_total": 51_002, "waiting": 0},
        "pop3d": {"connections": 2_104, "logins_total": 981_223, "octets_out_total": 8.1e10, "waiting": 3},
        "web": {"requests_2xx_total": 20_113, "requests_4xx_total": 41, "requests_5xx_total": 0},
        "worker": {"jobs_running": 1, "jobs_total": 9_120, "jobs_failed_total": 2},
        "errands": {"jobs_running": 0, "jobs_total": 312, "jobs_failed_total": 0},
        "beat": {"jobs_set_total": 17_280},
    }
    for pid, (kind, numbers) in enumerate(figures.items(), 400):
        for worker in range(1 if kind in {"beat", "errands", "worker"} else 2):
            process = beats.Process(kind, "mail1", pid * 10 + worker, now - timedelta(hours=31))
            own = {"memory_bytes": 85_000_000 + 1_000_000 * pid, "faults": 0, "cpu_seconds": 12.5}
            beats.write(process, numbers | own)
    gone = beats.Process("pop3d", "mail2", 977, now - timedelta(days=3))
    beats.write(gone, {}, timezone.now() - timedelta(minutes=50))


def _hour(hour: datetime, now: datetime) -> dict[str, int]:
    age = (now - hour).total_seconds() / 3600
    day = 1.2 + math.sin((hour.hour - 8) / 24 * 2 * math.pi) - 0.5 * (hour.weekday() >= 5)
    wave = max(0.1, day + 0.15 * math.sin(age * 1.7))
    return {
        "delivered": int(900 * wave),
        "refused": int(160 * wave),
        "refused 550 5.1.1": int(110 * wave),
        "refused 452 4.2.2": int(30 * wave),
        "refused 550 5.7.1": int(12 * wave),
        "refused 450 4.2.1": int(5 * wave),
        "refused 552 5.3.4": int(2 * wave),
        "refused 501 5.1.3": int(1 * wave),
        "pop3_sessions": int(4_100 * wave),
        "failed_logins": int(25 * wave) + (400 if 100 < age < 104 else 0),
        "failed_web_logins": int(11 * wave),
        "octets_in": int(61_000_000 * wave),
        "octets_out": int(142_000_000 * wave),
        "total_octets": int(4.1e11 + 1.1e9 * (90 - age / 24) + 2e9 * math.sin(age / 50)),
    }


@pytest.mark.parametrize(("shape", "scheme"), LOOKS)
def test_the_pages_can_be_read_by_everybody(look: Look, busy_house: None, shape: str, scheme: str) -> None:
    page = look("/console/roles/", color_scheme=scheme, reduced_motion="reduce", **SHAPES[shape])
    wrong: list[str] = []
    for name, path in (PATHS | _others()).items():
        page.goto(path)
        if SCREENSHOTS:
            page.screenshot(path=f"{SCREENSHOTS}/console-{name}-{shape}-{scheme}.png", full_page=True)
        # The page itself never scrolls sideways.
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            wrong.append(f"{name}: wider than the window")
        for one in page.locator("details > summary").all()[1:2]:
            one.click()
        page.evaluate(AXE.read_text())
        wrong += page.evaluate(
            "name => axe.run().then(found => found.violations.map("
            "v => `${name}: ${v.id} ${v.nodes[0].html}`))",
            name,
        )
    assert wrong == []


def test_the_scale_of_a_plot_has_room_for_the_longest_of_its_texts_in_german(look: Look) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for name in ("octets_in", "octets_out"):
        HourlyCount.objects.create(hour=now, name=name, value=901)
    page = look("/console/", locale="de-DE")
    scale = page.locator(".chart .scale", has_text="1000 Bytes").first
    scale.wait_for(state="attached")
    lefts = page.evaluate("[...document.querySelectorAll('.chart .scale')].map((one) => one.getBBox().x)")
    assert [left for left in lefts if left < 0] == []


def _others() -> dict[str, str]:
    """The other pages of the console: for their pictures only, for they have tests of their own."""
    if not SCREENSHOTS:
        return {}
    account = Account.objects.get(login="subscriber1@example.test")
    own = f"/console/accounts/{account.pk}/"
    return OTHERS | {
        "account": own,
        "mailbox": f"{own}mailbox/",
        "domain": f"/console/domains/{account.domain_id}/",
    }


def test_the_numbers_of_a_plot_are_read_without_a_script(look: Look, busy_house: None) -> None:
    page = look("/console/", java_script_enabled=False)
    plot = page.locator("figure", has_text="Delivered").first
    assert plot.locator("table").is_visible() is False
    plot.locator("summary").click()
    plot.locator("table").wait_for(state="visible")
    assert plot.locator("tbody tr").count() == 24
    page.click("text=48 hours")
    page.wait_for_url("**/console/?hours=48")
    page.locator("nav.tabs >> text=Days").click()
    page.wait_for_url("**/console/days/")
    assert page.locator("h1").inner_text() == "The last 30 days"
