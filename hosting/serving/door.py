"""A door in one worker process: how many may come in, the one clock that looks after them, and the end.

No connection has a timer of its own, so ten thousand idle sessions cost their state and nothing else.
"""

import asyncio
import logging
import signal
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from time import monotonic
from typing import Any

from hosting.serving.accepting import Listener, accept
from hosting.serving.connection import Connection, Work

log = logging.getLogger(__name__)

# How often the clock looks at the connections: a limit is kept to within this many seconds.
TICK = 1.0
# SIGTERM: what runs may finish for so long.
DRAIN_SECONDS = 25.0


@dataclass(slots=True)
class Limits:
    """`connections` and `per_address` are those of one process."""

    connections: int
    per_address: int


@dataclass(slots=True)
class Door:
    """The event loop's side of one worker process."""

    name: str
    listeners: Sequence[Listener]
    limits: Limits
    tls: ssl.SSLContext | None = None
    proxy_networks: Sequence[IPv4Network | IPv6Network] = ()
    reload: Callable[[], None] = lambda: None
    on_tick: Callable[[float], None] = lambda now: None
    open: set[Connection[Any]] = field(default_factory=set)
    draining: bool = False
    admitted: int = 0  # connections since the worker began, ...
    turned_away: int = 0  # ... and those that got no place
    _per_address: Counter[str] = field(default_factory=Counter)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Take connections until SIGTERM or SIGINT; then let what runs finish, and return."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        stops = [await accept(self, listener, one) for listener in self.listeners for one in listener.sockets]
        clock = loop.create_task(self._clock())
        await self._stop.wait()
        log.info("%s stopping connections=%d", self.name, len(self.open))
        for stop in stops:
            stop()
        await self._drain()
        clock.cancel()

    def admit(self, connection: Connection[Any]) -> bool:
        """Give a connection its place; False when there is none."""
        peer = connection.peer
        if self.draining or len(self.open) >= self.limits.connections:
            self.turned_away += 1
            return False
        if peer != "local" and self._per_address[peer] >= self.limits.per_address:
            self.turned_away += 1
            return False
        self.admitted += 1
        self._per_address[peer] += 1
        self.open.add(connection)
        return True

    def forget(self, connection: Connection[Any]) -> bool:
        """Free the place of a connection; False when it had none."""
        if connection not in self.open:
            return False
        self.open.discard(connection)
        self._per_address[connection.peer] -= 1
        if not self._per_address[connection.peer]:
            del self._per_address[connection.peer]
        if self.draining and not self.open:
            self._drained.set()
        return True

    def start(self, work: Work) -> None:
        """Run work of a connection as a task that is not lost."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _clock(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._tick(monotonic())

    def _tick(self, now: float) -> None:
        for connection in list(self.open):
            connection.check_time(now)
        if self.draining and not any(connection.is_waited_for(now) for connection in self.open):
            self._drained.set()
        self.on_tick(now)

    async def _drain(self) -> None:
        self.draining = True
        for connection in list(self.open):
            connection.say_goodbye()
        if self.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), DRAIN_SECONDS)
        for connection in list(self.open):
            connection.transport.abort()
        await asyncio.sleep(0)  # they hear of it, and may have something to give back
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
