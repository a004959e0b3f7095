"""Postfix's socketmap protocol (socketmap_table(5)) without I/O: netstrings in, events out, netstrings out.

A request is a netstring, `31:recipients ann@example.test,`: the name of a map, a space and a key. So is each
reply: `OK value`, `NOTFOUND `, `TEMP reason` (Postfix tells its client 451, and nothing is lost) or `PERM
reason` (for Postfix a wrong setting: 451 as well). Each Lookup is answered with answer() (smtpd/asking.py).

Bounds: a request MAX_REQUEST octets.
"""

import re
from dataclasses import dataclass
from enum import Enum

from smtpd.asking import Asking, Malformed
from smtpd.replies import printable

# Postfix reads lines of 2048 octets (line_length_limit), so no key of its own is longer; what is too long for
# an address is looked up all the same, and not found.
MAX_REQUEST = 4096
# Postfix takes 100,000 octets; a value or reason of ours is a short line.
MAX_TEXT = 200

_LENGTH_DIGITS = len(str(MAX_REQUEST))
_LENGTH = re.compile(rb"0|[1-9][0-9]*")


class Result(Enum):
    """What became of a look-up, in the protocol's words."""

    OK = "OK"
    NOTFOUND = "NOTFOUND"
    TEMP = "TEMP"
    PERM = "PERM"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply; `text` is the value found, or the reason for Postfix's log."""

    result: Result
    text: str = ""

    def encode(self) -> bytes:
        # NOTFOUND has its space, too: socketmap_table(5).
        reply = f"{self.result.value} {printable(self.text, MAX_TEXT)}".encode("ascii")
        return b"%d:%b," % (len(reply), reply)


MALFORMED = Answer(Result.PERM, "malformed request, closing the connection")


@dataclass(frozen=True, slots=True)
class Lookup:
    """Is this key in this map? To be answered with answer(). What was no UTF-8 comes as surrogates."""

    map: str
    key: str


class Connection(Asking[Lookup]):
    """One conversation with Postfix."""

    LAST_WORDS = MALFORMED.encode()

    def answer(self, answer: Answer) -> None:
        """Answers the Lookup that was given last."""
        self._reply(answer.encode())

    def _next_question(self) -> Lookup | None:
        colon = self._input.find(b":", 0, _LENGTH_DIGITS + 1)
        length = self._input[:colon] if colon >= 0 else self._input[: _LENGTH_DIGITS + 1]
        if not length and colon < 0:
            return None
        if len(length) > _LENGTH_DIGITS or not _LENGTH.fullmatch(length) or int(length) > MAX_REQUEST:
            raise Malformed
        if colon < 0:
            return None
        end = colon + 1 + int(length)
        if len(self._input) <= end:
            return None
        request, comma = self._input[colon + 1 : end], self._input[end : end + 1]
        name, space, key = request.decode("utf-8", "surrogateescape").partition(" ")
        if comma != b"," or not space:
            raise Malformed
        self._input = self._input[end + 1 :]
        return Lookup(name, key)
