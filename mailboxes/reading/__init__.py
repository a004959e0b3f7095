"""What a reader sees of a message: raw octets to headers, text, safe HTML and attachments.

Everything here but `octets_of` is pure, and bounded in time whatever a sender has thought out.
"""

import uuid

from mailboxes.reading.authentication import (
    Authentication,
    Unsubscribe,
    authentication,
    authentication_word,
)
from mailboxes.reading.invitation import Invitation
from mailboxes.reading.links import LinkWarning
from mailboxes.reading.mail import Mail, Part, find_part, nested, parse, part_bytes, search_text
from mailboxes.reading.people import Caution, Person
from mailboxes.reading.sanitiser import POLICY_VERSION, SafeHtml, render_html
from mailboxes.reading.text import render_text, text_warnings
from mailboxes.storage import read_content
from mailboxes.wire import Unstuffer

# A message that is larger than any limit on arrival is read as far as this.
OCTETS_MAX = 128 * 1024 * 1024

__all__ = [
    "POLICY_VERSION",
    "Authentication",
    "Caution",
    "Invitation",
    "LinkWarning",
    "Mail",
    "Part",
    "Person",
    "SafeHtml",
    "Unsubscribe",
    "authentication",
    "authentication_word",
    "find_part",
    "nested",
    "octets_of",
    "parse",
    "part_bytes",
    "render_html",
    "render_text",
    "search_text",
    "text_warnings",
]


def octets_of(key: uuid.UUID, most: int = OCTETS_MAX) -> bytes:
    """The raw message of a content, of its first `most` octets. ContentMissing, StoreUnavailable."""
    unstuffer = Unstuffer()
    pieces: list[bytes] = []
    left = most
    for wire in read_content(key):
        piece = unstuffer.feed(wire)[:left]
        pieces.append(piece)
        left -= len(piece)
        if left <= 0:
            break
    return b"".join(pieces)
