"""What headers and bodies are decoded with: the delivery's own rules, so that list and letter agree."""

import binascii
import re

from mailboxes.content import (
    base64_decoded,
    charset_decoded,
    field_text,
    moment,
    one_line,
    words_decoded,
)

__all__ = [
    "base64_decoded",
    "field_text",
    "html_charset",
    "moment",
    "one_line",
    "text_decoded",
    "transfer_decoded",
    "words_decoded",
]

# A uuencoded line holds 45 octets in 61 characters; so many lines are 45 MB.
UU_LINES_MAX = 1_000_000
# What browsers take these names for: the superset that their writers' systems used (WHATWG Encoding).
WINDOWS = {"", "us-ascii", "ascii", "iso-8859-1", "latin1", "ansi_x3.4-1968"}

_C1 = re.compile(rb"[\x80-\x9f]")
_META_CHARSET = re.compile(rb"<meta\b[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


def transfer_decoded(data: bytes, encoding: str) -> bytes:
    """The octets that a part's content transfer encoding stands for (RFC 2045 section 6); unknown: as is."""
    if encoding == "base64":
        return base64_decoded(data)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(data)
    if encoding in {"x-uuencode", "uuencode", "x-uue"}:
        return _uu_decoded(data)
    return data


def _uu_decoded(data: bytes) -> bytes:
    decoded = []
    begun = False
    for line in data.split(b"\n", UU_LINES_MAX)[:UU_LINES_MAX]:
        line = line.rstrip(b"\r")
        if not begun:
            begun = line.startswith(b"begin ")
        elif line == b"end":
            break
        elif line:
            decoded.append(_uu_line(line))
    return b"".join(decoded) if begun else data


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some encoders leave rubbish after the line's octets; its first character says how many they are.
        most = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:most])
        except binascii.Error:
            return b""


def text_decoded(data: bytes, charset: str, *, cut: bool = False) -> str:
    """A text part's octets as text; `cut`: it was longer, and may end inside a character."""
    charset = charset.lower()
    if charset in WINDOWS and _C1.search(data):
        for codec in ("utf-8", "cp1252"):
            try:
                return (data[:-3] if cut else data).decode(codec)
            except UnicodeDecodeError:
                continue
    return charset_decoded(data, charset, cut=cut)


def html_charset(data: bytes) -> str:
    """The charset that an HTML text names itself, for a part whose header names none."""
    found = _META_CHARSET.search(data[:1024])
    return found[1].decode("latin-1") if found else ""
