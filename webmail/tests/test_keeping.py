"""What a subscriber does to mail, with scripts and without, and the way back."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from mailboxes import messages
from mailboxes.listing import Cursor
from mailboxes.models import Account, Change, Folder, FolderKind, Mailbox, Message, POP3Delete
from mailboxes.retention import recount
from mailboxes.tests.test_messages import lying, pop3_session

Post = Callable[..., list[Message]]
FolderOf = Callable[[Account, str], Folder]


@pytest.fixture
def three(ann: Account, post: Post) -> list[int]:
    return [post(ann)[0].pk for _ in range(3)]


def act(client: Client, verb: str, chosen: list[int], folder: str = "inbox", **more: Any) -> Any:
    return client.post("/mail/acts/", {"folder": folder, "act": verb, "message": chosen, **more})


def undo_last(client: Client) -> Any:
    return client.post("/mail/undo/", {"change": Change.objects.latest("pk").key, "folder": "inbox"})


# -- acts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["archive", "junk", "trash"])
def test_mail_is_kept_elsewhere_and_comes_back(
    ann: Account, browser_of_ann: Client, three: list[int], verb: str
) -> None:
    answer = act(browser_of_ann, verb, three[:2])
    assert (answer.status_code, answer["Location"]) == (302, "/mail/inbox/")
    assert (lying(ann), lying(ann, FolderKind(verb))) == (three[2:], three[:2])
    page = browser_of_ann.get("/mail/inbox/").content.decode()
    assert "2 messages" in page
    assert Change.objects.get().key in page
    undo_last(browser_of_ann)
    assert lying(ann) == three
    assert recount(ann.mailbox.pk)


@pytest.mark.parametrize(
    ("verb", "field", "value"),
    [
        ("seen", "seen", True),
        ("unseen", "seen", False),
        ("star", "starred", True),
        ("unstar", "starred", False),
    ],
)
def test_flags_are_set_and_taken_back(
    browser_of_ann: Client, three: list[int], verb: str, field: str, value: bool
) -> None:
    Message.objects.update(**{field: not value})
    Folder.objects.filter(kind="inbox").update(unread_count=Message.objects.filter(seen=False).count())
    act(browser_of_ann, verb, three[:2])
    assert list(Message.objects.order_by("pk").values_list(field, flat=True)) == [value, value, not value]
    undo_last(browser_of_ann)
    assert set(Message.objects.values_list(field, flat=True)) == {not value}


def test_mail_is_moved_to_a_folder_of_ones_own(
    ann: Account, browser_of_ann: Client, three: list[int]
) -> None:
    browser_of_ann.post("/mail/folders/", {"act": "create", "name": "Bills"})
    own = Folder.objects.get(kind="own")
    act(browser_of_ann, "move", three[:1], to=str(own.pk))
    assert lying(ann, FolderKind.OWN) == three[:1]
    page = browser_of_ann.get(f"/mail/{own.pk}/")
    assert page.status_code == 200
    assert "Bills" in page.content.decode()
    Folder.objects.filter(pk=own.pk).update(octets=3 * 1024)  # what is shown is what is stored
    assert "1 message, 3.0\xa0KB" in browser_of_ann.get("/mail/folders/").content.decode()


def test_all_of_the_folder_is_all_that_was_there(
    ann: Account, browser_of_ann: Client, three: list[int], post: Post
) -> None:
    [later] = post(ann)
    act(browser_of_ann, "archive", [], all=str(three[-1]))
    assert (lying(ann), lying(ann, FolderKind.ARCHIVE)) == ([later.pk], three)


def test_a_star_is_one_button_beside_one_message(browser_of_ann: Client, three: list[int]) -> None:
    act(browser_of_ann, "", [], one=f"star:{three[1]}")
    assert list(Message.objects.filter(starred=True).values_list("pk", flat=True)) == [three[1]]


def test_removing_for_good_is_asked_about_first(
    ann: Account, browser_of_ann: Client, three: list[int]
) -> None:
    act(browser_of_ann, "trash", three)
    asked = act(browser_of_ann, "expunge", three[:2], folder="trash")
    assert "Remove 2 messages for good?" in asked.content.decode()
    assert len(lying(ann, FolderKind.TRASH)) == 3
    act(browser_of_ann, "expunge", three[:2], folder="trash", sure="1")
    assert lying(ann, FolderKind.TRASH) == three[2:]
    assert recount(ann.mailbox.pk)


def test_nothing_is_removed_for_good_but_from_trash_and_junk(
    ann: Account, browser_of_ann: Client, three: list[int]
) -> None:
    assert act(browser_of_ann, "expunge", three, sure="1").status_code == 400
    act(browser_of_ann, "expunge", three, folder="trash", sure="1")
    assert lying(ann) == three


@pytest.mark.parametrize("kind", ["trash", "junk"])
def test_trash_and_junk_are_emptied_after_a_question(
    ann: Account, browser_of_ann: Client, three: list[int], kind: str
) -> None:
    act(browser_of_ann, kind, three)
    page = browser_of_ann.get(f"/mail/{kind}/empty/").content.decode()
    newest = re.search(r'name="all" value="(\d+)"', page)
    assert newest
    act(browser_of_ann, "expunge", [], folder=kind, all=newest[1], sure="1")
    assert Message.objects.count() == 0
    assert browser_of_ann.get("/mail/inbox/empty/")["Location"] == "/mail/inbox/"


def test_retention_is_stated_where_it_applies(
    browser_of_ann: Client, three: list[int], settings: Any
) -> None:
    settings.TRASH_DAYS = 17
    act(browser_of_ann, "trash", three)
    assert "17 days" in browser_of_ann.get("/mail/trash/").content.decode()
    assert "17 days" not in browser_of_ann.get("/mail/inbox/").content.decode()


def test_what_pop3_deleted_is_restored_one_or_all(
    ann: Account, browser_of_ann: Client, three: list[int]
) -> None:
    messages.discard(ann.mailbox.pk, three, pop3_session(ann))
    act(browser_of_ann, "restore", three[:1], folder="trash")
    assert lying(ann) == three[:1]
    browser_of_ann.post("/mail/acts/", {"folder": "trash", "one": "restore_session:0", "session": "s1"})
    assert lying(ann) == three
    undo_last(browser_of_ann)
    assert set(Message.objects.filter(pk__in=three[1:]).values_list("removed_in_session", flat=True)) == {
        "s1"
    }


@pytest.mark.parametrize(
    "form",
    [
        {"act": "archive"},
        {"act": "archive", "message": ["x", "-1", "9" * 30]},
        {"act": "archive", "message": "0", "all": "\u0663"},
    ],
)
def test_an_act_without_messages_changes_nothing(
    ann: Account, browser_of_ann: Client, three: list[int], form: dict[str, Any]
) -> None:
    answer = browser_of_ann.post("/mail/acts/", {"folder": "inbox", **form})
    assert answer.status_code == 302
    assert lying(ann) == three


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"act": "explode"}, 400),
        ({"act": "move", "to": "nowhere"}, 400),
        ({"act": "archive", "folder": "999999"}, 404),
        ({"act": "archive", "folder": ""}, 404),
        ({"act": "archive", "before": "x", "after": "\x00"}, 302),
        ({"act": "restore_session", "session": "\x00"}, 302),
    ],
)
def test_a_form_that_is_none_of_ours_is_refused(
    ann: Account, browser_of_ann: Client, three: list[int], form: dict[str, str], status: int
) -> None:
    answer = browser_of_ann.post("/mail/acts/", {"folder": "inbox", "message": "0", **form})
    assert answer.status_code == status
    assert lying(ann) == three


def test_acts_need_our_own_form(ann: Account, three: list[int], logged_in: Callable[..., Client]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = logged_in(ann).cookies
    for path in (
        "/mail/acts/",
        "/mail/undo/",
        "/mail/folders/",
        "/mail/account/security/password/",
        "/logout/",
        "/login/",
    ):
        assert strict.post(path, {"folder": "inbox", "act": "trash", "message": three}).status_code == 403
    assert lying(ann) == three


def test_with_scripts_the_answer_is_the_list_as_it_is_now(browser_of_ann: Client, three: list[int]) -> None:
    answer = browser_of_ann.post(
        "/mail/acts/",
        {"folder": "inbox", "act": "archive", "message": three[:1], "open": three[0]},
        headers={"HX-Request": "true"},
    )
    page = answer.content.decode()
    assert f'id="m{three[0]}"' not in page
    assert f'id="m{three[1]}"' in page
    assert answer["HX-Push-Url"] == "/mail/inbox/"
    assert "Choose a message to read it here." in page
    assert "1 message archived." in page


def test_an_answer_draws_anew_what_it_changed_of_the_open_message(
    browser_of_ann: Client, three: list[int]
) -> None:
    """Its tools, its star and how long it is kept; not its letters."""

    def answer(verb: str, **form: Any) -> str:
        form = {"act": verb, "message": three[:1], "open": three[0]} | form
        return browser_of_ann.post("/mail/acts/", form, headers={"HX-Request": "true"}).content.decode()

    page = answer("star", folder="inbox")
    assert page.count('hx-swap-oob="true" name="act" value="unstar" aria-pressed="true"') == 1
    assert 'id="open-archive"' in page and 'class="text"' not in page
    assert f"({3}) Inbox" in page.split("</title>")[0] and "letter" in page.split(" · ")[0]
    page = answer("trash", folder="search", q="letter")
    assert 'id="open-restore"' in page and "until" in page.split('id="open-stated"')[1]
    assert 'id="open-archive"' not in page
    # In another folder than its list it is not open any more.
    page = answer("seen", folder="inbox")
    assert 'id="redrawn"' not in page and "Choose a message to read it here." in page


def test_who_empties_a_page_is_told_where_he_is_now(browser_of_ann: Client, three: list[int]) -> None:
    newest = Message.objects.get(pk=three[2])
    before = str(Cursor.of(newest))
    client, scripted = browser_of_ann, {"HX-Request": "true"}
    form = {"folder": "inbox", "act": "archive", "message": three[:1], "before": before}
    assert "HX-Push-Url" not in client.post("/mail/acts/", form, headers=scripted)
    form["message"] = three[1:2]
    assert client.post("/mail/acts/", form, headers=scripted)["HX-Push-Url"] == "/mail/inbox/"


def test_undo_leads_to_the_page_that_it_was_asked_from(browser_of_ann: Client, three: list[int]) -> None:
    before = str(Cursor.of(Message.objects.get(pk=three[2])))
    place = {"folder": "inbox", "before": before}
    answer = browser_of_ann.post("/mail/undo/", place)
    assert answer.headers["Location"] == f"/mail/inbox/?before={before}"
    assert browser_of_ann.post("/mail/undo/", {"folder": "999"}).headers["Location"] == "/mail/"


def test_grouping_begins_at_the_beginning(browser_of_ann: Client, three: list[int]) -> None:
    before = str(Cursor.of(Message.objects.get(pk=three[2])))
    form, scripted = {"folder": "inbox", "group": "0"}, {"HX-Request": "true"}
    answer = browser_of_ann.post("/mail/conversations/", form | {"before": before}, headers=scripted)
    assert answer["HX-Push-Url"] == "/mail/inbox/"
    assert f'id="m{three[2]}"' in answer.content.decode()
    answer = browser_of_ann.post("/mail/conversations/", form, headers=scripted)
    assert "HX-Push-Url" not in answer, "the reader has not left the page"
    answer = browser_of_ann.post("/mail/conversations/", form | {"before": before})
    assert answer.headers["Location"] == "/mail/inbox/"


# -- folders and account ------------------------------------------------------------------------


def test_own_folders_are_made_renamed_and_removed(browser_of_ann: Client) -> None:
    def tell(**form: str) -> str:
        return browser_of_ann.post("/mail/folders/", form, follow=True).content.decode()

    assert "The folder is made." in tell(act="create", name="Bills")
    number = str(Folder.objects.get(kind="own").pk)
    assert "There is a folder inbox already." in tell(act="rename", number=number, name="inbox")
    assert "The folder has its new name." in tell(act="rename", number=number, name="Rechnungen")
    assert "The folder is gone." in tell(act="remove", number=number)
    for wrong in ({"act": "remove", "number": "x"}, {"act": "fly"}, {}):
        assert "There is no such" in tell(**wrong)


def test_what_deleting_by_pop3_means_is_ones_own_choice(ann: Account, browser_of_ann: Client) -> None:
    for choice in (POP3Delete.ARCHIVE, POP3Delete.EXPUNGE, POP3Delete.TRASH):
        browser_of_ann.post("/mail/account/pop3-delete/", {"pop3_delete": choice})
        assert Mailbox.objects.get(account=ann).pop3_delete == choice
    browser_of_ann.post("/mail/account/pop3-delete/", {"pop3_delete": "explode"})
    assert Mailbox.objects.get(account=ann).pop3_delete == POP3Delete.TRASH
