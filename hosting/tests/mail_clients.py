"""Mail programs of our own, so simple that every octet they send and hear is seen by the test."""

import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Address = tuple[str, int] | str

PASSWORD = "correct horse battery"
SENDER = "mallory@elsewhere.test"
# Longer than any delay that a door makes on purpose, on a busy machine: only a test that fails waits so long.
ANSWER_SECONDS = 500.0


def trusting(certificate: Path) -> ssl.SSLContext:
    """A client's context that believes this one certificate, as a mail program that was told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context


def crlf(raw: bytes) -> bytes:
    """A message as it is to lie in the store: each line end a CRLF, and one at the end."""
    text = re.sub(rb"\r{1,8}\n|\r|\n", b"\r\n", raw)
    return text if not text or text.endswith(b"\r\n") else text + b"\r\n"


def connect(address: Address) -> socket.socket:
    if isinstance(address, str):
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(ANSWER_SECONDS)
        unix.connect(address)
        return unix
    return socket.create_connection(address, ANSWER_SECONDS)


# What is still open when a test ends, for its fixture to close.
_open: list["Wire"] = []


def close_all() -> None:
    while _open:
        _open.pop().close()


class Wire:
    """A connection by lines. EOFError: the other side has closed it."""

    def __init__(
        self, address: Address, tls: ssl.SSLContext, *, first: bytes = b"", inside: bool = False
    ) -> None:
        """`first` is sent before anything else (a PROXY header); `inside`: TLS begins right behind it."""
        self.socket: socket.socket = connect(address)
        _open.append(self)
        self.tls = tls
        self._heard = b""
        if first:
            self.send(first)
        if inside:
            self.wrap()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wrap(self) -> None:
        """Shake hands."""
        assert not self._heard, "something was said in the clear that nobody asked for"
        self.socket = self.tls.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> bool:
        """Read what comes next; False at the end of the connection."""
        try:
            data = self.socket.recv(262_144)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            data = b""
        self._heard += data
        return bool(data)

    def line(self) -> bytes:
        """The next line, without its CRLF."""
        while (end := self._heard.find(b"\r\n")) < 0:
            if not self.hear():
                raise EOFError(self._heard)
        line, self._heard = self._heard[:end], self._heard[end + 2 :]
        return line

    def rest(self) -> bytes:
        """All that comes until the other side closes."""
        while self.hear():
            pass
        heard, self._heard = self._heard, b""
        return heard

    def close(self) -> None:
        """Hang up without a word."""
        self.socket.close()

    def drop(self) -> None:
        """Hang up as a telephone line does that is cut: with RST, and nothing is read any more."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


@dataclass(frozen=True)
class Reply:
    """An answer of the LMTP or SMTP door: `status` is "250 2.0.0", or the code alone."""

    status: str
    text: str


def _reply(lines: Sequence[str]) -> Reply:
    match = re.fullmatch(r"(\d{3})[ -](?:(\d\.\d{1,3}\.\d{1,3}) )?(.*)", lines[-1])
    assert match, lines
    return Reply(" ".join(filter(None, match.groups()[:2])), "\n".join(line[4:] for line in lines))


def stuffed(raw: bytes) -> bytes:
    """A message as DATA carries it, with its end, its line ends as they are."""
    ended = raw if not raw or raw.endswith(b"\r\n") else raw + b"\r\n"
    return (b"\r\n" + ended).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


class Mail(Wire):
    """An LMTP or SMTP client: its greeting is said already."""

    def __init__(
        self, address: Address, hello: str, tls: ssl.SSLContext, *, first: bytes = b"", inside: bool = False
    ) -> None:
        super().__init__(address, tls, first=first, inside=inside)
        self.hello = hello
        self.greeting = self.reply()
        self.extensions = self.ask(f"{hello} relay.elsewhere.test").text.split("\n")[1:]

    def reply(self) -> Reply:
        """The next reply. EOFError for 421 as well: that one says that the connection is closed."""
        lines = [self.line().decode("ascii")]
        while lines[-1][3:4] == "-":
            lines.append(self.line().decode("ascii"))
        reply = _reply(lines)
        if reply.status.startswith("421"):
            raise EOFError(reply)
        return reply

    def ask(self, command: str) -> Reply:
        self.send(command.encode() + b"\r\n")
        return self.reply()

    def start_tls(self) -> None:
        assert self.ask("STARTTLS").status == "220 2.0.0"
        self.wrap()
        self.ask(f"{self.hello} relay.elsewhere.test")

    def envelope(self, *recipients: str, sender: str = SENDER, options: str = "") -> list[Reply]:
        """MAIL and RCPT; the answers to the RCPTs."""
        mail = self.ask(f"MAIL FROM:<{sender}>{options}")
        assert mail.status == "250 2.1.0", mail
        return [self.ask(f"RCPT TO:<{recipient}>") for recipient in recipients]

    def deliver(self, raw: bytes, *recipients: str, sender: str = SENDER, options: str = "") -> list[Reply]:
        """One message by DATA; in LMTP the answer for each recipient that was accepted, in SMTP the one."""
        accepted = [
            r for r in self.envelope(*recipients, sender=sender, options=options) if r.status[0] == "2"
        ]
        assert self.ask("DATA").status == "354"
        self.send(stuffed(raw))
        return [self.reply() for _ in (accepted if self.hello == "LHLO" else accepted[:1])]

    def deliver_chunks(self, raw: bytes, recipient: str, size: int) -> Reply:
        """One message by BDAT, in chunks of a size; the last answer."""
        self.envelope(recipient)
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
        for piece in pieces[:-1]:
            self.send(b"BDAT %d\r\n%b" % (len(piece), piece))
            reply = self.reply()
            assert reply.status == "250 2.0.0", reply
        self.send(b"BDAT %d LAST\r\n%b" % (len(pieces[-1]), pieces[-1]))
        return self.reply()


class POP3(Wire):
    """A POP3 client that has heard the greeting."""

    def __init__(
        self, address: Address, context: ssl.SSLContext, *, tls: bool = False, first: bytes = b""
    ) -> None:
        super().__init__(address, context, first=first, inside=tls)
        self.greeting = self.line()

    def ask(self, command: str) -> bytes:
        """A command; the first line of its answer."""
        self.send(command.encode() + b"\r\n")
        return self.line()

    def start_tls(self) -> None:
        assert self.ask("STLS").startswith(b"+OK ")
        self.wrap()

    def log_in(self, login: str, password: str = PASSWORD) -> bytes:
        """The answer to PASS, or to USER if that is refused already."""
        answer = self.ask(f"USER {login}")
        return self.ask(f"PASS {password}") if answer.startswith(b"+OK ") else answer

    def lines(self) -> bytes:
        """What follows an answer of several lines: un-stuffed, without the last dot."""
        text = []
        while (line := self.line()) != b".":
            text.append(line.removeprefix(b"."))
        return b"".join(line + b"\r\n" for line in text)

    def retrieve(self, number: int) -> bytes:
        """RETR; the octets that were announced are those that came."""
        answer = self.ask(f"RETR {number}")
        assert answer.startswith(b"+OK "), answer
        message = self.lines()
        assert answer == b"+OK %d octets" % len(message)
        return message

    def scan(self) -> dict[int, int]:
        """LIST: sizes by number."""
        assert self.ask("LIST").startswith(b"+OK ")
        return {int(n): int(size) for n, size in (line.split() for line in self.lines().splitlines())}

    def uidls(self) -> dict[int, str]:
        assert self.ask("UIDL").startswith(b"+OK ")
        return {int(n): uidl.decode() for n, uidl in (line.split() for line in self.lines().splitlines())}

    def retrieve_all(self) -> list[bytes]:
        """All messages, checked against STAT and LIST."""
        sizes = self.scan()
        messages = [self.retrieve(number) for number in sizes]
        assert [len(message) for message in messages] == list(sizes.values())
        assert self.ask("STAT") == b"+OK %d %d" % (len(sizes), sum(sizes.values()))
        return messages

    def quit(self) -> bytes:
        answer = self.ask("QUIT")
        self.close()
        return answer


TRACE = re.compile(
    rb"Delivered-To: (?P<recipient>[^\r\n]+)\r\n"
    rb"Return-Path: <(?P<sender>[^\r\n]*)>\r\n"
    rb"Received: from (?P<client>[^\r\n]+)\r\n"
    rb"\tby (?P<host>\S+) with (?P<protocol>\S+) id (?P<id>[0-9a-f]+);\r\n"
    rb"\t\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000\r\n"
)


@dataclass(frozen=True)
class Fetched:
    """A message that was fetched: what the house wrote before it, and what was accepted."""

    recipient: str
    sender: str
    client: str
    protocol: str
    original: bytes


def fetched(message: bytes) -> Fetched:
    """Part what the house wrote from what it was given."""
    trace = TRACE.match(message)
    assert trace, message[:500]
    recipient, sender, client, protocol = (
        trace[name].decode() for name in ("recipient", "sender", "client", "protocol")
    )
    return Fetched(recipient, sender, client, protocol, message[trace.end() :])
