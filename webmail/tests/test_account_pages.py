"""The account's pages: what they say, what may be asked for there, and what is refused with a reason."""

import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import Client

from mailboxes import errands, tasks
from mailboxes.models import Account, Errand, ErrandState, Folder, FolderKind, Mailbox, Message
from mailboxes.tests.test_messages import pop3_session

pytestmark = pytest.mark.django_db

Post = Callable[..., list[Message]]
assert tasks.RUNNERS, "what does errands is known, as it is to a worker"
PAGES = ["", "programs/", "sessions/", "moving/", "appearance/", "security/"]
FETCH = {
    "fetch-host": "pop.other.test",
    "fetch-security": "tls",
    "fetch-port": "",
    "fetch-user": "ann@other.test",
    "fetch-password": "their password",
}


@pytest.fixture(autouse=True)
def no_files_left() -> Iterator[None]:
    yield
    for name in default_storage.listdir("errands")[1] if default_storage.exists("errands") else []:
        default_storage.delete(f"errands/{name}")


@pytest.fixture(autouse=True)
def given_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were put into the queue; here nobody takes them."""
    keys: list[str] = []
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: keys.append(key))
    return keys


def inbox_of(account: Account) -> Folder:
    return Folder.objects.get(mailbox=account.mailbox, kind=FolderKind.INBOX)


def text_of(answer: Any) -> str:
    text: str = answer.content.decode()
    return text


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_the_navigation_and_says_where_it_is(browser_of_ann: Client, page: str) -> None:
    answer = browser_of_ann.get(f"/mail/account/{page}")
    assert answer.status_code == 200
    assert text_of(answer).count('aria-current="page"') == 2, "in the sidebar and in the section"
    for other in PAGES:
        assert f'href="/mail/account/{other}"' in text_of(answer)


@pytest.mark.parametrize(
    ("used", "said", "not_said"),
    [
        (10, "You get a message at 80, 90 and 95 percent.", "Empty the trash"),
        (85, "Empty the trash", "is put off"),
        (97, "is put off", "You get a message"),
        (100, "0\xa0bytes", "You get a message"),
    ],
)
def test_the_overview_says_how_full_it_is_and_what_can_be_done(
    ann: Account, browser_of_ann: Client, used: int, said: str, not_said: str
) -> None:
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(used_bytes=used * 1000, quota_bytes=100_000)
    text = text_of(browser_of_ann.get("/mail/account/"))
    assert said in text and not_said not in text


@pytest.mark.parametrize("count", [1, 3])
def test_sessions_cost_the_same_however_many(
    ann: Account, browser_of_ann: Client, count: int, django_assert_num_queries: Any
) -> None:
    for number in range(count):
        pop3_session(ann, f"s-{number}").save()
    with django_assert_num_queries(4):
        answer = browser_of_ann.get("/mail/account/sessions/")
    assert text_of(answer).count("<time") == count


@pytest.mark.parametrize("count", [1, 3])
def test_what_was_asked_for_costs_the_same_however_much(
    ann: Account, browser_of_ann: Client, count: int, django_assert_num_queries: Any
) -> None:
    for _ in range(count):
        errands.ask("export", ann, ann.mailbox, {"folder": None})
    with django_assert_num_queries(4):
        answer = browser_of_ann.get("/mail/account/moving/")
    assert text_of(answer).count("Export of all folders") == count


# -- export -------------------------------------------------------------------------------------


def test_an_export_is_asked_for_and_fetched_by_its_owner_only(
    ann: Account, bob: Account, browser_of_ann: Client, logged_in: Callable[[Any], Client], post: Post
) -> None:
    post(ann)
    answer = browser_of_ann.post("/mail/account/moving/export/", {"export-folder": ""})
    errand = Errand.objects.get()
    url = f"/mail/account/moving/{errand.key}/"
    assert (answer.status_code, answer["Location"]) == (302, url)
    assert "It waits for its turn." in text_of(browser_of_ann.get(url))
    assert browser_of_ann.get(f"{url}file/").status_code == 404, "not made yet"
    errands.run(errand.key)
    page = text_of(browser_of_ann.get(url))
    assert "1 message is in the file." in page and f"{url}file/" in page
    assert f"{url}file/" in text_of(browser_of_ann.get("/mail/account/moving/"))
    file = browser_of_ann.get(f"{url}file/")
    assert b"".join(file).startswith(b"PK")
    assert file["Content-Type"] == "application/zip"
    assert file["Content-Disposition"].startswith('attachment; filename="mail-ann-')
    assert file["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert (file["Cache-Control"], file["X-Content-Type-Options"]) == ("private, no-store", "nosniff")
    browser_of_bob = logged_in(bob)
    for path in (url, f"{url}file/"):
        assert browser_of_bob.get(path).status_code == 404
    for path in (f"{url}cancel/", f"{url}remove/"):
        assert browser_of_bob.post(path).status_code == 404
    assert browser_of_ann.post(f"{url}remove/").status_code == 302
    assert browser_of_ann.get(f"{url}file/").status_code == 404
    assert "Ask for a new one." in text_of(browser_of_ann.get(url))
    assert default_storage.listdir("errands")[1] == []


def test_a_file_whose_time_is_over_is_not_handed_out(
    ann: Account, browser_of_ann: Client, post: Post, later: Callable[..., Any]
) -> None:
    post(ann)
    errand = errands.ask("export", ann, ann.mailbox, {"folder": None})
    errands.run(errand.key)
    Errand.objects.update(file_until=later(seconds=-1))
    assert browser_of_ann.get(f"/mail/account/moving/{errand.key}/file/").status_code == 404


def test_an_empty_mailbox_offers_no_export(browser_of_ann: Client) -> None:
    text = text_of(browser_of_ann.get("/mail/account/moving/"))
    assert "there is nothing to export" in text and 'action="/mail/account/moving/export/"' not in text


def test_another_s_folder_is_no_choice(
    ann: Account, bob: Account, browser_of_ann: Client, post: Post
) -> None:
    post(ann, bob)
    for folder in (str(inbox_of(bob).pk), "x", "-1", "9" * 30):
        answer = browser_of_ann.post("/mail/account/moving/export/", {"export-folder": folder})
        assert answer.status_code == 422
    assert not Errand.objects.exists()


def test_who_asks_too_often_is_told(ann: Account, browser_of_ann: Client, post: Post) -> None:
    post(ann)
    for _ in range(errands.OPEN_MAX + 1):
        answer = browser_of_ann.post("/mail/account/moving/export/", {"export-folder": ""}, follow=True)
    assert "not done yet" in text_of(answer)
    assert Errand.objects.count() == errands.OPEN_MAX


# -- progress -----------------------------------------------------------------------------------


def test_the_part_that_asks_for_itself_anew_is_spoken_only_when_something_is_new(
    ann: Account, browser_of_ann: Client
) -> None:
    errand = errands.ask("export", ann, ann.mailbox, {"folder": None})
    Errand.objects.update(state=ErrandState.RUNNING, done=41, total=100)
    url = f"/mail/account/moving/{errand.key}/"
    htmx = {"HX-Request": "true"}
    part = text_of(browser_of_ann.get(url, headers=htmx))
    assert "<html" not in part and 'value="41"' in part
    assert f'hx-get="{url}?told=running-4-0"' in part and "hx-swap-oob" in part
    Errand.objects.update(done=45)
    assert "hx-swap-oob" not in text_of(browser_of_ann.get(f"{url}?told=running-4-0", headers=htmx))
    Errand.objects.update(done=51)
    assert "51 percent are done." in text_of(browser_of_ann.get(f"{url}?told=running-4-0", headers=htmx))
    Errand.objects.update(state=ErrandState.DONE)
    ended = text_of(browser_of_ann.get(f"{url}?told=running-5-0", headers=htmx))
    assert "hx-get" not in ended and "It is done." in ended


def test_a_wish_to_cancel_is_noted_and_shown(ann: Account, browser_of_ann: Client) -> None:
    errand = errands.ask("export", ann, ann.mailbox, {"folder": None})
    Errand.objects.update(state=ErrandState.RUNNING)
    url = f"/mail/account/moving/{errand.key}/"
    assert browser_of_ann.get(f"{url}cancel/").headers["Location"] == url
    assert not Errand.objects.get().cancel_asked
    answer = browser_of_ann.post(f"{url}cancel/", follow=True)
    assert "It is being cancelled." in text_of(answer) and "errand-cancel" not in text_of(answer)
    errand.refresh_from_db()
    assert errand.cancel_asked


# -- import -------------------------------------------------------------------------------------


def upload(browser: Client, account: Account, *files: tuple[str, bytes], **more: Any) -> Any:
    sent = []
    for name, content in files:
        file = io.BytesIO(content)
        file.name = name
        sent.append(file)
    form = {"import-files": sent, "import-folder": inbox_of(account).pk}
    return browser.post("/mail/account/moving/import/", form | more)


def test_files_are_uploaded_and_their_mail_comes_in(ann: Account, browser_of_ann: Client) -> None:
    files = [("a.eml", b"Subject: a\r\n\r\n"), ("b.mbox", b"From a Mon Nov 24 12:00:05 2025\nSubject: b\n\n")]
    answer = upload(browser_of_ann, ann, *files, **{"import-seen": "on"})
    errand = Errand.objects.get()
    assert answer["Location"] == f"/mail/account/moving/{errand.key}/"
    errands.run(errand.key)
    assert list(Message.objects.order_by("pk").values_list("subject", "seen")) == [("a", True), ("b", True)]
    page = text_of(browser_of_ann.get(answer["Location"]))
    assert "2 messages came in." in page and "Import of 2 files" in page


def test_a_file_too_large_for_memory_is_moved_and_not_copied(ann: Account, browser_of_ann: Client) -> None:
    upload(browser_of_ann, ann, ("large.eml", b"Subject: large\r\n\r\n" + b"x" * 3_000_000))
    errand = Errand.objects.get()
    assert default_storage.size(errand.file) == 3_000_018
    assert os.stat(default_storage.path(errand.file)).st_mode & 0o777 == 0o600
    errands.run(errand.key)
    assert Message.objects.get().subject == "large"


def test_what_is_left_out_is_shown_harmless(ann: Account, browser_of_ann: Client) -> None:
    answer = upload(browser_of_ann, ann, ("<script>x.png", b"PNG"))
    errands.run(Errand.objects.get().key)
    page = text_of(browser_of_ann.get(answer["Location"]))
    assert "1 was left out" in page and "&lt;script&gt;x.png" in page and "<script>x" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [({"import-files": []}, "Choose one or several files."), ({"import-folder": "0"}, "valid choice")],
)
def test_an_import_that_cannot_be_is_told_beside_its_field(
    ann: Account, browser_of_ann: Client, change: dict[str, Any], said: str
) -> None:
    answer = upload(browser_of_ann, ann, ("a.eml", b"Subject: a\r\n\r\n"), **change)
    assert answer.status_code == 422 and said in text_of(answer)
    assert not Errand.objects.exists()


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(
    ann: Account, browser_of_ann: Client, settings: Any
) -> None:
    settings.IMPORT_SIZE_LIMIT = 1_000_000
    body = io.BytesIO(b"x" * 2_000_000)
    answer = browser_of_ann.generic(
        "POST", "/mail/account/moving/import/", body.getvalue(), "multipart/form-data; boundary=x"
    )
    assert answer.status_code == 413
    assert "more than 976.6 KiB together" in text_of(answer)
    assert not vars(answer.wsgi_request)["_read_started"]


def test_an_upload_behind_too_many_is_refused_before_it_is_read(ann: Account, browser_of_ann: Client) -> None:
    for number in range(errands.OPEN_MAX):
        upload(browser_of_ann, ann, (f"{number}.eml", b"Subject: x\r\n\r\n"))
    answer = upload(browser_of_ann, ann, ("another.eml", b"Subject: x\r\n\r\n"))
    assert answer.status_code == 429 and "it is not done yet" in text_of(answer)
    assert not vars(answer.wsgi_request)["_read_started"]
    assert Errand.objects.count() == errands.OPEN_MAX


def test_too_many_files_are_told_to_come_as_one(ann: Account, browser_of_ann: Client) -> None:
    answer = upload(browser_of_ann, ann, *[(f"{n}.eml", b"Subject: x\r\n\r\n") for n in range(101)])
    assert answer.status_code == 400 and "into one zip" in text_of(answer)


def test_an_upload_needs_the_token_of_our_own_form(ann: Account) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.get("/login/")
    token = strict.cookies["csrftoken"].value
    strict.post(
        "/login/", {"login": ann.login, "password": "correct horse battery", "csrfmiddlewaretoken": token}
    )
    assert upload(strict, ann, ("a.eml", b"Subject: a\r\n\r\n")).status_code == 403
    strict.get("/mail/account/moving/")
    token = strict.cookies["csrftoken"].value
    assert upload(strict, ann, ("a.eml", b"Subject: a\r\n\r\n"), csrfmiddlewaretoken=token).status_code == 302


# -- fetch --------------------------------------------------------------------------------------


def test_a_fetch_is_asked_for_and_its_password_is_nowhere_to_be_read(
    ann: Account, browser_of_ann: Client
) -> None:
    answer = browser_of_ann.post("/mail/account/moving/fetch/", FETCH)
    assert answer.status_code == 302
    errand = Errand.objects.get()
    assert errand.arguments == {
        "host": "pop.other.test",
        "security": "tls",
        "port": 995,
        "user": "ann@other.test",
        "seen": False,
        "delete": False,
        "language": "en",
    }
    assert errand.secret and "their password" not in str(Errand.objects.values().get())
    page = text_of(browser_of_ann.get(answer["Location"]))
    assert "Mail from pop.other.test" in page and "their password" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fetch-host": "http://pop.other.test/"}, "not the name of a server"),
        ({"fetch-host": "pop other"}, "not the name of a server"),
        ({"fetch-host": ""}, "required"),
        ({"fetch-port": "25"}, "port 995 or 110"),
        ({"fetch-port": "99999"}, "65535"),
        ({"fetch-security": "rot13"}, "valid choice"),
        ({"fetch-password": ""}, "required"),
        ({"fetch-user": ""}, "required"),
    ],
)
def test_a_fetch_that_cannot_be_is_told_beside_its_field(
    browser_of_ann: Client, change: dict[str, str], said: str
) -> None:
    answer = browser_of_ann.post("/mail/account/moving/fetch/", FETCH | change)
    assert answer.status_code == 422 and said in text_of(answer)
    assert "their password" not in text_of(answer)
    assert not Errand.objects.exists()


def test_a_name_with_umlauts_is_written_as_dns_knows_it(browser_of_ann: Client) -> None:
    browser_of_ann.post("/mail/account/moving/fetch/", FETCH | {"fetch-host": "Pop.Bücher.test."})
    assert Errand.objects.get().arguments["host"] == "pop.xn--bcher-kva.test"


def test_what_deleting_does_is_kept(ann: Account, browser_of_ann: Client) -> None:
    for choice in ("expunge", "explode"):
        answer = browser_of_ann.post("/mail/account/pop3-delete/", {"pop3_delete": choice})
        assert answer["Location"] == "/mail/account/programs/"
    ann.mailbox.refresh_from_db()
    assert ann.mailbox.pop3_delete == "expunge"


def test_where_programs_are_switched_off_it_says_so(ann: Account, browser_of_ann: Client) -> None:
    Mailbox.objects.filter(pk=ann.mailbox.pk).update(pop3_enabled=False)
    text = text_of(browser_of_ann.get("/mail/account/programs/"))
    assert "switched off" in text and "What every program asks for" not in text
