"""What pages say can be said in German: no text was forgotten when texts were marked.

Templates are read as they are written, so that no branch is left out. Then every page is shown in a language
in which each marked text comes in brackets, while all that people wrote is Greek: what is left is unmarked.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone, translation
from django.utils.translation import trans_real

import hosting.console.urls
import hosting.urls
import webmail.urls
from conftest import PASSWORD
from hosting.tests.pages_in_brackets import WORD, InBrackets, unmarked_in
from mailboxes import aliases, changes, errands, inspections, messages
from mailboxes.models import Account, Errand, Folder, FolderKind, Message
from mailboxes.tests.test_messages import pop3_session
from webmail.views import panes

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((PROJECT / "templates").rglob("*.html"))
# Of a template, what is said by somebody else: its tags, and what is translated.
TAGS = re.compile(
    r"{% block (body_class|example|skip) %}.*?{% endblock.*?%}"
    r"|{%\s*blocktranslate\b.*?{%\s*endblocktranslate\s*%}"
    r"|{%.*?%}|{{.*?}}|{#.*?#}",
    re.DOTALL,
)
# The same in every language: names of programs, protocols and languages, and what CSV files are headed with.
SAME = {
    *("Restante", "Thunderbird", "Outlook", "Redis", "English", "Deutsch"),
    *("POP", "SMTP", "LMTP", "SSL", "TLS", "lmtp", "smtp", "recent", "UTC"),
}
LETTER = """\
From: Νίκος <nikos@newsletter.test>
To: Άννα <ann@example.test>, bob@example.test
Subject: Ο κήπος
Date: Mon, 23 Nov 2026 10:00:00 +0000
Reply-To: other@elsewhere.test
List-Unsubscribe: <https://newsletter.test/off>, <mailto:off@newsletter.test>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: text/html; charset=utf-8

<p>Κήπος <a href="https://evil.test/">https://good.test/</a></p><img src="https://tracker.test/pixel.png">
--outer
Content-Type: application/pdf; name="1.pdf"
Content-Disposition: attachment; filename="1.pdf"

%PDF-1.4
--outer
Content-Type: message/rfc822

From: Νίκος <nikos@newsletter.test>
Subject: Μέσα
Content-Type: text/plain; charset=utf-8

Γεια
--outer
Content-Type: text/calendar; charset=utf-8

BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VEVENT
UID:1
SUMMARY:Γιορτή
LOCATION:Αθήνα
DTSTART:20261201T160000Z
DTEND:20261201T180000Z
END:VEVENT
END:VCALENDAR
--outer--
"""
SHORT = "Subject: Άλλο\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nΓεια\r\n".encode()


@pytest.mark.once
def test_templates_say_nothing_unmarked() -> None:
    assert len(TEMPLATES) > 50
    said = {path.stem: set(unmarked_in(TAGS.sub(" ", path.read_text()))) - SAME for path in TEMPLATES}
    assert nothing({name: words for name, words in said.items() if words})


@pytest.fixture
def brackets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Days once written in German are kept, and so would be those in brackets.
    panes._day.cache_clear()
    monkeypatch.setitem(trans_real._translations, "de", InBrackets())  # type: ignore[attr-defined]
    yield
    panes._day.cache_clear()


def german(account: Account) -> Client:
    browser = Client(headers={"accept-language": "de"})
    assert browser.post("/login/", {"login": account.login, "password": PASSWORD}).status_code == 302
    return browser


def paths_of(patterns: list[URLPattern], named: dict[str, list[Any]], prefix: str) -> Iterator[str]:
    """Every URL, with each thing of ours that its path can name: as `accounts/pk`, or as `pk`."""
    for pattern in patterns:
        combined: list[dict[str, Any]] = [{}]
        for name in pattern.pattern.converters:
            values = named.get(f"{str(pattern.pattern).partition('/')[0]}/{name}") or named[name]
            combined = [{**one, name: value} for one in combined for value in values]
        for kwargs in combined:
            yield reverse(f"{prefix}:{pattern.name}", kwargs=kwargs)


def nothing(found: dict[Any, Any]) -> bool:
    """Whether nothing unmarked was found; else the test says where, one page a line."""
    if found:
        pytest.fail("\n".join(f"{where}: {' '.join(words)}" for where, words in found.items()), pytrace=False)
    return True


def said_on(answer: Any) -> list[str]:
    """The unmarked words of a page, but for those of its query; of what is no page, none."""
    page = b"".join(answer) if answer.streaming else answer.content  # to its end, which closes files
    if not answer["Content-Type"].startswith("text/html"):
        return []
    # Which language a letter is in, nobody knows.
    assert (
        b"<html" not in page or b'<html lang="de">' in page or answer.request["PATH_INFO"].endswith("/html/")
    )
    same = SAME | set(WORD.findall(answer.request["QUERY_STRING"]))
    return [word for word in dict.fromkeys(unmarked_in(page.decode())) if word not in same]


def found_in(browser: Client, paths: list[str]) -> dict[str, list[str]]:
    found = {}
    for path in paths:
        for headers in ({}, {"HX-Request": "true", "HX-Target": "message"}):
            answer = browser.get(path, headers=headers)
            assert answer.status_code < 500, path
            if words := said_on(answer):
                found[path] = words
    return found


@pytest.fixture
def of_ann(ann: Account, post: Callable[..., list[Message]]) -> dict[str, list[Any]]:
    own = Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name="Λουλούδια")
    [letter] = post(ann, text=LETTER.replace("\n", "\r\n").encode())
    deleted, kept, mine = (post(ann, text=SHORT)[0] for _ in range(3))
    messages.discard(ann.mailbox.pk, [deleted.pk], pop3_session(ann, "s-1"))
    changes.move(ann.mailbox.pk, [kept.pk], own)
    errand = errands.ask("export", ann, ann.mailbox, {"folder": own.pk, "name": "Λουλούδια"})
    name = errands.store_file(ContentFile(b"octets of an export"))
    Errand.objects.update(state="done", file=name, file_until=timezone.now() + timedelta(days=1))
    return {
        "slug": ["inbox", "trash", "junk", "archive", "sent", str(own.pk)],
        "number": [letter.pk, mine.pk, deleted.pk],
        "key": [errand.key],
        "part": ["1", "2", "3", "4"],
    }


def test_the_webmail_says_nothing_unmarked(
    brackets: None, ann: Account, of_ann: dict[str, list[Any]]
) -> None:
    browser = german(ann)
    # All headers of a letter are its sender's.
    paths = [one for one in paths_of(webmail.urls.urlpatterns, of_ann, "webmail") if "/headers/" not in one]
    paths += [
        f"/mail/search/?q={q}" for q in ("", "xyz", "from:", "in:nowhere", "larger:x", "foo:bar", "after:x")
    ]
    assert nothing(found_in(browser, paths))


def test_the_entrance_says_nothing_unmarked(brackets: None, ann: Account, client: Client) -> None:
    strange = Client(headers={"accept-language": "de"})
    assert nothing(found_in(strange, ["/login/", "/login/passkey/", "/nowhere/"]))
    assert said_on(strange.post("/login/", {"login": "ann@example.test", "password": "wrong"})) == []


def test_what_the_webmail_answers_is_marked(
    brackets: None, ann: Account, of_ann: dict[str, list[Any]], post: Callable[..., list[Message]]
) -> None:
    browser = german(ann)
    found = {}
    for path in paths_of(webmail.urls.urlpatterns, of_ann, "webmail"):
        answer = browser.post(path, {}, follow=True)
        assert answer.status_code < 500, path
        if words := said_on(answer):
            found[path] = words
    forms: list[tuple[str, dict[str, Any]]] = [
        ("/mail/acts/", {"folder": "inbox", "act": act, "message": post(ann, text=SHORT)[0].pk, **more})
        for act, more in [
            *(
                (act, {})
                for act in ("seen", "unseen", "star", "unstar", "archive", "junk", "trash", "restore")
            ),
            ("move", {"to": of_ann["slug"][-1]}),
            ("expunge", {}),
            ("expunge", {"sure": 1}),
            ("restore_session", {"session": "s-1"}),
        ]
    ]
    forms += [("/mail/folders/", form) for form in FOLDERS]
    forms += [("/mail/undo/", {"change": "0" * 32})]
    for path, form in forms:
        for headers in ({}, {"HX-Request": "true"}):
            answer = browser.post(path, form, headers=headers, follow=True)
            assert answer.status_code < 500, path
            if words := said_on(answer):
                found[f"{path} {form}"] = words
    assert nothing(found)


FOLDERS = [
    {"act": "create", "name": ""},
    {"act": "create", "name": "Φ" * 300},
    {"act": "create", "name": "Λουλούδια"},
    {"act": "create", "name": "Νέο"},
    {"act": "rename", "number": "1", "name": "Ν"},
    {"act": "remove", "number": "1"},
    {"act": "nonsense"},
]


@pytest.fixture
def of_the_house(
    ann: Account, operator: Account, domain: Any, of_ann: dict[str, list[Any]]
) -> dict[str, list[Any]]:
    alias = aliases.create_address("alias@example.test", [ann.login])
    trash = Folder.objects.get(mailbox=ann.mailbox, kind="trash")
    made = Errand.objects.create(
        key="a" * 32, kind="accounts", account=operator, state="done", asked_at=timezone.now()
    )
    key = inspections.begin(ann.mailbox, operator, "Γιατί ρωτήσατε", actor=operator.login).key
    return {
        "accounts/pk": [ann.pk],
        "domains/pk": [domain.pk],
        "addresses/pk": [alias.pk],
        "accounts/number": [trash.pk],
        "inspections/number": of_ann["number"][:2],
        "errands/key": [made.key],
        "inspections/key": [key],
        "part": ["2"],
    }


def test_the_console_says_nothing_unmarked(
    brackets: None, settings: Any, operator: Account, of_the_house: dict[str, list[Any]]
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "optional"
    browser = german(operator)
    paths = [*paths_of(hosting.console.urls.urlpatterns, of_the_house, "console")]
    paths += [f"/console/find/?q={q}" for q in ("", "ann", "192.0.2.1", "nobody")]
    assert nothing(found_in(browser, paths))


def test_what_the_console_answers_is_marked(
    brackets: None, settings: Any, operator: Account, of_the_house: dict[str, list[Any]]
) -> None:
    settings.CONSOLE_SECOND_FACTOR = "optional"
    browser = german(operator)
    found = {}
    for form in FILLED_IN:
        for path in paths_of(hosting.console.urls.urlpatterns, of_the_house, "console"):
            if "/end/" in path:
                continue
            answer = browser.post(path, form, follow=True)
            assert answer.status_code < 500, path
            if words := said_on(answer):
                found[f"{path} {form}"] = words
    assert nothing(found)


FILLED_IN: list[dict[str, Any]] = [
    {},
    {"reason": "Γιατί"},
    {"quota": "x", "name": "@@", "reaches": "@@", "login": "@@", "service": "x", "role": "x", "to": "@@"},
    {"quota": "2G", "name": "a@nowhere.test", "reaches": "a@nowhere.test", "login": "a@nowhere.test"},
    {"text": "address\nann@example.test\nx@nowhere.test,1,2\n"},
    {"text": "kind,address,reaches\nalias,x@nowhere.test,ann@example.test\nfoo,a,b\nlist,,\n"},
]


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    yield
    translation.deactivate()
