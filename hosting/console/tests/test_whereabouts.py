"""Where each message that came lies now, and which device deleted it: a browser is named as a program is."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from hosting.console.tests.conftest import Enter
from hosting.console.tests.test_mailbox_page import fetch_and_delete, folder, lies_in
from mailboxes import errands, messages
from mailboxes.models import Account, AuditEntry, Errand, FolderKind, Message, WebSession
from webmail.views import acts

Page = Callable[..., str]
Post = Callable[..., Any]
BILL = b"From: Shop <shop@trade.test>\r\nSubject: The bill\r\n\r\nTell nobody.\r\n"
BROWSER = "in the webmail, by a test at 127.0.0.1"


@pytest.fixture
def help_desk(enter: Enter, support: Account) -> Client:
    return enter(support)


@pytest.fixture
def account_page(ann: Account) -> str:
    return f"/console/accounts/{ann.pk}/"


def delete_in_browser(browser: Client, *gone: Message, **more: str) -> None:
    numbers = [message.pk for message in gone]
    browser.post("/mail/acts/", {"act": "trash", "folder": "inbox", "message": numbers, **more})


def test_support_sees_which_browser_deleted_a_message_and_brings_its_deletions_back(
    page: Page, help_desk: Client, enter: Enter, ann: Account, account_page: str, post: Post
) -> None:
    [one], [two], [kept] = post(ann, text=BILL), post(ann), post(ann)
    delete_in_browser(enter(ann), one, two)
    html = page(f"{account_page}mailbox/", client=help_desk)
    assert html.count(BROWSER) == 2
    assert "Put back what a test at 127.0.0.1 deleted in the webmail" in html
    session = WebSession.objects.get(account=ann).session
    help_desk.post(f"{account_page}mailbox/restore/", {"what": "session", "session": session})
    assert [lies_in(message) for message in (one, two, kept)] == ["inbox"] * 3
    assert AuditEntry.objects.get(verb="restore_mail").after == {"messages": 2, "session": session}


def test_only_what_goes_to_the_trash_bears_the_browser_s_name(ann: Account, post: Post) -> None:
    [message] = post(ann)
    messages.move(ann.mailbox.pk, [message.pk], folder(ann, FolderKind.ARCHIVE), browser="b1")
    message.refresh_from_db()
    assert message.removed_in_session == ""


def test_a_worker_that_deletes_for_a_browser_names_it_too(
    enter: Enter, ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = [post(ann)[0] for _ in range(3)]
    monkeypatch.setattr(acts, "ACT_MAX", 2)
    delete_in_browser(enter(ann), all=str(posted[-1].pk))
    errands.run(Errand.objects.get().key)
    named = set(Message.objects.values_list("folder__kind", "removed_in_session"))
    assert named == {("trash", WebSession.objects.get(account=ann).session)}


def test_the_time_line_says_of_each_message_where_it_lies_and_who_deleted_it(
    page: Page, help_desk: Client, enter: Enter, ann: Account, account_page: str, post: Post
) -> None:
    [kept], [by_program], [by_browser], [gone] = (post(ann, text=BILL) for _ in range(4))
    fetch_and_delete(ann, by_program)
    delete_in_browser(enter(ann), by_browser)
    messages.expunge(ann.mailbox.pk, [gone.pk])
    html = page(account_page, client=help_desk)
    assert html.count("“<bdi>The bill</bdi>”") == 3  # of what is removed, there is nothing more to be said
    assert html.count("lies in: Inbox") == 1
    deleted = re.findall(r"lies in: Trash · deleted [-0-9]+ [0-9:]+ (.*?) </span>", html)
    assert deleted == [BROWSER, "by Phone 1 at 203.0.113.7"]
    assert html.count("not in the mailbox any more: removed for good") == 1
    assert html.count("put it back") == 2
    assert "Tell nobody" not in html  # no digits: a token may have any by chance
    assert lies_in(kept) == "inbox"


def test_from_the_time_line_a_message_is_put_back_and_the_way_leads_back_there(
    help_desk: Client, ann: Account, account_page: str, post: Post
) -> None:
    [message] = post(ann)
    fetch_and_delete(ann, message)
    what = {"what": "messages", "message": message.pk, "page": "account"}
    answer = help_desk.post(f"{account_page}mailbox/restore/", what)
    assert (answer.status_code, answer.headers["Location"]) == (302, account_page)
    assert lies_in(message) == "inbox"


def test_the_name_of_a_session_that_no_database_takes_is_that_of_none(
    help_desk: Client, account_page: str
) -> None:
    answer = help_desk.post(f"{account_page}mailbox/restore/", {"what": "session", "session": "a\0b"})
    assert (answer.status_code, AuditEntry.objects.filter(verb="restore_mail").count()) == (302, 0)


def test_what_staff_were_sent_is_not_told_to_support(
    page: Page, help_desk: Client, operator: Account, post: Post
) -> None:
    post(operator, text=BILL)
    html = page(f"/console/accounts/{operator.pk}/", client=help_desk)
    assert "delivered" in html
    assert ("The bill" in html, "lies in:" in html) == (False, False)
    assert "“<bdi>The bill</bdi>”" in page(f"/console/accounts/{operator.pk}/")


def test_many_messages_cost_no_more_queries_than_one(
    desk: Client, enter: Enter, ann: Account, account_page: str, post: Post, django_assert_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser = enter(ann)

    def happen(session: str) -> None:
        [by_program], [by_browser], [_kept] = post(ann), post(ann), post(ann)
        fetch_and_delete(ann, by_program, session=session)
        delete_in_browser(browser, by_browser)

    happen("s1")
    with CaptureQueriesContext(connection) as caught:
        desk.get(account_page)
    number = len(caught)
    happen("s2")
    happen("s3")
    with django_assert_num_queries(number):
        desk.get(account_page)
