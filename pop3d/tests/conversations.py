"""A server for the POP3 machine that has everything in memory, and a maildrop of three messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pop3d.protocol import (
    Close,
    Connection,
    Event,
    Expunge,
    Flush,
    Login,
    Policy,
    Retrieve,
    StartTLS,
)

OPEN = Policy(hostname="pop.example.test", implementation="Restante", tls_offered=True, plaintext_login=True)
GUARDED = Policy(
    hostname="pop.example.test", implementation="Restante", tls_offered=True, plaintext_login=False
)
PASSWORD = "correct horse"
LOGIN = b"USER ann@example.test\r\nPASS correct horse\r\n"
BODY = b"Subject: hello\r\n\r\n..hidden dot\r\n"


class ThreeMessages:
    """The maildrop of the RFC's examples, and one message more."""

    def __init__(self, sizes: Sequence[int] = (120, 200, 3000)) -> None:
        self.sizes = list(sizes)

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def octets(self) -> int:
        return sum(self.sizes)

    def octets_of(self, number: int) -> int:
        assert 1 <= number <= self.count
        return self.sizes[number - 1]

    def uidl_of(self, number: int) -> str:
        assert 1 <= number <= self.count
        return f"uid-{number:04}"

    def scan_listing(self) -> bytes:
        return b"".join(b"%d %d\r\n" % pair for pair in enumerate(self.sizes, 1))

    def unique_listing(self) -> bytes:
        return b"".join(b"%d uid-%04d\r\n" % (number, number) for number in range(1, self.count + 1))


@dataclass
class Server:
    """Answers every event at once, the right password with a maildrop."""

    connection: Connection
    maildrop: ThreeMessages = field(default_factory=ThreeMessages)
    output: bytearray = field(default_factory=bytearray)
    events: list[Event] = field(default_factory=list)
    largest_output: int = 0

    def feed(self, data: bytes) -> None:
        self.connection.receive(data)
        self.run()

    def run(self) -> None:
        while (event := self.connection.next_event()) is not None:
            self.answer(event)
        self.write()

    def write(self) -> None:
        piece = self.connection.take_output()
        self.largest_output = max(self.largest_output, len(piece))
        self.output += piece

    def answer(self, event: Event) -> None:
        if isinstance(event, Flush):  # when it comes depends on how the input arrives
            self.write()
            return
        self.events.append(event)
        match event:
            case Login(password=password):
                if password == PASSWORD:
                    self.connection.login_accepted(self.maildrop)
                else:
                    self.connection.login_refused("wrong user name or password")
            case Retrieve():
                self.connection.retrieve_started(len(BODY) - 1)
                self.connection.add_output(BODY)
                self.connection.retrieve_finished()
            case Expunge():
                self.connection.expunged()
            case StartTLS():
                self.write()
                self.connection.tls_started()
            case Close():
                pass


def serve(policy: Policy = OPEN, *, secure: bool = False, logged_in: bool = False) -> Server:
    server = Server(Connection(policy, secure=secure))
    if logged_in:
        server.feed(LOGIN)
        server.output.clear()
        server.events.clear()
    return server


def splits(octets: bytes) -> list[list[bytes]]:
    """The octets whole, byte by byte, and cut in two at every position (of a long stream: at 64 of them)."""
    step = max(1, len(octets) // 64) if len(octets) > 2000 else 1
    cuts = [[octets[:i], octets[i:]] for i in range(1, len(octets), step)]
    return [[octets], [octets[i : i + 1] for i in range(len(octets))], *cuts]


def converse(
    said: bytes, *, policy: Policy = OPEN, secure: bool = False, logged_in: bool = False
) -> tuple[bytes, list[Event]]:
    """What is answered and asked for. It must not depend on how the octets arrive or on what follows them."""
    server = serve(policy, secure=secure, logged_in=logged_in)
    server.feed(said)
    result = bytes(server.output), server.events
    for pieces in [*splits(said), [said, b"NOO"], [said + b"NOO"]]:
        other = serve(policy, secure=secure, logged_in=logged_in)
        for piece in pieces:
            other.feed(piece)
        assert (bytes(other.output), other.events) == result
    return result
