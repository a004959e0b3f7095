"""Long work with real processes: mail fetched from pop3d as from elsewhere, and workers that are killed."""

import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from hosting.tests.house import PATIENCE, PROJECT, House, until
from hosting.tests.mail_clients import PASSWORD, trusting
from mailboxes import errands, importing
from mailboxes.models import (
    Account,
    Errand,
    ErrandKind,
    ErrandState,
    Folder,
    FolderKind,
    Message,
)
from mailboxes.retention import recount
from mailboxes.tests.errand_tools import done
from mailboxes.tests.test_exporting import retrieved
from webmail import fetching
from webmail.pop3_client import World

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def in_english() -> Iterator[None]:
    """Whatever a page has spoken before."""
    with translation.override("en"):
        yield


def test_a_mailbox_on_another_server_comes_over_with_its_uidls(
    house: House, corpus: dict[str, bytes], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That server is our own, asked by its name, by TLS with its certificate; the mail is the worst."""
    theirs, ours = house.open("moves-away"), house.open("moves-in")
    with house.lmtp() as client:
        for raw in list(corpus.values())[:60]:
            client.deliver(raw, theirs.login)
    settings.FETCH_PRIVATE_NETWORKS = [ip_network("127.0.0.0/8")]
    trusted = trusting(house.certificate)
    monkeypatch.setattr(fetching, "world", World(resolve=lambda *_: ["127.0.0.1"], tls=lambda: trusted))
    monkeypatch.setattr(errands, "_give_out", lambda *_, **__: None)
    asked = {
        "host": house.settings["MAIL_HOSTNAME"],
        "port": house.port("pop3s"),
        "security": "tls",
        "user": theirs.login,
    }
    errand = done(ErrandKind.FETCH, ours, asked, secret=PASSWORD)
    assert (errand.state, errand.reason) == (ErrandState.DONE, "")
    uidls = [
        list(Message.objects.filter(mailbox=box.mailbox).order_by("pk").values_list("uidl", flat=True))
        for box in (theirs, ours)
    ]
    assert uidls[0] == uidls[1] and len(uidls[0]) == errand.result["imported"] > 50
    assert retrieved(ours.mailbox) == retrieved(theirs.mailbox)
    again = done(ErrandKind.FETCH, ours, asked, secret=PASSWORD)
    assert (again.result["imported"], again.result["already"]) == (0, len(uidls[0]))
    for session in house.sessions(theirs.login, 2):
        assert (session.ended, session.deleted) == ("quit", 0)
    wrong = done(ErrandKind.FETCH, ours, asked, secret="wrong")
    assert wrong.state == ErrandState.FAILED and "does not take this user name or password" in wrong.reason


def _environment(house: House) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return inherited | house.settings | {"PYTHONPATH": str(PROJECT), "ENV_FILE": "/dev/null"}


def _shell(house: House, code: str) -> None:
    """Do something in a process of its own, as a web process or beat does it."""
    shell = [sys.executable, str(PROJECT / "manage.py"), "shell", "--no-imports", "-c", code]
    subprocess.run(shell, env=_environment(house), cwd=house.root, check=True, timeout=PATIENCE)


def _asks(account: Account, what: str) -> str:
    return (
        "from mailboxes import errands; from mailboxes.models import Account;"
        "from django.core.files import File;"
        f"ann = Account.objects.get(login={account.login!r});"
        f"errands.ask({what})"
    )


@contextmanager
def _worker(house: House, name: str, *options: str, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A real worker of both queues; one that still lives in the end is stopped."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "hosting", "--quiet", "worker"]
    command += ["--pool", "solo", "--loglevel", "INFO", "--queues", "errands,celery"]
    command += ["--hostname", f"{name}@%h", *options]
    path = house.root / f"{name}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            command, env=_environment(house) | more, cwd=house.root, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(PATIENCE)
            print(f"-- {name} --", path.read_text()[-3000:], sep="\n")


@dataclass(frozen=True)
class Left:
    """What a worker that was killed in the middle of an errand has left."""

    errand: Errand
    messages: int


def _killed_and_taken_over(house: House, step: int) -> tuple[Left, Errand]:
    """What a worker leaves that is killed in that step, and the errand as another one ends it."""
    said = house.root / "halted"
    more = {"HALT_AT_STEP": str(step), "HALT_SAID": str(said)}
    with _worker(house, "killed", "--include", "hosting.tests.halting", **more) as worker:
        until(lambda: said.exists() or worker.poll() is not None, "the worker to be in the middle of it")
        assert said.exists()
        worker.send_signal(signal.SIGKILL)
        worker.wait(PATIENCE)
    left = Left(Errand.objects.get(), Message.objects.count())
    assert (left.errand.state, left.errand.attempts) == (ErrandState.RUNNING, 1)
    # The minutes pass after which a worker that says nothing counts as dead; then beat sets its next job.
    Errand.objects.update(seen_at=timezone.now() - 2 * errands.DEAD_AFTER)
    _shell(house, "from mailboxes.tasks import give_out_errands; give_out_errands.delay()")
    with _worker(house, "another"):
        until(lambda: not Errand.objects.get().is_open, "another worker to end it")
    return left, Errand.objects.get()


def _page_of(account: Account, errand: Errand) -> str:
    """What the page of the errand says to whoever asked."""
    browser = Client()
    browser.post("/login/", {"login": account.login, "password": PASSWORD})
    page = browser.get(f"/mail/account/moving/{errand.key}/").content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def _letters(count: int) -> list[bytes]:
    return [b"Subject: letter %d\r\nMessage-ID: <%d@x.test>\r\n\r\nHello\r\n" % (n, n) for n in range(count)]


def test_an_import_whose_worker_is_killed_is_taken_over_and_brings_all_of_it_once(own_house: House) -> None:
    """Three batches of it are stored by then, and a part of the fourth is read."""
    ann, letters = own_house.open("ann"), _letters(400)
    mbox = own_house.root / "old.mbox"
    mbox.write_bytes(b"".join(b"From x Mon Nov 23 10:00:00 2026\r\n" + one + b"\r\n" for one in letters))
    inbox = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX).pk
    arguments = {"folder": inbox, "name": "old.mbox", "files": 1}
    file = f"File(open({str(mbox)!r}, 'rb'))"
    _shell(own_house, _asks(ann, f"'import', ann, ann.mailbox, {arguments!r}, file={file}"))
    steps = 3 * importing.BATCH + importing.BATCH // 2
    left, errand = _killed_and_taken_over(own_house, steps)
    assert steps - importing.BATCH <= left.messages < steps, "what was read last had not been stored"
    assert (errand.state, errand.attempts) == (ErrandState.DONE, 2)
    subjects = list(Message.objects.order_by("pk").values_list("subject", flat=True))
    assert subjects == [f"letter {n}" for n in range(len(letters))], "none twice, none missing"
    assert retrieved(ann.mailbox) == letters and recount(ann.mailbox.pk)
    page = _page_of(ann, errand)
    assert "It is done." in page and "400 messages came in." in page
    assert "here already" not in page and "left out" not in page
    upload = Path(own_house.settings["VAR_ROOT"]) / "files" / "errands"
    assert list(upload.iterdir()) == [], "what was handed in is gone"


def test_an_export_whose_worker_is_killed_is_made_anew_and_is_whole(own_house: House) -> None:
    ann, letters = own_house.open("ann"), _letters(60)
    own_house.smtpd()
    with own_house.lmtp() as client:
        for letter in letters:
            client.deliver(letter, ann.login)
    _shell(own_house, _asks(ann, "'export', ann, ann.mailbox, {'folder': None}"))
    left, errand = _killed_and_taken_over(own_house, 30)
    assert left.errand.file == "", "nobody is handed a half"
    assert (errand.state, errand.attempts, errand.percent) == (ErrandState.DONE, 2, 100)
    path = Path(own_house.settings["VAR_ROOT"]) / "files" / errand.file
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and archive.namelist() == ["Inbox.mbox"]
        mbox = archive.read("Inbox.mbox")
    assert re.findall(rb"^Subject: (letter \d+)", mbox, re.MULTILINE) == [
        b"letter %d" % n for n in range(len(letters))
    ]
    page = _page_of(ann, errand)
    assert "It is done." in page and "60 messages are in the file." in page
    # What the dead worker was writing lies in the folder for uploads until the rules come by.
    uploads = Path(own_house.settings["VAR_ROOT"]) / "uploads"
    assert len(list(uploads.iterdir())) == 1
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_an_export_is_done_by_a_worker_and_lies_where_the_web_finds_it(own_house: House) -> None:
    """Asked for in one process, done in another, over the folder that is the default queue."""
    ann = own_house.open("ann")
    own_house.smtpd()
    with own_house.lmtp() as client:
        client.deliver(b"Subject: one\r\n\r\nHello\r\n", ann.login)
    _shell(own_house, _asks(ann, "'export', ann, ann.mailbox, {'folder': None}"))
    with _worker(own_house, "only"):
        until(lambda: not Errand.objects.get().is_open, "the worker to do it")
    errand = Errand.objects.get()
    assert (errand.state, errand.result["messages"]) == (ErrandState.DONE, 1)
    path = Path(own_house.settings["VAR_ROOT"]) / "files" / errand.file
    assert path.stat().st_mode & 0o077 == 0, "its owner's alone"
    with zipfile.ZipFile(path) as archive:
        assert b"Subject: one" in archive.read("Inbox.mbox")
