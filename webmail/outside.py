"""Asking the outside world on a reader's behalf: images that a letter names, and one-click unsubscribing.

Whoever writes a letter chooses these URLs, so this is the one place in the webmail that opens a connection,
and it opens none to ourselves or our neighbours: the name is resolved once, each address that it has must be
public, and the connection goes to the very address that was looked at. A redirect is a new question, judged
anew.

The requests are made by `http.client` on a socket that is given to it: the standard library follows no
redirect, keeps no cookie, inflates nothing, reads no proxy from the environment, and bounds the header that
it reads.
"""

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from django.conf import settings

from mailboxes.reading.links import ascii_host

# Of one question with all its redirects: a reader does not wait longer for a picture.
SECONDS = 10.0
CONNECT_SECONDS = 4.0
REDIRECTS_MAX = 3
# Pictures of newsletters have some 100 KB; what a camera makes has 10 MB.
OCTETS_MAX = 10 * 1024 * 1024
PIECE = 64 * 1024
URL_MAX = 8_000
PORTS = {"http": 80, "https": 443}
# As many addresses of a name are tried; further ones are no likelier to answer.
ADDRESSES_TRIED = 2
# Says neither who reads nor with what: one for all houses.
USER_AGENT = "Mozilla/5.0 (compatible; MailImageProxy/1.0)"
# What RFC 4291 section 2.4 and IANA leave for global unicast; all else is ours, a neighbour's, or nothing.
GLOBAL_UNICAST = IPv6Network("2000::/3")
# Addresses behind which others hide, and those that are for examples: not all are known to every Python.
NOT_PUBLIC: list[IPv4Network | IPv6Network] = [
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # 6to4's relays, RFC 7526
        "2001::/23",  # protocol assignments, among them Teredo, RFC 4380
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
    )
]

Resolve = Callable[[str, int], list[str]]
Dial = Callable[[str, int, float], socket.socket]

# What a host may be written with: a name as A-labels, or an address.
HOST = re.compile(r"[a-z0-9._:-]+")


class Refused(Exception):
    """We do not ask this: the URL, the address behind it, or the answer is nothing for us. It says why."""


class Unanswered(Exception):
    """Nobody answered, not in time, or not in HTTP."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer: status, lower-case header names with the last value of each, the octets of a 200."""

    status: int
    headers: dict[str, str]
    octets: bytes
    url: str


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: unicast, and not another's disguise.

    IPv4 in IPv6 (mapped, 6to4, Teredo, NAT64) is none: what it leads to would be judged by nobody.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (ip.scope_id or ip not in GLOBAL_UNICAST):
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        return False
    return not any(ip in network for network in [*NOT_PUBLIC, *settings.REMOTE_REFUSED_NETWORKS])


# The system's resolver has no time limit that one could set: it is waited for, and left to its end.
_resolvers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="resolve")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, in the order in which the system would try them. OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to an address, which is no name. OSError."""
    return socket.create_connection((address, port), seconds)


@cache
def _verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True)
class Outside:
    """The world as it is asked. Tests bring a world of their own; what may be asked stays the same."""

    resolve: Resolve = resolve
    dial: Dial = dial
    tls: Callable[[], ssl.SSLContext] = _verifying
    seconds: float = SECONDS
    octets_max: int = OCTETS_MAX

    def get(self, url: str, accept: str) -> Answer:
        """What stands at a URL, redirects followed. Refused, Unanswered."""
        until = time.monotonic() + self.seconds
        for _ in range(REDIRECTS_MAX + 1):
            answer = self._ask("GET", url, until, accept=accept)
            target = answer.headers.get("location", "")
            if answer.status not in {301, 302, 303, 307, 308} or not target:
                return answer
            try:
                url = urljoin(url, target)
            except ValueError:
                raise Refused("it leads to what is no URL") from None
        raise Refused("too many redirects")

    def post(self, url: str, body: bytes, content_type: str) -> Answer:
        """Post to a URL; a redirect is the answer. Refused, Unanswered."""
        return self._ask("POST", url, time.monotonic() + self.seconds, body=body, content_type=content_type)

    def _ask(
        self,
        method: str,
        url: str,
        until: float,
        *,
        accept: str = "*/*",
        body: bytes = b"",
        content_type: str = "",
    ) -> Answer:
        target = Target.of(url)
        headers = {
            "Host": target.host_field,
            "User-Agent": USER_AGENT,
            "Accept": accept,
            # What is not packed cannot be a bomb.
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if method == "POST":
            headers |= {"Content-Type": content_type, "Content-Length": str(len(body))}
        stream = self._connected(target, until)
        try:
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.sock = _Timed(stream, until)
            connection.request(method, target.path, body or None, headers)
            response = connection.getresponse()
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                self._read(response) if response.status == 200 else b"",
                url,
            )
        except (OSError, http.client.HTTPException, ValueError) as fault:
            raise Unanswered(type(fault).__name__) from None
        finally:
            stream.close()

    def _connected(self, target: "Target", until: float) -> socket.socket:
        """Connected to an address that has been looked at, and to no other."""
        fault: Exception | None = None
        for address in self._addresses(target, until)[:ADDRESSES_TRIED]:
            try:
                stream = self.dial(address, target.port, min(_left(until), CONNECT_SECONDS))
            except OSError as error:
                fault = error
                continue
            if target.scheme == "http":
                return stream
            try:
                stream.settimeout(_left(until))
                # The name is what the certificate is for, though we dialled an address.
                return self.tls().wrap_socket(stream, server_hostname=target.host)
            except (OSError, ValueError) as error:
                stream.close()
                raise Unanswered(type(error).__name__) from None
        raise Unanswered(type(fault).__name__)

    def _addresses(self, target: "Target", until: float) -> list[str]:
        try:
            found = _resolvers.submit(self.resolve, target.host, target.port).result(_left(until))
        except (OSError, UnicodeError):  # of which a TimeoutError is one
            raise Unanswered("the name is not known") from None
        # One that is ours among others that are not: a name that wants to be tried until it hits.
        if not found or not all(is_public(address) for address in found):
            raise Refused("the address is not public")
        return found

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise Refused("the answer is packed")
        if response.length is not None and response.length > self.octets_max:
            raise Refused("the answer is too large")
        pieces, left = [], self.octets_max
        while piece := response.read(min(PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise Refused("the answer is too large")
            pieces.append(piece)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Refused: it is none for us."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Refused("this is no URL") from None
        host = ascii_host(parts.hostname or "").rstrip(".")
        if parts.scheme not in PORTS or not HOST.fullmatch(host) or len(url) > URL_MAX:
            raise Refused("this is no URL of the web")
        # Browsers end the host at a backslash, and so does what the reader is told of it.
        if "\\" in parts.netloc or any("\ud800" <= c <= "\udfff" for c in url):
            raise Refused("this is no URL of the web")
        if port not in {None, PORTS[parts.scheme]}:
            raise Refused("the port is not that of the web")
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
        return cls(parts.scheme, host, PORTS[parts.scheme], f"{path}?{query}" if query else path)

    @property
    def host_field(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise Unanswered("not in time")
    return left


@dataclass(frozen=True, slots=True)
class _Timed:
    """A connected socket as `http.client` uses one, for which the time of the whole is running.

    A timeout of the socket itself begins anew with each octet, so that a server which sends one every second
    would hold us for as long as it likes.
    """

    stream: socket.socket
    until: float

    def sendall(self, data: bytes) -> None:
        # Python counts this time for all of the data together.
        self.stream.settimeout(_left(self.until))
        self.stream.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self.stream, self.until))

    def close(self) -> None:
        """`http.client` closes what it will not use again, and goes on reading; we close when all is read."""


class _Reader(io.RawIOBase):
    def __init__(self, stream: socket.socket, until: float) -> None:
        super().__init__()
        self._stream = stream
        self._until = until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._stream.settimeout(_left(self._until))
        return self._stream.recv_into(buffer)
