"""A door as a process, from outside of its loop."""

import os
import signal
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hosting.serving.accepting import Listener
from hosting.serving.connection import Connection
from hosting.serving.door import Door, Limits
from hosting.serving.process import Certificate, Place, _serve_one, run_door

pytestmark = pytest.mark.once


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_door_that_is_told_to_stop_before_it_serves_ends_as_well_as_later(
    tmp_path: Path, told: signal.Signals
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    cleaned = []

    @contextmanager
    def make_door(index: int, listeners: Sequence[Listener], tls: ssl.SSLContext) -> Iterator[Door]:
        try:
            os.kill(os.getpid(), told)
            yield pytest.fail("it went on")
        finally:
            cleaned.append(index)

    def connect(place: Place) -> Callable[[Door], Connection[Any]]:
        raise AssertionError("there is no place")

    with pytest.raises(SystemExit) as ended:
        run_door("door", [], Certificate(None, None, tmp_path, "localhost"), 1, make_door, connect)
    assert (ended.value.code, cleaned) == (0, [0])
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL], ids=["in a worker", "alone"])
@pytest.mark.parametrize("told", [0, 1])
def test_who_is_told_of_a_new_certificate_before_it_serves_reads_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int, before: signal.Handlers
) -> None:
    """It has read one by then: the old one, perhaps."""
    reloaded = []
    monkeypatch.setattr(Certificate, "reload", lambda self, context: reloaded.append(context))

    @contextmanager
    def make_door(index: int, listeners: Sequence[Listener], tls: ssl.SSLContext) -> Iterator[Door]:
        for _ in range(told):
            os.kill(os.getpid(), signal.SIGHUP)
        # Its clock, which comes after all that waited for the loop.
        yield Door("door", [], Limits(1, 1), on_tick=lambda now: os.kill(os.getpid(), signal.SIGTERM))

    former = signal.signal(signal.SIGHUP, before)
    try:
        assert _serve_one(0, [], Certificate(None, None, tmp_path, "localhost"), make_door) == 0
    finally:
        signal.signal(signal.SIGHUP, former)
    assert len(reloaded) == told
