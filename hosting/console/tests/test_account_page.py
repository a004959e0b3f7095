"""One account: what happened to its mail, and what staff do about it, each change with who, where and why."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from conftest import PASSWORD
from hosting.console.tests.conftest import Enter
from mailboxes import accounts, aliases, audit, messages, timeline
from mailboxes.addresses import resolve, resolve_all
from mailboxes.credentials import Service, authenticate
from mailboxes.exceptions import LoginRefused
from mailboxes.models import Account, AuditEntry, DeliveryRecord, POP3Session

Page = Callable[..., str]


@pytest.fixture
def path(ann: Account) -> str:
    return f"/console/accounts/{ann.pk}/"


def _session(account: Account, minutes: int, **more: Any) -> POP3Session:
    at = timezone.now() - timedelta(minutes=minutes)
    values: dict[str, Any] = {"mailbox": account.mailbox, "login": account.login, "peer": "203.0.113.7"}
    values |= {"session": f"s{minutes}", "started_at": at, "ended_at": at, "ended": "quit"}
    return POP3Session.objects.create(**(values | more))


@pytest.fixture
def busy(ann: Account, post: Callable[..., Any]) -> Account:
    """Ann, to whom one of everything has happened, each some minutes ago."""
    post(ann, sender="carla@friends.test")
    now = timezone.now()
    DeliveryRecord.objects.filter(mailbox=ann.mailbox).update(at=now - timedelta(minutes=1))
    _session(ann, 2, program="Phone 1", deleted=3, tls="TLSv1.3")
    _session(ann, 3, mailbox=None, ended="refused", reason="wrong_password", peer="198.51.100.9")
    DeliveryRecord.objects.create(
        at=now - timedelta(minutes=4), recipient=ann.login, sender="spam@x.test", code="452 4.2.2",
        reason="no room now", door="lmtp",
    )  # fmt: skip
    return ann


def test_the_time_line_says_what_came_what_was_refused_and_who_fetched(
    page: Page, busy: Account, path: str
) -> None:
    html = re.sub(r"<[^>]+>|\s+", " ", page(path))
    text = " ".join(html.split())
    for told in (
        "from carla@friends.test",
        "Phone 1 at 203.0.113.7: fetched 0, deleted 3",
        "POP3 from 198.51.100.9: wrong password",
        "from spam@x.test : 452 4.2.2 no room now",
        "account opened",
    ):
        assert told in text


def test_what_somebody_changed_for_themselves_is_not_told_of_staff(
    page: Page, ann: Account, path: str
) -> None:
    accounts.end_sessions(ann, actor=ann.login)
    accounts.set_quota(ann, 1_000_000_000, actor="olga@example.test")
    tags = re.findall(r'class="tag">(\w+)</span>\s*<span class="what"><b>([\w ]+)', page(path))
    assert ("subscriber", "sessions ended") in tags and ("staff", "quota changed") in tags


@pytest.mark.parametrize(
    ("kind", "count"),
    [("", 5), ("delivery", 1), ("refusal", 1), ("session", 1), ("failed", 1), ("change", 1), ("restore", 0)],
)
def test_the_time_line_is_narrowed_by_kind_and_day(busy: Account, kind: str, count: int) -> None:
    box = busy.mailbox.pk
    events, older = timeline.timeline_of(busy, box, kind=kind)
    assert (len(events), older) == (count, None)
    day_before = timezone.localdate() - timedelta(days=2)
    assert timeline.timeline_of(busy, box, kind=kind, day=day_before) == ([], None)


def test_the_time_line_goes_on_where_the_page_ended_also_within_one_moment(
    ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "PAGE_SIZE", 3)
    at = timezone.now()
    for number in range(4):
        _session(ann, 0, session=f"a{number}", started_at=at)
        _session(ann, 0, session=f"f{number}", started_at=at, mailbox=None)
        DeliveryRecord.objects.create(
            at=at, mailbox=ann.mailbox, recipient=ann.login, code="250 2.0.0", door="x"
        )
    seen: list[tuple[str, int]] = []
    before: timeline.Place | None = None
    while True:
        events, older = timeline.timeline_of(ann, ann.mailbox.pk, before=before)
        seen += [(event.kind, event.record.pk) for event in events]
        if older is None:
            break
        before = timeline.Place.read(str(older))
        assert before == older
    assert (len(seen), len(set(seen))) == (13, 13)


def test_the_page_costs_the_same_queries_however_much_has_happened(
    desk: Client, busy: Account, path: str, django_assert_num_queries: Any, post: Callable[..., Any]
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as caught:
        desk.get(path)
    for number in range(10, 13):
        post(busy)
        _session(busy, number)
    with django_assert_num_queries(len(caught)):
        desk.get(path)


@pytest.mark.parametrize(
    "query", ["before=x", "before=1-2", "before=" + "9" * 18 + "-1-1", "kind=nonsense", "day=x"]
)
def test_an_odd_query_shows_the_page_all_the_same(desk: Client, path: str, query: str) -> None:
    assert desk.get(f"{path}?{query}").status_code == 200


def test_each_change_is_audited_with_who_from_where_and_what_it_was(
    desk: Client, operator: Account, ann: Account, path: str
) -> None:
    acts: list[tuple[str, dict[str, str], dict[str, Any], dict[str, Any]]] = [
        ("service", {"service": "pop3", "pop3": "0"}, {"pop3": True}, {"pop3": False}),
        ("quota", {"quota": "1M"}, {"quota": 10_000_000}, {"quota": 1024**2}),
        ("suspend", {"reason": "unpaid"}, {"status": "active"}, {"status": "suspended"}),
        ("restore", {}, {"status": "suspended"}, {"status": "active"}),
        ("sessions", {}, {}, {}),
        ("forward", {"to": "ann@elsewhere.test"}, {"forward": []}, {"forward": ["ann@elsewhere.test"]}),
        ("close", {"reason": "left"}, {"status": "active"}, {"status": "closed"}),
    ]
    for name, form, before, after in acts:
        newest = AuditEntry.objects.order_by("-pk").first()
        response = desk.post(f"{path}{name}/", form, REMOTE_ADDR="192.0.2.44")
        assert (response.status_code, response.headers["Location"]) == (302, path)
        [entry] = AuditEntry.objects.filter(pk__gt=newest.pk if newest else 0)
        assert (entry.actor, entry.peer, entry.subject) == (operator.login, "192.0.2.44", ann.login)
        assert (entry.before, entry.after, entry.reason) == (before, after, form.get("reason", ""))


def test_the_subscriber_reads_the_reason_of_a_suspension_and_mail_still_comes(
    desk: Client, ann: Account, path: str
) -> None:
    desk.post(f"{path}suspend/", {"reason": "call 0800 123"})
    with pytest.raises(LoginRefused, match="suspended: call 0800 123"):
        authenticate(ann.login, PASSWORD, Service.POP3, "n")
    assert resolve(ann.login).mailboxes == (ann.mailbox.pk,)


def test_a_suspension_needs_a_reason(desk: Client, ann: Account, path: str) -> None:
    desk.post(f"{path}suspend/", {"reason": "  "})
    ann.refresh_from_db()
    assert ann.status == "active"


def password_token(html: str) -> str:
    [token] = re.findall(r'name="token" value="(\w+)"', html)
    return str(token)


def test_a_page_with_a_password_that_is_loaded_again_makes_no_second_one(
    desk: Client, page: Page, ann: Account, path: str
) -> None:
    form = {"token": password_token(page(path))}
    html = desk.post(f"{path}password/", form).content.decode()
    [password] = re.findall(r"<code data-secret>(.*?)</code>", html)
    entries = AuditEntry.objects.count()
    for again in (form, {}, {"token": "x"}):
        response = desk.post(f"{path}password/", again, follow=True)
        assert response.redirect_chain == [(path, 302)]
        text = response.content.decode()
        assert ("was shown already" in text, "data-secret" in text) == (True, False)
    assert AuditEntry.objects.count() == entries
    assert authenticate(ann.login, password, Service.WEBMAIL, "n").login == ann.login
    # Who asks anew gets another.
    assert (
        "data-secret" in desk.post(f"{path}password/", {"token": password_token(page(path))}).content.decode()
    )


def test_an_account_that_is_opened_twice_by_a_reload_says_that_its_password_was_shown(
    desk: Client, ann: Account
) -> None:
    form = {"login": "New@Example.test"}
    desk.post("/console/accounts/new/", form)
    encoded = Account.objects.get(login="new@example.test").password
    again = desk.post("/console/accounts/new/", form)
    assert (again.status_code, "its password was shown already" in again.content.decode()) == (422, True)
    assert Account.objects.get(login="new@example.test").password == encoded
    for login in (ann.login, "no address"):
        other = desk.post("/console/accounts/new/", {"login": login})
        assert (other.status_code, "was shown already" in other.content.decode()) == (422, False)


def test_a_session_is_offered_to_be_undone_only_while_anything_of_it_is_there(
    desk: Client, page: Page, ann: Account, path: str, post: Callable[..., Any]
) -> None:
    def fetch(session: str) -> str:
        [message] = post(ann)
        at = timezone.now()
        record = POP3Session(
            session=session, mailbox=ann.mailbox, login=ann.login, peer="p", deleted=1,
            started_at=at, ended_at=at, ended="quit",
        )  # fmt: skip
        messages.discard(ann.mailbox.pk, [message.pk], record)
        html = page(path, kind="session")
        assert html.count('class="event session"') == 1
        POP3Session.objects.exclude(session=session).delete()
        return html

    assert "put these back" in fetch("to-trash")
    desk.post(f"{path}mailbox/restore/", {"what": "session", "session": "to-trash"})
    html = page(path, kind="session")
    assert ("put these back" in html, "nothing left to put back" in html) == (False, True)
    POP3Session.objects.all().delete()
    type(ann.mailbox).objects.filter(pk=ann.mailbox.pk).update(pop3_delete="expunge")
    html = fetch("expunged")
    assert ("put these back" in html, "removed for good" in html) == (False, True)
    # What was removed for good says so, also when the mailbox has chosen otherwise since.
    type(ann.mailbox).objects.filter(pk=ann.mailbox.pk).update(pop3_delete="trash")
    assert "removed for good" in page(path, kind="session")


def test_moments_of_the_line_are_told_in_the_zone_of_the_pages(
    page: Page, ann: Account, path: str, settings: Any
) -> None:
    audit.write("restore_mail", ann.login, "x", after={"messages": 1, "since": "2026-07-01T22:30:00+00:00"})
    audit.write("inspect_message", ann.login, "x", after={"received": "2026-07-02T22:30:00+00:00"})
    settings.TIME_ZONE = "Europe/Berlin"
    html = page(path) + page("/console/audit/")
    assert html.count("2026-07-02 00:30") == html.count("2026-07-03 00:30") == 2
    assert "T22:30" not in html


@pytest.mark.parametrize(
    ("act", "form", "verb"),
    [
        ("service", {"service": "pop3", "pop3": "0", "webmail": "0"}, "set_service"),
        ("quota", {"quota": "1M"}, "set_quota"),
        ("role", {"role": "support"}, "set_role"),
    ],
)
@pytest.mark.parametrize("reason", ["as they asked", ""])
def test_a_switch_may_have_a_reason(
    desk: Client, ann: Account, path: str, act: str, form: dict[str, str], verb: str, reason: str
) -> None:
    desk.post(f"{path}{act}/", form | {"reason": reason})
    [entry] = AuditEntry.objects.filter(verb=verb, subject=ann.login)
    assert entry.reason == reason
    if act == "service":
        assert (entry.before, entry.after) == ({"pop3": True}, {"pop3": False})
        desk.post(f"{path}service/", {"service": "pop3", "pop3": "1"})
        ann.mailbox.refresh_from_db()
        assert ann.mailbox.pop3_enabled
    desk.post(f"{path}{act}/", form | {"reason": "x" * 301})
    assert AuditEntry.objects.filter(verb=verb, subject=ann.login, reason__startswith="xxx").count() == 0


def test_a_temporary_password_is_shown_once_good_for_a_day_and_nowhere_else(
    desk: Client, page: Page, ann: Account, path: str
) -> None:
    token = password_token(page(path))
    html = desk.post(f"{path}password/", {"token": token}).content.decode()
    [password] = re.findall(r"<code data-secret>(.*?)</code>", html)
    assert authenticate(ann.login, password, Service.WEBMAIL, "n").login == ann.login
    assert password not in page(path) + str(list(AuditEntry.objects.values_list("before", "after", "reason")))
    Account.objects.filter(pk=ann.pk).update(password_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LoginRefused, match="temporary password was good for a day"):
        authenticate(ann.login, password, Service.POP3, "n")
    accounts.reset_password(ann, PASSWORD)
    assert authenticate(ann.login, PASSWORD, Service.POP3, "n").login == ann.login


def test_who_logs_in_with_a_temporary_password_is_asked_for_one_of_ones_own(
    client: Client, ann: Account
) -> None:
    password = accounts.give_temporary_password(ann)
    client.post("/login/", {"login": ann.login, "password": password})
    response = client.get("/mail/inbox/")
    place = "/mail/account/security/temporary-password/"
    assert (response.status_code, response.headers["Location"]) == (302, place)


def test_staff_begin_in_the_console_and_subscribers_in_their_mail(
    client: Client, operator: Account, ann: Account
) -> None:
    for who, where in ((operator, "/console/"), (ann, "/mail/")):
        response = client.post("/login/", {"login": who.login, "password": PASSWORD}, follow=True)
        assert response.redirect_chain[:2] == [("/", 302), (where, 302)]
        client.post("/logout/")


def test_ending_sessions_ends_them(desk: Client, enter: Enter, ann: Account, path: str) -> None:
    browser = enter(ann)
    assert browser.get("/mail/account/").status_code == 200
    desk.post(f"{path}sessions/")
    assert browser.get("/mail/account/").status_code == 302


def test_an_alias_of_one_word_lies_in_the_account_s_domain(desk: Client, ann: Account, path: str) -> None:
    desk.post(f"{path}alias/", {"name": "Sales"})
    assert resolve("sales@example.test").mailboxes == (ann.mailbox.pk,)


def test_an_account_is_opened_and_its_password_shown_once(desk: Client, operator: Account) -> None:
    form = {"login": "New@Example.test", "name": "N", "quota": "5M"}
    html = desk.post("/console/accounts/new/", form).content.decode()
    [password] = re.findall(r"<code data-secret>(.*?)</code>", html)
    made = Account.objects.get(login="new@example.test")
    assert made.check_password(password)
    assert (made.name, made.mailbox.quota_bytes, made.password_until) == ("N", 5 * 1024**2, None)
    again = desk.post("/console/accounts/new/", form)
    assert (again.status_code, "exists already" in again.content.decode()) == (422, True)


def test_markup_in_what_peers_and_people_say_is_shown_as_text(
    page: Page, ann: Account, path: str, desk: Client
) -> None:
    bad = "<script>alert(1)</script>"
    _session(ann, 1, program=bad, peer=bad)
    DeliveryRecord.objects.create(
        at=timezone.now(), recipient=ann.login, sender=bad, code="550 5.1.1", reason=bad, door="x", helo=bad
    )
    desk.post(f"{path}suspend/", {"reason": bad})
    assert "<script>alert" not in page(path) + page("/console/audit/")


def test_refusals_by_whatever_name_of_hers_are_on_anns_line(page: Page, ann: Account, bob: Account) -> None:
    aliases.create_address("sales@example.test", [ann.login])
    aliases.create_address("team@example.test", [ann.login, bob.login])
    for one in (ann, bob):
        accounts.set_service(one, "receiving", False)
    at = timezone.now()
    for name in ("ann+shop", "sales", "team", "bob+shop"):
        [found] = resolve_all([f"{name}@example.test"])
        whose: tuple[int, ...] = getattr(found, "mailboxes", ())
        DeliveryRecord.objects.create(
            at=at,
            # As the door writes it: the mailbox where there is one, and of a list only its name.
            mailbox_id=whose[0] if len(whose) == 1 else None,
            recipient=f"{name}@example.test",
            code="450 4.2.1",
            door="lmtp",
            peer=f"192.0.2.{len(name)}",
        )
    for kind in ("", "refusal"):
        html = page(f"/console/accounts/{ann.pk}/", kind=kind)
        shown = re.findall(r"to (\S+@example\.test)", html[html.index("data-rows") :])
        assert sorted(set(shown)) == [f"{name}@example.test" for name in ("ann+shop", "sales", "team")], kind
    assert "192.0.2" not in page(f"/console/accounts/{ann.pk}/", kind="delivery")
