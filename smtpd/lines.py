"""The input of a conversation: what was received and is not worked off, taken as lines or as octets."""

from mailboxes.wire import MAX_LINE, MAX_SMTP_COMMAND
from smtpd import replies
from smtpd.replies import Refusal

# Pieces that wait are joined when there are so many: a peer that sends octet by octet must not cost an object
# each.
_MAX_PIECES = 64


class Input:
    """Received octets, in order. Its length is their number."""

    __slots__ = ("_buffer", "_pieces", "_pieces_size", "_position", "_skipped")

    def __init__(self) -> None:
        self._buffer, self._position = b"", 0  # what is being worked off, and how far it is
        self._pieces: list[bytes] = []  # what came since
        self._pieces_size = 0
        self._skipped = 0  # octets of an over-long line that are dropped already

    def __len__(self) -> int:
        return len(self._buffer) - self._position + self._pieces_size

    def put(self, data: bytes) -> None:
        """Adds what was received."""
        self._pieces.append(data)
        self._pieces_size += len(data)
        if len(self._pieces) > _MAX_PIECES:
            self._pieces = [b"".join(self._pieces)]

    def put_back(self, data: bytes) -> None:
        """Gives back the end of what take() gave."""
        self._gather()
        rest = self._buffer[self._position :]
        self._buffer, self._position = data + rest if rest else data, 0

    def take(self, limit: int | None = None) -> bytes:
        """All there is, or so many octets of it. One piece that is taken whole is not copied."""
        self._gather()
        size = len(self._buffer) - self._position
        end = self._position + (size if limit is None else min(size, limit))
        data = self._buffer[self._position : end]
        self._position = end
        if end == len(self._buffer):
            self._buffer, self._position = b"", 0
        return data

    def clear(self) -> None:
        """Throws all of it away."""
        self.take()
        self._skipped = 0

    def next_line(self) -> bytes | None:
        """The next line with its LF, None when it is not whole yet.

        A line that is too long for a command is a Refusal at its end, and passed over; over MAX_LINE it is a
        final one, at once.
        """
        end = self._buffer.find(b"\n", self._position)
        if end < 0:
            self._gather()
            end = self._buffer.find(b"\n", self._position)
        length = self._skipped + (end + 1 if end >= 0 else len(self._buffer)) - self._position
        if length > MAX_LINE:
            raise Refusal(replies.LINE_TOO_LONG, final=True)
        if end < 0:
            if length > MAX_SMTP_COMMAND:
                self.take()
                self._skipped = length
            return None
        line = self._buffer[self._position : end + 1]
        self._position = end + 1
        self._skipped = 0
        if length > MAX_SMTP_COMMAND:
            raise Refusal(replies.LINE_TOO_LONG)
        return line

    def _gather(self) -> None:
        """Puts what came since to what is being worked off."""
        if not self._pieces:
            return
        if self._position < len(self._buffer):
            self._pieces.insert(0, self._buffer[self._position :])
        self._buffer = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._position = 0
        self._pieces = []
        self._pieces_size = 0
