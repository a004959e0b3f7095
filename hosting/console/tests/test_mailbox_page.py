"""A mailbox in the console: headers and no contents, who deleted what, and its way back."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from hosting.console.tests.conftest import Enter
from mailboxes import messages, retention
from mailboxes.models import Account, AuditEntry, Folder, FolderKind, Message, POP3Session

Page = Callable[..., str]
SECRET = b"From: Carla <c@friends.test>\r\nSubject: About the shed\r\n\r\nThe code is 4711, tell nobody.\r\n"


def folder(account: Account, kind: FolderKind) -> Folder:
    return Folder.objects.get(mailbox=account.mailbox, kind=kind)


def lies_in(message: Message) -> str:
    return str(Message.objects.values_list("folder__kind", flat=True).get(pk=message.pk))


def fetch_and_delete(account: Account, *gone: Message, program: str = "Phone 1", session: str = "s1") -> None:
    now = timezone.now()
    record = POP3Session(
        session=session, mailbox=account.mailbox, login=account.login, peer="203.0.113.7", program=program,
        started_at=now, ended_at=now, deleted=len(gone), ended="quit",
    )  # fmt: skip
    messages.discard(account.mailbox.pk, [message.pk for message in gone], record)


@pytest.fixture
def path(ann: Account) -> str:
    return f"/console/accounts/{ann.pk}/mailbox/"


def test_staff_see_headers_and_never_contents(
    page: Page, enter: Enter, support: Account, ann: Account, path: str, post: Callable[..., Any]
) -> None:
    [message] = post(ann, text=SECRET)
    assert message.snippet.startswith("The code is 4711")
    for where in (path, f"{path}{message.folder_id}/", f"/console/accounts/{ann.pk}/", "/console/"):
        for client in (None, enter(support)):
            assert "4711" not in page(where, client=client)
    assert "About the shed" in page(f"{path}{message.folder_id}/")


def test_each_folder_shows_what_it_holds_and_how_large_that_is(
    page: Page, ann: Account, path: str, post: Callable[..., Any]
) -> None:
    post(ann, text=b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 98 + b"\r\n") * 20)
    inbox = folder(ann, FolderKind.INBOX)
    # Another number than the sum of what lies there: what is shown is what is stored.
    Folder.objects.filter(pk=inbox.pk).update(octets=5 * 1024**2, message_count=4_711)
    shown = re.sub(r"<[^>]+>", " ", page(path)).replace("\xa0", " ")
    tabs = " ".join(shown.split())
    assert "Inbox 4711 · 5.0 MB" in tabs
    assert re.search(r"Sent 0 (?!·)", tabs)


def test_support_finds_out_which_device_deleted_a_message_and_brings_it_back(
    page: Page, enter: Enter, support: Account, ann: Account, path: str, post: Callable[..., Any]
) -> None:
    [one], [two] = post(ann, text=SECRET), post(ann)
    fetch_and_delete(ann, one, two)
    client = enter(support)
    html = page(path, client=client)
    assert "by Phone 1 at 203.0.113.7" in html
    client.post(f"{path}restore/", {"what": "messages", "message": [one.pk]})
    assert (lies_in(one), lies_in(two)) == ("inbox", "trash")
    entry = AuditEntry.objects.get(verb="restore_mail")
    assert (entry.actor, entry.subject, entry.after) == (support.login, ann.login, {"messages": 1})
    assert retention.recount(ann.mailbox.pk)


@pytest.mark.parametrize("choice", ["trash", "archive"])
def test_what_one_session_deleted_comes_back_together(
    desk: Client, ann: Account, path: str, post: Callable[..., Any], choice: str
) -> None:
    type(ann.mailbox).objects.filter(pk=ann.mailbox.pk).update(pop3_delete=choice)
    [one], [two], [other] = post(ann), post(ann), post(ann)
    fetch_and_delete(ann, one, two)
    fetch_and_delete(ann, other, session="s2")
    desk.post(f"{path}restore/", {"what": "session", "session": "s1"})
    assert [lies_in(message) for message in (one, two, other)] == ["inbox", "inbox", choice]


def test_everything_since_a_moment_comes_back_whoever_deleted_it_and_nothing_else(
    desk: Client, ann: Account, path: str, post: Callable[..., Any]
) -> None:
    [by_pop3], [by_web], [long_ago], [archived], [kept] = (post(ann) for _ in range(5))
    fetch_and_delete(ann, by_pop3)
    messages.move(ann.mailbox.pk, [by_web.pk, long_ago.pk], folder(ann, FolderKind.TRASH))
    messages.move(ann.mailbox.pk, [archived.pk], folder(ann, FolderKind.ARCHIVE))
    Message.objects.filter(pk=long_ago.pk).update(moved_at=timezone.now() - timedelta(days=3))
    since = timezone.localtime() - timedelta(days=1)
    desk.post(f"{path}restore/", {"what": "since", "since": f"{since:%Y-%m-%dT%H:%M}"})
    found = [lies_in(message) for message in (by_pop3, by_web, long_ago, archived, kept)]
    assert found == ["inbox", "inbox", "trash", "archive", "inbox"]
    assert AuditEntry.objects.get(verb="restore_mail").after["messages"] == 2
    assert retention.recount(ann.mailbox.pk)


def test_what_is_not_deleted_or_another_s_is_not_touched(
    desk: Client, ann: Account, bob: Account, path: str, post: Callable[..., Any]
) -> None:
    [archived], [of_bob] = post(ann), post(bob)
    messages.move(ann.mailbox.pk, [archived.pk], folder(ann, FolderKind.ARCHIVE))
    messages.move(bob.mailbox.pk, [of_bob.pk], folder(bob, FolderKind.TRASH))
    desk.post(f"{path}restore/", {"what": "messages", "message": [archived.pk, of_bob.pk, "x", "9" * 30]})
    assert (lies_in(archived), lies_in(of_bob)) == ("archive", "trash")
    assert AuditEntry.objects.filter(verb="restore_mail").count() == 0
    assert desk.get(f"{path}{of_bob.folder_id}/").status_code == 404


def test_a_session_of_another_mailbox_restores_nothing(
    desk: Client, ann: Account, bob: Account, path: str, post: Callable[..., Any]
) -> None:
    [of_bob] = post(bob)
    fetch_and_delete(bob, of_bob)
    for session in ("s1", ""):
        desk.post(f"{path}restore/", {"what": "session", "session": session})
    assert lies_in(of_bob) == "trash"
