"""Password and security: the second step, sessions, app passwords, and a temporary password."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from mailboxes import accounts, app_passwords, secondfactor
from mailboxes.credentials import Service, authenticate
from mailboxes.models import (
    Account,
    AppPassword,
    AuditEntry,
    LoginThrottle,
    Message,
    TOTPDevice,
    WebSession,
)
from mailboxes.tests.test_secondfactor import code_of
from mailboxes.throttle import GUESSES
from webmail import halfway, sessions
from webmail.tests.conftest import PASSWORD
from webmail.views import login

PAGE = "/mail/account/security/"
Enter = Callable[[Account], Client]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the door would have made people wait."""
    waited: list[float] = []
    monkeypatch.setattr(login, "sleep", waited.append)
    return waited


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is for sessions and codes; tests move it on."""
    now = [timezone.now().timestamp() // 30 * 30 + 15]
    for module in (secondfactor, sessions, halfway):
        monkeypatch.setattr(module, "time", lambda: now[0])
    return now


@pytest.fixture
def recovery_codes(ann: Account, clock: list[float]) -> list[str]:
    """Ann has an authenticator; its last code was of half a minute ago."""
    secondfactor.begin_authenticator(ann)
    return secondfactor.confirm_authenticator(ann, code_of(ann, clock[0] - 30), actor=ann.login)


def attempt(client: Client, account: Account, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/login/", {"login": account.login, "password": password, **more})


def code(client: Client, text: str) -> Any:
    return client.post("/login/code/", {"code": text})


def is_in(client: Client) -> bool:
    return bool(client.get("/mail/inbox/").status_code == 200)


def old(client: Client, clock: list[float]) -> None:
    """Let the proof of the password become old."""
    clock[0] += sessions.PROVEN_SECONDS + 30


# -- the second step ----------------------------------------------------------------------------


def test_the_password_alone_opens_nothing_but_the_second_step(
    ann: Account, client: Client, recovery_codes: list[str]
) -> None:
    answer = attempt(client, ann, next="/mail/archive/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/code/")
    assert not is_in(client)
    assert client.get(PAGE).status_code == 302
    assert client.get("/console/").status_code == 302
    page = client.get("/login/code/")
    assert page.status_code == 200
    assert ann.login in page.content.decode()
    assert "no-store" in page["Cache-Control"]


def test_the_code_lets_in_and_leads_on(
    ann: Account, client: Client, clock: list[float], recovery_codes: list[str]
) -> None:
    attempt(client, ann, next="/mail/archive/")
    key = client.session.session_key
    answer = code(client, code_of(ann, clock[0]))
    assert (answer.status_code, answer["Location"]) == (302, "/mail/archive/")
    assert is_in(client)
    assert client.session.session_key != key
    assert halfway.KEY not in client.session
    assert WebSession.objects.get(ended="").second_factor == "authenticator"


def test_a_recovery_code_lets_in_once(ann: Account, client: Client, recovery_codes: list[str]) -> None:
    attempt(client, ann)
    assert code(client, recovery_codes[0]).status_code == 302
    assert is_in(client)
    client.post("/logout/")
    attempt(client, ann)
    assert code(client, recovery_codes[0]).status_code == 401
    assert not is_in(client)


def test_a_code_that_was_used_lets_nobody_in(
    ann: Account, client: Client, clock: list[float], recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    used = code_of(ann, clock[0])
    code(client, used)
    another = Client()
    attempt(another, ann)
    refused = code(another, used)
    assert refused.status_code == 401
    assert b"not right, or was used before" in refused.content
    assert not is_in(another)


def test_the_second_step_is_for_who_has_shown_the_password(
    ann: Account, client: Client, recovery_codes: list[str]
) -> None:
    for answer in (client.get("/login/code/"), code(client, recovery_codes[0])):
        assert (answer.status_code, answer["Location"]) == (302, "/login/")
    assert attempt(client, ann, "wrong").status_code == 401
    assert code(client, recovery_codes[0])["Location"] == "/login/"
    assert secondfactor.recovery_codes_left(ann) == 10


def test_a_wrong_password_tells_nothing_of_a_second_factor(
    ann: Account, bob: Account, client: Client, recovery_codes: list[str]
) -> None:
    pages = []
    for name in (ann.login, bob.login, "nobody@example.test"):
        page = client.post("/login/", {"login": name, "password": "wrong"}).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token is not None
        pages.append(page.replace(token[1], "").replace(name, ""))
    assert len(set(pages)) == 1


def test_the_second_step_waits_for_five_minutes(
    ann: Account, client: Client, clock: list[float], recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    clock[0] += halfway.SECONDS
    assert code(client, recovery_codes[0])["Location"] == "/login/"
    assert secondfactor.recovery_codes_left(ann) == 10


def test_a_change_of_the_password_in_between_ends_the_second_step(
    ann: Account, client: Client, recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    accounts.reset_password(ann, "another one entirely")
    assert code(client, recovery_codes[0])["Location"] == "/login/"


def test_who_may_not_log_in_may_not_by_a_code_either(
    ann: Account, client: Client, recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    Account.objects.filter(pk=ann.pk).update(status="suspended", status_reason="unpaid")
    assert code(client, recovery_codes[0])["Location"] == "/login/"
    Account.objects.filter(pk=ann.pk).update(status="active", status_reason="")
    ann.mailbox.webmail_enabled = False
    ann.mailbox.save(update_fields=["webmail_enabled"])
    assert code(client, recovery_codes[0]).status_code == 403
    assert not is_in(client)


def test_guessing_codes_is_throttled_and_waits(
    ann: Account, client: Client, waits: list[float], recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    for n in range(GUESSES):
        assert code(client, f"{n:06}").status_code == 401
    assert waits == sorted(waits) and len(waits) == GUESSES
    refused = code(client, recovery_codes[0])
    assert "too many wrong attempts" in refused.content.decode()
    another = Client()  # the right password again forgets nothing
    attempt(another, ann)
    assert "too many wrong attempts" in code(another, recovery_codes[0]).content.decode()
    reasons = set(WebSession.objects.filter(ended="refused").values_list("reason", flat=True))
    assert reasons == {"wrong_code", "throttled"}
    assert LoginThrottle.objects.filter(failures=GUESSES).count() == 1


# -- set up -------------------------------------------------------------------------------------


def test_an_authenticator_is_set_up_and_removed(
    ann: Account, browser_of_ann: Client, logged_in: Enter, clock: list[float]
) -> None:
    other = logged_in(ann)
    answer = browser_of_ann.post(f"{PAGE}authenticator/")
    assert answer["Location"] == f"{PAGE}authenticator/"
    page = browser_of_ann.get(f"{PAGE}authenticator/").content.decode()
    assert 'src="data:image/svg+xml' in page
    wrong = browser_of_ann.post(f"{PAGE}authenticator/", {"code": "000000"})
    assert (wrong.status_code, b"not right" in wrong.content) == (422, True)
    done = browser_of_ann.post(f"{PAGE}authenticator/", {"code": code_of(ann, clock[0])})
    codes = re.findall(r"<li><code>([\w-]+)</code>", done.content.decode())
    assert len(codes) == 10
    assert "no-store" in done["Cache-Control"]
    assert is_in(browser_of_ann)
    assert not is_in(other)
    page = browser_of_ann.get(PAGE).content.decode()
    assert "10 codes are left" in page
    assert not [one for one in codes if one in page]
    removed = browser_of_ann.post(f"{PAGE}authenticator/remove/", follow=True)
    assert "Your password alone lets in now" in removed.content.decode()
    assert not TOTPDevice.objects.exists()
    assert attempt(Client(), ann)["Location"] == "/"


def test_the_secret_is_shown_until_it_is_confirmed_and_never_again(
    ann: Account, browser_of_ann: Client, clock: list[float], recovery_codes: list[str]
) -> None:
    client = Client()
    attempt(client, ann)
    code(client, recovery_codes[0])
    assert client.get(f"{PAGE}authenticator/")["Location"] == f"{PAGE}#second-factor"
    client.post(f"{PAGE}authenticator/")
    assert client.get(f"{PAGE}authenticator/")["Location"] == f"{PAGE}#second-factor"


def test_new_recovery_codes_are_shown_once(
    ann: Account, client: Client, clock: list[float], recovery_codes: list[str]
) -> None:
    attempt(client, ann)
    code(client, recovery_codes[0])
    page = client.post(f"{PAGE}recovery-codes/").content.decode()
    new = re.findall(r"<li><code>([\w-]+)</code>", page)
    assert len(set(new) - set(recovery_codes)) == 10
    assert all(f"{one}%0A" in page for one in new)
    assert is_in(client)


@pytest.mark.parametrize(
    "path",
    [
        "authenticator/",
        "authenticator/remove/",
        "passkeys/",
        "passkeys/remove/",
        "recovery-codes/",
        "app-passwords/",
    ],
)
def test_what_decides_who_can_log_in_needs_the_password_given_lately(
    ann: Account, client: Client, clock: list[float], recovery_codes: list[str], path: str
) -> None:
    attempt(client, ann)
    code(client, recovery_codes[0])
    old(client, clock)
    before = AuditEntry.objects.count()
    answer = client.post(f"{PAGE}{path}", {"name": "x", "passkey": "1"})
    assert (answer.status_code, answer["Location"]) == (302, f"{PAGE}prove/?next={PAGE}")
    assert AuditEntry.objects.count() == before
    assert client.get(answer["Location"]).status_code == 200
    refused = client.post(f"{PAGE}prove/", {"password": "wrong"})
    assert (refused.status_code, b"This is not your password." in refused.content) == (422, True)
    assert client.post(f"{PAGE}prove/", {"password": PASSWORD, "next": PAGE})["Location"] == PAGE
    again = client.post(f"{PAGE}{path}", {"name": "x", "passkey": "1"})
    assert not again.headers.get("Location", "").startswith(f"{PAGE}prove/")


@pytest.mark.parametrize("wanted", ["https://evil.test/", "//evil.test", "/logout/", "/mail/inbox/"])
def test_after_the_password_one_is_led_back_to_these_pages_only(browser_of_ann: Client, wanted: str) -> None:
    answer = browser_of_ann.post(f"{PAGE}prove/", {"password": PASSWORD, "next": wanted})
    assert answer["Location"] == PAGE


# -- sessions -----------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended_one_by_one(
    ann: Account, browser_of_ann: Client, logged_in: Enter
) -> None:
    other, third = logged_in(ann), logged_in(ann)
    page = browser_of_ann.get(PAGE).content.decode()
    assert page.count('<span class="badge">this one</span>') == 1
    assert page.count('name="session"') == 3
    name = other.session[sessions.NAME_KEY]
    browser_of_ann.post(f"{PAGE}sessions/end/", {"session": name})
    assert (is_in(browser_of_ann), is_in(other), is_in(third)) == (True, False, True)
    assert AuditEntry.objects.latest("pk").verb == "end_session"
    assert browser_of_ann.post(f"{PAGE}sessions/end/", {"session": name}).status_code == 404


def test_all_others_are_ended_at_once(ann: Account, browser_of_ann: Client, logged_in: Enter) -> None:
    others = [logged_in(ann), logged_in(ann)]
    answer = browser_of_ann.post(f"{PAGE}sessions/end/", {"others": "1"}, follow=True)
    assert "2 sessions have ended" in answer.content.decode()
    assert [is_in(browser) for browser in (browser_of_ann, *others)] == [True, False, False]


def test_a_letter_tells_of_it_and_from_which_address(
    ann: Account,
    browser_of_ann: Client,
    logged_in: Enter,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    logged_in(ann)
    with django_capture_on_commit_callbacks(execute=True):
        browser_of_ann.post(f"{PAGE}sessions/end/", {"others": "1"})
        browser_of_ann.post(f"{PAGE}sessions/end/", {"others": "1"})
    message = Message.objects.get()
    assert message.subject == "Security: All other sessions in browsers were ended"
    shown = browser_of_ann.get(f"/mail/inbox/{message.pk}/").content.decode()
    assert "From the address: 127.0.0.1" in shown


def test_ending_this_one_is_logging_out(browser_of_ann: Client) -> None:
    name = browser_of_ann.session[sessions.NAME_KEY]
    answer = browser_of_ann.post(f"{PAGE}sessions/end/", {"session": name})
    assert answer["Location"] == "/login/"
    assert not is_in(browser_of_ann)
    assert WebSession.objects.get().ended == "logout"


def test_nobody_ends_anothers_session_or_removes_what_is_anothers(
    ann: Account, bob: Account, browser_of_ann: Client, logged_in: Enter
) -> None:
    app_passwords.make(ann, "telephone", actor=ann.login)
    his = logged_in(bob)
    forms = [
        ("sessions/end/", {"session": browser_of_ann.session[sessions.NAME_KEY]}),
        ("app-passwords/revoke/", {"app_password": str(AppPassword.objects.get().pk)}),
        ("passkeys/remove/", {"passkey": "1"}),
        ("authenticator/remove/", {}),
        ("sessions/end/", {"session": "x"}),
        ("app-passwords/revoke/", {"app_password": "9" * 30}),
        ("app-passwords/revoke/", {}),
    ]
    for path, form in forms:
        assert his.post(f"{PAGE}{path}", form).status_code == 404, path
    assert is_in(browser_of_ann)
    assert AppPassword.objects.count() == 1


def test_refused_logins_are_shown_to_their_owner(ann: Account, browser_of_ann: Client) -> None:
    attempt(Client(), ann, "wrong")
    page = browser_of_ann.get(PAGE).content.decode()
    assert "1 login was refused" in page
    assert "wrong password" in page


@pytest.mark.parametrize("more", [0, 2])
def test_the_page_costs_the_same_for_one_and_for_three(
    ann: Account, logged_in: Enter, django_assert_num_queries: Callable[..., Any], more: int
) -> None:
    for n in range(1 + more):
        app_passwords.make(ann, f"telephone {n}", actor=ann.login)
        attempt(Client(), ann, f"wrong {n}")
    for _ in range(more):
        logged_in(ann)
    browser = logged_in(ann)
    # session, who it is, folders; authenticator, passkeys, app passwords, sessions (open, ended), refusals
    with django_assert_num_queries(9):
        assert browser.get(PAGE).status_code == 200


# -- app passwords ------------------------------------------------------------------------------


def test_an_app_password_is_made_shown_once_and_revoked(ann: Account, browser_of_ann: Client) -> None:
    page = browser_of_ann.post(f"{PAGE}app-passwords/", {"name": " My  phone "}).content.decode()
    shown = re.search(r"<code class=\"secret\" data-secret>([\w-]+)</code>", page)
    assert shown is not None
    assert authenticate(ann.login, shown[1], Service.POP3, "192.0.2.0/24").account == ann.pk
    listed = browser_of_ann.get(PAGE).content.decode()
    assert "My phone" in listed and "not used yet" in listed
    assert shown[1] not in listed
    row = AppPassword.objects.get()
    answer = browser_of_ann.post(f"{PAGE}app-passwords/revoke/", {"app_password": row.pk})
    assert answer["Location"] == f"{PAGE}#app-passwords"
    assert not AppPassword.objects.exists()
    assert is_in(browser_of_ann)


def test_an_app_password_is_no_login(ann: Account, client: Client) -> None:
    assert attempt(client, ann, app_passwords.make(ann, "x", actor=ann.login)).status_code == 401


# -- the password -------------------------------------------------------------------------------


def change(client: Client, path: str = "password/", **more: str) -> Any:
    form = {"old_password": PASSWORD, "new_password": "a new password", "again": "a new password"} | more
    return client.post(f"{PAGE}{path}", form)


def test_a_new_password_ends_every_other_session(
    ann: Account, browser_of_ann: Client, logged_in: Enter
) -> None:
    other = logged_in(ann)
    assert change(browser_of_ann)["Location"] == PAGE
    assert (is_in(browser_of_ann), is_in(other)) == (True, False)
    assert attempt(Client(), ann, "a new password").status_code == 302
    entry = AuditEntry.objects.latest("pk")
    assert (entry.verb, entry.actor, entry.peer) == ("reset_password", ann.login, "127.0.0.1")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"old_password": "wrong"}, "This is not your password."),
        ({"new_password": "short", "again": "short"}, "too short"),
        ({"again": "another one"}, "not the same"),
        ({"new_password": PASSWORD, "again": PASSWORD}, "This is your password now."),
    ],
)
def test_a_password_is_not_changed_without_the_old_one_and_a_good_new_one(
    ann: Account, browser_of_ann: Client, more: dict[str, str], said: str
) -> None:
    refused = change(browser_of_ann, **more)
    assert refused.status_code == 422
    assert said in refused.content.decode()
    assert attempt(Client(), ann).status_code == 302


# -- a temporary password -----------------------------------------------------------------------


@pytest.fixture
def temporary(ann: Account) -> str:
    return accounts.give_temporary_password(ann)


def test_a_temporary_password_opens_only_the_page_that_changes_it(
    ann: Account, client: Client, temporary: str
) -> None:
    attempt(client, ann, temporary)
    place = f"{PAGE}temporary-password/"
    for path in ("/mail/", "/mail/inbox/", "/mail/account/", PAGE, f"{PAGE}authenticator/"):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"]) == (302, place), path
    for path in ("/mail/acts/", f"{PAGE}app-passwords/", f"{PAGE}password/"):
        assert client.post(path)["Location"] == place
    part = client.get("/mail/inbox/", headers={"HX-Request": "true"})
    assert (part.status_code, part["HX-Redirect"]) == (204, place)
    assert client.get(place).status_code == 200
    assert client.post("/logout/")["Location"] == "/login/"


def test_who_has_changed_it_goes_on_where_they_were_going(
    ann: Account, client: Client, temporary: str
) -> None:
    attempt(client, ann, temporary)
    client.get("/mail/archive/?before=1-2")
    refused = change(client, "temporary-password/", old_password="wrong")
    assert (refused.status_code, b"This is not your password." in refused.content) == (422, True)
    done = change(client, "temporary-password/", old_password=temporary)
    assert done["Location"] == "/mail/archive/?before=1-2"
    assert is_in(client)
    assert client.get(f"{PAGE}temporary-password/")["Location"] == f"{PAGE}#password"


def test_staff_with_a_temporary_password_change_it_before_the_console(
    support: Account, client: Client, settings: Any
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "optional"
    password = accounts.give_temporary_password(support)
    attempt(client, support, password)
    assert client.get("/console/accounts/")["Location"] == f"{PAGE}temporary-password/"
    done = change(client, "temporary-password/", old_password=password)
    assert done["Location"] == "/console/accounts/"
    assert client.get("/console/accounts/").status_code == 200


def test_a_temporary_password_that_has_run_out_is_said_so(
    ann: Account, client: Client, temporary: str
) -> None:
    Account.objects.update(password_until=timezone.now() - timedelta(minutes=1))
    refused = attempt(client, ann, temporary)
    assert refused.status_code == 403
    assert "Ask your provider for another" in refused.content.decode()
