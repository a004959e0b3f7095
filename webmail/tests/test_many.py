"""Acts on more messages than a reader waits for: asked for like any other, shown as errands, undone there."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mailboxes import errands, messages
from mailboxes.indexing import drain
from mailboxes.listing import newest_in
from mailboxes.models import Account, Change, Errand, ErrandState, FolderKind, Message
from mailboxes.tests.test_messages import folder, lying, pop3_session
from webmail.views import acts

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]


@pytest.fixture(autouse=True)
def soon_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "ACT_MAX", 3)
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: None)


@pytest.fixture
def many(ann: Account, post: Post) -> list[int]:
    letters = [post(ann, text=b"Subject: The shed %d\r\n\r\nx\r\n" % n)[0].pk for n in range(5)]
    drain()
    return letters


def ask(browser: Client, verb: str, *, scripts: bool = False, url: str = "/mail/acts/", **more: Any) -> Any:
    headers = {"HX-Request": "true"} if scripts else {}
    form = {"folder": "inbox", "act": verb} | more
    return browser.post(url, form, headers=headers)


def watched(browser: Client, answer: Any) -> tuple[Errand, str]:
    """The errand behind an answer, once a worker has done it, and what its page says then."""
    where = answer["HX-Redirect"] if answer.status_code == 204 else answer["Location"]
    errand = Errand.objects.latest("pk")
    assert where == f"/mail/account/moving/{errand.key}/"
    assert "It waits for its turn." in browser.get(where).content.decode()
    errands.run(errand.key)
    errand.refresh_from_db()
    return errand, browser.get(where).content.decode()


@pytest.mark.parametrize("scripts", [True, False])
def test_everything_in_a_folder_is_an_errand_with_a_result_and_an_undo(
    ann: Account, browser_of_ann: Client, many: list[int], scripts: bool
) -> None:
    newest = newest_in(folder(ann, FolderKind.INBOX))
    answer = ask(browser_of_ann, "archive", scripts=scripts, all=newest)
    assert lying(ann) == many, "nothing is done while the reader waits"
    errand, page = watched(browser_of_ann, answer)
    assert errand.state == ErrandState.DONE and "5 messages archived." in page
    assert "Archive: all in Inbox" in page
    assert lying(ann, FolderKind.ARCHIVE) == many
    [key] = re.findall(r'name="change" value="(\w+)"', page)
    undone, page = watched(browser_of_ann, ask(browser_of_ann, "", url="/mail/undo/", change=key))
    assert undone.arguments["verb"] == "undo" and "Undone: 5 messages." in page
    assert 'name="change"' not in page
    assert lying(ann) == many
    listed = browser_of_ann.get("/mail/account/moving/").content.decode()
    assert "Archive: all in Inbox" in listed and "Undo: 5 messages" in listed


@pytest.mark.parametrize("verb", ["seen", "star", "junk", "trash", "move"])
def test_all_that_match_is_an_errand(
    ann: Account, browser_of_ann: Client, many: list[int], verb: str
) -> None:
    until = "9" * 16 + "-0"
    answer = ask(browser_of_ann, verb, folder="search", q="shed", all=until, to="archive")
    errand, page = watched(browser_of_ann, answer)
    assert errand.result == {"count": 5} and "5 messages" in page
    assert "all that match “shed”" in page
    assert Change.objects.get().count == 5


def test_removing_for_good_asks_first_and_says_how_many(
    ann: Account, browser_of_ann: Client, many: list[int]
) -> None:
    messages.move(ann.mailbox.pk, many, folder(ann, FolderKind.TRASH))
    newest = newest_in(folder(ann, FolderKind.TRASH))
    page = ask(browser_of_ann, "expunge", folder="trash", all=newest).content.decode()
    assert "Remove 5 messages for good?" in page and not Errand.objects.exists()
    answer = ask(browser_of_ann, "expunge", folder="trash", all=newest, sure="1")
    _, page = watched(browser_of_ann, answer)
    assert "5 messages removed for good." in page and 'name="change"' not in page
    assert not Message.objects.exists()


def test_what_a_mail_program_deleted_comes_back_however_much(
    ann: Account, browser_of_ann: Client, many: list[int]
) -> None:
    session = pop3_session(ann)
    messages.discard(ann.mailbox.pk, many, session)
    answer = ask(browser_of_ann, "", one="restore_session:0", session=session.session)
    _, page = watched(browser_of_ann, answer)
    assert "5 messages restored." in page and lying(ann) == many


def test_a_few_are_done_at_once(ann: Account, browser_of_ann: Client, many: list[int]) -> None:
    for letter in many[:2]:
        Message.objects.get(pk=letter).delete()
    ask(browser_of_ann, "archive", all=newest_in(folder(ann, FolderKind.INBOX)))
    assert lying(ann, FolderKind.ARCHIVE) == many[2:] and not Errand.objects.exists()


def test_who_has_asked_for_too_much_is_told(ann: Account, browser_of_ann: Client, many: list[int]) -> None:
    newest = newest_in(folder(ann, FolderKind.INBOX))
    for _again in range(errands.OPEN_MAX):
        ask(browser_of_ann, "star", all=newest)
    page = ask(browser_of_ann, "star", all=newest, scripts=True)
    assert page.status_code == 200 and "it is not done yet" in page.content.decode()
    assert Errand.objects.count() == errands.OPEN_MAX


def test_nothing_of_a_search_is_put_back_or_removed_for_good(
    ann: Account, browser_of_ann: Client, many: list[int]
) -> None:
    for verb in ("restore", "expunge"):
        until = "9" * 16 + "-0"
        assert ask(browser_of_ann, verb, folder="search", q="shed", all=until, sure="1").status_code == 400
    assert lying(ann) == many and not Errand.objects.exists()


def test_another_s_act_is_nobody_s_to_see_or_undo(
    ann: Account, bob: Account, browser_of_ann: Client, logged_in: Callable[[Any], Client], many: list[int]
) -> None:
    answer = ask(browser_of_ann, "archive", all=newest_in(folder(ann, FolderKind.INBOX)))
    errand, _page = watched(browser_of_ann, answer)
    of_bob = logged_in(bob)
    assert of_bob.get(answer["Location"]).status_code == 404
    ask(of_bob, "", url="/mail/undo/", change=errand.key)
    assert lying(ann, FolderKind.ARCHIVE) == many and Errand.objects.count() == 1
