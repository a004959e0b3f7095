"""A small deterministic server around the protocol machine, so that tests can hold whole conversations."""

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from smtpd import replies
from smtpd.protocol import (
    Close,
    Commands,
    Connection,
    Dialect,
    Envelope,
    Flush,
    MessageAborted,
    MessageData,
    MessageEnded,
    MessageStarted,
    Policy,
    Recipient,
    StartTLS,
)

LMTP = Policy("mx.example.test", Dialect.LMTP, size_limit=1000, tls_offered=True, max_recipients=4)
SMTP = Policy("mx.example.test", Dialect.SMTP, size_limit=1000, tls_offered=True, max_recipients=4)
LHLO = b"LHLO relay.example.test\r\n"
EHLO = b"EHLO relay.example.test\r\n"


@dataclass
class Story:
    """What a conversation came to; `messages` are (sender, recipients, wire form, octets)."""

    output: bytes = b""
    messages: list[tuple[str, list[object], bytes, int]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    tls: int = 0
    closed: bool = False

    @property
    def codes(self) -> list[str]:
        """The last line of each reply: "250 2.1.0" and the like, or the code alone."""
        last = [line for line in self.output.decode("ascii").split("\r\n")[:-1] if line[3] == " "]
        return [" ".join(w for w in line.split()[:2] if w[:1].isdigit()) for line in last]


class Server:
    """Answers at once: `unknown…` and `full…` are refused, `late…` fails when the message is stored."""

    def __init__(self, policy: Policy, **options: bool) -> None:
        self.commands = Commands()
        self.connection = Connection(policy, peer="192.0.2.1", commands=self.commands, **options)
        self.connection.greet()
        self.policy = policy
        self.story = Story()
        self.collected: bytes | None = None
        self.work()

    def feed(self, data: bytes) -> None:
        if not self.story.closed and self.connection.wants_data:
            self.connection.receive(data)
            self.work()

    def work(self) -> None:
        while (event := self.connection.next_event()) is not None:
            getattr(self, "on_" + type(event).__name__)(event)
        self.write()

    def write(self) -> None:
        self.story.output += self.connection.take_output()

    def on_Recipient(self, event: Recipient) -> None:
        self.story.asked.append(event.address)
        if event.address.startswith("unknown"):
            self.connection.recipient_refused(replies.UNKNOWN_RECIPIENT)
        elif event.address.startswith("full"):
            self.connection.recipient_refused(replies.OVER_QUOTA)
        else:
            self.connection.recipient_accepted(event.address)

    def on_MessageStarted(self, event: MessageStarted) -> None:
        assert self.collected is None
        self.collected = b""
        self.story.envelopes.append(event.envelope)

    def on_MessageData(self, event: MessageData) -> None:
        assert event.data and self.collected is not None
        self.collected += event.data

    def on_MessageEnded(self, event: MessageEnded) -> None:
        e = event.envelope
        assert self.collected is not None
        self.story.messages.append((e.sender, list(e.recipients), self.collected, event.octets))
        self.collected = None
        answers = [
            replies.STORE_UNAVAILABLE if str(r).startswith("late") else replies.DELIVERED
            for r in e.recipients
        ]
        self.connection.delivered(answers if self.policy.dialect is Dialect.LMTP else answers[:1])

    def on_MessageAborted(self, event: MessageAborted) -> None:
        assert self.collected is not None
        self.collected = None
        self.story.aborted.append(event.reason)

    def on_StartTLS(self, _: StartTLS) -> None:
        self.write()
        self.story.tls += 1
        self.connection.tls_started()

    def on_Flush(self, _: Flush) -> None:
        self.write()

    def on_Close(self, _: Close) -> None:
        self.story.closed = True


def tell(policy: Policy, pieces: Iterable[bytes], **options: bool) -> Story:
    """Holds one conversation, fed in these pieces."""
    server = Server(policy, **options)
    for piece in pieces:
        server.feed(piece)
    return server.story


def converse(policy: Policy, *flights: bytes, seed: int = 0, **options: bool) -> Story:
    """Holds the conversation whole, octet by octet, and split at random; all must come to the same.

    A flight is what the client sends before it waits; splits are made inside of one.
    """
    chance = random.Random(seed)
    whole = tell(policy, flights, **options)
    ways = [[f[i : i + 1] for f in flights for i in range(len(f))]] if whole.tls == 0 else []
    if whole.tls == 0:
        ways += [[b"".join(flights)], *([p for f in flights for p in split(f, chance)] for _ in range(8))]
    for pieces in ways:
        assert tell(policy, pieces, **options) == whole
    return whole


def split(data: bytes, chance: random.Random) -> list[bytes]:
    edges = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))})
    return [data[a:b] for a, b in itertools.pairwise(edges)]
