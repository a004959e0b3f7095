"""Who gets into the console: a second factor first, unless the house says otherwise; help for who lost it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from conftest import PASSWORD
from hosting.console.tests.conftest import Enter
from hosting.console.urls import urlpatterns
from mailboxes import app_passwords, secondfactor, web_sessions
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, AppPassword, AuditEntry, Passkey, WebSession

SECURITY = "/mail/account/security/"


@pytest.fixture
def required(settings: Any) -> None:
    settings.CONSOLE_SECOND_FACTOR = "required"


def give_second_factor(account: Account) -> None:
    Passkey.objects.create(account=account, name="key", credential=account.login, public_key=b"x")
    Account.objects.filter(pk=account.pk).update(second_factor=True)
    account.refresh_from_db()


def test_the_house_requires_it_unless_told_otherwise() -> None:
    from hosting import settings

    assert settings.CONSOLE_SECOND_FACTOR == "required"


def test_no_page_of_the_console_opens_without_a_second_factor(
    required: None, operator: Account, ann: Account, enter: Enter
) -> None:
    browser, before = enter(operator), AuditEntry.objects.count()
    for pattern in urlpatterns:
        named = pattern.pattern.converters
        if set(named) - {"pk", "number"}:
            continue
        path = reverse(f"console:{pattern.name}", kwargs=dict.fromkeys(named, ann.pk))
        for answer in (browser.get(path), browser.post(path)):
            assert answer.status_code == 405 or (answer.status_code, answer["Location"]) == (302, SECURITY)
    assert AuditEntry.objects.count() == before


def test_staff_with_a_second_factor_get_in(
    required: None, operator: Account, support: Account, enter: Enter
) -> None:
    for account in (operator, support):
        give_second_factor(account)
        assert enter(account).get("/console/accounts/").status_code == 200


def test_a_subscriber_is_refused_and_not_led_to_a_second_factor(
    required: None, ann: Account, enter: Enter
) -> None:
    assert enter(ann).get("/console/accounts/").status_code == 403


def test_staff_read_their_own_mail_without_it(required: None, operator: Account, enter: Enter) -> None:
    browser = enter(operator)
    assert browser.get("/mail/inbox/").status_code == 200
    assert browser.get(SECURITY).status_code == 200


# -- help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["operator", "support", "administrator"])
def test_staff_reset_a_second_factor_and_revoke_app_passwords(
    ann: Account, enter: Enter, request: pytest.FixtureRequest, who: str
) -> None:
    helper = request.getfixturevalue(who)
    browser, hers = enter(helper), enter(ann)
    page = f"/console/accounts/{ann.pk}/"
    assert "Reset the second factor" not in browser.get(page).content.decode()
    give_second_factor(ann)
    hers = enter(ann)
    app_passwords.make(ann, "telephone", actor=ann.login)
    assert "Reset the second factor" in browser.get(page).content.decode()
    browser.post(f"{page}second-factor/")
    browser.post(f"{page}app-passwords/")
    ann.refresh_from_db()
    assert not ann.second_factor
    assert (Passkey.objects.count(), AppPassword.objects.count()) == (0, 0)
    assert hers.get("/mail/inbox/").status_code == 302
    entries = AuditEntry.objects.order_by("-pk").values_list("verb", "actor", "peer")[:2]
    assert list(entries) == [
        ("revoke_app_passwords", helper.login, "127.0.0.1"),
        ("reset_second_factor", helper.login, "127.0.0.1"),
    ]
    line = browser.get(page).content.decode()
    assert "second factor reset" in line and "all app passwords revoked" in line


def test_what_is_not_there_is_said_so(ann: Account, desk: Client) -> None:
    page = f"/console/accounts/{ann.pk}/"
    for path, said in (("second-factor/", "has no second factor"), ("app-passwords/", "no app passwords")):
        assert said in desk.post(f"{page}{path}", follow=True).content.decode()


def test_nobody_resets_the_second_factor_of_staff_but_operators(
    support: Account, operator: Account, enter: Enter, open_account: Callable[..., Account]
) -> None:
    other = open_account("other", role="support")
    give_second_factor(operator)
    give_second_factor(other)
    assert enter(support).post(f"/console/accounts/{operator.pk}/second-factor/").status_code == 403
    assert enter(operator).post(f"/console/accounts/{other.pk}/second-factor/").status_code == 302
    assert Passkey.objects.count() == 1
    with pytest.raises(Invalid, match="no second factor"):
        secondfactor.reset(other, actor=operator.login)


# -- for how long -------------------------------------------------------------------------------

TWO_WEEKS = 14 * 24 * 3600


@pytest.mark.parametrize(
    ("who", "max_age"),
    [("operator", ""), ("support", ""), ("administrator", ""), ("ann", TWO_WEEKS)],
)
def test_staff_are_logged_in_until_the_browser_is_closed_and_subscribers_for_two_weeks(
    who: str, max_age: object, request: pytest.FixtureRequest
) -> None:
    account = request.getfixturevalue(who)
    browser = Client()
    answer = browser.post("/login/", {"login": account.login, "password": PASSWORD})
    assert answer.status_code == 302
    assert browser.cookies["sessionid"]["max-age"] == max_age


@pytest.mark.parametrize("who", ["operator", "support", "administrator"])
def test_a_session_of_staff_ends_after_a_working_day_however_busy_it_was(
    who: str, enter: Enter, later: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    account = request.getfixturevalue(who)
    browser = enter(account)
    WebSession.objects.update(started_at=later(hours=-11), seen_at=later())
    assert browser.get("/console/accounts/").status_code == 200
    WebSession.objects.update(started_at=later(hours=-12), seen_at=later())
    for path in ("/console/accounts/", "/mail/"):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/login/?next={path}")
    record = WebSession.objects.get()
    assert (record.ended, record.ended_at is None, record.is_open) == ("expired", False, False)


def test_a_session_of_a_subscriber_goes_on_for_two_weeks(
    ann: Account, enter: Enter, later: Callable[..., Any]
) -> None:
    browser = enter(ann)
    WebSession.objects.update(started_at=later(days=-13), seen_at=later(days=-13))
    assert browser.get("/mail/inbox/").status_code == 200
    WebSession.objects.update(seen_at=later(days=-13))
    assert [one.is_open for one in web_sessions.sessions_of(ann)] == [True]
    WebSession.objects.update(seen_at=later(days=-14))
    assert [one.is_open for one in web_sessions.sessions_of(ann)] == [False]


def test_the_working_day_is_a_setting(
    operator: Account, enter: Enter, later: Callable[..., Any], settings: Any
) -> None:
    settings.STAFF_SESSION_HOURS = 2
    browser = enter(operator)
    WebSession.objects.update(started_at=later(minutes=-119))
    assert browser.get("/console/accounts/").status_code == 200
    WebSession.objects.update(started_at=later(minutes=-120))
    assert browser.get("/console/accounts/").status_code == 302
