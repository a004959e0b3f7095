"""A door as processes: sockets are opened, workers forked, and in each an event loop serves until stopped."""

import gc
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from hosting.serving.accepting import Listener
from hosting.serving.addresses import ListenAddress, ListenError, open_for_workers
from hosting.serving.connection import Connection
from hosting.serving.door import Door
from hosting.serving.tls import TLSConfigurationError, reload_context, server_context
from hosting.serving.workers import serve

log = logging.getLogger(__name__)

# Beside its connections a worker has open: listeners, database, logs, and the messages it is sending.
FILES_BESIDE_CONNECTIONS = 512


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a door's certificate comes from: the arguments of `server_context`."""

    cert: Path | None
    key: Path | None
    fallback_dir: Path
    hostname: str
    alpn: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        return server_context(self.cert, self.key, self.fallback_dir, self.hostname, self.alpn)

    def reload(self, context: ssl.SSLContext) -> None:
        try:
            reload_context(context, self.cert, self.key, self.fallback_dir, self.hostname, self.alpn)
            log.info("certificate reloaded")
        except TLSConfigurationError as error:
            log.error("certificate not_reloaded error=%s", error)


@dataclass(frozen=True, slots=True)
class Place:
    """One address a door listens on; `kind` is the door's own name for what is spoken there."""

    kind: str
    address: ListenAddress
    implicit_tls: bool = False


# Makes the door of one worker process, and cleans up after it.
DoorMaker = Callable[[int, Sequence[Listener], ssl.SSLContext], AbstractContextManager[Door]]
# What speaks at a place: makes the protocol object of each connection there.
ConnectionMaker = Callable[[Place], Callable[[Door], Connection[Any]]]


def _not_yet(signum: int, frame: object) -> None:
    """A signal that is not ignored, and does nothing."""


@contextmanager
def _ending_when_told() -> Iterator[None]:
    """Whoever is told to stop before there is a loop that hears it ends at once, and as well as later.

    SIGHUP, of which a process dies that has not asked for it, says nothing yet: the certificate comes later.
    """

    def end(signum: int, frame: object) -> None:
        raise SystemExit(0)

    former = {signum: signal.signal(signum, end) for signum in (signal.SIGTERM, signal.SIGINT)}
    former[signal.SIGHUP] = signal.signal(signal.SIGHUP, _not_yet)
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


@_ending_when_told()
def run_door(
    name: str,
    places: Sequence[Place],
    certificate: Certificate,
    workers: int,
    make_door: DoorMaker,
    connect: ConnectionMaker,
) -> int:
    """Serve until told to stop; the exit code. Prints one line for each address, with its real port.

    Errors: ListenError, TLSConfigurationError, before anything is forked.
    """
    opened = [open_for_workers(place.address, workers) for place in places]
    certificate.context()  # wrong settings end the start here, once, and a self-signed pair is made once
    for place, sets in zip(places, opened, strict=True):
        for one in sets[0]:
            print(f"{name}: {place.kind} on {_shown(one.getsockname())}", flush=True)

    def worker(index: int) -> int:
        for sets in opened:
            _close_others(sets, index)
        listeners = [
            Listener(sets[index], connect(place), place.implicit_tls)
            for place, sets in zip(places, opened, strict=True)
        ]
        return _serve_one(index, listeners, certificate, make_door)

    return serve(worker, workers=workers, name=name)


def _close_others(sets: Sequence[Sequence[socket.socket]], index: int) -> None:
    """A worker keeps its own listeners only; a Unix socket is one for all."""
    for other, listeners in enumerate(sets):
        if other != index and listeners is not sets[index]:
            for one in listeners:
                one.close()


def _serve_one(
    index: int, listeners: Sequence[Listener], certificate: Certificate, make_door: DoorMaker
) -> int:
    # Collections of the oldest generation walk every session that is open; what is long-lived is not garbage.
    gc.set_threshold(50_000, 20, 100)

    # A forked worker ignores it so far, and of what is ignored the loop does not hear.
    signal.signal(signal.SIGHUP, _not_yet)

    async def main() -> None:
        # Within the loop, which keeps a SIGHUP that comes from here on until the door has its handler: else a
        # worker that is just coming up could miss a new certificate, and present the old one for months.
        context = certificate.context()
        with make_door(index, listeners, context) as door:
            raise_file_limit(door.limits.connections + FILES_BESIDE_CONNECTIONS)
            door.reload = lambda: certificate.reload(context)
            await door.serve()

    uvloop.run(main())
    return 0


def raise_file_limit(wanted: int) -> None:
    """Let this process hold as many files open as it needs; a line in the log where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("files limit=%d wanted=%d hint=raise_ulimit_-n_for_more_connections", allowed, wanted)


def _shown(name: object) -> str:
    if isinstance(name, tuple):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return f"unix:{name!s}"


def complain(name: str, error: ListenError | TLSConfigurationError | ValueError) -> int:
    """Say in one line why a door cannot start; the exit code."""
    sys.stderr.write(f"{name}: {error}\n")
    return 1
