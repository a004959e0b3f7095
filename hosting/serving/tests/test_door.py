"""A door's connection with a machine and a transport that are pretended: time, bounds, and who may come."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from hosting.serving.connection import (
    FAREWELL_SECONDS,
    STALLED_SECONDS,
    WRITE_HIGH_WATER,
    Connection,
    EventKinds,
    Work,
)
from hosting.serving.door import Door, Limits

pytestmark = pytest.mark.once


class Flush: ...


class Close: ...


class StartTLS: ...


class Wait: ...


class Echo:
    """A machine that says what it hears; `!` is work that waits, `q` the end."""

    def __init__(self) -> None:
        self.events: deque[object] = deque()
        self.output = b""
        self.wants_data = True
        self.told: list[str] = []

    def greet(self) -> None:
        self.output += b"hello\n"

    def receive(self, data: bytes) -> None:
        self.output += data
        self.events += [Wait() for _ in range(data.count(b"!"))]
        self.events += [Close() for _ in range(data.count(b"q"))]

    def next_event(self) -> object | None:
        return self.events.popleft() if self.events else None

    def take_output(self) -> bytes:
        output, self.output = self.output, b""
        return output

    def tls_started(self) -> None:
        self.told.append("tls")

    def timed_out(self) -> None:
        self.told.append("timed out")

    def shutting_down(self) -> None:
        self.told.append("shutting down")
        self.output += b"bye\n"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self, peer: str = "192.0.2.1") -> None:
        self.peer = peer
        self.written = b""
        self.state = "open"
        self.unsent = 0
        self.reading = True

    def get_extra_info(self, name: str) -> Any:
        return (self.peer, 40_000) if name == "peername" else None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.limits = (high, low)

    def write(self, data: bytes) -> None:
        assert self.state == "open"
        self.written += data

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Session(Connection[Any]):
    kinds = EventKinds(Flush, Close, StartTLS)
    idle, age = 10.0, 100.0

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self.ends: list[str] = []
        self.go_on: asyncio.Event = asyncio.Event()
        self.fault: Callable[[], None] = lambda: None

    def make_machine(self, *, secure: bool) -> Echo:
        return Echo()

    def perform(self, event: object) -> Work | None:
        return self._wait()

    async def _wait(self) -> None:
        await self.go_on.wait()
        self.fault()

    def idle_limit(self) -> float:
        return self.idle

    def age_limit(self) -> float:
        return self.age

    def refuse_connection(self) -> bytes:
        return b"no room\n"

    def ended(self) -> None:
        self.ends.append("ended")

    def cut_short(self, why: str) -> None:
        self.ends.append(why)


def meet(door: Door, peer: str = "192.0.2.1") -> tuple[Session, Wire]:
    session, wire = Session(door), Wire(peer)
    session.connection_made(wire)  # type: ignore[arg-type]
    return session, wire


def make_door(connections: int = 10, per_address: int = 10) -> Door:
    return Door("test", [], Limits(connections, per_address))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(test: Callable[[], Work]) -> None:
    asyncio.run(test())


def test_who_is_silent_too_long_is_cut_off_and_who_speaks_is_not() -> None:
    door = make_door()
    session, wire = meet(door)
    now = session.last_heard
    session.check_time(now + 9)
    assert wire.state == "open"
    session.data_received(b"x")
    session.check_time(session.last_heard + 9)
    assert wire.state == "open"
    session.check_time(session.last_heard + 11)
    assert (wire.state, session.ends, session.machine.told) == ("closed", ["idle"], ["timed out"])


def test_words_alone_do_not_hold_a_place_for_ever() -> None:
    session, wire = meet(make_door())
    session.opened_at -= 200
    session.check_time(session.last_heard)
    assert (wire.state, session.ends) == ("closed", ["too_long"])


def test_what_is_being_done_for_a_peer_is_not_its_silence() -> None:
    async def test() -> None:
        session, wire = meet(make_door())
        session.data_received(b"!")
        await settle()
        session.check_time(monotonic() + 1000)
        assert wire.state == "open"
        session.go_on.set()
        await settle()
        session.check_time(session.last_heard + 9)
        assert wire.state == "open"
        session.check_time(session.last_heard + 11)
        assert wire.state == "closed"

    run(test)


def test_who_stops_reading_is_written_nothing_more_and_given_up_in_the_end() -> None:
    session, wire = meet(make_door())
    assert wire.limits == (WRITE_HIGH_WATER, WRITE_HIGH_WATER // 4)
    session.pause_writing()
    session.machine.events += [Close()]
    session.advance()
    assert wire.state == "open", "nothing is done for a peer that takes nothing"
    session.check_time(session.last_heard + STALLED_SECONDS - 1)
    assert wire.state == "open"
    session.check_time(session.last_heard + STALLED_SECONDS + 1)
    assert wire.state == "aborted"


def test_who_takes_nothing_of_what_is_left_is_given_up_in_the_end() -> None:
    session, wire = meet(make_door())
    session.data_received(b"q")
    assert wire.state == "closed", "and the transport holds what the peer has not taken yet"
    session.check_time(session.last_heard + STALLED_SECONDS - 1)
    assert (wire.state, session.ends, session.machine.told) == ("closed", [], [])
    session.check_time(session.last_heard + STALLED_SECONDS + 1)
    assert wire.state == "aborted"


def test_who_got_no_place_may_hang_up() -> None:
    session, wire = meet(make_door(connections=0))
    assert (wire.state, wire.written) == ("closed", b"no room\n")
    assert session.eof_received() is False
    session.connection_lost(None)
    assert session.ends == []


def test_who_reads_again_is_served_on() -> None:
    session, wire = meet(make_door())
    session.pause_writing()
    session.data_received(b"q")
    assert wire.state == "open"
    session.resume_writing()
    assert (wire.state, wire.written) == ("closed", b"hello\nq")


def test_a_machine_that_has_enough_input_is_given_no_more() -> None:
    session, wire = meet(make_door())
    session.machine.wants_data = False
    session.data_received(b"x")
    assert not wire.reading
    session.machine.wants_data = True
    session.advance()
    assert wire.reading


def test_a_fault_of_ours_ends_the_connection_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        session, wire = meet(make_door())
        session.fault = lambda: 1 / 0  # type: ignore[assignment]
        session.go_on.set()
        session.data_received(b"!")
        await settle()
        assert (wire.state, wire.written) == ("aborted", b"hello\n!")

    run(test)
    assert "work_failed" in caplog.text


def test_waiting_for_a_reader_ends_when_the_reader_is_gone() -> None:
    async def test() -> None:
        session, _ = meet(make_door())
        session.pause_writing()
        waiting = asyncio.create_task(session.writable())
        await settle()
        assert not waiting.done()
        session.connection_lost(None)
        with pytest.raises(ConnectionError):
            await waiting
        with pytest.raises(ConnectionError):
            session.write(b"x")
        assert session.ends == ["ended"]

    run(test)


def test_places_are_limited_by_address_and_in_all_and_are_given_back() -> None:
    door = make_door(connections=3, per_address=2)
    first, _ = meet(door)
    meet(door)
    _, third = meet(door)
    assert (third.state, third.written) == ("closed", b"no room\n")
    meet(door, "198.51.100.1")
    _, full = meet(door, "203.0.113.1")
    assert full.written == b"no room\n"
    first.connection_lost(None)
    _, again = meet(door)
    assert again.written == b"hello\n"
    first.connection_lost(None)  # a place is given back once
    assert len(door.open) == 3


def test_a_door_that_shuts_down_tells_the_idle_and_serves_the_busy() -> None:
    async def test() -> None:
        door = make_door()
        idle, idle_wire = meet(door)
        busy, busy_wire = meet(door)
        busy.data_received(b"!")
        await settle()
        door.draining = True
        for session in (idle, busy):
            session.say_goodbye()
        assert (idle_wire.state, idle_wire.written, idle.ends) == ("closed", b"hello\nbye\n", ["shutdown"])
        assert (busy_wire.state, busy.ends) == ("open", [])
        busy.go_on.set()
        await settle()
        assert (busy_wire.state, busy_wire.written) == ("closed", b"hello\n!bye\n")
        _, late = meet(door)
        assert late.written == b"no room\n"

    run(test)


def test_a_door_that_stood_empty_before_waits_for_the_busy_all_the_same() -> None:
    async def test() -> None:
        door = make_door()
        meet(door)[0].connection_lost(None)
        busy, wire = meet(door)
        busy.data_received(b"!")
        drained = asyncio.create_task(door._drain())
        await settle()
        assert (wire.state, drained.done()) == ("open", False)
        busy.go_on.set()
        await settle()
        assert (wire.state, wire.written) == ("closed", b"hello\n!bye\n")
        busy.connection_lost(None)
        await drained

    run(test)


def test_a_door_that_shuts_down_does_not_wait_for_who_does_not_answer_its_goodbye() -> None:
    async def test() -> None:
        door = make_door()
        session, wire = meet(door)
        wire.unsent = 4
        drained = asyncio.create_task(door._drain())
        await settle()
        assert (wire.state, wire.written) == ("closed", b"hello\nbye\n")
        door._tick(session.last_heard + FAREWELL_SECONDS + 1)
        assert not door._drained.is_set(), "the peer has not taken all of it"
        wire.unsent = 0
        door._tick(session.last_heard + FAREWELL_SECONDS - 1)
        assert not door._drained.is_set(), "it may still answer"
        door._tick(session.last_heard + FAREWELL_SECONDS + 1)
        assert door._drained.is_set()
        await drained
        assert wire.state == "aborted"

    run(test)
