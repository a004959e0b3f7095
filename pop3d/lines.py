"""From octets to lines, with a bound on both."""

from __future__ import annotations

from typing import Final

from pop3d import texts
from pop3d.texts import Refusal

COMMAND_LIMIT: Final = 255  # octets with the line's end: RFC 2449 section 4
SASL_LIMIT: Final = 8192  # octets of a line that carries a SASL response: more than any password takes
LINE_LIMIT: Final = 64 * 1024  # octets: whoever sends a longer line does not speak POP3


class Lines:
    """What has arrived and is not run yet; its length is in octets."""

    __slots__ = ("_octets", "_skipped")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._skipped = 0  # octets thrown away of a line that is too long and has not ended yet

    def __len__(self) -> int:
        return len(self._octets)

    def receive(self, data: bytes) -> None:
        self._octets += data

    def clear(self) -> None:
        self._octets.clear()
        self._skipped = 0

    def take(self, *, sasl: bool) -> bytes | None:
        """The next line without its end, or None when it has not ended yet.

        `sasl`: the line answers a challenge and may be longer than a command. A line over its limit is a
        Refusal when it ends, so that it has one reply; over LINE_LIMIT it is a final Refusal, at once.
        """
        end = self._octets.find(b"\n")
        if end < 0:
            self._skip_overlong(sasl)
            return None
        length = self._skipped + end + 1
        if length > COMMAND_LIMIT and (self._skipped or length > self._limit(sasl)):
            del self._octets[: end + 1]
            self._skipped = 0
            raise _far_too_long() if length > LINE_LIMIT else Refusal(texts.LINE_TOO_LONG)
        line = bytes(self._octets[:end])
        del self._octets[: end + 1]  # cheap: a bytearray gives up its front without moving the rest
        return line.removesuffix(b"\r")

    def _skip_overlong(self, sasl: bool) -> None:
        """A line that is already too long does not need to be kept while its end is awaited."""
        waiting = len(self._octets)
        if not self._skipped and (waiting < COMMAND_LIMIT or waiting < self._limit(sasl)):
            return
        self._skipped += waiting
        self._octets.clear()
        if self._skipped >= LINE_LIMIT:
            raise _far_too_long()

    def _limit(self, sasl: bool) -> int:
        # RFC 5034 section 4: an initial response makes AUTH longer than other commands.
        return SASL_LIMIT if sasl or self._octets[:5].upper() == b"AUTH " else COMMAND_LIMIT


def _far_too_long() -> Refusal:
    return Refusal(texts.LINE_FAR_TOO_LONG, final=True)
