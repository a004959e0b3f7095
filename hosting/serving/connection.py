"""A connection: a socket on one side, a protocol machine without I/O on the other.

It feeds its machine, writes what the machine says, and has each event done: at once where that costs nothing,
as a task where it must wait. No task and no timer exists for a connection that is idle.
"""

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from hosting.serving.addresses import host_of

if TYPE_CHECKING:
    from hosting.serving.door import Door

log = logging.getLogger(__name__)

# Above this many octets unsent, nothing more is made for a peer; below a quarter of it, it goes on.
WRITE_HIGH_WATER = 256 * 1024
# So many events of one peer are done before others get their turn: some milliseconds of work.
TURNS = 100
# A peer that takes nothing for so long is gone (RFC 5321 section 4.5.3.2 and RFC 1939 section 3 wait less).
STALLED_SECONDS = 600.0
HANDSHAKE_SECONDS = 30.0
# A peer that has taken all that was said may be so slow to close its side (within TLS it has to answer).
FAREWELL_SECONDS = 3.0


class Machine(Protocol):
    """What a protocol machine offers to its connection."""

    def greet(self) -> None: ...
    def receive(self, data: bytes) -> None: ...
    def next_event(self) -> Any: ...
    def take_output(self) -> bytes: ...
    def tls_started(self) -> None: ...
    def timed_out(self) -> None: ...
    def shutting_down(self) -> None: ...
    @property
    def wants_data(self) -> bool: ...


M = TypeVar("M", bound=Machine)
Work = Coroutine[Any, Any, None]


@dataclass(frozen=True, slots=True)
class EventKinds:
    """The events that every machine has, under the names of one protocol."""

    flush: type
    close: type
    start_tls: type


class Connection(asyncio.Protocol, Generic[M]):
    """One connection: override `make_machine`, `perform`, `idle_limit` and `ended`."""

    __slots__ = (
        "_busy",
        "_closing",
        "_drained",
        "_eof",
        "_paused",
        "_stopped_reading",
        "door",
        "last_heard",
        "machine",
        "opened_at",
        "peer",
        "transport",
    )
    kinds: EventKinds

    def __init__(self, door: "Door") -> None:
        self.door = door
        self.transport: asyncio.Transport
        self.machine: M
        self.peer = ""
        self.opened_at = self.last_heard = monotonic()
        self._busy = False  # an event is being done by a task
        self._paused = False  # the peer does not take what we write
        self._closing = False
        self._stopped_reading = False
        self._eof = False  # the peer has said its last word, and may still listen
        self._drained: asyncio.Future[None] | None = None

    # What a door of a protocol gives.

    def make_machine(self, *, secure: bool) -> M:
        raise NotImplementedError

    def perform(self, event: Any) -> Work | None:
        """Do what the machine asks: None when it is done, else what is to be awaited."""
        raise NotImplementedError

    def idle_limit(self) -> float:
        """Seconds without a word from the peer that are allowed now."""
        raise NotImplementedError

    def refuse_connection(self) -> bytes:
        """What a peer is told for whom there is no place."""
        raise NotImplementedError

    def ended(self) -> None:
        """The connection is gone."""

    def age_limit(self) -> float:
        """Seconds that a connection may live, however busy."""
        return float("inf")

    def cut_short(self, why: str) -> None:
        """The door is about to end the connection: `idle`, `too_long` or `shutdown`."""

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it
        transport.set_write_buffer_limits(WRITE_HIGH_WATER, WRITE_HIGH_WATER // 4)
        self.peer = self.peer or host_of(transport.get_extra_info("peername"))
        if not self.door.admit(self):
            self._closing = True
            transport.write(self.refuse_connection())
            transport.close()
            return
        self.machine = self.make_machine(secure=transport.get_extra_info("ssl_object") is not None)
        self.machine.greet()
        self.advance()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.last_heard = monotonic()
        self.machine.receive(data)
        self.advance()

    def eof_received(self) -> bool:
        # The peer may still read: a pipelined burst that ends with EOF gets its answers, then it is closed.
        self._eof = True
        self._go_on()
        # Within TLS there is no half-closed connection.
        return not self._closing and self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._release_writer()
        if self.door.forget(self):
            self.ended()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.last_heard = monotonic()  # taking what we write is a sign of life
        self._release_writer()
        self._go_on()

    # The conversation.

    def advance(self) -> None:
        """Run the machine until it needs the peer, a task, or room to write."""
        machine = self.machine
        turns = TURNS
        while not (self._busy or self._paused or self._closing):
            if not turns:
                self._take_turns()
                break
            turns -= 1
            event = machine.next_event()
            if event is None:
                break
            kind = type(event)
            if kind is self.kinds.flush:
                self.write_output()
            elif kind is self.kinds.close:
                self.close()
                return
            elif kind is self.kinds.start_tls:
                self._start(self._start_tls())
            elif (work := self.perform(event)) is not None:
                self._start(work)
        self.write_output()
        if self._eof and turns and not (self._busy or self._paused or self._closing):
            self.close()
        else:
            self._regulate_reading()

    def _take_turns(self) -> None:
        """Thousands of pipelined commands wait here: the others come first, then this goes on."""
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not (self._busy or self._closing):
            self.advance()

    def write_output(self) -> None:
        if output := self.machine.take_output():
            self.transport.write(output)

    def write(self, data: bytes) -> None:
        """Write what the machine need not see. ConnectionError: the peer is gone, perhaps while we waited."""
        if self._closing:
            raise ConnectionError("the peer is gone")
        self.transport.write(data)

    def close(self) -> None:
        """Write what is left, then end the connection."""
        self._closing = True
        self.last_heard = monotonic()  # from now on, the peer has STALLED_SECONDS to take it
        self.write_output()
        self.transport.close()

    async def writable(self) -> None:
        """Wait until the peer has taken most of what was written. ConnectionError: it is gone."""
        if self._paused and not self._closing:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None
        if self._closing:
            raise ConnectionError("the peer is gone")

    @property
    def gone(self) -> bool:
        """The connection is closed or closing."""
        return self._closing

    def _start(self, work: Work) -> None:
        self._busy = True
        self.door.start(self._work(work))

    async def _work(self, work: Work) -> None:
        try:
            await work
        except ConnectionError:
            self.transport.abort()
        except Exception:
            # A fault of ours: the peer is told nothing of the inside, and no half answer is completed.
            log.exception("door work_failed peer=%s", self.peer)
            self.transport.abort()
        finally:
            self._busy = False
            self.last_heard = monotonic()
        if not self._closing:
            self.advance()
            if self.door.draining:
                self.say_goodbye()

    async def _start_tls(self) -> None:
        loop = asyncio.get_running_loop()
        context = self.door.tls
        assert context is not None
        try:
            self.write(self.machine.take_output())
            transport = await loop.start_tls(
                self.transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            self.transport.abort()
            return
        if transport is None:
            return
        self.transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH_WATER, WRITE_HIGH_WATER // 4)
        self.machine.tls_started()

    def _regulate_reading(self) -> None:
        if self._closing:
            return
        if not self.machine.wants_data:
            if not self._stopped_reading:
                self._stopped_reading = True
                self.transport.pause_reading()
        elif self._stopped_reading:
            self._stopped_reading = False
            self.transport.resume_reading()

    def _release_writer(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the clock does.

    def check_time(self, now: float) -> None:
        if self._paused or self._closing:
            if now - self.last_heard > STALLED_SECONDS:
                self.transport.abort()
        elif not self._busy and now - self.last_heard > self.idle_limit():
            self.cut_short("idle")
            self.machine.timed_out()
            self.close()
        elif not self._busy and now - self.opened_at > self.age_limit():
            self.cut_short("too_long")
            self.machine.timed_out()
            self.close()

    def say_goodbye(self) -> None:
        """The door shuts down: an idle connection is told; one that is being served ends after that."""
        if not self._busy and not self._closing:
            self.cut_short("shutdown")
            self.machine.shutting_down()
            self.close()

    def is_waited_for(self, now: float) -> bool:
        """Whether a door that shuts down waits: work is not done, output not taken, or the end just said."""
        unfinished = not self._closing or self.transport.get_write_buffer_size() > 0
        return unfinished or now - self.last_heard < FAREWELL_SECONDS
