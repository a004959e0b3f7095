"""What the machine tells and asks its server, and the envelope that it speaks of.

Recipient, MessageEnded and StartTLS are questions: until one is answered, nothing more is obeyed.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Envelope:
    """Who sends, who shall have it, and how it came.

    sender      as RFC 5321 writes a path, without brackets; "" for <>
    helo        what the peer calls itself, fit to stand in a header: letters, digits and "-._:[]+?" only
    protocol    for "with" in the Received field: RFC 3848 and RFC 6531 section 4.3
    body        "7BIT" or "8BITMIME"
    recipients  what `recipient_accepted` was given, in order
    """

    sender: str
    helo: str
    protocol: str
    smtputf8: bool = False
    size_declared: int | None = None
    body: str = "7BIT"
    recipients: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recipient:
    """RCPT asks whether this address gets mail here: recipient_accepted() or recipient_refused()."""

    address: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """The content of a message begins."""

    envelope: Envelope


@dataclass(frozen=True, slots=True)
class MessageData:
    """Bytes in wire form to append to the message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class MessageEnded:
    """The message is whole, `octets` long when un-stuffed; to be answered with delivered()."""

    envelope: Envelope
    octets: int


@dataclass(frozen=True, slots=True)
class MessageAborted:
    """What was collected since MessageStarted is to be thrown away."""

    reason: str


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Write what take_output() gives, negotiate TLS, and say tls_started()."""


@dataclass(frozen=True, slots=True)
class Flush:
    """Much output is waiting and more will come: write it before going on."""


@dataclass(frozen=True, slots=True)
class Close:
    """Write what is left of the output and end the connection."""


Event = Recipient | MessageStarted | MessageData | MessageEnded | MessageAborted | StartTLS | Flush | Close
