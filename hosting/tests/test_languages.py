"""What pages say is said in German too, all of it; and a reader's choice of language counts."""

import gettext
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.template import Context, Template
from django.test import Client
from django.utils import translation

from conftest import PASSWORD
from mailboxes.models import Account

PROJECT = Path(__file__).resolve().parents[2]
CATALOG = PROJECT / "hosting" / "locale" / "de" / "LC_MESSAGES" / "django.po"
needs_gettext = pytest.mark.skipif(shutil.which("xgettext") is None, reason="gettext is not installed")

# What is written the same in both languages is no omission.
PLACEHOLDER = re.compile(r"%\(\w+\)[sdr]|%[sd]|\{\w*\}")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def entries(catalog: Path) -> dict[str, str]:
    """What a catalog translates; compiled, so that fuzzy and empty entries count as missing."""
    with catalog.open("rb") as file:
        found = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {str(key if isinstance(key, str) else key[0]): text for key, text in found.items() if key}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    target = tmp_path_factory.mktemp("compiled") / "django.mo"
    run("msgfmt", "--check", "-o", str(target), str(CATALOG))
    return entries(target)


@pytest.mark.once
@needs_gettext
def test_every_text_is_translated(tmp_path: Path, compiled: dict[str, str]) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".venv", "var", "bench", "tests", ".git", "node_modules", "*.mo", "*.po")
    shutil.copytree(PROJECT, tree, ignore=ignored)
    (tree / "hosting" / "locale").mkdir(parents=True, exist_ok=True)
    gather = (
        "import django; from django.conf import settings; from django.core.management import call_command;"
        f"settings.configure(LOCALE_PATHS=[{str(tree / 'hosting' / 'locale')!r}]);"
        "django.setup(); call_command('makemessages', locale=['de'], verbosity=0)"
    )
    subprocess.run([sys.executable, "-c", gather], cwd=tree, check=True, capture_output=True)
    used = tree / "hosting" / "locale" / "de" / "LC_MESSAGES" / "django.po"
    # A catalog that says each text in itself has them all, read by the same reader.
    run("msgen", str(used), "-o", str(tmp_path / "all.po"))
    run("msgfmt", str(tmp_path / "all.po"), "-o", str(tmp_path / "all.mo"))
    texts = set(entries(tmp_path / "all.mo"))
    assert len(texts) > 100
    assert sorted(texts - set(compiled)) == []


@pytest.mark.once
@needs_gettext
def test_what_is_shipped_is_what_was_translated(compiled: dict[str, str]) -> None:
    assert entries(CATALOG.with_suffix(".mo")) == compiled


@pytest.mark.once
def test_placeholders_are_kept() -> None:
    entry = re.compile(r'^msgid ".+"\n(?:msgid_plural ".+"\n)?(?:msgstr.*\n)+', re.MULTILINE)
    texts = entry.findall(CATALOG.read_text())
    assert len(texts) > 100
    halves = [text.partition("\nmsgstr")[::2] for text in texts]
    assert [
        german
        for english, german in halves
        if set(PLACEHOLDER.findall(german)) != set(PLACEHOLDER.findall(english))
    ] == []


def test_a_page_speaks_what_the_browser_asks_for(client: Client, db: None) -> None:
    page = client.get("/login/", headers={"accept-language": "de-AT,de;q=0.9,en;q=0.5"})
    assert '<html lang="de">' in page.text
    assert "Accept-Language" in page["Vary"]
    assert '<html lang="en">' in client.get("/login/", headers={"accept-language": "fr"}).text


def test_a_choice_counts_more_than_the_browser(client: Client, ann: Account) -> None:
    client.force_login(ann)
    chosen = client.post("/language/", {"language": "de", "next": "/login/"})
    assert chosen["Location"] == "/login/"
    ann.refresh_from_db()
    assert ann.language == "de"
    client.post("/logout/")
    assert '<html lang="de">' in client.get("/login/", headers={"accept-language": "en"}).text
    client.post("/language/", {"language": "", "next": "//evil.test/"})
    assert '<html lang="en">' in client.get("/login/", headers={"accept-language": "en"}).text


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test", "javascript:alert(1)", ""])
def test_choosing_a_language_leads_nowhere_else(client: Client, db: None, elsewhere: str) -> None:
    assert client.post("/language/", {"language": "de", "next": elsewhere})["Location"] == "/"


def test_an_unknown_language_is_refused(client: Client, ann: Account) -> None:
    client.force_login(ann)
    assert client.post("/language/", {"language": "xx"}).status_code == 400
    ann.refresh_from_db()
    assert ann.language == ""


def log_in(account: Account, language: str) -> Client:
    browser = Client(headers={"accept-language": language})
    assert browser.post("/login/", {"login": account.login, "password": PASSWORD}).status_code == 302
    return browser


def test_a_choice_is_found_again_in_another_browser_also_after_logging_out(ann: Account) -> None:
    Account.objects.filter(pk=ann.pk).update(language="de")
    browser = log_in(ann, "en")
    page = browser.get("/mail/inbox/")
    assert ('<html lang="de">' in page.text, "Posteingang" in page.text) == (True, True)
    assert browser.cookies["django_language"].value == "de"
    browser.post("/logout/")
    assert '<html lang="de">' in browser.get("/login/").text


def test_one_readers_language_is_not_the_next_ones(ann: Account, bob: Account) -> None:
    Account.objects.filter(pk=ann.pk).update(language="de")
    german, english = log_in(ann, "en"), log_in(bob, "en")
    for _ in range(2):
        assert '<html lang="de">' in german.get("/mail/inbox/").text
        assert '<html lang="en">' in english.get("/mail/inbox/").text
    assert '<html lang="en">' in Client(headers={"accept-language": "en"}).get("/login/").text


def test_the_login_page_offers_each_language_in_its_own_words(client: Client, db: None) -> None:
    page = client.get("/login/?next=/mail/trash/", headers={"accept-language": "de"}).text
    found = re.findall(r'<button [^>]*value="(\w*)"[^>]*aria-pressed="(\w+)">(\w+)</button>', page)
    assert found == [("en", "false", "English"), ("de", "true", "Deutsch")]
    chosen = client.post("/language/", {"language": "en", "next": "/login/?next=/mail/trash/"})
    assert chosen["Location"] == "/login/?next=/mail/trash/"


@pytest.mark.parametrize(
    ("language", "day", "size"),
    [
        ("en", "3 November 2026, 10:14", "1.5\N{NO-BREAK SPACE}MB"),
        ("de", "3. November 2026, 10:14", "1,5\N{NO-BREAK SPACE}MB"),
    ],
)
def test_days_and_sizes_are_written_as_the_language_writes_them(language: str, day: str, size: str) -> None:
    written = Template("{{ moment|date:'DATETIME_FORMAT' }} {{ octets|filesizeformat }}")
    moment = datetime(2026, 11, 3, 10, 14, tzinfo=UTC)
    with translation.override(language):
        assert written.render(Context({"moment": moment, "octets": 1_572_864})) == f"{day} {size}"


def test_folders_are_found_by_the_names_that_their_owner_reads(ann: Account) -> None:
    Account.objects.filter(pk=ann.pk).update(language="de")
    browser = log_in(ann, "en")
    assert "Es gibt keinen Ordner" not in browser.get("/mail/search/", {"q": "in:papierkorb x"}).text
    assert "Es gibt keinen Ordner" in browser.get("/mail/search/", {"q": "in:nirgends x"}).text
    refused = browser.post("/mail/folders/", {"act": "create", "name": "Papierkorb"}, follow=True)
    assert "Ordner Papierkorb gibt es schon" in refused.text
