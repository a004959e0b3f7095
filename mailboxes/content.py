"""Raw bytes to what people see of a message. Pure; reads whatever is there and never raises.

`facts_of` runs on every delivery, so it reads the beginning of the message only and bounds all it does: each
pattern here looks at an octet a fixed number of times, whatever a sender has thought out.
"""

import binascii
import html
import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from encodings.aliases import aliases
from itertools import islice

log = logging.getLogger(__name__)

SUBJECT_MAX = 255
NAME_MAX = 200
ADDRESS_MAX = 320
SNIPPET_MAX = 200
MESSAGE_ID_MAX = 255
# A header field longer than this is cut: none that a list shows needs more.
FIELD_MAX = 4096
# Real mail has some 30 fields; one of more lines than this is no letter.
LINES_MAX = 1_000
# So much of a text is looked at for its first words, and of HTML, which may begin with as much style.
TEXT_LOOKED_AT = 4 * 1024
HTML_LOOKED_AT = 16 * 1024
# multipart/alternative in related in mixed ...: real mail stays below; a deeper one is no snippet's business.
DEPTH_MAX = 5
# So many lines that may be boundaries are looked at, in one multipart.
BOUNDARIES_MAX = 32
PARTS_MAX = 50
# Characters of HTML that are searched for entities; Python refuses to read a number of 4,300 digits.
ENTITIES_MAX = 4_000
WANTED = frozenset(
    b"subject from date message-id references in-reply-to content-type content-transfer-encoding "
    b"content-disposition".split()
)
# Python's own tables decide what a charset is, so that a sender's invention never makes Python search for a
# module of that name. Those that are no charsets, or take quadratic time, are none here.
NO_CHARSETS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
CHARSETS = {name: codec for name, codec in aliases.items() if codec not in NO_CHARSETS | {"mbcs"}}
CHARSETS |= {codec: codec for codec in CHARSETS.values()}
# What programs write, and what they mean: the superset that their system used.
CHARSETS |= {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "unicode_1_1_utf_7": "utf_7",
}
# Parts that are no letter's text, but nothing that its writer attached either.
NOT_ATTACHED = (b"application/pgp-", b"application/pkcs7-", b"application/x-pkcs7-", b"application/ms-tnef")

_ENCODED_WORD = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?]*)\?=")
_MESSAGE_ID = re.compile(rb"<[^<>\s]{1,998}>")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]{1,200})"|([^;"]{1,200}))', re.IGNORECASE)
_CHARSET = re.compile(rb';\s*charset\s*=\s*"?([^\s;"]{1,40})', re.IGNORECASE)
_ANGLE = re.compile(r"<([^<>]*)>")
_COMMENT = re.compile(r"\(([^()]*)\)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNSEEN_ELEMENT = re.compile(r"(?is)<(style|script|title|head)\b.*?(?:</\1\s*>|\Z)")
_HTML_COMMENT = re.compile(r"(?s)<!--.*?(?:-->|\Z)")
_TAG = re.compile(r"<[^<>]*(?:>|\Z)")
_NO_DIGITS = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))

Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a message list shows of a message."""

    subject: str = ""
    sender_name: str = ""
    sender_address: str = ""
    sent_at: datetime | None = None
    snippet: str = ""
    has_attachments: bool = False
    message_id: str = ""
    headers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


def facts_of(head: bytes) -> Facts:
    """The facts of a message from its first octets (wire form or plain)."""
    try:
        return _facts(head)
    except Exception:
        # A message that surprises us is still delivered: a fact less is better than a message less.
        log.exception("content facts_failed octets=%d", len(head))
        return Facts()


def _facts(head: bytes) -> Facts:
    headers, body = _split(head)
    name, address = _sender(field_text(headers.get(b"from", b"")))
    message_id = _message_id(headers.get(b"message-id", b""))
    snippet, has_attachments = _seen_in(headers, body)
    return Facts(
        subject=one_line(words_decoded(field_text(headers.get(b"subject", b""))), SUBJECT_MAX),
        sender_name=one_line(name, NAME_MAX),
        sender_address=one_line(address, ADDRESS_MAX),
        sent_at=moment(headers.get(b"date", b"")),
        snippet=snippet,
        has_attachments=has_attachments,
        message_id=message_id,
        headers=headers,
    )


# -- header fields ------------------------------------------------------------------------------


def _split(data: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The wanted header fields (first of each, unfolded) and the body after the empty line."""
    if data.startswith((b"\n", b"\r\n")):
        return {}, data[data.index(b"\n") + 1 :]
    end = data.find(b"\n\r\n")
    bare = data.find(b"\n\n", 0, end + 1 if end >= 0 else len(data))
    if bare >= 0:
        block, body = data[:bare], data[bare + 2 :]
    elif end >= 0:
        block, body = data[:end], data[end + 3 :]
    else:
        block, body = data, b""
    headers: dict[bytes, bytes] = {}
    for line in _FOLD.sub(b" ", block).split(b"\n", LINES_MAX)[:LINES_MAX]:
        name, colon, value = line[:FIELD_MAX].partition(b":")
        name = name.strip().lower()
        if name in WANTED and colon and name not in headers:
            headers[name] = value.strip()
    return headers, body


def field_text(value: bytes) -> str:
    """Header octets as text: UTF-8 (RFC 6532), else each octet as it stands."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def words_decoded(text: str) -> str:
    """Encoded words (RFC 2047) decoded; what cannot be decoded stays as it is.

    Octets of neighbours in one charset are joined before they are decoded, for programs split characters.
    """
    if "=?" not in text:
        return text
    done: list[str] = []
    octets, charset, end = b"", "", 0
    for word in _ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        apart = not end or not (between.isspace() or not between)
        if apart or word[1].lower() != charset:
            done.append(charset_decoded(octets, charset))
            octets = b""
        if apart:
            done.append(between)
        octets += _word_octets(word[2], word[3])
        charset, end = word[1].lower(), word.end()
    return "".join(done) + charset_decoded(octets, charset) + text[end:]


def _word_octets(encoding: str, encoded: str) -> bytes:
    octets = encoded.encode("utf-8", "replace")
    return binascii.a2b_qp(octets, header=True) if encoding in "qQ" else base64_decoded(octets)


def base64_decoded(data: bytes) -> bytes:
    """The octets of base64 that may be broken: what is no digit does not count, nor does half an octet."""
    digits = data.translate(None, _NO_DIGITS)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def charset_decoded(data: bytes, charset: str, *, cut: bool = False) -> str:
    """Text in the charset that it claims, else UTF-8, else each octet as it stands.

    `cut`: it was longer, and may end inside a character; then it is that text all the same.
    """
    if not data:
        return ""
    for codec in (CHARSETS.get(charset.lower().replace("-", "_").replace(".", "_")), "utf-8"):
        if codec is None:
            continue
        for less in range(4 if cut else 1):
            try:
                return data[: len(data) - less].decode(codec)
            except UnicodeError:
                continue
    return data.decode("latin-1")


def _sender(text: str) -> tuple[str, str]:
    """Name and address of the first author: 'Ann <ann@x>', '"Ann, B." <ann@x>', 'ann@x (Ann)', 'ann@x'."""
    angle = _ANGLE.search(text)
    if angle and "(" in text:
        # RFC 5322 section 3.2.2: a comment may stand anywhere, even inside the address.
        text = _COMMENT.sub("", text)
        angle = _ANGLE.search(text)
    if angle is None:
        comment = _COMMENT.search(text)
        address = (text[: comment.start()] if comment else text).split(",")[0].strip()
        return words_decoded(comment[1]) if comment else "", address
    name = text[: angle.start()].strip()
    if quoted := _QUOTED.match(name):
        name = quoted[1].replace("\\", "") + name[quoted.end() :]
    elif "," in name:
        return "", name.split(",")[0].strip()
    return words_decoded(name), angle[1].strip()


def _message_id(value: bytes) -> str:
    found = _MESSAGE_ID.search(value)
    return one_line(field_text(found[0]), MESSAGE_ID_MAX) if found else ""


def moment(value: bytes) -> datetime | None:
    """The moment that a Date field says (RFC 5322 section 3.3), in UTC; None: it says none."""
    try:
        parsed = parsedate_tz(field_text(value[:200]))
        if parsed is None:
            return None
        zone = timezone(timedelta(seconds=parsed[9] or 0))
        return datetime(*parsed[:6], tzinfo=zone).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def one_line(text: str, most: int) -> str:
    """One line without control characters (nor NUL, which PostgreSQL refuses), marks of direction, or halves
    of surrogates."""
    line = " ".join(text[: most * 4].split())
    if not line.isprintable():
        line = " ".join("".join(map(_shown, line)).split())
    return line[:most]


def _shown(character: str) -> str:
    # The joiner holds emoji together; the other characters of its kind turn text round, or hide in it.
    if character.isprintable() or character == "\N{ZERO WIDTH JOINER}":
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


# -- the body -----------------------------------------------------------------------------------


def _seen_in(headers: Headers, body: bytes) -> tuple[str, bool]:
    """The first words, and whether there is an attachment, as far as the beginning shows them."""
    snippet, attachments = "", False
    for part_headers, part_body in islice(_leaves(headers, body, 0), PARTS_MAX):
        kind = _kind(part_headers)
        if _is_attachment(part_headers, kind):
            attachments = True
        elif not snippet and kind in {b"text/plain", b"text/html", b"text", b""}:
            snippet = one_line(_first_words(part_headers, kind, part_body), SNIPPET_MAX)
        if snippet and attachments:
            break
    return snippet, attachments


def _leaves(headers: Headers, body: bytes, depth: int) -> Iterator[tuple[Headers, bytes]]:
    """The parts that are not multipart themselves, in their order."""
    if not _kind(headers).startswith(b"multipart/"):
        yield headers, body
    elif depth < DEPTH_MAX and (found := _BOUNDARY.search(headers[b"content-type"])):
        boundary = (found[1] or found[2]).strip()
        for part in _parts(body, boundary) if boundary else ():
            yield from _leaves(*_split(part), depth + 1)


def _parts(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """RFC 2046 section 5.1.1: what stands between lines that are the boundary, and no longer word."""
    mark = b"\n--" + boundary
    body = b"\n" + body
    at = body.find(mark)
    begun = -1
    for _ in range(BOUNDARIES_MAX):
        if at < 0:
            break
        after = at + len(mark)
        if body[after : after + 1] in b" \t\r\n" or body[after : after + 2] == b"--":
            if begun >= 0:
                yield body[begun:at]
            begun = body.find(b"\n", after) + 1
            if body[after : after + 2] == b"--" or not begun:
                return
        at = body.find(mark, after)
    if begun >= 0:
        yield body[begun:] if at < 0 else body[begun:at]


def _kind(headers: Headers) -> bytes:
    return headers.get(b"content-type", b"text/plain").split(b";", 1)[0].strip().lower()


def _is_attachment(headers: Headers, kind: bytes) -> bool:
    """A part that says it is one, or one that no reader shows in the letter."""
    disposition = headers.get(b"content-disposition", b"")[:10].lower()
    if disposition == b"attachment":
        return True
    shown = kind.startswith((b"text", b"image/", b"message/delivery-status")) or b"/" not in kind
    return not shown and not kind.startswith(NOT_ATTACHED)


def _first_words(headers: Headers, kind: bytes, body: bytes) -> str:
    named = _CHARSET.search(headers.get(b"content-type", b""))
    charset = named[1].decode("latin-1") if named else ""
    most = HTML_LOOKED_AT if kind == b"text/html" else TEXT_LOOKED_AT
    octets = _transfer_decoded(headers, body[:most])
    text = charset_decoded(octets, charset, cut=len(body) > most)
    return _html_words(text) if kind == b"text/html" else _text_words(text)


def _transfer_decoded(headers: Headers, body: bytes) -> bytes:
    encoding = headers.get(b"content-transfer-encoding", b"")[:20].lower()
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == b"base64":
        return base64_decoded(body)
    return body


def _text_words(text: str) -> str:
    """The first lines that are neither quoted nor the dashes of a signature."""
    return " ".join(line for line in text.split("\n") if not line.startswith((">", "--")))


def _html_words(text: str) -> str:
    text = _HTML_COMMENT.sub(" ", _UNSEEN_ELEMENT.sub(" ", text))
    return html.unescape(_TAG.sub(" ", text).lstrip()[:ENTITIES_MAX])
