"""Taking mail away and bringing it, in Chromium: with a progress bar, without scripts, on a phone."""

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection
from playwright.sync_api import expect

from conftest import IN_CHROMIUM
from mailboxes import errands, tasks
from mailboxes.models import Account, Errand, ErrandState, Message
from mailboxes.tests.test_archives import in_mbox
from mailboxes.tests.test_exporting import retrieved
from webmail.tests.test_browser import AXE, PHONE, visit
from webmail.tests.waiting import PATIENCE, anew, leads_to
from webmail.views import acts

__all__ = ["visit"]  # a fixture
pytestmark = [*IN_CHROMIUM, pytest.mark.django_db(transaction=True)]
Post = Callable[..., list[Message]]
Visit = Callable[..., Any]
PAGES = ["", "programs/", "sessions/", "moving/", "appearance/"]
ERRAND = re.compile(r"/mail/account/moving/[^/]+/$")
assert tasks.RUNNERS, "what does errands is known, as it is to a worker"


class Worker:
    """Does what is asked for, when the test lets it: first the beginning, then, `go_on`, the rest."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.half = Event()
        self.go_on = Event()
        self.threads: list[Thread] = []

    def begin(self) -> None:
        thread = Thread(target=self._run, args=[self.asked.pop()])
        self.threads.append(thread)
        thread.start()

    def _run(self, key: str) -> None:
        try:
            errands.run(key)
        finally:
            connection.close()

    def join(self) -> None:
        self.go_on.set()
        for thread in self.threads:
            thread.join(PATIENCE / 1000)
            assert not thread.is_alive()


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker = Worker()
    real = errands.Work.step

    def step(work: errands.Work, octets: int = 0) -> None:
        real(work, octets)
        worker.half.set()
        assert worker.go_on.wait(PATIENCE / 1000)

    monkeypatch.setattr(errands, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(errands, "_give_out", lambda key, expires=None: worker.asked.append(key))
    monkeypatch.setattr(errands.Work, "step", step)
    yield worker
    worker.join()
    for name in default_storage.listdir("errands")[1] if default_storage.exists("errands") else []:
        default_storage.delete(f"errands/{name}")


def letters(account: Account, post: Post, count: int = 4) -> None:
    for number in range(count):
        post(
            account,
            text=b"Message-ID: <%d@x.test>\r\nSubject: %d\r\n\r\nFrom here\r\n.\r\n" % (number, number),
        )


def test_an_export_with_its_progress_is_what_retr_sends(
    ann: Account, post: Post, visit: Visit, worker: Worker, tmp_path: Path
) -> None:
    letters(ann, post)
    page = visit("/mail/account/moving/")
    with anew(page, ERRAND):
        page.click("form[action$='export/'] button")
    page.wait_for_selector(".errand-state.waiting")
    worker.begin()
    assert worker.half.wait(PATIENCE / 1000)
    page.wait_for_selector("progress[value='25']")
    page.wait_for_function("() => document.querySelector('#errand-said').textContent.includes('25 percent')")
    page.focus("#errand-cancel")
    page.evaluate("() => { document.querySelector('#errand').isThatBefore = true }")
    page.wait_for_function("() => !document.querySelector('#errand').isThatBefore")
    expect(page.locator("#errand-cancel")).to_be_focused()
    worker.join()
    page.wait_for_selector(".errand-state.done")
    assert "hx-get" not in page.locator("#errand").evaluate("element => element.outerHTML")
    with page.expect_download() as download:
        page.click("text=Download")
    path = tmp_path / "export.zip"
    download.value.save_as(path)
    assert download.value.suggested_filename.startswith("mail-ann-")
    with zipfile.ZipFile(path) as archive:
        [name] = archive.namelist()
        assert [octets for _, octets in in_mbox(archive.read(name))] == retrieved(ann.mailbox)
    with leads_to(page, "/mail/account/moving/"):
        page.click("text=Remove the file")
    page.wait_for_selector(".toast")
    assert default_storage.listdir("errands")[1] == []


def test_more_than_anybody_waits_for_is_moved_by_a_worker_and_comes_back(
    ann: Account, post: Post, visit: Visit, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acts, "ACT_MAX", 50)
    worker.go_on.set()
    letters(ann, post, 55)
    page = visit("/mail/inbox/")
    page.check("#choose-page")
    page.check("#everything input")
    with anew(page, ERRAND):
        page.click("#acts button[value=archive]")
    page.wait_for_selector(".errand-state.waiting")
    assert page.locator("#errand-title").inner_text() == "Archive: all in Inbox"
    worker.begin()
    page.wait_for_selector("text=55 messages archived.")
    with anew(page, ERRAND):
        page.click("text=Undo")
    page.wait_for_selector("#errand-title:has-text('Undo: 55 messages')")
    worker.begin()
    page.wait_for_selector("text=Undone: 55 messages.")
    expect(page.locator("text=To the mail")).to_have_count(1)
    assert Message.objects.filter(folder__kind="inbox").count() == 55


def test_what_was_exported_is_uploaded_into_another_account(
    ann: Account, bob: Account, post: Post, visit: Visit, worker: Worker, tmp_path: Path
) -> None:
    worker.go_on.set()
    letters(bob, post)
    exported = errands.ask("export", bob, bob.mailbox, {"folder": None})
    errands.run(exported.key)
    exported.refresh_from_db()
    with default_storage.open(exported.file) as file:
        (tmp_path / "bob.zip").write_bytes(file.read())
    worker.asked.clear()
    page = visit("/mail/account/moving/")
    page.set_input_files("input[type=file]", [tmp_path / "bob.zip"])
    page.check("text=Mark all as read >> nth=0")
    with anew(page, ERRAND):
        page.click("form[action$='import/'] button")
    worker.begin()
    page.wait_for_selector("text=4 messages came in.")
    assert retrieved(ann.mailbox) == retrieved(bob.mailbox)
    with anew(page, "/mail/inbox/"):
        page.click("text=To the mail")
    expect(page.locator(".row")).to_have_count(4)


def test_cancelling_keeps_what_came(
    ann: Account, visit: Visit, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mbox = b"".join(
        b"From a Mon Nov 24 12:00:05 2025\nMessage-ID: <%d@x>\n\nHello\n\n" % n for n in range(80)
    )
    (tmp_path / "old.mbox").write_bytes(mbox)
    page = visit("/mail/account/moving/")
    page.set_input_files("input[type=file]", [tmp_path / "old.mbox"])
    with anew(page, ERRAND):
        page.click("form[action$='import/'] button")
    worker.begin()
    assert worker.half.wait(PATIENCE / 1000)
    with anew(page):
        page.click("text=Cancel")
    page.wait_for_selector("text=It is being cancelled.")
    worker.join()
    page.wait_for_selector(".errand-state.cancelled")
    assert "0 messages came in." in page.inner_text("#errand")
    assert Message.objects.count() == 0


# Kept when htmx has been told of its next answer.
ANSWERED = """() => new Promise(done => document.addEventListener('htmx:beforeSend', event =>
  event.detail.xhr.addEventListener('loadend', done)))"""


def test_what_comes_by_itself_takes_no_button_from_under_a_finger(
    ann: Account, post: Post, visit: Visit, worker: Worker
) -> None:
    letters(ann, post)
    page = visit("/mail/account/moving/")
    with anew(page, ERRAND):
        page.click("form[action$='export/'] button")
    page.hover("#errand-cancel")
    page.mouse.down()
    page.evaluate("() => { document.querySelector('#errand').isThatBefore = true }")
    page.evaluate(ANSWERED)
    assert page.evaluate("document.querySelector('#errand').isThatBefore")
    with anew(page):
        page.mouse.up()
    expect(page.locator(".errand-state.cancelled")).to_be_visible()


def test_without_scripts_it_is_asked_for_looked_at_again_and_downloaded(
    ann: Account, post: Post, visit: Visit, worker: Worker
) -> None:
    letters(ann, post, 1)
    page = visit("/mail/account/moving/", java_script_enabled=False)
    with anew(page, ERRAND):
        page.click("form[action$='export/'] button")
    worker.go_on.set()
    worker.begin()
    worker.join()
    with anew(page):
        page.click("text=Look again")
    with page.expect_download() as download:
        page.click("text=Download")
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert archive.namelist() == ["Inbox.mbox"]


WIDE = {"viewport": {"width": 1440, "height": 900}}


@pytest.mark.parametrize(
    ("name", "options"), [("wide", WIDE), ("phone-dark", PHONE | {"color_scheme": "dark"})]
)
@pytest.mark.parametrize(
    "paths", [["", "programs/", "sessions/"], ["moving/", "appearance/"], ["moving/{}/"]]
)
def test_axe_finds_nothing_wide_and_narrow_light_and_dark(
    ann: Account,
    post: Post,
    visit: Visit,
    worker: Worker,
    name: str,
    options: dict[str, Any],
    paths: list[str],
) -> None:
    letters(ann, post)
    errands.ask("export", ann, ann.mailbox, {"folder": None})
    Errand.objects.update(state=ErrandState.RUNNING, done=41, total=100)
    long_name = "a-long-name-" * 8 + ".mbox"
    failed = errands.ask("import", ann, ann.mailbox, {"name": long_name, "folder": 1, "files": 1})
    result = {
        "imported": 3,
        "already": 2,
        "left_out": [[f"message {n}", "it is empty"] for n in range(40)],
        "left_out_count": 99,
        "stopped_at": "message 9",
    }
    Errand.objects.filter(pk=failed.pk).update(
        state=ErrandState.FAILED, reason="The mailbox has no room.", result=result
    )
    keys = list(Errand.objects.values_list("key", flat=True))
    page = visit("/mail/account/", **options)
    for path in [one.format(key) for one in paths for key in (keys if "{}" in one else keys[:1])]:
        page.goto(f"/mail/account/{path}")
        page.evaluate(AXE)
        violations = page.evaluate("axe.run().then(found => found.violations)")
        serious = [one for one in violations if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if folder := os.environ.get("SCREENSHOTS"):
            title = path.strip("/").replace("/", "-")[:14] or "overview"
            page.screenshot(path=f"{folder}/{name}-{title}.png")
