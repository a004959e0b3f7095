"""The webmail at a mailbox of 100,000 messages: `python -m bench.webmail [MESSAGES]`.

A real gunicorn, as gunicorn.conf.py sets it up, is asked over the loopback as a browser asks: one connection,
a cookie, a form's token. On SQLite, and on PostgreSQL where it runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench import restante
from bench.pages import Row, hand_over, timed
from bench.server import START_SECONDS, free_ports

MESSAGES = 100_000
BATCH = 1_000
PAGE_MS, SEARCH_MS = 50.0, 100.0
LOGIN, PASSWORD = "ann@webmail.test", "bench-password-of-ann"
SEARCHES = {
    "rare word": "zeppelin",
    "common word": "w5",
    "very common word": "w0",
    "two words": "w40 w90",
    "phrase": '"quarterly report"',
    "sender": "from:person17",
    "word half typed": "quart",
    "nothing": "absent",
}


def fill(messages: int) -> dict[str, Any]:
    """The mailbox, findable, and where in it the pages are: cursors and messages, newest first."""
    import django

    django.setup()
    from django.db import connection, transaction
    from django.utils import timezone

    from bench.search import Letters, _document, _message
    from mailboxes import accounts, entries
    from mailboxes.listing import Cursor
    from mailboxes.models import Folder, FolderKind, Mailbox, Message

    accounts.create_domain("webmail.test", default_quota=10**13)
    box = accounts.open_account(LOGIN, PASSWORD).mailbox
    inbox = Folder.objects.get(mailbox=box, kind=FolderKind.INBOX)
    letters, content = Letters(timezone.now(), messages), _content()
    for start in range(0, messages, BATCH):
        numbers = range(start, min(start + BATCH, messages))
        made = [_message(letters, number, content, inbox) for number in numbers]
        with transaction.atomic():
            Message.objects.bulk_create(made)
            entries.write(
                [_document(letters, number, one) for number, one in zip(numbers, made, strict=True)]
            )
    unread = Message.objects.filter(mailbox=box, seen=False).count()
    Folder.objects.filter(pk=inbox.pk).update(
        message_count=messages, unread_count=unread, octets=messages * 5_000
    )
    Mailbox.objects.filter(pk=box.pk).update(message_count=messages, used_bytes=messages * 5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    newest = Message.objects.filter(mailbox=box).order_by("-received_at", "-pk")
    middle, last = newest[messages // 2], newest[messages - 20]
    return {
        "middle": str(Cursor.of(middle)),
        "last": str(Cursor.of(last)),
        "first_messages": [one.pk for one in newest[:50]],
        "last_messages": [one.pk for one in newest[messages - 50 :]],
    }


def _content() -> Any:
    """One letter that all messages are: a newsletter of some 20 KB in HTML and plain text."""
    from mailboxes.models import Content
    from mailboxes.storage import Spool
    from mailboxes.wire import stuff

    words = " ".join(f"word{n % 97}" for n in range(12))
    rows = "".join(f"<tr><td style='color:#333'><b>{n}</b> {words}</td></tr>\r\n" for n in range(120))
    raw = (
        "From: Sender <sender@elsewhere.test>\r\nTo: ann@webmail.test\r\nSubject: letter\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\n{words}\r\n"
        f"--b\r\nContent-Type: text/html\r\n\r\n<table>{rows}</table>\r\n--b--\r\n"
    ).encode()
    spool = Spool()
    spool.add(stuff(raw))
    from django.utils import timezone

    octets = spool.wire_octets
    return Content.objects.create(
        key=spool.keep(), octets=len(raw), wire_octets=octets, created_at=timezone.now()
    )


class Browser:
    """One connection to gunicorn, with the cookies it was given."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies: SimpleCookie = SimpleCookie()

    def ask(self, path: str, form: Mapping[str, object] | None = None) -> bytes:
        headers = {"Cookie": "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())}
        body = None
        if form is not None:
            token = self.cookies["csrftoken"].value
            body = urlencode({"csrfmiddlewaretoken": token, **form}, doseq=True)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request("POST" if body else "GET", path, body, headers)
        answer = self.connection.getresponse()
        page = answer.read()
        for value in answer.headers.get_all("Set-Cookie", []):
            self.cookies.load(value)
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {page[:300]!r}")
        return page

    def log_in(self) -> None:
        self.ask("/login/")
        self.ask("/login/", {"login": LOGIN, "password": PASSWORD})
        if LOGIN.encode() not in self.ask("/mail/inbox/"):
            raise RuntimeError("the login did not work")


def measure(browser: Browser, place: str, facts: Mapping[str, Any]) -> list[Row]:
    first, last = facts["first_messages"], facts["last_messages"]

    def page(path: str) -> Callable[[int], bytes]:
        return lambda number: browser.ask(path)

    def star(number: int) -> bytes:
        act = "unstar" if number % 2 else "star"
        return browser.ask("/mail/acts/", {"folder": "inbox", "act": act, "message": first[:1]})

    def read(number: int) -> bytes:
        act = "unseen" if number % 2 else "seen"
        return browser.ask("/mail/acts/", {"folder": "inbox", "act": act, "message": first})

    pages: dict[str, Callable[[int], bytes]] = {
        "list, first page": page("/mail/inbox/"),
        "list, a page in the middle": page(f"/mail/inbox/?before={facts['middle']}"),
        "list, last page": page(f"/mail/inbox/?before={facts['last']}"),
        "open a message, newest": lambda n: browser.ask(f"/mail/inbox/{first[n % 50]}/"),
        "open a message, oldest": lambda n: browser.ask(f"/mail/inbox/{last[n % 50]}/"),
        "star one message": star,
        "mark 50 messages as read": read,
        "is there anything new": page("/mail/version/"),
    }
    rows = [timed(place, name, PAGE_MS, ask) for name, ask in pages.items()]
    for name, query in SEARCHES.items():
        path = "/mail/search/?" + urlencode({"q": query})
        rows.append(timed(place, f"search, {name}", SEARCH_MS, page(path)))
    second = "/mail/search/?" + urlencode({"q": "w5", "before": facts["middle"]})
    rows.append(timed(place, "search, a late page", SEARCH_MS, page(second)))
    return rows


@contextmanager
def gunicorn(root: Path, environment: dict[str, str]) -> Iterator[int]:
    [port] = free_ports(1)
    with (root / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "hosting.wsgi", "--bind", f"127.0.0.1:{port}"],
            cwd=restante.PROJECT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                Browser(port).ask("/healthz")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((root / "web.log").read_text()[-2_000:]) from None
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def run(kind: str, messages: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-webmail-") as name:
        root = Path(name)
        with restante.database(kind, root) as url:
            environment = restante.environment(root, url)
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, cwd=restante.PROJECT, env=environment, check=True)
            print(f"filling a mailbox, {kind} ...", flush=True)
            filled = subprocess.run(
                [sys.executable, "-m", "bench.webmail", "--fill", str(messages)],
                cwd=restante.PROJECT,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            facts = json.loads(filled.stdout.splitlines()[-1])
            with gunicorn(root, environment) as port:
                browser = Browser(port)
                browser.log_in()
                return measure(browser, f"webmail, {kind}", facts)


def main(messages: int) -> int:
    kinds = ["SQLite"] + (["PostgreSQL"] if restante.postgresql_runs() else [])
    rows = [row for kind in kinds for row in run(kind, messages)]
    hand_over(rows)
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosting.settings")
    if sys.argv[1:2] == ["--fill"]:
        print(json.dumps(fill(int(sys.argv[2]))))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
