"""The mbox file: how its messages are found, and how messages are written so that they are found again. Pure.

Read: mboxo and mboxrd, lines that end in LF or CRLF. A message begins at a From_ line that stands first in
the file or after an empty line and bears a date; Content-Length is ignored, for programs that edit a message
leave it wrong. Written: mboxrd (RFC 4155 appendix A names the dialects), which alone can be undone.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from itertools import chain
from typing import BinaryIO

# A "line" may be as long as the file (a message of NULs): it is read in pieces of this size.
LINE_PIECE = 64 * 1024
CHUNK = 256 * 1024
# A From_ line holds a path and a date; a longer line is none, and is not searched for one.
FROM_LINE_MAX = 1000
# What programs write into a From_ line when there is no envelope sender.
NO_SENDER = {"MAILER-DAEMON", "-", "???@???"}

_DAYS = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = rb"\d{1,2}:\d\d(?::\d\d)?"
_ZONE = rb"(?: +(?:[A-Z]{1,5}|[+-]\d{4}))"
# asctime, with a zone before or after the year; or the order of RFC 5322.
_FROM_LINE = re.compile(
    rb"From (?P<sender>.*?) *"
    rb"(?P<date>%b,? +(?:%b +\d{1,2} +%b%b{0,2} +\d{4}|\d{1,2} +%b +\d{4} +%b)%b{0,2})\s*"
    % (_DAYS, _MONTHS, _TIME, _ZONE, _MONTHS, _TIME, _ZONE)
)
_QUOTED = re.compile(rb">+From ")
# Exactly what `marks_of` writes: another program's Status lines stand elsewhere, and are the message's own.
_MARKS = re.compile(rb"Status: (R?)O\r?\nX-Status: (A?F?)\r?\n")
_TO_QUOTE = re.compile(rb"^(?=>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MboxMessage:
    """One message: where its From_ line stands, what that says, and the message itself, read as it is asked
    for and only until the next message is."""

    offset: int
    sender: str
    received_at: datetime | None
    chunks: Iterator[bytes]


class MboxReader:
    """The messages of an mbox in their order, in flat memory however large they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._from_line = b""
        self._offset = 0

    def __iter__(self) -> Iterator[MboxMessage]:
        self._find_first()
        while self._from_line:
            sender, received_at = read_from_line(self._from_line)
            chunks = self._message()
            yield MboxMessage(self._offset, sender, received_at, chunks)
            for _ in chunks:
                pass

    def _find_first(self) -> None:
        while line := self._file.readline(LINE_PIECE):
            if line.strip(b"\r\n"):
                self._begin(line)
                return

    def _begin(self, from_line: bytes) -> None:
        self._from_line = from_line
        self._offset = self._file.tell() - len(from_line)

    def _message(self) -> Iterator[bytes]:
        """An empty line is passed on only when no From_ line follows: before one, and at the end of the file,
        it belongs to the mbox."""
        self._from_line = b""
        lines: list[bytes] = []
        size = 0
        empty = b""
        inside = False
        while line := self._file.readline(LINE_PIECE):
            if size >= CHUNK:
                yield b"".join(lines)
                lines.clear()
                size = 0
            size += len(line)
            if not inside:
                if empty and is_from_line(line):
                    self._begin(line)
                    break
                lines.append(empty)
                empty = line if line in (b"\n", b"\r\n") else b""
                if empty:
                    continue
                if line.startswith(b">") and _QUOTED.match(line):
                    line = line[1:]
            lines.append(line)
            inside = not line.endswith(b"\n")
        if any(lines):
            yield b"".join(lines)


def is_from_line(line: bytes) -> bool:
    """Whether a line that follows an empty one begins a message: 'From ' and a date, not just 'From here'."""
    return line.startswith(b"From ") and len(line) <= FROM_LINE_MAX and bool(_FROM_LINE.fullmatch(line))


def read_from_line(line: bytes) -> tuple[str, datetime | None]:
    """Envelope sender ("" when there was none) and date of a From_ line; a date without a zone is UTC."""
    match = _FROM_LINE.fullmatch(line) if len(line) <= FROM_LINE_MAX else None
    if match is None:
        return "", None
    sender = match["sender"].decode(errors="replace").strip("<>")
    parsed = parsedate_tz(match["date"].decode())
    try:
        at = datetime.fromtimestamp(mktime_tz(parsed), UTC) if parsed else None
    except (ValueError, OverflowError):
        at = None
    return "" if sender in NO_SENDER else sender, at


def from_line(sender: str, received_at: datetime) -> bytes:
    """A From_ line: envelope sender, and the date as asctime in UTC (RFC 4155 appendix A)."""
    sender = re.sub(r"\s", "?", sender) or "MAILER-DAEMON"
    return f"From {sender} {received_at.astimezone(UTC).ctime()}\n".encode(errors="replace")


def marks_of(seen: bool, starred: bool, answered: bool) -> bytes:
    """A message's flags as the two header lines that mail programs know: 'Status: RO', 'X-Status: AF'."""
    return b"Status: %bO\nX-Status: %b\n" % (b"R" * seen, b"A" * answered + b"F" * starred)


def without_marks(chunks: Iterable[bytes]) -> tuple[str | None, Iterator[bytes]]:
    """A message as it was before `marks_of` was written at its beginning, and the flags as a Maildir's
    letters; None for the flags when no such lines stand there, which is no message of ours."""
    chunks = iter(chunks)
    beginning = next(chunks, b"")
    found = _MARKS.match(beginning)
    if found is None:
        return None, chain([beginning], chunks)
    flags = "S" * (b"R" in found[1]) + "F" * (b"F" in found[2]) + "R" * (b"A" in found[2])
    return flags, chain([beginning[found.end() :]], chunks)


class MboxWriter:
    """Makes an mbox's lines of one message's: LF line ends, and a '>' before each `>*From `."""

    __slots__ = ("_held", "_inside")

    def __init__(self) -> None:
        self._held = b""
        self._inside = False

    def feed(self, raw: bytes) -> bytes:
        """Takes the next raw bytes (lines end in CRLF); returns what to write now, which may be empty."""
        data = self._held + raw
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > LINE_PIECE:
            cut = len(data) - data.endswith(b"\r")
        self._held = data[cut:]
        return self._lines(data[:cut])

    def finish(self) -> bytes:
        """Returns the last of the message, its last line's end and the empty line that follows a message."""
        last, self._held = self._lines(self._held), b""
        return last + (b"\n\n" if self._inside else b"\n")

    def _lines(self, data: bytes) -> bytes:
        if not data:
            return data
        text = data.replace(b"\r\n", b"\n")
        if b"From " in text:
            text = self._quoted(text)
        self._inside = not text.endswith(b"\n")
        return text

    def _quoted(self, text: bytes) -> bytes:
        if not self._inside:
            return _TO_QUOTE.sub(b">", text)
        end = text.find(b"\n") + 1 or len(text)
        return text[:end] + _TO_QUOTE.sub(b">", text[end:])
