"""Sessions in browsers: recorded, ended, and kept from filling the disk."""

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import accounts, retention, web_sessions
from mailboxes.models import Account, WebSession
from mailboxes.timeline import timeline_of


def begin(account: Account, **more: Any) -> str:
    facts = {"peer": "192.0.2.1", "program": "Firefox 128 on Linux"} | more
    return web_sessions.begin(account.pk, account.login, **facts)


def refuse(login: str, network: str = "192.0.2.0/24", reason: str = "wrong_password") -> None:
    web_sessions.note_refused(login, peer="192.0.2.1", network=network, program="curl", reason=reason)


def open_ones(account: Account) -> list[str]:
    return [one.session for one in web_sessions.sessions_of(account) if one.is_open]


def test_one_session_is_ended_and_no_other(ann: Account, bob: Account) -> None:
    first, second, his = begin(ann), begin(ann), begin(bob)
    assert not web_sessions.end(bob.pk, first)
    assert web_sessions.end(ann.pk, first)
    assert not web_sessions.end(ann.pk, first)
    assert (open_ones(ann), open_ones(bob)) == ([second], [his])


def test_all_others_are_ended(ann: Account, bob: Account) -> None:
    keep, _, _ = begin(ann), begin(ann), begin(ann)
    his = begin(bob)
    assert web_sessions.end_others(ann.pk, keep) == 2
    assert (open_ones(ann), open_ones(bob)) == ([keep], [his])


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda ann, keep: accounts.reset_password(ann, "another one entirely", keep=keep), "replaced"),
        (lambda ann, keep: accounts.suspend(ann, "unpaid"), "replaced"),
        (lambda ann, keep: accounts.end_sessions(ann), "ended"),
    ],
    ids=["password", "suspended", "ended by staff"],
)
def test_what_ends_sessions_marks_their_records(
    ann: Account, change: Callable[[Account, str], None], how: str
) -> None:
    keep, other = begin(ann), begin(ann)
    change(ann, keep)
    assert WebSession.objects.get(session=other).ended == how
    assert (WebSession.objects.get(session=keep).ended_at is None) is (
        how == "replaced" and open_ones(ann) == [keep]
    )


def test_use_is_written_every_few_minutes_only(
    ann: Account, later: Callable[..., Any], django_assert_num_queries: Callable[..., Any]
) -> None:
    name = begin(ann)
    session = WebSession.objects.get(session=name)
    with django_assert_num_queries(0):
        web_sessions.see(session)
    WebSession.objects.update(seen_at=later(minutes=-6))
    session.refresh_from_db()
    before = timezone.now()
    web_sessions.see(session)
    session.refresh_from_db()
    assert before <= session.seen_at <= timezone.now()


def test_a_session_whose_cookie_has_expired_is_over(ann: Account, later: Callable[..., Any]) -> None:
    begin(ann)
    WebSession.objects.update(seen_at=later(days=-15))
    assert open_ones(ann) == []


def test_refused_logins_of_one_network_are_recorded_up_to_a_bound(
    ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_sessions, "REFUSED_MAX", 3)
    for n in range(10):
        refuse(f"guess{n}@example.test")
    assert WebSession.objects.count() == 3
    refuse(ann.login, network="198.51.100.0/24")
    assert WebSession.objects.count() == 4


def test_the_bound_is_one_of_an_hour(
    ann: Account, monkeypatch: pytest.MonkeyPatch, later: Callable[..., Any]
) -> None:
    monkeypatch.setattr(web_sessions, "REFUSED_MAX", 1)
    for _ in range(2):
        refuse(ann.login)
    assert WebSession.objects.count() == 1
    from mailboxes.models import LoginThrottle

    LoginThrottle.objects.update(last_failure_at=later(minutes=-61))
    for _ in range(2):
        refuse(ann.login)
    assert WebSession.objects.count() == 2


@pytest.mark.parametrize("login", ["", "x" * 5_000, "a\0b@example.test", "\udc80", "nobody@example.test"])
def test_any_name_can_be_recorded(db: None, login: str) -> None:
    refuse(login)
    assert WebSession.objects.get().ended == "refused"


def test_browsers_are_on_the_time_line(ann: Account, bob: Account) -> None:
    begin(ann, second_factor="passkey")
    refuse(ann.login)
    begin(bob)
    refuse(bob.login)
    events, _ = timeline_of(ann, ann.mailbox.pk)
    assert [event.kind for event in events if event.kind.startswith("web")] == ["web_failed", "web"]
    for kind in ("web", "web_failed"):
        found, _ = timeline_of(ann, ann.mailbox.pk, kind=kind)
        assert [(event.kind, event.record.login) for event in found] == [(kind, ann.login)]


def test_records_go_with_the_others_unless_they_are_in_use(
    ann: Account, later: Callable[..., Any], settings: Any
) -> None:
    old, used = begin(ann), begin(ann)
    before = later(days=-settings.RECORD_DAYS - 1)
    WebSession.objects.update(started_at=before)
    WebSession.objects.filter(session=old).update(seen_at=before)
    retention.forget_old_records()
    assert [one.session for one in WebSession.objects.all()] == [used]
