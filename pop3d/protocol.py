"""A POP3 server without input or output: bytes in, events out, bytes out.

    connection = Connection(policy, secure=False)
    connection.greet()
    connection.receive(octets)
    while event := connection.next_event(): ...     # answer it: login_accepted(), retrieve_started(), ...
    transport.write(connection.take_output())

The server does what an event asks, and answers it; meanwhile further input waits. An answer that nobody waits
for is the server's own mistake and raises RuntimeError, also after timed_out() and shutting_down(), which end
the session whatever is going on.

RFC 1939 (POP3), RFC 1957 (what clients in the field need), RFC 2449 (CAPA, response codes), RFC 2595 (STLS),
RFC 3206 (AUTH and SYS codes), RFC 5034 (AUTH), RFC 6856 (UTF8, LANG), RFC 8314 (no password in the clear);
RFC 2971's ID, which is understood but not announced.
"""

from __future__ import annotations

from typing import Final

from pop3d import texts
from pop3d.commands import COMMANDS, NOT_HERE, continue_auth
from pop3d.events import Close, Event, Expunge, Flush, Login, Retrieve, StartTLS
from pop3d.marks import Maildrop, Marks
from pop3d.session import Commands, Policy, Session, State
from pop3d.texts import Refusal, Text

__all__ = [
    "MAX_BUFFERED",
    "OUTPUT_HIGH_WATER",
    "Close",
    "Commands",
    "Connection",
    "Event",
    "Expunge",
    "Flush",
    "Login",
    "Maildrop",
    "Policy",
    "Retrieve",
    "StartTLS",
    "State",
]

MAX_BUFFERED: Final = 64 * 1024  # octets of input that wait for an answer: thousands of pipelined commands
OUTPUT_HIGH_WATER: Final = 256 * 1024  # octets of replies: a busy socket, and slow readers stay affordable
MAX_LOGIN_FAILURES: Final = 5  # a person mistypes two or three times; who guesses pays for a new connection
# In a row; a good command starts the count again. Before login it is a scanner, after it a lost program.
MAX_BAD_COMMANDS: Final = {State.AUTHORIZATION: 10, State.TRANSACTION: 20}

# What is counted of a keyword that is none here: a peer cannot make up names to be counted.
OTHER: Final = b"OTHER"


class _Body:
    """What the machine waits for between retrieve_started() and retrieve_finished()."""


class Connection(Session):
    """One POP3 session, from the greeting to the last reply."""

    __slots__ = ("_awaiting", "_bad_commands", "_commands", "_keyword", "_login_failures")

    def __init__(self, policy: Policy, *, secure: bool, commands: Commands | None = None) -> None:
        """`commands`: where those of many sessions are counted together."""
        super().__init__(policy, secure=secure)
        self._commands = Commands() if commands is None else commands
        self._keyword = OTHER  # of the command that is being obeyed
        self._awaiting: type | None = None  # the event that is not answered yet
        self._bad_commands = 0  # in a row
        self._login_failures = 0

    # What the server does.

    def greet(self) -> None:
        """RFC 1939 section 4: the greeting. One with <...> in it would announce APOP."""
        self.replies.ok(texts.GREETING, self.policy.hostname.encode())

    def receive(self, data: bytes) -> None:
        """Take what the peer has sent. Nothing is run before next_event()."""
        # RFC 2595 section 4: what comes in the clear after STLS belongs to nobody.
        if self.state is not State.CLOSED and self._awaiting is not StartTLS:
            self.arrived.receive(data)

    @property
    def wants_data(self) -> bool:
        """False: so much is waiting that the server should stop reading until it has answered."""
        return len(self.arrived) < MAX_BUFFERED

    def next_event(self) -> Event | None:
        """Run the commands that have arrived; None when nothing is left to do but to write and read."""
        event = self._obey_input() if self._awaiting is None else None
        if event is None and self.close_due:
            self.close_due = False
            return Close()
        return event

    def take_output(self) -> bytes:
        """Everything said since the last time, in one piece."""
        return self.replies.take()

    # What the server answers.

    def login_accepted(self, maildrop: Maildrop) -> None:
        self._answered(Login)
        self.marks = Marks(maildrop)
        self.state = State.TRANSACTION
        self._count(True)
        self.replies.ok(texts.MAILDROP, maildrop.count, maildrop.octets)

    def login_refused(self, text: str, code: str = "AUTH") -> None:
        """`code`: AUTH, SYS/TEMP, SYS/PERM (RFC 3206), IN-USE, LOGIN-DELAY (RFC 2449 section 8)."""
        self._answered(Login)
        self.login_name = ""
        self._count(False)
        self.replies.error_in_words(text, code)
        self._login_failures += 1
        if self._login_failures >= MAX_LOGIN_FAILURES:
            self.hang_up()

    def retrieve_started(self, octets: int) -> None:
        """The message is open, so +OK can be said; its lines follow in wire form (CRLF, dot-stuffed)."""
        self._answered(Retrieve)
        self._awaiting = _Body
        self._count(True)
        self.replies.ok(texts.OCTETS, octets)

    def add_output(self, data: bytes) -> None:
        """A part of the message that is small enough to be kept until the output is taken."""
        if self._awaiting is not _Body:
            raise RuntimeError("no message is being sent")
        self.replies.say(data)

    def retrieve_finished(self) -> None:
        self._answered(_Body)
        self.replies.say(b".\r\n")

    def retrieve_failed(self, *, temporary: bool) -> None:
        self._answered(Retrieve)
        self._count(False)
        if temporary:
            self.replies.error(texts.MESSAGE_AWAY, code=b"SYS/TEMP")
        else:
            self.replies.error(texts.MESSAGE_GONE, code=b"SYS/PERM")

    def expunged(self) -> None:
        """The deletions are committed: only now is QUIT answered."""
        self._answered(Expunge)
        self._count(True)
        self.replies.ok(texts.DELETED_GOODBYE, self.deleted)
        self.said_goodbye = True
        self.hang_up()

    def expunge_failed(self) -> None:
        """RFC 1939 section 6: -ERR says that messages were not removed. Here it is none of them."""
        self._answered(Expunge)
        self._count(False)
        self.replies.error(texts.NOTHING_DELETED, code=b"SYS/TEMP")
        self.hang_up()

    def tls_started(self) -> None:
        """RFC 2595 section 4: what was said before is forgotten, for it may not have been the client."""
        self._answered(StartTLS)
        self.secure = True
        self.forget_client()

    def tls_failed(self) -> None:
        """The handshake came to nothing; there is nobody left to talk to."""
        self._answered(StartTLS)
        self.hang_up()

    def timed_out(self) -> None:
        """RFC 1939 section 3: the connection is closed "without removing any messages or sending any response
        to the client", which could take an unasked line for the answer to its next command."""
        if self.state is not State.CLOSED:
            self._awaiting = None
            self.hang_up()

    def shutting_down(self) -> None:
        """The server stops. The session ends and deletes nothing."""
        self._break_off(texts.SHUTTING_DOWN, code=b"SYS/TEMP")

    # From lines to commands.

    def _obey_input(self) -> Event | None:
        while self.arrived:
            if len(self.replies) > OUTPUT_HIGH_WATER:
                return Flush()
            if self.exchange is None:
                self._keyword = OTHER
            try:
                line = self.arrived.take(sasl=self.exchange is not None)
                if line is None:
                    break
                event = self._obey(line)
            except Refusal as refusal:
                self._refuse(refusal)
                continue
            self._bad_commands = 0
            # One that is asked of the server is counted when it is answered, as AUTH is at its end.
            if self.exchange is None and (event is None or isinstance(event, StartTLS)):
                self._count(True)
            if event is not None:
                self._awaiting = type(event)
                return event
        return None

    def _obey(self, line: bytes) -> Event | None:
        if self.exchange is not None:
            return continue_auth(self, self.exchange, line)
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()  # RFC 1939 section 3: keywords are case-insensitive
        command = COMMANDS[self.state].get(verb)
        if command is None:
            elsewhere = any(verb in commands for commands in COMMANDS.values())
            if elsewhere:
                self._keyword = verb
            raise Refusal(NOT_HERE[self.state] if elsewhere else texts.UNKNOWN_COMMAND)
        self._keyword = verb
        # RFC 1939 section 7: spaces in the argument of PASS are part of the password.
        return command(self, argument if verb == b"PASS" else argument.strip(b" "))

    def _refuse(self, refusal: Refusal) -> None:
        self.exchange = None  # a response that is refused ends its exchange
        self._count(False)
        self._bad_commands += refusal.bad
        if self._bad_commands >= MAX_BAD_COMMANDS[self.state]:
            refusal = Refusal(texts.TOO_MANY_BAD_COMMANDS, final=True)
        self.replies.error(refusal.text, *refusal.values)
        if refusal.final:
            self.hang_up()

    # What changes.

    def _count(self, good: bool) -> None:
        self._commands[self._keyword, good] += 1

    def _answered(self, awaited: type) -> None:
        if self._awaiting is not awaited:
            raise RuntimeError(f"{awaited.__name__} is not what waits for an answer")
        self._awaiting = None

    def _break_off(self, text: Text, code: bytes = b"") -> None:
        if self.state is State.CLOSED:
            return
        # In a message the line would be taken for a part of it, in UPDATE it might not be true, and a client
        # that is about to shake hands does not expect it.
        if self._awaiting not in (_Body, Expunge, StartTLS):
            self.replies.error(text, code=code)
        self._awaiting = None
        self.hang_up()
