"""Logging in through the one gate, and what ends a session."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mailboxes import accounts
from mailboxes.credentials import WRONG
from mailboxes.models import Account, Mailbox, WebSession
from mailboxes.throttle import GUESSES, LONGEST_DELAY
from webmail.programs import said_shortly
from webmail.tests.conftest import PASSWORD
from webmail.views import login

Enter = Callable[[Account], Client]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the door would have made people wait."""
    waited: list[float] = []
    monkeypatch.setattr(login, "sleep", waited.append)
    return waited


def attempt(client: Client, name: str, password: str, **more: str) -> Any:
    return client.post("/login/", {"login": name, "password": password, **more})


def test_who_has_the_password_reads_their_inbox(ann: Account, client: Client) -> None:
    answer = attempt(client, "ANN@example.test ", PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    page = client.get("/", follow=True)
    assert page.redirect_chain == [("/mail/", 302), ("/mail/inbox/", 302)]
    assert page.status_code == 200


def test_a_wrong_password_and_an_unknown_address_get_one_answer(ann: Account, client: Client) -> None:
    answers = [attempt(client, name, "wrong") for name in ("ann@example.test", "nobody@example.test")]
    assert [answer.status_code for answer in answers] == [401, 401]
    pages = [answer.content.decode().replace("nobody@", "ann@") for answer in answers]
    tokens = [page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0] for page in pages]
    assert len({page.replace(token, "") for page, token in zip(pages, tokens, strict=True)}) == 1
    assert WRONG.capitalize() in pages[0]


def test_guessing_costs_time_but_never_more_than_the_longest_delay(
    ann: Account, client: Client, waits: list[float]
) -> None:
    for number in range(GUESSES):
        attempt(client, ann.login, f"wrong {number}")
    refused = attempt(client, ann.login, PASSWORD)
    assert refused.status_code == 401
    assert "too many wrong attempts" in refused.content.decode().lower()
    assert waits == sorted(waits[:-1]) + waits[-1:]
    assert len(waits) == GUESSES + 1
    assert max(waits) == LONGEST_DELAY


def test_those_who_wait_leave_threads_to_the_others(
    ann: Account, client: Client, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def acquire(self, blocking: bool) -> bool:
            return False

    monkeypatch.setattr(login, "_waiting", Full())
    assert attempt(client, ann.login, "wrong").status_code == 429
    assert waits == []
    assert attempt(client, ann.login, PASSWORD).status_code == 302


def test_only_who_has_the_password_learns_why_the_door_is_shut(ann: Account, client: Client) -> None:
    accounts.suspend(ann, "the bill of October is open")
    refused = attempt(client, ann.login, PASSWORD)
    assert refused.status_code == 403
    assert b"the bill of October is open" in refused.content
    assert b"bill of October" not in attempt(client, ann.login, "wrong").content


def test_a_session_begins_with_a_new_key(ann: Account, client: Client) -> None:
    client.get("/login/")
    session = client.session
    session["kept"] = "by somebody who knows its key"
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = str(before)
    attempt(client, ann.login, PASSWORD)
    assert client.session.session_key != before
    assert "kept" not in client.session


@pytest.mark.parametrize(
    "end",
    [
        lambda ann: accounts.reset_password(ann, "another password"),
        lambda ann: accounts.suspend(ann, "a reason"),
        lambda ann: accounts.close(ann),
        lambda ann: accounts.set_service(ann, "webmail", False),
        lambda ann: accounts.set_service(ann, "pop3", False),
    ],
    ids=["password", "suspended", "closed", "webmail off", "any service"],
)
def test_what_was_verified_before_counts_no_longer(
    ann: Account, browser_of_ann: Client, end: Callable[[Account], None]
) -> None:
    end(ann)
    answer = browser_of_ann.get("/mail/inbox/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/mail/inbox/")
    part = browser_of_ann.get("/mail/inbox/", headers={"HX-Request": "true"})
    assert (part.status_code, part["HX-Redirect"], part.content) == (204, "/login/", b"")


def test_who_has_logged_out_is_out(browser_of_ann: Client) -> None:
    assert browser_of_ann.get("/logout/").status_code == 405
    assert browser_of_ann.post("/logout/")["Location"] == "/login/"
    assert browser_of_ann.get("/mail/inbox/").status_code == 302


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/mail/archive/?before=1-2", "/mail/archive/?before=1-2"),
        ("/console/accounts/?q=ann", "/console/accounts/?q=ann"),
        ("https://evil.test/mail/", "/"),
        ("//evil.test/mail/", "/"),
        ("/logout/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_one_is_led_to_our_own_pages_only(ann: Account, client: Client, asked: str, given: str) -> None:
    assert attempt(client, ann.login, PASSWORD, next=asked)["Location"] == given


def test_an_account_without_a_mailbox_is_told_so(support: Account, client: Client) -> None:
    Mailbox.objects.filter(account=support).delete()
    refused = attempt(client, support.login, PASSWORD)
    assert refused.status_code == 403
    assert b"This account has no mailbox" in refused.content
    client.force_login(support, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/mail/")
    assert page.status_code == 403
    assert b"You have no mailbox here" in page.content


def test_the_throttle_counts_by_the_network_that_a_proxy_of_ours_names(
    ann: Account, client: Client, settings: Any, waits: list[float]
) -> None:
    from ipaddress import ip_network

    settings.PROXY_NETWORKS = [ip_network("127.0.0.0/8")]
    for number in range(GUESSES):
        forged = {"X-Forwarded-For": f"203.0.113.{number}, 192.0.2.7"}
        client.post("/login/", {"login": ann.login, "password": f"wrong {number}"}, headers=forged)
    elsewhere = {"login": ann.login, "password": PASSWORD}
    assert client.post("/login/", elsewhere, headers={"X-Forwarded-For": "192.0.2.9"}).status_code == 401
    assert client.post("/login/", elsewhere, headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 302


def test_each_begins_where_they_work(
    ann: Account, support: Account, operator: Account, client: Client, settings: Any
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "optional"
    assert client.get("/")["Location"] == "/login/"
    for account, place in ((ann, "/mail/"), (support, "/console/"), (operator, "/console/")):
        attempt(client, account.login, PASSWORD)
        assert client.get("/")["Location"] == place
        assert client.get("/login/")["Location"] == "/"
        client.post("/logout/")


def test_a_subscriber_who_asks_for_the_console_is_refused_there(ann: Account, client: Client) -> None:
    asked = client.get("/console/accounts/")
    assert asked["Location"] == "/login/?next=/console/accounts/"
    answer = attempt(client, ann.login, PASSWORD, next="/console/accounts/")
    assert client.get(answer["Location"]).status_code == 403


# -- what is recorded ---------------------------------------------------------------------------

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def test_each_login_is_a_record_of_its_own(ann: Account, client: Client) -> None:
    client.post("/login/", {"login": ann.login, "password": PASSWORD}, headers={"User-Agent": FIREFOX})
    session = WebSession.objects.get()
    assert (session.account_id, session.login, session.peer, session.program, session.ended) == (
        ann.pk,
        ann.login,
        "127.0.0.1",
        "Firefox 128 (Linux)",
        "",
    )
    assert session.session not in {str(client.session.session_key), client.cookies["sessionid"].value}
    client.post("/logout/")
    session.refresh_from_db()
    assert session.ended == "logout"


def test_each_refusal_is_recorded_whether_or_not_there_is_such_an_account(
    ann: Account, client: Client
) -> None:
    attempt(client, "Ann@Example.test", "wrong")
    attempt(client, "nobody@example.test", "wrong")
    accounts.suspend(ann, "unpaid")
    attempt(client, ann.login, PASSWORD)
    records = WebSession.objects.order_by("pk").values_list("login", "account", "ended", "reason")
    found: list[Any] = list(records)
    assert found == [
        ("ann@example.test", None, "refused", "wrong_password"),
        ("nobody@example.test", None, "refused", "wrong_password"),
        ("ann@example.test", None, "refused", "suspended"),
    ]


def test_a_session_that_was_ended_elsewhere_is_out_at_its_next_request(
    ann: Account, browser_of_ann: Client
) -> None:
    assert browser_of_ann.get("/mail/inbox/").status_code == 200
    WebSession.objects.update(ended_at=WebSession.objects.get().started_at, ended="ended")
    answer = browser_of_ann.get("/mail/inbox/")
    assert (answer.status_code, answer["Location"]) == (302, "/login/?next=/mail/inbox/")


def test_who_is_logged_in_costs_one_query(
    browser_of_ann: Client, django_assert_num_queries: Callable[..., Any]
) -> None:
    # Django's session, and the one row of session, account and mailbox.
    with django_assert_num_queries(2):
        assert browser_of_ann.get("/login/").status_code == 302


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (FIREFOX, "Firefox 128 (Linux)"),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
                "Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0"
            ),
            "Edge 130 (Windows)",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
                "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
            ),
            "Safari 17 (iPhone)",
        ),
        (
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 "
                "Mobile Safari/537.36"
            ),
            "Chrome 129 (Android)",
        ),
        (
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
                "Version/18.0 Safari/605.1.15"
            ),
            "Safari 18 (macOS)",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
        ("x\x00<script>" * 1_000, "x?<script>x?<script>x?<script>x?<script>x?<script>x?<script>"),
    ],
)
def test_browsers_are_called_as_people_call_them(agent: str, said: str) -> None:
    assert said_shortly(agent) == said
