"""Ports for servers that are told their number: nobody else is given one between the choice and the bind."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port of 127.0.0.1 that the system gives to nobody meanwhile, for who asks for it by number.

    It is bound and never listened on, so who connects is refused until a server listens there. Linux lets
    servers do that whose sockets have SO_REUSEADDR, as those of all servers have.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
