"""An operator reads a subscriber's mail: for a reason, for 15 minutes, changing nothing, and it is told."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hosting.console.tests.conftest import Enter
from hosting.console.tests.test_permissions import LETTER
from mailboxes import accounts, inspections
from mailboxes.models import Account, AuditEntry, Folder, Inspection, Message

Post = Callable[..., list[Message]]
REASON = "you asked us to find the letter of March"


@pytest.fixture
def letter(ann: Account, post: Post) -> Message:
    [message] = post(ann, text=LETTER)
    return message


def look(desk: Client, ann: Account, reason: str = REASON) -> str:
    """The path of an inspection that has been begun."""
    return str(desk.post(f"/console/accounts/{ann.pk}/inspect/", {"reason": reason}).headers["Location"])


def test_it_needs_a_reason_that_the_subscriber_understands(desk: Client, ann: Account) -> None:
    for reason in ("", "   ", "test", " " * 20, "x" * 301):
        assert look(desk, ann, reason) == f"/console/accounts/{ann.pk}/mailbox/"
    assert (Inspection.objects.count(), AuditEntry.objects.filter(verb="begin_inspection").count()) == (0, 0)


def test_an_operator_reads_and_nothing_changes(desk: Client, ann: Account, letter: Message) -> None:
    before = (list(Message.objects.values()), list(Folder.objects.values()))
    ann.mailbox.refresh_from_db()
    version = ann.mailbox.version
    path = look(desk, ann)
    assert "a plan" in desk.get(path).content.decode()
    html = desk.get(f"{path}messages/{letter.pk}/").content.decode()
    assert REASON in html
    assert f'src="{path}messages/{letter.pk}/html/"' in html
    frame = desk.get(f"{path}messages/{letter.pk}/html/")
    assert "<p>Look at this.</p>" in frame.content.decode()
    assert frame.headers["Content-Security-Policy"].startswith("sandbox")
    file = desk.get(f"{path}messages/{letter.pk}/2/")
    assert (file.content.strip(), file.headers["Content-Type"]) == (b"%PDF-1.4", "application/octet-stream")
    assert file.headers["Content-Disposition"] == 'attachment; filename="plan.pdf"'
    assert (list(Message.objects.values()), list(Folder.objects.values())) == before
    ann.mailbox.refresh_from_db()
    assert ann.mailbox.version == version


def test_each_step_is_audited_and_no_entry_has_any_content(
    desk: Client, operator: Account, ann: Account, letter: Message
) -> None:
    path = look(desk, ann)
    desk.get(f"{path}messages/{letter.pk}/")
    desk.get(f"{path}messages/{letter.pk}/2/")
    desk.post(f"{path}end/")
    entries = AuditEntry.objects.filter(subject=ann.login, actor=operator.login).order_by("pk")
    assert [(one.verb, one.reason) for one in entries] == [
        ("begin_inspection", REASON),
        ("inspect_message", ""),
        ("inspect_part", ""),
        ("end_inspection", ""),
    ]
    received = letter.received_at.isoformat(timespec="seconds")
    assert entries[1].after == {"message": letter.pk, "received": received}
    assert entries[2].after == {"message": letter.pk, "received": received, "part": "2"}
    assert "plan" not in str(list(entries.values()))


def test_the_letter_alone_is_audited_and_only_once(desk: Client, ann: Account, letter: Message) -> None:
    opened = AuditEntry.objects.filter(verb="inspect_message")
    path = f"{look(desk, ann)}messages/{letter.pk}/"
    desk.get(f"{path}html/")
    assert [after["message"] for after in opened.values_list("after", flat=True)] == [letter.pk]
    desk.get(f"{path}html/")
    assert opened.count() == 1
    desk.get(path)
    desk.get(f"{path}html/")
    assert opened.count() == 2


def paths_of(path: str, letter: Message) -> list[str]:
    message = f"{path}messages/{letter.pk}/"
    return [path, f"{path}{letter.folder_id}/", message, f"{message}html/", f"{message}2/"]


def test_it_is_over_by_the_clock_whatever_is_asked_for(desk: Client, ann: Account, letter: Message) -> None:
    path = look(desk, ann)
    assert [desk.get(one).status_code for one in paths_of(path, letter)] == [200] * 5
    now = timezone.now()
    inspection = Inspection.objects.get()
    assert timedelta(minutes=14) < inspection.until - now <= timedelta(minutes=15)
    Inspection.objects.update(until=now)
    before = AuditEntry.objects.count()
    for one in paths_of(path, letter):
        response = desk.get(one)
        assert (response.status_code, b"a plan" in response.content) == (403, False)
    assert desk.post(f"{path}end/").status_code == 403
    assert AuditEntry.objects.count() == before


def test_it_is_over_when_the_operator_shuts_it_or_is_one_no_longer(
    desk: Client, operator: Account, ann: Account, letter: Message, enter: Enter
) -> None:
    path = look(desk, ann)
    desk.post(f"{path}end/")
    assert desk.get(path).status_code == 403
    path = look(desk, ann)
    accounts.set_role(operator, "support")
    operator.refresh_from_db()
    assert enter(operator).get(path).status_code == 403


def test_nobodys_mail_but_that_of_the_mailbox_is_shown(
    desk: Client, ann: Account, bob: Account, letter: Message, post: Post
) -> None:
    [other] = post(bob, text=LETTER)
    path = look(desk, ann)
    assert [desk.get(one).status_code for one in paths_of(path, other)[1:]] == [404] * 4
    assert AuditEntry.objects.filter(verb="inspect_message").count() == 0


def test_the_owner_is_told_above_the_mail_until_it_is_noted_and_finds_it_later(
    desk: Client, enter: Enter, operator: Account, ann: Account, bob: Account
) -> None:
    browser = enter(ann)
    assert "looked-into" not in browser.get("/mail/inbox/").content.decode()
    look(desk, ann)
    for path in ("/mail/inbox/", "/mail/folders/", reverse("webmail:account")):
        html = browser.get(path).content.decode()
        assert all(text in html for text in (operator.login, REASON, "I have read this")), path
    assert "looked-into" not in enter(bob).get("/mail/inbox/").content.decode()
    newest = Inspection.objects.latest("pk").pk
    # One that came after the page was shown is still to be told.
    look(desk, ann, "and a second time for the same")
    note = reverse("webmail:note_inspections")
    response = browser.post(note, {"newest": newest, "here": "/mail/trash/"})
    assert response.headers["Location"] == "/mail/trash/"
    html = browser.get("/mail/inbox/").content.decode()
    assert ("a second time" in html, REASON in html) == (True, False)
    browser.post(note, {"newest": Inspection.objects.latest("pk").pk, "here": "//evil.test/mail/"})
    assert "looked-into" not in browser.get("/mail/inbox/").content.decode()
    html = browser.get(reverse("webmail:account")).content.decode()
    assert all(text in html for text in (operator.login, REASON, "a second time"))


def test_nobody_notes_for_another(desk: Client, enter: Enter, ann: Account, bob: Account) -> None:
    look(desk, ann)
    enter(bob).post(reverse("webmail:note_inspections"), {"newest": 10**9})
    assert inspections.unnoted(ann.mailbox.pk) != []


def test_pages_ask_nothing_more_for_it(
    enter: Enter, ann: Account, django_assert_num_queries: Callable[..., object]
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser = enter(ann)
    browser.get("/mail/inbox/")
    with CaptureQueriesContext(connection) as captured:
        browser.get("/mail/inbox/")
    assert [
        one["sql"] for one in captured if 'FROM "mailboxes_inspection"' in one["sql"].partition("EXISTS")[0]
    ] == []


def test_staff_see_on_the_accounts_page_who_looked(
    desk: Client, page: Callable[..., str], ann: Account
) -> None:
    look(desk, ann)
    html = page(f"/console/accounts/{ann.pk}/")
    assert REASON in html
    assert "mail opened for staff" in html
