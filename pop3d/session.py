"""What one POP3 session knows: the ground that commands and answers share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from pop3d.lines import Lines
from pop3d.marks import Marks
from pop3d.replies import Replies
from pop3d.sasl import Exchange


class State(Enum):
    """RFC 1939 section 3. UPDATE: QUIT is given, the deletions are not confirmed yet."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one listener offers to one peer."""

    hostname: str
    implementation: str
    """RFC 2449 section 6.9. Everyone can read it before login: a name, no version."""
    tls_offered: bool
    plaintext_login: bool
    """This peer may log in although the connection is not TLS."""


# Commands that were answered: by keyword, and whether with +OK.
Commands = Counter[tuple[bytes, bool]]


class Session:
    """The state of one connection. A server reads the attributes of the second group, and changes none."""

    __slots__ = (
        "arrived",
        "close_due",
        "deleted",
        "exchange",
        "login_name",
        "marks",
        "policy",
        "program",
        "replies",
        "said_goodbye",
        "secure",
        "state",
        "utf8",
    )
    marks: Marks  # since login; no command before it looks at messages

    def __init__(self, policy: Policy, *, secure: bool) -> None:
        self.policy = policy
        self.arrived = Lines()
        self.replies = Replies()
        self.exchange: Exchange | None = None  # an AUTH that is not finished
        self.close_due = False

        self.state = State.AUTHORIZATION
        self.secure = secure
        self.login_name = ""  # as given by the client
        self.program = ""  # what ID said
        self.utf8 = False
        self.deleted = 0  # messages that are marked as deleted
        self.said_goodbye = False  # QUIT was given and has been answered

    @property
    def may_log_in(self) -> bool:
        # RFC 8314 section 3: a password does not travel in the clear.
        return self.secure or self.policy.plaintext_login

    def forget_client(self) -> None:
        """RFC 2595 section 4: what was said before TLS is forgotten, for it may not have been the client."""
        self.login_name = ""
        self.program = ""
        self.utf8 = False
        self.exchange = None
        self.replies.forget_client()

    def hang_up(self) -> None:
        """Nothing more is run; what has been said is still to be written."""
        self.state = State.CLOSED
        self.arrived.clear()
        self.close_due = True
