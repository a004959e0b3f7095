"""A message's parts (RFC 2045 to 2049, 2183, 2231): where each lies in the octets, and what it says it is.

Nothing is copied: a part is a range of the one message. Line starts that may be boundaries are looked up once
for the whole message, so that depth costs nothing but the boundaries themselves.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from mailboxes.reading.decoding import field_text, text_decoded, transfer_decoded, words_decoded

# Real mail stays below ten levels; what lies deeper is listed as one part.
DEPTH_MAX = 30
PARTS_MAX = 1_000
# Lines that begin with "--": real mail has two a part, a listing of code some hundreds.
MARKS_MAX = 50_000
# A header block longer than this is cut: the longest of real mail, with 400 recipients, has 60 KB.
HEADER_MAX = 256 * 1024
PART_HEADER_MAX = 16 * 1024
FIELDS_MAX = 1_000
FIELD_MAX = 64 * 1024
# RFC 2231 section 3 numbers the pieces of a parameter without saying where to stop.
PIECES_MAX = 50
BOUNDARY_MAX = 200  # RFC 2046 section 5.1.1 says 70; programs that say more exist

_MBOX_LINE = re.compile(rb">?From [ \t]*[^\s:]")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_PARAMETER = re.compile(
    r';[ \t]*([^\s=;"]{1,60})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"?|([^;]*+))',
    re.DOTALL,
)
_TYPE = re.compile(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}", re.ASCII)

Fields = list[tuple[str, str]]


@dataclass(slots=True)
class Entity:
    """One node of the tree: the range of its body, its own header facts, and its parts."""

    number: str
    begin: int
    end: int
    content_type: str = "text/plain"
    parameters: dict[str, str] = field(default_factory=dict)
    disposition: str = ""
    filename: str = ""
    content_id: str = ""
    encoding: str = ""
    children: list["Entity"] = field(default_factory=list)

    def leaves(self) -> Iterator["Entity"]:
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()

    def octets(self, raw: bytes, most: int | None = None) -> bytes:
        """The decoded octets, of the first `most` encoded ones."""
        end = self.end if most is None else min(self.end, self.begin + most)
        return transfer_decoded(raw[self.begin : end], self.encoding)

    def text(self, raw: bytes, most: int) -> str:
        cut = self.end - self.begin > most
        return text_decoded(self.octets(raw, most), self.parameters.get("charset", ""), cut=cut)

    def size(self, raw: bytes) -> int:
        """Decoded octets; of large parts reckoned, not decoded."""
        encoded = self.end - self.begin
        if encoded <= 64 * 1024:
            return len(self.octets(raw))
        if self.encoding == "base64":
            white = raw.count(b"\n", self.begin, self.end) + raw.count(b"\r", self.begin, self.end)
            padding = raw.count(b"=", self.end - 4, self.end)
            return (encoded - white) * 3 // 4 - padding
        if self.encoding == "quoted-printable":
            return encoded - 2 * raw.count(b"=", self.begin, self.end)
        return encoded


def split(raw: bytes) -> tuple[Fields, Entity]:
    """The header fields (name as written, value unfolded but not decoded) and the tree of parts."""
    begin = _after_mbox_line(raw)
    block_end, body = _header_end(raw, begin, len(raw))
    fields = _fields(raw[begin : min(block_end, begin + HEADER_MAX)])
    root = _entity(fields, "", body, len(raw), "text/plain")
    _Tree(raw).grow(root, 0)
    if not root.children:
        root.number = "1"
    return fields, root


def find(root: Entity, number: str) -> Entity | None:
    """The leaf of a number."""
    return next((leaf for leaf in root.leaves() if leaf.number == number), None)


def _after_mbox_line(raw: bytes) -> int:
    if _MBOX_LINE.match(raw):
        return raw.find(b"\n", 0, 1_000) + 1
    return 0


def _header_end(raw: bytes, begin: int, end: int) -> tuple[int, int]:
    """Where the header block ends and where the body begins."""
    if raw.startswith(b"\r\n", begin):
        return begin, begin + 2
    if raw.startswith(b"\n", begin):
        return begin, begin + 1
    wire = raw.find(b"\n\r\n", begin, end)
    bare = raw.find(b"\n\n", begin, end if wire < 0 else wire + 1)
    if bare >= 0:
        return bare, bare + 2
    return (wire, wire + 3) if wire >= 0 else (end, end)


def _fields(block: bytes) -> Fields:
    fields = []
    for line in _FOLD.sub(b" ", block).split(b"\n", FIELDS_MAX)[:FIELDS_MAX]:
        name, colon, value = line[:FIELD_MAX].partition(b":")
        name = name.rstrip()
        if colon and name and name.isascii() and b" " not in name:
            fields.append((name.decode(), field_text(value.strip())))
    return fields


class _Tree:
    """Grows the tree, within its bounds."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._parts = 0
        self._marks = list(self._line_starts())

    def _line_starts(self) -> Iterator[int]:
        if self._raw.startswith(b"--"):
            yield 0
        at = self._raw.find(b"\n--")
        for _ in range(MARKS_MAX):
            if at < 0:
                return
            yield at + 1
            at = self._raw.find(b"\n--", at + 1)

    def grow(self, entity: Entity, depth: int) -> None:
        if not entity.content_type.startswith("multipart/") or depth >= DEPTH_MAX:
            return
        default = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
        for begin, end in self._ranges(entity):
            if self._parts >= PARTS_MAX:
                break
            self._parts += 1
            block_end, body = _header_end(self._raw, begin, end)
            fields = _fields(self._raw[begin : min(block_end, begin + PART_HEADER_MAX)])
            number = f"{entity.number}{'.' if entity.number else ''}{len(entity.children) + 1}"
            child = _entity(fields, number, min(body, end), end, default)
            entity.children.append(child)
            self.grow(child, depth + 1)
        if not entity.children:
            # Broken: no boundary, or none that occurs. Its text is shown as it stands.
            entity.content_type = "text/plain"
            entity.number = entity.number or "1"

    def _ranges(self, entity: Entity) -> Iterator[tuple[int, int]]:
        """RFC 2046 section 5.1.1: what stands between lines that are the boundary, and no longer word."""
        raw = self._raw
        first = bisect_left(self._marks, entity.begin)
        boundary = entity.parameters.get("boundary", "").rstrip()[:BOUNDARY_MAX]
        delimiter = b"--" + boundary.encode("utf-8", "replace")
        if not boundary:
            delimiter = self._guessed(entity, first)
        begun = -1
        for at in self._marks[first:] if len(delimiter) > 2 else ():
            if at >= entity.end:
                break
            after = at + len(delimiter)
            if not raw.startswith(delimiter, at):
                continue
            closing = raw.startswith(b"--", after)
            if not closing and raw[after : after + 1] not in {b"", b" ", b"\t", b"\r", b"\n"}:
                continue
            if begun >= 0:
                yield begun, max(begun, at - (2 if raw.startswith(b"\r\n", at - 2) else 1))
            line_end = raw.find(b"\n", after, entity.end)
            begun = line_end + 1
            if closing or line_end < 0:
                return
        if begun >= 0:
            yield begun, entity.end

    def _guessed(self, entity: Entity, first: int) -> bytes:
        """The boundary of a multipart that names none: its first line that begins with "--"."""
        if first >= len(self._marks) or self._marks[first] >= entity.end:
            return b""
        at = self._marks[first]
        line = self._raw[at : at + BOUNDARY_MAX].split(b"\n", 1)[0].rstrip()
        return line if b" " not in line else b""


def _entity(fields: Fields, number: str, begin: int, end: int, default: str) -> Entity:
    named: dict[str, str] = {}
    for name, value in fields:
        named.setdefault(name.lower(), value)
    written = named.get("content-type", default)
    content_type = written.split(";", 1)[0].strip().lower()
    parameters = parameters_of(written)
    disposition = named.get("content-disposition", "")
    filename = parameters_of(disposition).get("filename") or parameters.get("name", "")
    if not _TYPE.fullmatch(content_type):
        content_type = default if content_type in {"", "text", "plain"} else "application/octet-stream"
    return Entity(
        number=number,
        begin=begin,
        end=end,
        content_type=content_type,
        parameters=parameters,
        disposition=disposition.split(";", 1)[0].strip().lower()[:40],
        filename=filename or words_decoded(named.get("content-location", "")[:1_000]).partition("?")[0],
        content_id=named.get("content-id", "").strip().strip("<>")[:500],
        encoding=_encoding(named.get("content-transfer-encoding", "")),
    )


def _encoding(value: str) -> str:
    return "".join(value[:80].split(";", 1)[0].lower().replace('"', "").split())


def parameters_of(value: str) -> dict[str, str]:
    """The parameters of a field, RFC 2231's pieces joined, encoded words (forbidden, yet found) decoded."""
    plain: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[bool, str]]] = {}
    for found in _PARAMETER.finditer(value[:FIELD_MAX]):
        name = found[1].lower()
        text = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3].strip()
        base, star, index = name.rstrip("*").partition("*")
        if star and index.isdecimal() and len(index) < 3 and int(index) < PIECES_MAX:
            pieces.setdefault(base, {}).setdefault(int(index), (name.endswith("*"), text))
        elif name.endswith("*"):
            pieces.setdefault(base, {}).setdefault(0, (True, text))
        else:
            plain.setdefault(name, words_decoded(text[:4_000]))
    for base, numbered in pieces.items():
        plain[base] = _joined(numbered)
    return plain


def _joined(numbered: dict[int, tuple[bool, str]]) -> str:
    """RFC 2231 section 4.1: the first encoded piece names the charset for all."""
    charset = ""
    octets = b""
    for index in sorted(numbered):
        encoded, text = numbered[index]
        if encoded and index == 0 and text.count("'") >= 2:
            charset, _, text = text.split("'", 2)
        octets += unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace")
    return text_decoded(octets[:4_000], charset)
