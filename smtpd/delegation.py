"""Postfix's policy delegation protocol (SMTPD_POLICY_README) without I/O: requests in, actions out.

A request is lines `name=value` and an empty line; LF ends a line. So is each reply: `action=DUNNO` and an
empty line. Each Question is answered with answer() (smtpd/asking.py). What is no request ends the connection
without a word, as the protocol wants it: Postfix asks once more, and then tells its client 451.

Bounds: a line MAX_LINE octets, a request MAX_ATTRIBUTES lines.
"""

from dataclasses import dataclass

from smtpd.asking import Asking, Malformed
from smtpd.replies import printable

# Postfix reads lines of 2048 octets (line_length_limit), and no value that it sends is longer.
MAX_LINE = 4096
# Postfix 3.10 sends some 35.
MAX_ATTRIBUTES = 100
# An action is a word, or a short reply of ours.
MAX_TEXT = 200

# The value of `request` that every request has.
KIND = "smtpd_access_policy"


@dataclass(frozen=True, slots=True)
class Question:
    """May this go on? To be answered with answer(). What was no UTF-8 comes as surrogates.

    state   how far the conversation with the client has come: RCPT, DATA and so on
    octets  what the client said of the message's size; 0: nothing
    """

    state: str
    recipient: str
    sender: str = ""
    client: str = ""
    helo: str = ""
    octets: int = 0


class Connection(Asking[Question]):
    """One conversation with Postfix."""

    def __init__(self) -> None:
        super().__init__()
        self._attributes: dict[str, str] = {}
        self._lines = 0

    def answer(self, action: str) -> None:
        """Answers the Question that was given last."""
        self._reply(b"action=%b\n\n" % printable(action, MAX_TEXT).encode("ascii"))

    def _next_question(self) -> Question | None:
        while (end := self._input.find(b"\n", 0, MAX_LINE)) >= 0:
            line, self._input = self._input[:end], self._input[end + 1 :]
            if not line:
                return self._question()
            name, equals, value = line.decode("utf-8", "surrogateescape").partition("=")
            self._lines += 1
            if not equals or self._lines > MAX_ATTRIBUTES:
                raise Malformed
            self._attributes[name] = value
        if len(self._input) >= MAX_LINE:
            raise Malformed
        return None

    def _question(self) -> Question:
        given, self._attributes, self._lines = self._attributes, {}, 0
        if given.get("request") != KIND or "protocol_state" not in given or "recipient" not in given:
            raise Malformed
        return Question(
            state=given["protocol_state"],
            recipient=given["recipient"],
            sender=given.get("sender", ""),
            client=given.get("client_address", ""),
            helo=given.get("helo_name", ""),
            octets=_octets(given.get("size", "")),
        )


def _octets(text: str) -> int:
    """A number of at most 18 digits, which every database holds; whatever else is there counts as nothing."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
