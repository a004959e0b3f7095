"""A conversation in which Postfix asks and waits, whatever its questions look like, without I/O.

The server reads while `wants_data`, gives what it read to receive(), takes events from next_event(), and
answers each question; while one is unanswered next_event() gives None. What is no question ends the
connection, for behind it nothing can be understood. Input is bounded by MAX_INPUT and one piece more, output
by one reply.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from smtpd.events import Close

# Postfix waits for each reply. Who does not wait is read no further than this.
MAX_INPUT = 16 * 1024

Q = TypeVar("Q")


class Malformed(Exception):
    """What was received is no question."""


class Asking(ABC, Generic[Q]):
    """One conversation with Postfix; a protocol says what a question is."""

    # What is said of what is no question, before the end.
    LAST_WORDS: ClassVar[bytes] = b""

    def __init__(self) -> None:
        self._input = b""
        self._output = b""
        self._asked = False
        self._closed = False

    @property
    def wants_data(self) -> bool:
        """Whether to read on from the network."""
        return not self._closed and len(self._input) < MAX_INPUT

    def receive(self, data: bytes) -> None:
        """Takes what was read from the network."""
        if not self._closed:
            self._input += data

    def next_event(self) -> Q | Close | None:
        """The next event, or None when more input or an answer is needed first."""
        if self._asked or self._closed:
            return None
        try:
            question = self._next_question()
        except Malformed:
            self._output += self.LAST_WORDS
            self._input, self._closed = b"", True
            return Close()
        self._asked = question is not None
        return question

    def take_output(self) -> bytes:
        """What is to be written now."""
        output, self._output = self._output, b""
        return output

    # What other protocols of the door have. Here nobody is greeted, and who waits too long is left in
    # silence: Postfix would take any word for the reply to its next question.

    def greet(self) -> None: ...
    def tls_started(self) -> None: ...
    def timed_out(self) -> None: ...
    def shutting_down(self) -> None: ...

    def _reply(self, reply: bytes) -> None:
        """Answers the question that was given last."""
        assert self._asked, "nothing was asked"
        self._asked = False
        self._output += reply

    @abstractmethod
    def _next_question(self) -> Q | None:
        """The next question, None when it is not whole yet. Malformed."""
