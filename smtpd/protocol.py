"""LMTP (RFC 2033) and SMTP (RFC 5321) without I/O: bytes in, events out, bytes out.

The server reads while `wants_data`, gives what it read to receive(), and takes events from next_event() until
there is none. Three events are questions, and while one is unanswered next_event() gives None: Recipient (to
be answered with recipient_accepted or recipient_refused), MessageEnded (delivered) and StartTLS
(tls_started). take_output() is what is to be written; the server writes it before it waits for anything, and
at Flush, StartTLS and Close.

Extensions: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531),
ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030, without BINARYMIME), STARTTLS (RFC 3207).

Bounds: a command line 2048 octets, input behind a question 64 KiB and one piece more, output 64 KiB and one
reply more, a message `size_limit`, and what comes after that is passed over until DISCARD_FACTOR times as
much.
"""

import re

from smtpd import replies
from smtpd.commands import COMMANDS, Argument
from smtpd.content import read_chunk, read_data
from smtpd.events import (
    Close,
    Envelope,
    Event,
    Flush,
    MessageAborted,
    MessageData,
    MessageEnded,
    MessageStarted,
    Recipient,
    StartTLS,
)
from smtpd.replies import Refusal, Reply
from smtpd.session import Commands, Dialect, Policy, Session, State

__all__ = [
    "Close",
    "Commands",
    "Connection",
    "Dialect",
    "Envelope",
    "Event",
    "Flush",
    "MessageAborted",
    "MessageData",
    "MessageEnded",
    "MessageStarted",
    "Policy",
    "Recipient",
    "Reply",
    "StartTLS",
]

# Input that may wait behind a question: a pipelining client's commands for a thousand recipients fit.
MAX_INPUT = 64 * 1024
# Output that may wait while commands are worked off: a client that never reads must not make us hold replies.
MAX_OUTPUT = 64 * 1024

# RFC 5321 section 2.3.8: CR and LF are in no command; section 4.1.2 leaves no other control character in one.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# What is counted of a verb that is none here: a peer cannot make up names to be counted.
OTHER = "OTHER"


class Connection(Session):
    """One conversation, from the greeting to the last reply."""

    __slots__ = ("_bad_commands", "_farewell")

    def __init__(
        self, policy: Policy, *, secure: bool = False, peer: str, commands: Commands | None = None
    ) -> None:
        super().__init__(policy, secure=secure, peer=peer, commands=commands)
        self._bad_commands = 0  # in a row
        self._farewell: Reply | None = None  # said when the question that is open has been answered

    # What the server does.

    @property
    def wants_data(self) -> bool:
        """Whether to read on from the network."""
        if self.state is State.CLOSED or isinstance(self._question, StartTLS):
            return False
        return len(self._input) < MAX_INPUT

    def greet(self) -> None:
        """RFC 5321 section 3.1: the server speaks first."""
        protocol = "LMTP" if self.policy.dialect is Dialect.LMTP else "ESMTP"
        self.send(Reply(220, "", f"{self.policy.hostname} {protocol}"))

    def receive(self, data: bytes) -> None:
        """Takes what was read from the network."""
        # RFC 3207 section 4.2: nothing that was sent in clear after STARTTLS may be taken for what TLS
        # brought.
        if data and self.state is not State.CLOSED and not isinstance(self._question, StartTLS):
            self._input.put(bytes(data))

    def next_event(self) -> Event | None:
        """The next event, or None when more input or an answer is needed first."""
        while not self._events:
            if self._question is not None or self.state is State.CLOSED:
                return None
            if self._output_size > MAX_OUTPUT and len(self._input):
                return Flush()
            if not self._advance():
                return None
        return self._events.popleft()

    def take_output(self) -> bytes:
        """What is to be written now."""
        output = b"".join(self._output)
        self._output.clear()
        self._output_size = 0
        return output

    def timed_out(self) -> None:
        """The peer was silent for too long: RFC 5321 section 4.5.3.2.7."""
        self._leave(replies.TIMED_OUT)

    def shutting_down(self) -> None:
        """The server stops: RFC 5321 section 3.8. A question that is open is answered first."""
        self._leave(replies.SHUTTING_DOWN)

    # What the server answers.

    def recipient_accepted(self, token: object) -> None:
        """Answers Recipient: `token` goes into the envelope's recipients."""
        self._answered(Recipient)
        self.envelope.recipients.append(token)
        self.state = State.RECIPIENTS
        self.send(replies.RECIPIENT_OK)
        self._say_farewell()

    def recipient_refused(self, reply: Reply) -> None:
        """Answers Recipient: no mail for this one. The others are not concerned."""
        self._answered(Recipient)
        self.send(reply)
        self._say_farewell()

    def delivered(self, answers: list[Reply]) -> None:
        """Answers MessageEnded: in LMTP one reply for each recipient, in order; in SMTP exactly one."""
        if isinstance(self._question, MessageEnded) and len(answers) != self.final_replies:
            raise ValueError(f"{self.final_replies} replies are due, {len(answers)} were given")
        self._answered(MessageEnded)
        self.end_transaction(answers)
        self._say_farewell()

    def tls_started(self) -> None:
        """Answers StartTLS: the handshake is done."""
        self._answered(StartTLS)
        self.secure = True
        self._say_farewell()

    # From octets to commands and content.

    def _advance(self) -> bool:
        """Works off one command, or the content that has come; False when there is nothing to work off."""
        try:
            if self.state is State.DATA:
                return read_data(self, self._input)
            if self.state is State.CHUNK:
                if not read_chunk(self, self._input):
                    return False
            elif (line := self._input.next_line()) is not None:
                self._verb = OTHER
                self._obey(line)
            else:
                return False
        except Refusal as refusal:
            self._refuse(refusal)
            return True
        # Whether a BDAT was a bad command is said at the end of its chunk.
        if self.state is not State.CHUNK:
            self._bad_commands = 0
        return True

    def _obey(self, line: bytes) -> None:
        verb, argument = _parse_line(line)
        command = COMMANDS.get(verb)
        if command is not None:
            self._verb = verb
        if command is None or self.policy.dialect not in command.dialects:
            raise _unreadable(line, replies.unknown_command(verb))
        if refusal := command.refused_in.get(self.state):
            raise Refusal(refusal)
        if not argument and command.argument is Argument.NEEDED:
            raise Refusal(replies.ARGUMENT_NEEDED)
        if argument and command.argument is Argument.NONE:
            raise Refusal(replies.NO_ARGUMENT_ALLOWED)
        command.obey(self, argument)

    def _refuse(self, refusal: Refusal) -> None:
        """Says that a command is bad; too many in a row end the connection."""
        if refusal.final:
            self.send(refusal.reply)
            self.hang_up(refusal.reply.text)
            return
        self._bad_commands += 1
        enough = self._bad_commands >= self.policy.max_bad_commands
        self.send(replies.TOO_MANY_ERRORS if enough else refusal.reply)

    # What changes.

    def _answered(self, kind: type[Event]) -> None:
        if not isinstance(self._question, kind):
            raise RuntimeError(f"no {kind.__name__} is waiting for an answer")
        self._question = None

    def _leave(self, reply: Reply) -> None:
        if self._question is not None:
            self._farewell = reply
        elif self.state is not State.CLOSED:
            self.send(reply)

    def _say_farewell(self) -> None:
        if self._farewell is not None:
            self._leave(self._farewell)


def _parse_line(line: bytes) -> tuple[str, str]:
    """The verb in upper case and what follows it; raises Refusal."""
    # RFC 5321 section 2.3.8: only CRLF ends a line.
    if not line.endswith(b"\r\n"):
        raise _unreadable(line, replies.BARE_LF)
    try:
        text = line[:-2].decode()
    except UnicodeDecodeError:
        raise _unreadable(line, replies.MALFORMED_LINE) from None
    if _CONTROLS.search(text):
        raise _unreadable(line, replies.MALFORMED_LINE)
    # RFC 5321 section 4.1.1: white space at the end of a line is tolerated.
    verb, _, argument = text.rstrip(" \t").partition(" ")
    # RFC 5321 section 2.4: verbs may be in either case; those of other scripts are not folded into ours.
    return verb.upper() if verb.isascii() else verb, argument.lstrip(" \t")


def _unreadable(line: bytes, reply: Reply) -> Refusal:
    # RFC 3030 section 2: a chunk follows its BDAT at once. Behind a BDAT that cannot be read, what is in the
    # chunk would be taken for commands.
    return Refusal(reply, final=line[:4].upper() == b"BDAT")
