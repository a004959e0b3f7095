"""Who has a subscriber's mail sent elsewhere as well is told to its owner, and stands on the time line."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from hosting.console.tests.conftest import Enter
from mailboxes import aliases, forward_notices
from mailboxes.models import Account, ForwardNotice

ELSEWHERE = "ann@elsewhere.test"


def send_on(browser: Client, account: Account, to: str) -> None:
    assert (
        browser.post(f"/console/accounts/{account.pk}/forward/", {"to": to, "reason": "asked"}).status_code
        == 302
    )


def text_of(browser: Client, path: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", browser.get(path).content.decode()).split())


@pytest.mark.parametrize("who", ["operator", "administrator"])
def test_the_owner_is_told_above_the_mail_until_it_is_noted_and_finds_it_later(
    who: str, enter: Enter, ann: Account, bob: Account, request: pytest.FixtureRequest
) -> None:
    staff: Account = request.getfixturevalue(who)
    browser, account = enter(ann), reverse("webmail:account")
    assert "looked-into" not in browser.get("/mail/inbox/").content.decode()
    send_on(enter(staff), ann, ELSEWHERE)
    told = f"Your provider ({staff.login}) has a copy of your mail sent to {ELSEWHERE} since"
    for path in ("/mail/inbox/", account):
        assert told in text_of(browser, path)
    assert "looked-into" not in enter(bob).get("/mail/inbox/").content.decode()
    newest = ForwardNotice.objects.latest("pk").pk
    # One that came after the page was shown is still to be told.
    send_on(enter(staff), ann, "")
    browser.post(reverse("webmail:note_inspections"), {"newest": 0, "newest_forward": newest})
    ended = f"Your provider ({staff.login}) has ended the sending of copies of your mail"
    shown = text_of(browser, "/mail/inbox/")
    assert (told in shown, ended in shown) == (False, True)
    newest = ForwardNotice.objects.latest("pk").pk
    browser.post(reverse("webmail:note_inspections"), {"newest": 0, "newest_forward": newest})
    assert "looked-into" not in browser.get("/mail/inbox/").content.decode()
    shown = text_of(browser, account)
    assert (told in shown, ended in shown) == (True, True)


def test_it_stands_on_the_time_line(desk: Client, operator: Account, ann: Account) -> None:
    send_on(desk, ann, ELSEWHERE)
    line = text_of(desk, f"/console/accounts/{ann.pk}/")
    assert ELSEWHERE in line
    assert f"by {operator.login}" in line


def test_nobody_notes_for_another(desk: Client, enter: Enter, ann: Account, bob: Account) -> None:
    send_on(desk, ann, ELSEWHERE)
    enter(bob).post(reverse("webmail:note_inspections"), {"newest_forward": 10**9})
    assert [one.to for one in forward_notices.unnoted(ann.mailbox.pk)] == [ELSEWHERE]


def test_nobody_is_told_of_what_they_did_or_what_changed_nothing(operator: Account, ann: Account) -> None:
    aliases.set_forward(operator, ELSEWHERE, actor=operator.login)
    aliases.set_forward(ann, "", actor=operator.login)
    assert ForwardNotice.objects.count() == 0
    aliases.set_forward(ann, ELSEWHERE, actor=operator.login)
    aliases.set_forward(ann, ELSEWHERE.upper().replace("ANN@", "ann@"), actor=operator.login)
    assert ForwardNotice.objects.count() == 1
