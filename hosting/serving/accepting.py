"""Takes the connections of a listening socket: straight, within TLS, or behind a PROXY header."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hosting.serving.addresses import BACKLOG, host_of, is_within
from hosting.serving.connection import HANDSHAKE_SECONDS, Connection
from hosting.serving.proxy import ProxyError, ProxyHeader

if TYPE_CHECKING:
    from hosting.serving.door import Door

log = logging.getLogger(__name__)

PROXY_SECONDS = 3.0
# With no descriptor left, one is free again when a connection has ended.
PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class Listener:
    """Listening sockets of one kind: `connection` makes a connection's protocol object."""

    sockets: Sequence[socket.socket]
    connection: Callable[["Door"], Connection[Any]]
    implicit_tls: bool = False


async def accept(door: "Door", listener: Listener, one: socket.socket) -> Callable[[], None]:
    """Take connections of one socket from now on; what is returned ends that and closes the socket."""
    loop = asyncio.get_running_loop()
    if door.proxy_networks:
        acceptor = loop.create_task(_accept_proxied(door, listener, one))

        def stop() -> None:
            acceptor.cancel()
            one.close()

        return stop
    tls = _tls_arguments(door, listener)
    server = await loop.create_server(lambda: listener.connection(door), sock=one, backlog=BACKLOG, **tls)
    return server.close


def _tls_arguments(door: "Door", listener: Listener) -> dict[str, Any]:
    # Without TLS asyncio refuses a limit for the handshake.
    if not listener.implicit_tls:
        return {}
    return {"ssl": door.tls, "ssl_handshake_timeout": HANDSHAKE_SECONDS}


# PROXY protocol: the header is read before there is a transport, so that TLS can begin right behind it.


async def _accept_proxied(door: "Door", listener: Listener, one: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            accepted, address = await loop.sock_accept(one)
        except OSError as error:  # no descriptor left, or the peer gave up: the next one must be taken
            log.error("%s accept_failed error=%s", door.name, error.strerror)
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        door.start(_connect_proxied(door, listener, accepted, host_of(address)))


async def _connect_proxied(door: "Door", listener: Listener, accepted: socket.socket, host: str) -> None:
    accepted.setblocking(False)
    connection = listener.connection(door)
    try:
        if is_within(host, door.proxy_networks):
            async with asyncio.timeout(PROXY_SECONDS):
                connection.peer = await _proxied_peer(accepted) or host
        loop = asyncio.get_running_loop()
        tls = _tls_arguments(door, listener)
        await loop.connect_accepted_socket(lambda: connection, accepted, **tls)
    except (OSError, ProxyError, TimeoutError) as error:
        log.info("%s proxy_refused peer=%s error=%s", door.name, host, type(error).__name__)
        accepted.close()


async def _proxied_peer(accepted: socket.socket) -> str:
    """Read exactly the PROXY header; the peer that it names, '' when it names none. ProxyError."""
    loop = asyncio.get_running_loop()
    header = ProxyHeader()
    while not header.done:
        # One octet at a time: what follows the header belongs to the protocol, or to TLS.
        data = await loop.sock_recv(accepted, 1)
        if not data:
            raise ProxyError("the peer went away within its PROXY header")
        header.feed(data)
    return header.source[0] if header.source else ""
