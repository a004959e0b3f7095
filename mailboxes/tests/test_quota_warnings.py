"""Warnings that a mailbox is nearly full: once at each step, in its owner's language, found cheaply."""

from collections.abc import Callable
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from django.utils import timezone

from mailboxes import accounts, quota_warnings
from mailboxes.models import Account, DeliveryRecord, FolderKind, Mailbox, Message
from mailboxes.quota_warnings import ROOM_NEEDED, warn
from mailboxes.retention import recount
from mailboxes.tests.test_exporting import retrieved

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]
QUOTA = 10_000_000


def fill(account: Account, percent: float) -> None:
    """Leave what there is, and count as if there were more."""
    Mailbox.objects.filter(pk=account.mailbox.pk).update(used_bytes=int(QUOTA * percent / 100))


def warnings_of(account: Account) -> list[str]:
    found = Message.objects.filter(mailbox=account.mailbox, envelope_sender="", subject__contains="percent")
    return list(found.order_by("pk").values_list("subject", flat=True))


def test_each_step_is_told_once(ann: Account, post: Post) -> None:
    post(ann)
    told = []
    for percent in (79.9, 80, 81, 89.9, 90, 94, 95, 99):
        fill(ann, percent)
        told.append(warn())
    assert told == [0, 1, 0, 0, 1, 0, 1, 0]
    assert warnings_of(ann) == [f"Your mailbox is {step} percent full" for step in (80, 90, 95)]


def test_who_passes_several_steps_at_once_is_told_the_highest(ann: Account, post: Post) -> None:
    post(ann)
    fill(ann, 96)
    assert (warn(), warn()) == (1, 0)
    assert warnings_of(ann) == ["Your mailbox is 95 percent full"]


def test_a_step_counts_again_after_the_mailbox_was_below_it(ann: Account, post: Post) -> None:
    post(ann)
    for percent, told in ((91, 1), (85, 0), (91, 1), (40, 0), (80, 1)):
        fill(ann, percent)
        assert warn() == told, percent
    ann.mailbox.refresh_from_db()
    assert ann.mailbox.quota_warned == 80


def test_only_who_had_mail_lately_is_looked_at_and_once_a_day_everybody(
    ann: Account, bob: Account, post: Post
) -> None:
    post(ann), post(bob)
    DeliveryRecord.objects.filter(mailbox=ann.mailbox).update(at=timezone.now() - timedelta(days=1))
    fill(ann, 85)
    fill(bob, 85)
    assert (warn(), warnings_of(ann)) == (1, [])
    assert (warn(everybody=True), warn(everybody=True)) == (1, 0)
    assert len(warnings_of(ann)) == len(warnings_of(bob)) == 1


def test_looking_costs_no_more_for_mailboxes_with_room(
    open_account: Callable[..., Any], post: Post, django_assert_num_queries: Any
) -> None:
    for number in range(3):
        post(open_account(f"roomy{number}"))
    with django_assert_num_queries(1):
        assert warn() == 0


def test_the_warning_is_counted_unread_in_the_inbox_and_answers_to_nobody(ann: Account, post: Post) -> None:
    for _ in range(4):
        post(ann, text=b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 28_000)
    assert warn() == 1
    assert recount(ann.mailbox.pk)
    message = Message.objects.latest("pk")
    assert (message.folder.kind, message.seen, message.envelope_sender) == (FolderKind.INBOX, False, "")
    raw = retrieved(ann.mailbox)[-1]
    assert len(raw) == message.size < ROOM_NEEDED
    parsed = message_from_bytes(raw, policy=policy.default)
    assert parsed.defects == []
    assert (parsed["From"], parsed["To"]) == ("postmaster@example.test", "ann@example.test")
    assert (parsed["Auto-Submitted"], parsed["Return-Path"]) == ("auto-generated", "<>")
    text = parsed.get_content()
    assert "ann@example.test holds 7.7\xa0MB of 9.5\xa0MB." in text
    assert "Empty the trash" in text
    assert DeliveryRecord.objects.filter(mailbox=ann.mailbox, door="house").count() == 1


def test_it_is_written_in_the_language_of_the_account(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    languages = []
    real = quota_warnings._letter

    def noted(*arguments: Any) -> Any:
        from django.utils.translation import get_language

        languages.append(get_language())
        return real(*arguments)

    monkeypatch.setattr(quota_warnings, "_letter", noted)
    post(ann)
    Account.objects.filter(pk=ann.pk).update(language="de")
    fill(ann, 85)
    assert (warn(), languages) == (1, ["de"])
    assert retrieved(ann.mailbox)[-1].isascii(), "whatever the language"


def test_a_mailbox_without_room_even_for_that_is_told_when_there_is(
    ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 5: a warning does not overshoot the quota either."""
    post(ann)
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(used_bytes=QUOTA - 500)
    with monkeypatch.context() as patch:
        patch.setattr(quota_warnings, "_letter", lambda *_: pytest.fail("it is written for nothing"))
        assert (warn(), warnings_of(ann)) == (0, [])
    ann.mailbox.refresh_from_db()
    assert (ann.mailbox.quota_warned, ann.mailbox.used_bytes) == (0, QUOTA - 500)
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(used_bytes=QUOTA - ROOM_NEEDED)
    assert warn() == 1
    ann.mailbox.refresh_from_db()
    assert ann.mailbox.used_bytes <= QUOTA


def test_two_jobs_at_once_warn_once(ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    post(ann)
    fill(ann, 85)
    real = quota_warnings._letter
    first: list[bool] = []

    def meanwhile(mailbox: Mailbox, step: int) -> Any:
        if not first:
            first.append(True)
            assert warn() == 1
        return real(mailbox, step)

    monkeypatch.setattr(quota_warnings, "_letter", meanwhile)
    assert (warn(), len(warnings_of(ann))) == (0, 1)


def test_closed_accounts_are_left_alone_and_quota_that_is_lowered_is_seen(
    ann: Account, bob: Account, post: Post
) -> None:
    post(ann), post(bob)
    fill(ann, 85)
    accounts.close(ann)
    used = Mailbox.objects.get(account=bob).used_bytes
    accounts.set_quota(bob, 100_000)
    Mailbox.objects.filter(account=bob).update(used_bytes=81_000)
    assert (warn(everybody=True), warnings_of(ann), used > 0) == (1, [], True)


def test_the_warning_causes_no_further_one(ann: Account, post: Post) -> None:
    post(ann)
    fill(ann, 89.995)
    assert [warn() for _ in range(4)] == [1, 1, 0, 0], "its own octets may reach one more step, and no loop"
