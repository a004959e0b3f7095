"""What one LMTP or SMTP session knows: the ground that commands and content share."""

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto

from mailboxes.wire import DataReader, Stuffer
from smtpd.events import Close, Envelope, Event, MessageAborted
from smtpd.lines import Input
from smtpd.replies import Reply


class State(Enum):
    """What the conversation has come to."""

    FRESH = auto()  # no greeting from the peer yet
    IDLE = auto()  # greeted, no message begun
    SENDER = auto()  # MAIL said, no recipient yet
    RECIPIENTS = auto()  # at least one recipient
    CHUNKS = auto()  # between one BDAT and the next
    DATA = auto()  # in the content after DATA
    CHUNK = auto()  # in the content after BDAT
    CLOSED = auto()


class Dialect(Enum):
    """LMTP (RFC 2033) answers after a message once per recipient; SMTP (RFC 5321) once."""

    LMTP = "LMTP"
    SMTP = "SMTP"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one door allows; one object serves all its connections."""

    hostname: str
    dialect: Dialect
    # Octets of the un-stuffed message: RFC 1870 section 5.
    size_limit: int
    tls_offered: bool
    # Per message. RFC 5321 section 4.5.3.1.8: at least 100 must be taken; 1000 is what mail programs come
    # with.
    max_recipients: int = 1000
    # Per connection, begun with MAIL: a bound to what one login to the door can make us do. MTAs reconnect
    # sooner.
    max_transactions: int = 1000
    # In a row: what sends so many is no mail program.
    max_bad_commands: int = 10


@dataclass(slots=True)
class Chunk:
    """A BDAT chunk that is being read: `left` octets are still to come, then the state is `then` again.

    `refusal` answers a chunk that is not taken, though read.
    """

    size: int
    left: int
    last: bool
    refusal: Reply | None
    then: State


@dataclass(slots=True)
class Content:
    """The content of a message that is being read, by DATA's reader or by BDAT's.

    `collecting` while it is given to the server; a message that is too large is read on without.
    """

    reader: DataReader | Stuffer
    collecting: bool = True


# Commands that were answered: by verb, and whether with a reply below 400. DATA with 354: what becomes of the
# message is not the command's.
Commands = Counter[tuple[str, bool]]


class Session:
    """The state of one connection. `peer` is the other side's address, for the text of replies only."""

    __slots__ = (
        "_commands",
        "_envelope",
        "_events",
        "_input",
        "_output",
        "_output_size",
        "_question",
        "_verb",
        "chunk",
        "content",
        "discarded",
        "extended",
        "helo",
        "peer",
        "policy",
        "secure",
        "state",
        "transactions",
    )

    def __init__(self, policy: Policy, *, secure: bool, peer: str, commands: Commands | None = None) -> None:
        """`commands`: where those of many sessions are counted together."""
        self.policy = policy
        self._commands = Commands() if commands is None else commands
        self._verb = ""  # of the command that is not answered yet
        self.secure = secure
        self.peer = peer
        self._input = Input()
        self._events: deque[Event] = deque()
        self._question: Event | None = None  # the event that is not answered yet
        self._output: list[bytes] = []
        self._output_size = 0
        self.transactions = 0  # begun with MAIL since the connection was opened
        self._envelope: Envelope | None = None
        self.content: Content | None = None  # of the message that DATA or the first BDAT has begun
        self.chunk: Chunk | None = None
        self._forget_all()

    # What is said: to the peer, and to the server.

    def send(self, reply: Reply) -> None:
        if self._verb:
            self._commands[self._verb, reply.code < 400] += 1
            self._verb = ""
        encoded = reply.encode()
        self._output.append(encoded)
        self._output_size += len(encoded)
        # RFC 5321 section 3.8: 421 says that the connection is being closed, whoever says it.
        if reply.code == 421:
            self.hang_up(reply.text)

    def tell(self, event: Event) -> None:
        """Says to the server what has happened."""
        self._events.append(event)

    def ask(self, question: Event) -> None:
        """Nothing goes on before the server has answered."""
        self._question = question
        self._events.append(question)

    # The transaction: RFC 5321 section 3.3.

    def begin(self, envelope: Envelope) -> None:
        self.transactions += 1
        self._envelope = envelope
        self.state = State.SENDER

    @property
    def envelope(self) -> Envelope:
        """Of the transaction that MAIL has begun."""
        assert self._envelope is not None
        return self._envelope

    @property
    def octets(self) -> int:
        """The size of the message so far, un-stuffed."""
        return self.content.reader.octets if self.content else 0

    @property
    def final_replies(self) -> int:
        # RFC 2033 section 4.2: one reply for each recipient that was accepted. RFC 5321 section 4.1.1.4: one.
        return len(self.envelope.recipients) if self.policy.dialect is Dialect.LMTP else 1

    def end_transaction(self, answers: list[Reply]) -> None:
        self._forget_message()
        self.state = State.IDLE
        for answer in answers:
            self.send(answer)

    def abort(self, reason: str) -> None:
        """Tells the server, if it collects a message, to throw it away."""
        if self.content is not None and self.content.collecting:
            self.content.collecting = False
            self.tell(MessageAborted(reason))

    def reset(self, reason: str) -> None:
        self.abort(reason)
        self._forget_message()
        self.state = State.IDLE if self.helo else State.FRESH

    def _forget_message(self) -> None:
        self._envelope = None
        self.content = None
        self.chunk = None
        self.discarded = 0  # octets of chunks that are passed over

    # The peer.

    def forget_client(self, reason: str) -> None:
        """RFC 3207 section 4.2: what was said in clear is forgotten, and so is what was sent behind STARTTLS:
        it may have been put there by somebody between us, to be obeyed inside TLS."""
        self.abort(reason)
        self._forget_all()
        self._input.clear()

    def _forget_all(self) -> None:
        self._forget_message()
        self.helo = ""  # what the peer calls itself
        self.extended = False  # greeted with EHLO or LHLO
        self.state = State.FRESH

    def hang_up(self, reason: str) -> None:
        """Nothing more is obeyed; what has been said is still to be written."""
        if self.state is not State.CLOSED:
            self.forget_client(reason)
            self.state = State.CLOSED
            self.tell(Close())
