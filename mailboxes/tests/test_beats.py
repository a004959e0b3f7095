"""A process is seen while it works, and is gone when it does not."""

import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic, sleep

import pytest
from django.db import connection
from django.utils import timezone

from mailboxes import beats
from mailboxes.faults import faults
from mailboxes.models import ProcessBeat

PATIENCE = 180.0  # only a test that fails waits so long


@pytest.fixture(autouse=True)
def time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not leave a row behind that this very test, or the next, would look at."""
    monkeypatch.setattr(beats, "END_SECONDS", PATIENCE)


def until(condition: Callable[[], object]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


def until_written() -> ProcessBeat:
    until(ProcessBeat.objects.exists)
    return ProcessBeat.objects.get()


@pytest.mark.django_db
def test_a_row_is_written_anew_where_there_was_one() -> None:
    began = timezone.now() - timedelta(hours=1)
    process = beats.Process("smtpd", "mail1", 7, began)
    beats.write(process, {"connections": 1}, began)
    again = beats.Process("smtpd", "mail1", 7, began + timedelta(minutes=30))
    beats.write(again, {"connections": 2}, began + timedelta(minutes=31))
    [row] = ProcessBeat.objects.all()
    assert (row.name, row.kind, row.host, row.pid) == ("smtpd@mail1:7", "smtpd", "mail1", 7)
    assert (row.started_at, row.seen_at - row.started_at) == (again.started_at, timedelta(minutes=1))
    assert row.figures == {"connections": 2}


@pytest.mark.django_db(transaction=True)
def test_a_heart_tells_what_its_process_did_and_takes_its_row_along() -> None:
    with beats.beating("pop3d", lambda: {"connections": 3}):
        row = until_written()
        assert (row.kind, row.pid) == ("pop3d", os.getpid())
        assert row.figures["connections"] == 3
        assert row.figures["memory_bytes"] > 10_000_000
        assert row.figures["cpu_seconds"] > 0
    assert list(ProcessBeat.objects.all()) == []


@pytest.mark.django_db(transaction=True)
def test_work_that_stands_still_is_not_called_a_beat() -> None:
    answers: list[Mapping[str, float] | None] = [{"n": 1}]
    asked: list[None] = []

    def figures() -> Mapping[str, float] | None:
        asked.append(None)
        return answers[0]

    heart = beats.Heart("smtpd", figures, interval=0.02)
    try:
        row = until_written()
        answers[0] = None
        # One may be on its way; who asks again has written it, or has not.
        before = len(asked)
        until(lambda: len(asked) >= before + 2)
        row.refresh_from_db()
        seen = row.seen_at
        before = len(asked)
        until(lambda: len(asked) >= before + 10)
        row.refresh_from_db()
        assert row.seen_at == seen
        answers[0] = {"n": 2}
        until(lambda: ProcessBeat.objects.get().figures["n"] == 2)
    finally:
        heart.stop()


@pytest.mark.django_db(transaction=True)
def test_a_beat_that_cannot_be_written_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[None] = []

    def figures() -> Mapping[str, float]:
        tried.append(None)
        return {}

    name = connection.settings_dict["NAME"]
    monkeypatch.setitem(connection.settings_dict, "NAME", "/there/is/no/such/database")
    heart = beats.Heart("web", figures, interval=0.02)
    try:
        until(lambda: len(tried) >= 10)
        assert caplog.text.count("beat missed") == 1
        monkeypatch.setitem(connection.settings_dict, "NAME", name)
        until_written()
    finally:
        heart.stop()


@pytest.mark.once
def test_errors_in_the_log_are_counted_and_warnings_are_not() -> None:
    log, before = logging.getLogger("mailboxes.tests"), faults()
    log.warning("no fault")
    assert faults() == before
    log.error("one fault")
    assert faults() == before + 1
