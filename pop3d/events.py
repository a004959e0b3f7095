"""What the POP3 machine asks of its server.

Login, Retrieve, Expunge and StartTLS wait for an answer, and until they have it no further command is run.
Flush and Close ask for something that the server does alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody wants to log in. The password is kept out of the repr, and so out of logs and tracebacks."""

    login: str
    password: str = field(repr=False)
    mechanism: str
    """`USER` (RFC 1939 section 7), `PLAIN` (RFC 4616) or `LOGIN`."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Message `number` (from 1) is to be sent: whole, or its header and the first lines of its body."""

    number: int
    lines: int | None
    """None: everything (RETR). 0: the header only, n: the header and n lines of the body (TOP)."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """QUIT: the messages with these numbers (ascending, at least one) are to be deleted, all or none."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Write the output, then shake hands."""


@dataclass(frozen=True, slots=True)
class Flush:
    """The output is past its high-water mark: write it, and go on once the peer has taken it."""


@dataclass(frozen=True, slots=True)
class Close:
    """Write the output, then close the connection."""


Event = Login | Retrieve | Expunge | StartTLS | Flush | Close
