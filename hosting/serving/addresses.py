"""Addresses to listen on, as operators write them, and the networks that peers come from."""

import errno
import os
import re
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

BACKLOG = 4096
"""Connections that may wait for accept(): a morning's burst of clients. Linux lowers it to somaxconn."""

UNIX_PATH_MAX = 107
"""Octets of a socket's path: sun_path holds 108 with the closing NUL (unix(7))."""

EVERY_INTERFACE = "*"
EXAMPLES = "write it as 127.0.0.1:2110, [::1]:2110, *:2110 or unix:/run/restante.sock"

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV4_SHAPE = re.compile(r"[0-9.]+")
_FAMILY_IS_AWAY = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


@dataclass(frozen=True)
class ListenAddress:
    """One address to listen on: `host` and `port`, or the `path` of a Unix socket (host "" and port 0)."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        """Return the address as `parse_listen` reads it."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ListenError(OSError):
    """An address cannot be listened on; the text is one line for the operator, `errno` is the system's."""

    def __init__(self, number: int | None, text: str) -> None:
        super().__init__(number, text)
        self.text = text

    def __str__(self) -> str:
        return self.text


def parse_listen(text: str) -> ListenAddress:
    """Read `127.0.0.1:2110`, `[::1]:2110`, `localhost:2110`, `*:110` or `unix:/run/x.sock`.

    Port 0 lets the system choose. ValueError names what is wrong and shows examples.
    """
    text = text.strip()
    if text.startswith("unix:"):
        return ListenAddress("", 0, _unix_path(text))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise _wrong(text, "has no port")
    if host.startswith("[") and host.endswith("]"):
        return ListenAddress(_ipv6_host(text, host[1:-1]), _port(text, port))
    if ":" in host:
        raise _wrong(text, "has an IPv6 address without brackets, or one colon too many")
    return ListenAddress(_plain_host(text, host), _port(text, port))


def _wrong(text: str, what: str) -> ValueError:
    return ValueError(f"listen address {text!r} {what}; {EXAMPLES}")


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise _wrong(text, "has no absolute path after 'unix:'")
    if "\0" in path or len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise _wrong(text, f"has a path that no socket can have (over {UNIX_PATH_MAX} octets, or a NUL)")
    return path


def _port(text: str, port: str) -> int:
    # int() alone would take '+110', '1_10' and digits of other scripts.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise _wrong(text, f"has {port!r} where a port from 0 to 65535 belongs")
    return int(port)


def _ipv6_host(text: str, host: str) -> str:
    try:
        return str(IPv6Address(host))
    except ValueError:
        raise _wrong(text, f"has {host!r} in brackets, which is no IPv6 address") from None


def _plain_host(text: str, host: str) -> str:
    if host == EVERY_INTERFACE:
        return host
    if not host:
        raise _wrong(text, "has no host before the port (for every interface write *)")
    if _IPV4_SHAPE.fullmatch(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise _wrong(text, f"has {host!r}, which is no IPv4 address") from None
    if len(host) > 253 or not _HOST_NAME.fullmatch(host):
        raise _wrong(text, f"has {host!r}, which is neither an address nor a host name")
    return host


def open_listeners(address: ListenAddress, *, reuse_port: bool) -> list[socket.socket]:
    """Return bound, listening, non-blocking sockets: one for each address that the host stands for.

    `*` gives one socket for IPv4 and one for IPv6; with port 0 they share the port that the system chose. An
    address family which this machine does not have is left out as long as another one opens.
    With `reuse_port` (SO_REUSEPORT) others of this user may listen there too; a Unix socket has no such
    thing. A Unix socket is for its owner and group (mode 0660); a stale one, to which nobody listens, is
    replaced. Errors: ListenError (an OSError), with nothing left open.
    """
    if address.path:
        return [_open_unix(address.path)]
    opened: list[socket.socket] = []
    away: OSError | None = None
    try:
        for family, host in _endpoints(address):
            port = opened[0].getsockname()[1] if opened else address.port
            try:
                opened.append(_open_tcp(family, host, port, reuse_port))
            except OSError as error:
                if error.errno not in _FAMILY_IS_AWAY:
                    raise
                away = error
        if not opened and away is not None:
            raise away
    except OSError as error:
        _close_all(opened)
        raise _explained(address, error) from error
    return opened


def open_for_workers(address: ListenAddress, workers: int) -> list[list[socket.socket]]:
    """Return one set of listeners for each worker, to be opened by the parent before it forks.

    The kernel spreads connections over the sets (SO_REUSEPORT), and the connections that wait in a set
    outlive its worker, because the parent has it open too. A worker closes the sets of the others. A Unix
    socket is one for all. Errors: ListenError, also when another door of this user has the address, which
    SO_REUSEPORT alone would share.
    """
    alone = open_listeners(address, reuse_port=False)
    if workers == 1 or address.path:
        return [alone] * workers
    address = replace(address, port=alone[0].getsockname()[1])
    _close_all(alone)
    sets: list[list[socket.socket]] = []
    try:
        for _ in range(workers):  # not one comprehension: what is open must be known when the next one fails
            sets.append(open_listeners(address, reuse_port=True))  # noqa: PERF401
    except ListenError:
        for listeners in sets:
            _close_all(listeners)
        raise
    return sets


def _close_all(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _endpoints(address: ListenAddress) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Return (family, (host, scope id)) of every address the host stands for, each once."""
    if address.host == EVERY_INTERFACE:
        return [(socket.AF_INET, ("0.0.0.0", 0)), (socket.AF_INET6, ("::", 0))]  # noqa: S104  (what * asks for)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    ends = [(family, (str(end[0]), int(end[3]) if len(end) == 4 else 0)) for family, _, _, _, end in found]
    return list(dict.fromkeys(ends))


def _open_tcp(
    family: socket.AddressFamily, host: tuple[str, int], port: int, reuse_port: bool
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted door must not wait for the old one's connections to leave TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own, so that peers are not seen as ::ffff:192.0.2.1.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host[0], port, 0, host[1]))
        else:
            listener.bind((host[0], port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _open_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(path)
        # Before listen() nobody can connect, so the wider mode of the umask is never open to anyone.
        Path(path).chmod(0o660)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _explained(ListenAddress("", 0, path), error) from error
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket that a door which was killed left behind; anything else at that path stays."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)  # a door that is behind with accept() must not hold us
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            pass


def _explained(address: ListenAddress, error: OSError) -> ListenError:
    """Say in the operator's words why an address cannot be listened on."""
    if isinstance(error, socket.gaierror):
        return ListenError(
            error.errno, f"cannot listen on {address}: the host name has no address ({error.strerror})"
        )
    number = error.errno
    if number in {errno.EACCES, errno.EPERM} and not address.path:
        why = (
            f"port {address.port} needs privileges: let the service manager give CAP_NET_BIND_SERVICE, "
            "or listen on a port from 1024 up and redirect to it"
        )
    elif number == errno.EADDRINUSE:
        why = "it is already in use by another process"
    elif number == errno.EADDRNOTAVAIL:
        why = "this machine has no such address"
    elif number == errno.EEXIST:
        why = "the path is taken by something that is not a socket"
    else:
        why = error.strerror or str(error)
    return ListenError(number, f"cannot listen on {address}: {why}")


# Remembered for as many peers as are connected at a time: taking an address apart costs as much as a query.
@lru_cache(maxsize=16_384)
def network_of(peer: str) -> str:
    """Return the network that throttles and seats count by: `192.0.2.0/24`, `2001:db8:1:2::/64`.

    A /64 is the least that one IPv6 subscriber has (RFC 6177 section 2), so single IPv6 addresses tell nobody
    apart. An IPv4-mapped address (RFC 4291 section 2.5.5.2) counts as the IPv4 address it is. What is no IP
    address (the peer of a Unix socket) is returned as it is.
    """
    address = _ip(peer)
    if address is None:
        return peer
    return str(ip_network((int(address), 24) if address.version == 4 else (address.packed, 64), strict=False))


@lru_cache(maxsize=16_384)
def is_loopback(peer: str) -> bool:
    """Tell whether the peer is this machine (127.0.0.0/8, ::1, also mapped); False for what is no IP
    address."""
    address = _ip(peer)
    return address is not None and address.is_loopback


def is_within(peer: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Tell whether the peer is in one of the networks; False for what is no IP address."""
    address = _ip(peer)
    return address is not None and any(address in network for network in networks)


def host_of(name: object) -> str:
    """Return the host in a socket's name as Python gives it; `local` for a Unix socket, which has none."""
    return str(name[0]) if isinstance(name, tuple) and name else "local"


def _ip(peer: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
