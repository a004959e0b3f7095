"""Asks what the house needs whether it answers, never for longer than a moment.

A question that hangs goes on in its own thread until its own timeout ends it; meanwhile nobody asks the same
again, so what is away costs one thread a question and a minute, however often people look.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import connection

from hosting.serving.tls import SELF_SIGNED, TLSConfigurationError, days_left
from mailboxes import storage

# People wait for it, and a load balancer does.
SECONDS = 1.2
REDIS_SECONDS = 5.0
# What has hung for so long hangs for ever; the part itself may be back.
GIVEN_UP_SECONDS = 60.0


class State(Enum):
    ANSWERS = "answers"
    AWAY = "away"
    HANGS = "hangs"


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is what the question gave; `seconds` is how long it took."""

    state: State
    value: Any = None
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.state is State.ANSWERS


HANGS = Answer(State.HANGS, seconds=SECONDS)
Question = Callable[[], Any]


class _Asked:
    """A question that is being asked, in a thread of its own."""

    def __init__(self, name: str, question: Question) -> None:
        self._question = question
        self._done = threading.Event()
        self._answer = HANGS
        self._began = monotonic()
        threading.Thread(target=self._ask, name=f"probe-{name}", daemon=True).start()

    @property
    def over(self) -> bool:
        return self._done.is_set() or monotonic() - self._began > GIVEN_UP_SECONDS

    def answer(self, until: float) -> Answer:
        self._done.wait(max(0.0, until - monotonic()))
        return self._answer

    def _ask(self) -> None:
        state, value = State.AWAY, None
        try:
            value = self._question()
            state = State.ANSWERS
        except Exception:  # noqa: BLE001, S110  (why it does not answer stands in the logs of who needs it)
            pass
        finally:
            self._answer = Answer(state, value, monotonic() - self._began)
            self._done.set()
            connection.close()


_asked: dict[str, _Asked] = {}
_lock = threading.Lock()


def ask(questions: Mapping[str, Question], seconds: float | None = None) -> dict[str, Answer]:
    """The answers to all questions, which are asked at the same time; what took too long hangs."""
    until = monotonic() + (SECONDS if seconds is None else seconds)
    with _lock:
        for name, question in questions.items():
            if name not in _asked or _asked[name].over:
                _asked[name] = _Asked(name, question)
        asked = {name: _asked[name] for name in questions}
    return {name: one.answer(until) for name, one in asked.items()}


# The questions. Each raises, or is false, when there is no good answer.


def database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        if cursor.fetchone() != (1,):
            raise RuntimeError("no answer")


def content() -> None:
    if not storage.answers():
        raise RuntimeError("no answer")


def jobs_waiting() -> int:
    """Jobs that no worker has taken yet; asks Redis, or looks into the folder that takes its place."""
    if not settings.REDIS_URL:
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"])
        return sum(1 for one in folder.iterdir() if one.name.endswith(".msg"))
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=REDIS_SECONDS, socket_timeout=REDIS_SECONDS
    )
    try:
        return sum(int(client.llen(queue)) for queue in ("celery", "errands"))
    finally:
        client.close()


def disks() -> dict[str, tuple[int, int]]:
    """Octets free, and octets in all, of the file systems that are written to, by what lies there."""
    places = {"content": settings.CONTENT_ROOT} if storage.is_local() else {"spool": settings.SPOOL_ROOT}
    return {name: _room(path) for name, path in (places | {"var": settings.VAR}).items()}


def _room(path: Path) -> tuple[int, int]:
    there = next(one for one in (path, *path.parents) if one.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def certificate_days() -> int | None:
    """Whole days until the certificate of the doors expires; None: there is none yet, or none can be read."""
    try:
        return days_left(settings.TLS_CERT or settings.VAR / "tls" / SELF_SIGNED)
    except TLSConfigurationError:
        return None


def redis_host() -> str:
    return urlsplit(settings.REDIS_URL).hostname or ""
