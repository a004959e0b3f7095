"""Nobody reads or changes another's mail by guessing a URL: every URL of the door, as everybody else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import URLPattern
from django.utils import timezone

from mailboxes import (
    app_passwords,
    changes,
    errands,
    indexing,
    inspections,
    messages,
    trusted_senders,
    web_sessions,
)
from mailboxes.models import (
    Account,
    AppPassword,
    Change,
    Errand,
    Folder,
    FolderKind,
    Mailbox,
    Message,
    Passkey,
    RecoveryCode,
    TOTPDevice,
    TrustedSender,
    WebSession,
)
from mailboxes.tests.test_conversations import letter as letter_of
from mailboxes.tests.test_messages import pop3_session
from webmail import urls

Post = Callable[..., list[Message]]
# Of ann's, in every form: none of these words may reach anybody else.
SECRETS = [
    "secret-attachment",
    "secret-pdf",
    "The garden",
    "beans",
    "newsletter.test",
    "Anns own folder",
    "192.0.2.1",
    "s-of-ann",
    "anns-export",
    "octets of an export",
    "anns-inspection",
    "anns-friends.test",
    "anns-phone",
    "anns-key",
    "anns-browser",
]
POSTED = {
    "act",
    "undo",
    "folders",
    "conversations",
    "pop3_delete",
    "change_password",
    "end_session",
    "make_app_password",
    "revoke_app_password",
    "remove_authenticator",
    "remove_passkey",
    "recovery_codes",
    "export",
    "import",
    "fetch",
    "cancel_errand",
    "forget_file",
    "show_images",
    "note_inspections",
}
# The frame that shows a letter's images sends no cookie: their URLs are signed. Without that they are none.
SIGNED = {"image"}


@pytest.fixture
def of_ann(ann: Account, letter: Message, post: Post) -> dict[str, Any]:
    """What somebody could guess of ann's: a message, a folder, an undoable change, a POP3 session."""
    own = Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name="Anns own folder")
    deleted, kept = (post(ann)[0] for _ in range(2))
    messages.discard(ann.mailbox.pk, [deleted.pk], pop3_session(ann, "s-of-ann"))
    change = changes.move(ann.mailbox.pk, [kept.pk], own)
    assert change is not None
    # Of ann's own account page: who looked into her mailbox, and why.
    inspections.begin(ann.mailbox, ann, "anns-inspection", actor="x")
    errand = errands.ask("export", ann, ann.mailbox, {"folder": own.pk, "name": "anns-export"})
    name = errands.store_file(ContentFile(b"octets of an export"))
    Errand.objects.update(state="done", file=name, file_until=timezone.now() + timedelta(days=1))
    trusted_senders.trust(ann.mailbox.pk, "friend@anns-friends.test")
    app_passwords.make(ann, "anns-phone", actor=ann.login)
    passkey = Passkey.objects.create(account=ann, name="anns-key", credential="c-of-ann", public_key=b"k")
    return {
        "web_session": web_sessions.begin(ann.pk, ann.login, peer="192.0.2.1", program="anns-browser"),
        "sender": TrustedSender.objects.get().pk,
        "app_password": AppPassword.objects.get().pk,
        "passkey": passkey.pk,
        "message": letter.pk,
        "folder": own.pk,
        "change": change.key,
        "session": "s-of-ann",
        "errand": errand.key,
    }


def every_url(of_ann: dict[str, Any]) -> Iterator[tuple[URLPattern, str]]:
    slugs = ["inbox", "trash", str(of_ann["folder"])]
    for pattern in urls.urlpatterns:
        paths = {}  # each once: most have no folder and no part in them
        for slug in slugs:
            route = str(pattern.pattern).replace("<folder:slug>", slug)
            route = route.replace("<number:number>", str(of_ann["message"]))
            route = route.replace("<key:key>", of_ann["errand"])
            for part in ("1.1", "1.2", "2", "3"):
                paths[f"/mail/{route.replace('<str:part>', part)}"] = pattern
        yield from ((pattern, path) for path in paths)


def every_form(of_ann: dict[str, Any], mine: str = "inbox") -> Iterator[dict[str, Any]]:
    for slug in (mine, str(of_ann["folder"])):
        for act in (
            "seen",
            "unseen",
            "star",
            "archive",
            "junk",
            "trash",
            "restore",
            "restore_session",
            "expunge",
        ):
            yield {"folder": slug, "act": act, "message": of_ann["message"], "sure": 1, "session": "s-of-ann"}
            yield {"folder": slug, "act": act, "all": of_ann["message"] + 100, "sure": 1}
        yield {"folder": slug, "act": "move", "to": of_ann["folder"], "message": of_ann["message"]}
        yield {"folder": slug, "act": "restore", "change": of_ann["change"]}
        yield {"act": "rename", "number": of_ann["folder"], "name": "stolen"}
        yield {"act": "remove", "number": of_ann["folder"]}


def state_of(account: Account) -> list[Any]:
    return [
        list(rows.order_by("pk").values())
        for rows in (
            Message.objects.filter(mailbox=account.mailbox),
            Folder.objects.filter(mailbox=account.mailbox),
            Mailbox.objects.filter(account=account),
            Change.objects.filter(mailbox=account.mailbox),
            Errand.objects.filter(account=account),
            TrustedSender.objects.filter(mailbox=account.mailbox),
            WebSession.objects.filter(account=account),
            AppPassword.objects.filter(account=account),
            Passkey.objects.filter(account=account),
            TOTPDevice.objects.filter(account=account),
            RecoveryCode.objects.filter(account=account),
        )
    ]


def content_of(answer: Any) -> bytes:
    return b"".join(answer) if answer.streaming else answer.content


def test_the_owner_finds_the_secrets_where_the_others_look(
    ann: Account, browser_of_ann: Client, of_ann: dict[str, Any]
) -> None:
    """Else the tests below would look for what is nowhere."""
    seen = b"".join(content_of(browser_of_ann.get(path, follow=True)) for _, path in every_url(of_ann))
    assert [secret for secret in SECRETS if secret.encode() not in seen] == []


@pytest.mark.parametrize("who", ["bob", "support", "operator"])
def test_another_reads_and_changes_nothing(
    ann: Account,
    of_ann: dict[str, Any],
    logged_in: Callable[..., Client],
    request: pytest.FixtureRequest,
    who: str,
) -> None:
    browser = logged_in(request.getfixturevalue(who))
    before = state_of(ann)
    for pattern, path in every_url(of_ann):
        for headers in ({}, {"HX-Request": "true", "HX-Target": "message"}):
            answer = browser.get(path, headers=headers)
            guessed = any(f"/{of_ann[what]}/" in path for what in ("message", "folder", "errand"))
            if guessed and pattern.name in POSTED:
                assert (answer.status_code, browser.post(path).status_code) == (302, 404), path
                assert browser.get(answer["Location"]).status_code == 404, path
            elif guessed:
                assert answer.status_code == 404, path
            assert not [secret for secret in SECRETS if secret.encode() in content_of(answer)], path
    for form in every_form(of_ann):
        form |= {"export-folder": of_ann["folder"], "import-folder": of_ann["folder"]}
        for path in (
            "/mail/acts/",
            "/mail/undo/",
            "/mail/folders/",
            "/mail/conversations/",
            "/mail/account/moving/export/",
        ):
            answer = browser.post(path, form)
            assert not [secret for secret in SECRETS if secret.encode() in content_of(answer)], (path, form)
    for path, form in forms_of_the_account(of_ann):
        answer = browser.post(path, form)
        assert answer.status_code in {200, 302, 403, 404}, path
        assert not [secret for secret in SECRETS if secret.encode() in content_of(answer)], (path, form)
    assert state_of(ann) == before


def forms_of_the_account(of_ann: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What takes away something that is named by a number or a name, which one can guess."""
    yield "/mail/account/senders/", {"sender": of_ann["sender"]}
    yield "/mail/account/security/sessions/end/", {"session": of_ann["web_session"]}
    yield "/mail/account/security/app-passwords/revoke/", {"app_password": of_ann["app_password"]}
    yield "/mail/account/security/passkeys/remove/", {"passkey": of_ann["passkey"]}


def test_the_owner_takes_away_by_the_forms_that_others_try(
    ann: Account, browser_of_ann: Client, of_ann: dict[str, Any]
) -> None:
    for path, form in forms_of_the_account(of_ann):
        before = state_of(ann)
        assert browser_of_ann.post(path, form).status_code == 302
        assert state_of(ann) != before, path


@pytest.mark.parametrize("query", ["earlier={}", "row={}", "at={}", "before={}-{}"])
def test_no_query_of_ones_own_conversation_shows_anothers(
    of_ann: dict[str, Any], bob: Account, logged_in: Callable[..., Client], post: Post, query: str
) -> None:
    texts = [letter_of("1@x.test"), letter_of("2@x.test", "1@x.test")]
    own = [post(bob, text=text)[0].pk for text in texts]
    indexing.drain(600)
    bob.mailbox.conversations = True
    bob.mailbox.save(update_fields=["conversations"])
    browser = logged_in(bob)
    for number in (of_ann["message"], of_ann["folder"]):
        for path in (f"/mail/inbox/{own[1]}/", f"/mail/inbox/{own[0]}/letter/"):
            asked = query.replace("{}", str(number))
            for headers in ({}, {"HX-Request": "true"}):
                answer = browser.get(f"{path}?{asked}", headers=headers)
                assert answer.status_code in {200, 302, 404}
                assert not [secret for secret in SECRETS if secret.encode() in content_of(answer)], path


def test_nobody_is_shown_the_login_page_and_nothing_else(
    ann: Account, of_ann: dict[str, Any], client: Client
) -> None:
    before = state_of(ann)
    for pattern, path in every_url(of_ann):
        answer = client.get(path)
        posted = client.post(path, next(every_form(of_ann)))
        if pattern.name in SIGNED:
            assert (answer.status_code, posted.status_code) == (404, 405), path
            assert not [secret for secret in SECRETS if secret.encode() in content_of(answer)], path
            continue
        if pattern.name in POSTED:
            # To the page of that form, which leads on to the login.
            assert (answer.status_code, content_of(answer)) == (302, b""), path
            last = client.get(path, follow=True).redirect_chain[-1]
            assert last[0].startswith("/login/?next="), path
        elif answer.status_code != 405:
            assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={path}"), path
        assert {answer.status_code, posted.status_code} <= {302, 405}, path
        assert (not content_of(answer) and not content_of(posted)) or 405 in {
            answer.status_code,
            posted.status_code,
        }
    assert state_of(ann) == before


def test_no_url_of_the_door_is_left_out(of_ann: dict[str, Any]) -> None:
    assert {pattern.name for pattern, _ in every_url(of_ann)} == {one.name for one in urls.urlpatterns}
    assert all("<" not in path for _, path in every_url(of_ann))
