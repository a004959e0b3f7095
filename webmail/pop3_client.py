"""POP3 as a client: another provider's server is asked for a subscriber's mail (RFC 1939, 2449, 2595).

The server is a stranger: its address must be public, or in a network that FETCH_PRIVATE_NETWORKS names; it is
resolved once, and the very address that was looked at is dialled. Its certificate must be valid. Lines, lists
and time have bounds. Nothing is kept of what it sends but what `retrieve` hands on, piece by piece.
"""

import io
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any

from django.conf import settings

from webmail import outside

# Of the other side: IANA's for POP3 and for POP3 over TLS (RFC 8314 section 3.3).
PORTS = {"tls": 995, "starttls": 110, "none": 110}
CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 60.0
# RFC 1939 section 3: responses of up to 512 octets; some greet with more.
LINE_MAX = 4096
# A line of a message may be as long as the message: it is read in pieces.
PIECE = 64 * 1024
MESSAGES_MAX = 500_000
CAPABILITIES_MAX = 200
# RETR commands on their way at once to a server that knows PIPELINING (RFC 2449 section 6.6).
AHEAD = 8
ADDRESSES_TRIED = 3
# Who wrote a message, when and about what stands before this.
HEAD_MAX = 32 * 1024
TEXT_MAX = 150

# A line of a listing that is longer is passed over; beyond this it is no listing.
OVERLONG_MAX = 64 * 1024

_SIZE = re.compile(rb"([0-9]{1,9}) +([0-9]{1,15})(?: |$)")
# Some servers' have other octets than 0x21 to 0x7E, or more than 70 (RFC 1939 section 7 allows neither).
_UIDL = re.compile(rb"([0-9]{1,9}) +([^ ].*)", re.DOTALL)

Tick = Callable[[], object]


class FetchError(Exception):
    """Why mail cannot be had from there; `text` is what the server said, made harmless."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


class UnknownHost(FetchError):
    """The name leads to no address."""


class NotPublic(FetchError):
    """The name leads to an address that strangers' servers do not have."""


class NoAnswer(FetchError):
    """Nobody accepts connections there."""


class NotTrusted(FetchError):
    """The certificate is not valid for the name."""


class NoTLS(FetchError):
    """The server does not speak TLS there, or has no STLS."""


class LoginRefused(FetchError):
    """The server does not take the name or the password."""


class Misbehaved(FetchError):
    """The server says what is no POP3."""


class Negative(FetchError):
    """The server answers -ERR."""


class BrokenOff(FetchError):
    """The connection ended, or the server was silent for too long."""


class OutOfTime(FetchError):
    """It has taken as long as it may."""


@cache
def verifying() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True)
class World:
    """Names, addresses and certificates. Tests bring some of their own; what may be asked stays the same."""

    resolve: outside.Resolve = outside.resolve
    dial: outside.Dial = outside.dial
    tls: Callable[[], ssl.SSLContext] = verifying


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody's mail is. `security`: tls, starttls or none."""

    host: str
    port: int
    security: str


def is_allowed(address: str, port: int) -> bool:
    """Whether we connect there: public unicast addresses at POP3's ports; anywhere in networks of our own."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if any(ip in network for network in settings.FETCH_PRIVATE_NETWORKS):
        return True
    return port in PORTS.values() and outside.is_public(address)


class _Reader(io.RawIOBase):
    """The socket's octets; each wait is bounded, and so is all of it together."""

    def __init__(self, stream: socket.socket, until: float, tick: Tick) -> None:
        super().__init__()
        self._stream = stream
        self._until = until
        self._tick = tick

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._tick()
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        self._stream.settimeout(min(left, SILENCE_SECONDS))
        try:
            return self._stream.recv_into(buffer)
        except OSError as error:
            raise BrokenOff(type(error).__name__) from None


class POP3Client:
    """A session with another server. `tick` is called at least whenever something arrives, and may raise.

    Every method raises a FetchError; after one the session is of no use but to be closed.
    """

    def __init__(self, place: Place, *, seconds: float, tick: Tick, world: World | None = None) -> None:
        self._place = place
        self._world = world or World()
        self._until = time.monotonic() + seconds
        self._tick = tick
        self._stream = self._connect()
        self._capabilities: set[str] = set()
        try:
            if place.security == "tls":
                self._encrypt()
            self._input = self._reader()
            self._reply()
            if place.security == "starttls":
                self._start_tls()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End without QUIT: nothing is deleted there (RFC 1939 section 6)."""
        self._stream.close()

    # -- connecting ---------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        host, port = self._place.host, self._place.port
        try:
            addresses = self._world.resolve(host, port)
        except (OSError, UnicodeError):
            raise UnknownHost from None
        # One that is ours among others that are not: a name that wants to be tried until it hits.
        if not addresses or not all(is_allowed(address, port) for address in addresses):
            raise NotPublic
        for address in addresses[:ADDRESSES_TRIED]:
            self._tick()
            try:
                return self._world.dial(address, port, CONNECT_SECONDS)
            except OSError:
                continue
        raise NoAnswer

    def _encrypt(self) -> None:
        try:
            self._stream.settimeout(SILENCE_SECONDS)
            # The name is what the certificate is for, though we dialled an address.
            self._stream = self._world.tls().wrap_socket(self._stream, server_hostname=self._place.host)
        except ssl.SSLCertVerificationError as error:
            raise NotTrusted(harmless(error.verify_message)) from None
        except (OSError, ValueError) as error:
            raise NoTLS(type(error).__name__) from None

    def _start_tls(self) -> None:
        try:
            self._command("STLS")
        except Negative as error:
            raise NoTLS(error.text) from None
        self._encrypt()
        # Whatever came in the clear behind the +OK is forgotten with the old reader (RFC 2595 section 4).
        self._input = self._reader()

    def _reader(self) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._stream, self._until, self._tick), PIECE)

    # -- asking -------------------------------------------------------------------------------

    def login(self, user: str, password: str) -> None:
        """USER and PASS. LoginRefused."""
        for word in (user, password):
            if re.search(r"[\r\n\0]", word):
                raise LoginRefused
        try:
            self._command(f"USER {user}")
            self._command(f"PASS {password}")
        except Negative as error:
            raise LoginRefused(error.text) from None
        self._capabilities = self._capa()

    def _capa(self) -> set[str]:
        try:
            self._command("CAPA")
        except Negative:
            return set()
        lines = self._list(CAPABILITIES_MAX)
        return {line.split()[0].decode(errors="replace").upper() for line in lines if line.strip()}

    def sizes(self) -> dict[int, int]:
        """Octets by message number (LIST)."""
        self._command("LIST")
        found = (_SIZE.match(line) for line in self._list(MESSAGES_MAX))
        return {int(one[1]): int(one[2]) for one in found if one}

    def uidls(self) -> dict[int, str]:
        """UIDL by message number; empty where the server knows none (RFC 1939 section 7: optional).

        A character for each octet that the server says, whether it may stand in a UIDL or not; one that is
        longer than a line may be is none.
        """
        try:
            self._command("UIDL")
        except Negative:
            return {}
        found = (_UIDL.match(line.rstrip()) for line in self._list(MESSAGES_MAX))
        return {int(one[1]): one[2].decode("latin-1") for one in found if one}

    def retrieve(self, numbers: Iterable[int]) -> Iterator[tuple[int, Iterator[bytes] | None]]:
        """Messages in the order asked for, each to be read before the next; None: the server has it not.

        What is not read of a message is passed over.
        """
        coming = iter(numbers)
        waiting: list[int] = []
        ahead = AHEAD if "PIPELINING" in self._capabilities else 1
        while True:
            while len(waiting) < ahead and (number := next(coming, None)) is not None:
                self._send(f"RETR {number}")
                waiting.append(number)
            if not waiting:
                return
            number = waiting.pop(0)
            try:
                self._reply()
            except Negative:
                yield number, None
                continue
            lines = self._message()
            yield number, lines
            for _ in lines:
                pass

    def top(self, number: int) -> bytes:
        """How a message begins, with no line of its body (TOP n 0): its header, HEAD_MAX octets of it. Empty
        where the server has it not, or has no TOP (RFC 1939 section 7: optional)."""
        if self._capabilities and "TOP" not in self._capabilities:
            return b""
        try:
            self._command(f"TOP {number} 0")
        except Negative:
            return b""
        head = b""
        for octets in self._message():
            head += octets[: HEAD_MAX - len(head)]
        return head

    def delete(self, numbers: Iterable[int]) -> int:
        """DELE each; counts once QUIT has been answered, as `quit` says. Returns how many were marked."""
        marked = 0
        for number in numbers:
            try:
                self._command(f"DELE {number}")
            except Negative:
                continue
            marked += 1
        return marked

    def quit(self) -> None:
        """End the session in order: only then the server deletes what was marked."""
        self._command("QUIT")

    # -- lines --------------------------------------------------------------------------------

    def _command(self, line: str) -> None:
        self._send(line)
        self._reply()

    def _send(self, line: str) -> None:
        try:
            self._stream.settimeout(SILENCE_SECONDS)
            self._stream.sendall(line.encode() + b"\r\n")
        except OSError as error:
            raise BrokenOff(type(error).__name__) from None

    def _reply(self) -> None:
        """Negative: it is -ERR, and says why. Misbehaved: it is neither that nor +OK."""
        line = self._line()
        if line.startswith(b"-ERR"):
            raise Negative(harmless(line[4:].decode(errors="replace")))
        if not line.startswith(b"+OK"):
            raise Misbehaved(harmless(line.decode(errors="replace")))

    def _line(self) -> bytes:
        line = self._input.readline(LINE_MAX)
        if not line:
            raise BrokenOff
        if not line.endswith(b"\n"):
            raise Misbehaved
        return line.rstrip(b"\r\n")

    def _list(self, most: int) -> Iterator[bytes]:
        """The lines of a multi-line response (RFC 1939 section 3)."""
        for _ in range(most + 1):
            line = self._input.readline(LINE_MAX)
            if line and not line.endswith(b"\n"):
                self._pass_over_the_rest()
                continue
            if not line:
                raise BrokenOff
            line = line.rstrip(b"\r\n")
            if line == b".":
                return
            if line:
                yield line
        raise Misbehaved

    def _pass_over_the_rest(self) -> None:
        rest = self._input.readline(OVERLONG_MAX)
        if not rest:
            raise BrokenOff
        if not rest.endswith(b"\n"):
            raise Misbehaved

    def _message(self) -> Iterator[bytes]:
        """A message's octets as they were before dots were doubled (RFC 1939 section 3), in pieces."""
        lines: list[bytes] = []
        size = 0
        begins = True
        while True:
            line = self._input.readline(PIECE)
            if not line:
                raise BrokenOff
            if begins and line.startswith(b"."):
                if line in (b".\r\n", b".\n"):
                    break
                line = line[1:]
            begins = line.endswith(b"\n")
            lines.append(line)
            size += len(line)
            if size >= PIECE:
                yield b"".join(lines)
                lines.clear()
                size = 0
        if lines:
            yield b"".join(lines)


def harmless(text: str) -> str:
    """What a server said, for people to read: one short line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:TEXT_MAX]
