"""What is said to the client, collected until the server writes it."""

from __future__ import annotations

from typing import Final

from pop3d import texts
from pop3d.texts import Text

RESPONSE_LIMIT: Final = 512  # octets with CRLF: RFC 2449 section 4


class Replies:
    """Replies in the client's language; the length is in octets.

    Big pieces, such as a listing of 100,000 messages that many sessions share, are not copied before take().
    """

    __slots__ = ("_octets", "_pieces", "ascii_only", "language")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._octets = 0
        self.forget_client()

    def forget_client(self) -> None:
        self.language = texts.ENGLISH
        # RFC 6856 section 3: until the client asks for more than ASCII, it gets no more.
        self.ascii_only = True

    def __len__(self) -> int:
        return self._octets

    def take(self) -> bytes:
        octets = b"".join(self._pieces)
        self._pieces.clear()
        self._octets = 0
        return octets

    def say(self, octets: bytes) -> None:
        self._pieces.append(octets)
        self._octets += len(octets)

    def ok(self, text: Text, *values: int | bytes) -> None:
        # RFC 1957: some clients need the space after +OK.
        self.say(b"+OK %b\r\n" % (text[self.language] % values))

    def error(self, text: Text, *values: int, code: bytes = b"") -> None:
        """`code`: a response code of RFC 2449 section 8 or RFC 3206 section 4, without the brackets."""
        prefix = b"[%b] " % code if code else b""
        self.say(b"-ERR %b%b\r\n" % (prefix, text[self.language] % values))

    def error_in_words(self, words: str, code: str) -> None:
        """An error in somebody else's words, as far as they fit into one printable line."""
        prefix = b"-ERR [%b] " % code.encode("ascii")
        limit = RESPONSE_LIMIT - len(prefix) - len(b"\r\n")
        self.say(b"%b%b\r\n" % (prefix, texts.one_line(words, limit, ascii_only=self.ascii_only)))
