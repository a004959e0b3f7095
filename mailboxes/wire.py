"""The wire form of a message: how it is made from what arrives, and how parts of it are taken.

A message is stored as it travels: lines that end in CRLF, a dot added before each line that begins with one
(dot-stuffing), a CRLF at its end, and without the ".CRLF" that ends it on the wire. So DATA's bytes go to the
file untouched, and POP3's RETR sends the file untouched and then ".CRLF". `octets` is everywhere the size of
the un-stuffed message: what RFC 1939 section 11 has LIST say, and what RFC 1870 section 5 compares with a
limit.

Everything here is pure: bytes in, bytes out, by streams, with some octets kept between one piece and the
next. Any split of the same bytes gives the same result. Octets above 127 and NUL are content like any other.
"""

import io
import re
from enum import Enum, auto

# RFC 5321 section 4.5.3.1.6: a line of text has at most 1000 octets with its CRLF. What we write ourselves
# obeys; what arrives may be longer, for programs that send longer lines exist and their mail must not be
# lost.
MAX_TEXT_LINE = 1000
# RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets with its CRLF; POP3's (RFC 1939 section 3)
# the same.
MAX_REPLY_LINE = 512
# RFC 5321 section 4.5.3.1.4 gives a command 512 octets; SIZE, BODY and SMTPUTF8 (RFC 6531 section 3.4) add to
# it, and a path may carry a source route. 2048 holds them all.
MAX_SMTP_COMMAND = 2048
# RFC 2449 section 4: a POP3 command has at most 255 octets with its CRLF.
MAX_POP3_COMMAND = 255
# A peer whose "command" is longer than this is no mail program, or has lost step with us: the connection
# ends.
MAX_LINE = 64 * 1024
# RFC 5321 section 6.3: a limit of at least 100 Received fields is a "large rejection threshold"; between an
# ISP's own hosts, 50 are a loop, as they are to Postfix (hopcount_limit).
MAX_RECEIVED = 50

# Programs that turn LF into CRLF twice or thrice write CR CR LF. A run of up to so many CRs before an LF is
# taken as one line end; the bound is what must be kept between two pieces.
CR_RUN = 8

_END_OF_DATA = b"\r\n.\r\n"
_ANY_LINE_END = re.compile(rb"\r{1,%d}\n|[\r\n]" % CR_RUN)
_DOT_AFTER_BARE_LF = re.compile(rb"(?<!\r)\n\.")
_LONE_DOT = re.compile(rb"\r\n\.(?=\n|\r(?!\n))")
_EMPTY_LINE = re.compile(rb"(?:\A|\n)\r?\n")
_RECEIVED = re.compile(rb"^received[ \t]*:", re.IGNORECASE | re.MULTILINE)


class DataReader:
    """Reads what follows SMTP's DATA, and finds where it ends.

    `done` once CRLF.CRLF has come; `rest` is then what followed it (pipelined commands). `octets` counts the
    un-stuffed message so far. `normalised` tells that a bare CR or LF was found and made a CRLF.

    A dot that the sender stuffed is passed as it is; ".foo" of a sender that does not stuff is passed too and
    loses its dot when un-stuffed, as RFC 5321 section 4.5.2 says. A dot after a bare CR or LF, or alone on a
    line that does not end the data, was content to the sender and is stuffed here.
    """

    __slots__ = ("_at", "_held", "done", "normalised", "octets", "rest")

    def __init__(self) -> None:
        # RFC 5321 section 4.1.1.4: the CRLF of the DATA command counts, so ".CRLF" at once is an empty
        # message.
        self._at = _At.CRLF
        self._held = b""
        self.done = False
        self.normalised = False
        self.octets = 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the connection; returns the wire form to append now, which may be empty."""
        if self.done:
            self.rest += data
            return b""
        if self._held:
            data = self._held + data
        end = self._find_end(data)
        if end >= 0:
            self.done = True
            self._held = b""
            self.rest = data[end + 3 :]
            return self._take(data[:end])
        undecided = self._undecided(data)
        cut = len(data) - undecided
        self._held = data[cut:]
        return self._take(data[:cut])

    def _find_end(self, data: bytes) -> int:
        # RFC 5321 section 4.1.1.4: only CRLF.CRLF ends the data, "never" LF.LF or another likeness of it.
        # Whoever accepts one lets a stranger's message hold a second one with a forged envelope (SMTP
        # smuggling).
        if self._at is _At.CRLF and data.startswith(b".\r\n"):
            return 0
        # rfind says "absent" four times faster than find, and absent is what nearly every piece is.
        if data.rfind(_END_OF_DATA) < 0:
            return -1
        return data.find(_END_OF_DATA) + 2

    def _undecided(self, data: bytes) -> int:
        """How many of the last octets mean what the next ones say: CRs, and a dot that starts a line."""
        if data[-1:] not in (b"\r", b"."):
            return 0
        count = _trailing_crs(data)
        dot = len(data) - count - 1
        if data[dot : dot + 1] == b"." and (
            data[dot - 1 : dot] == b"\n" if dot else self._at is not _At.INSIDE
        ):
            count += 1
        return count

    def _take(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        ends = _line_ends(raw)
        if ends is None or ends == "\r\n":
            wire = b"." + raw if self._at is _At.BARE and raw.startswith(b".") else raw
        else:
            self.normalised = True
            wire = self._mend(raw, ends)
        self.octets += len(wire) - _leading_dots(wire, self._at is not _At.INSIDE)
        self._at = _At.CRLF if raw.endswith(b"\r\n") else _At.BARE if raw[-1] in b"\r\n" else _At.INSIDE
        return wire

    def _mend(self, raw: bytes, ends: "_Ends") -> bytes:
        lone = raw[1:2] == b"\n" or (raw[1:2] == b"\r" and raw[2:3] != b"\n")
        prefix = b""
        if raw.startswith(b".") and (self._at is _At.BARE or (self._at is _At.CRLF and lone)):
            prefix = b"."
        if b"\n." in raw:
            raw = _LONE_DOT.sub(b"\r\n..", raw)
            raw = _DOT_AFTER_BARE_LF.sub(b"\n..", raw)
        return prefix + _with_crlf(raw.replace(b"\r.", b"\r.."), ends)


class Stuffer:
    """Makes the wire form of raw text: BDAT's chunks, an .eml file, an mbox's or a Maildir's message.

    Line ends may be CRLF, LF, CR or a mixture. `octets` counts the message so far, un-stuffed, with CRLF line
    ends.
    """

    __slots__ = ("_at_line_start", "_held", "octets")

    def __init__(self) -> None:
        self._at_line_start = True
        self._held = b""
        self.octets = 0

    def feed(self, data: bytes) -> bytes:
        """Takes the next raw bytes; returns the wire form to append now, which may be empty."""
        if self._held:
            data = self._held + data
        cut = len(data) - _trailing_crs(data)
        self._held = data[cut:]
        return self._take(data[:cut])

    def finish(self) -> bytes:
        """Returns the last of the wire form: a CRLF if the last line has none. Empty stays empty."""
        held, self._held = self._held, b""
        wire = self._take(held)
        return wire if self._at_line_start else wire + self._take(b"\r\n")

    def _take(self, raw: bytes) -> bytes:
        if not raw:
            return raw
        text = _with_crlf(raw, _line_ends(raw))
        self.octets += len(text)
        wire = text if text.rfind(b"\r\n.") < 0 else text.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and text.startswith(b"."):
            wire = b"." + wire
        self._at_line_start = text.endswith(b"\n")
        return wire


class Unstuffer:
    """Makes the raw message of its wire form: takes one dot from each line that begins with one."""

    __slots__ = ("_at_line_start",)

    def __init__(self) -> None:
        self._at_line_start = True

    def feed(self, wire: bytes) -> bytes:
        """Takes the next bytes of the wire form; returns the raw bytes they are."""
        if not wire:
            return wire
        raw = wire if wire.rfind(b"\n.") < 0 else wire.replace(b"\n.", b"\n")
        if self._at_line_start and wire.startswith(b"."):
            raw = raw[1:]
        self._at_line_start = wire.endswith(b"\n")
        return raw

    def finish(self) -> bytes:
        """Nothing is ever kept back; here so that all the readers of streams are used alike."""
        return b""


class TopCutter:
    """Cuts the wire form as TOP wants it (RFC 1939 section 7): headers, empty line, `lines` lines of body.

    `done` once all that has passed; the caller then need not read on. 0 lines: the headers and the empty
    line. A message without an empty line is all header.
    """

    __slots__ = ("_last", "_left", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        # The octets that went before, as far as an empty line could begin in them; None in the body. The
        # start of a message counts as the start of a line.
        self._last: bytes | None = b"\r\n"
        self.done = False

    def feed(self, wire: bytes) -> bytes:
        """Takes the next bytes of the wire form; returns those of them that belong to the answer."""
        if self.done:
            return b""
        headers = self._header_part(wire)
        if self._last is not None:
            return headers
        return headers + self._body_part(wire[len(headers) :])

    def _header_part(self, wire: bytes) -> bytes:
        if self._last is None:
            return b""
        seen = self._last + wire
        end = seen.find(b"\r\n\r\n")
        if end < 0:
            self._last = seen[-3:]
            return wire
        passed = end + 4 - len(self._last)
        self._last = None
        return wire[:passed]

    def _body_part(self, wire: bytes) -> bytes:
        if self._left:
            ends = wire.count(b"\n")
            if ends < self._left:
                self._left -= ends
                return wire
            wire = wire[: len(wire) - len(wire.split(b"\n", self._left)[-1])]
        else:
            wire = b""
        self.done = True
        return wire


def stuff(raw: bytes) -> bytes:
    """The wire form of a whole raw message."""
    stuffer = Stuffer()
    return stuffer.feed(raw) + stuffer.finish()


def unstuff(wire: bytes) -> bytes:
    """The whole raw message of its wire form."""
    return Unstuffer().feed(wire)


def count_received(head: bytes) -> int:
    """How many Received fields stand in the header block with which `head` begins (RFC 5321 section 6.3).

    `head` may go on into the body, which is not looked at; its lines may end in CRLF or LF.
    """
    empty = _EMPTY_LINE.search(head)
    return len(_RECEIVED.findall(head, 0, empty.start() + 1 if empty else len(head)))


class _At(Enum):
    """Where the next octet of DATA stands."""

    CRLF = auto()  # at the start of a line, after a CRLF: a dot here is the sender's stuffing
    BARE = auto()  # at the start of a line that a bare CR or LF began: a dot here is content
    INSIDE = auto()  # inside a line


_Ends = str | tuple[str, ...] | None


def _line_ends(raw: bytes) -> _Ends:
    r"""Which line ends occur: None, one of "\r", "\n", "\r\n", or a tuple of them.

    Universal newlines' own scanner looks at each octet once, in C (2.5 GB/s); three bytes.count() that say
    the same take twice as long.
    """
    scanner = io.IncrementalNewlineDecoder(None, translate=False)
    scanner.decode(raw.decode("latin-1"), final=True)
    return scanner.newlines


def _with_crlf(raw: bytes, ends: _Ends) -> bytes:
    if ends is None or ends == "\r\n":
        return raw
    if ends == "\n":
        return raw.replace(b"\n", b"\r\n")
    if ends == ("\n", "\r\n"):
        return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return _ANY_LINE_END.sub(b"\r\n", raw)


def _trailing_crs(data: bytes) -> int:
    if not data.endswith(b"\r"):
        return 0
    tail = data[-CR_RUN:]
    return len(tail) - len(tail.rstrip(b"\r"))


def _leading_dots(wire: bytes, at_line_start: bool) -> int:
    """How many lines of a piece of the wire form begin with a dot."""
    dots = 0 if wire.rfind(b"\r\n.") < 0 else wire.count(b"\r\n.")
    return dots + (at_line_start and wire.startswith(b"."))
