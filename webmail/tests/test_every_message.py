"""Whatever comes, each page of it opens, and none is much work.

Work is counted in calls, not in seconds: it is the same on a machine that is busy. How long the reading of
large and malicious messages takes is measured in `mailboxes/reading/tests`.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.test import Client

from mailboxes.models import Account, Message
from mailboxes.reading import parse
from mailboxes.reading.tests.test_mail import LARGE

Post = Callable[..., list[Message]]
CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "mail"
# A page is some 20,000 calls, one with a long newsletter 150,000; Python makes 10 million a second.
CALLS_MAX = 1_500_000
QUERIES_MAX = 20
PARTS_OPENED = 2
SHAPES = ["angles", "quotes", "folds", "parameters", "tnef", "flowed"]


class Calls:
    """Counts calls of functions, Python's and C's, while it is entered."""

    count = 0

    def __enter__(self) -> "Calls":
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *why: object) -> None:
        sys.setprofile(None)

    def _seen(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in {"call", "c_call"}


def pages_of(message: Message, raw: bytes) -> Iterator[str]:
    here = f"/mail/inbox/{message.pk}/"
    for path in (
        "",
        "html/",
        "html/?print",
        "?show=text",
        "source/",
        "headers/",
        "unsubscribe/",
        "attachments.zip",
    ):
        yield here + path
    for part in parse(raw).parts[:PARTS_OPENED]:
        for path in ("", "look/", "letter/", "letter/html/") if part.kind == "message" else ("", "look/"):
            yield f"{here}part/{part.number}/{path}"


def open_all(client: Client, message: Message, raw: bytes, count: Any) -> list[str]:
    """What opened badly of a message."""
    bad = []
    for path in pages_of(message, raw):
        # Counting takes ten times as long as the work, so only where a message is read and made safe.
        counted = path.endswith((f"/{message.pk}/", f"/{message.pk}/html/"))
        with count() as queries, Calls() if counted else nullcontext(Calls()) as calls:
            answer = client.get(path)
            if answer.streaming:
                b"".join(answer)
        good = answer.status_code in {200, 404} and len(queries) <= QUERIES_MAX
        if not good or calls.count > CALLS_MAX:
            bad.append(f"{path}: {answer.status_code}, {len(queries)} queries, {calls.count} calls")
        if path.endswith((f"/{message.pk}/", "/source/", "/headers/")) and answer.status_code != 200:
            bad.append(f"{path} does not open")
    return bad


@pytest.fixture
def count() -> Any:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


@pytest.mark.once
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of mail is not beside this checkout")
def test_every_message_of_the_corpus_opens(
    ann: Account, browser_of_ann: Client, post: Post, count: Any, caplog: pytest.LogCaptureFixture
) -> None:
    files = [file for file in sorted(CORPUS.rglob("*")) if file.is_file()]
    assert len(files) > 100
    bad = []
    for file in files:
        raw = file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") or b"\r\n"
        [message] = post(ann, text=raw)
        bad += [f"{file.name} {text}" for text in open_all(browser_of_ann, message, raw, count)]
    assert bad == []
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == []
    assert browser_of_ann.get("/mail/inbox/").status_code == 200


@pytest.mark.once
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_large_message_opens(
    ann: Account, browser_of_ann: Client, post: Post, count: Any, shape: str
) -> None:
    ann.mailbox.__class__.objects.update(quota_bytes=2**40)
    raw = LARGE[shape]().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    [message] = post(ann, text=raw)
    assert open_all(browser_of_ann, message, raw, count) == []
