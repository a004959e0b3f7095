"""Which parts are the letter itself, as text and as HTML, and which only belong to it (RFC 2046, 2387)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from urllib.parse import unquote

from mailboxes.reading.decoding import html_charset, text_decoded
from mailboxes.reading.markup import words_of
from mailboxes.reading.mime import Entity
from mailboxes.reading.text import unflowed

# Encoded octets of one text, and decoded characters of all: more is not shown.
TEXT_MAX = 1024 * 1024
ALL_MAX = 1024 * 1024
# Text parts after these are listed as attachments.
SHOWN_MAX = 50

SHOWN = {"text/plain", "text/html"}
_CID = re.compile(r"cid:([^\s\"'<>()\\]{1,500})", re.IGNORECASE)


@dataclass(slots=True)
class Bodies:
    """The letter: `text` always, `html` if it has any; the numbers of the parts that are in it, and the
    Content-IDs that its HTML shows; `cut` when it was longer than what is shown."""

    text: str = ""
    html: str | None = None
    shown: set[str] = field(default_factory=set)
    content_ids: set[str] = field(default_factory=set)
    cut: bool = False


def bodies_of(root: Entity, raw: bytes) -> Bodies:
    """Choose and decode the letter."""
    found = Bodies()
    plain: list[str] = []
    rich: list[tuple[str, bool]] = []
    left = ALL_MAX
    for text, html in list(_pieces(root, True))[:SHOWN_MAX]:
        text_shown = _decoded(text, raw, found)[:left] if text else ""
        html_shown = _decoded(html, raw, found)[:left] if html else ""
        left -= max(len(text_shown), len(html_shown))
        found.shown |= {entity.number for entity in (text, html) if entity}
        plain.append(text_shown if text else words_of(html_shown, ALL_MAX))
        rich.append((html_shown, True) if html else (text_shown, False))
        if left <= 0:
            found.cut = True
            break
    found.text = "\n".join(plain) if len(plain) > 1 else "".join(plain)
    if any(is_html for _, is_html in rich):
        found.html = "\n<hr>\n".join(text if is_html else _as_html(text) for text, is_html in rich)
        names = _CID.findall(found.html)
        found.content_ids = {name for cid in names for name in (cid, unquote(cid))}
    return found


Piece = tuple[Entity | None, Entity | None]


def _pieces(entity: Entity, first: bool) -> Iterator[Piece]:
    """(text, HTML) of each piece of the letter, in its order; either may be missing."""
    if not entity.children:
        if _belongs(entity, first):
            yield (entity, None) if entity.content_type == "text/plain" else (None, entity)
    elif entity.content_type == "multipart/alternative":
        yield from _best(entity, first)
    elif entity.content_type == "multipart/related":
        yield from _pieces(_root_of(entity), first)
    elif entity.content_type == "multipart/signed":
        yield from _pieces(entity.children[0], first)
    else:
        for child in entity.children:
            found = list(_pieces(child, first))
            first = first and not found
            yield from found


def _belongs(entity: Entity, first: bool) -> bool:
    """Whether a leaf is text of the letter: not attached, and named only where it is the first of all."""
    if entity.content_type not in SHOWN or entity.disposition == "attachment":
        return False
    return first or not entity.filename


def _best(entity: Entity, first: bool) -> Iterator[Piece]:
    """RFC 2046 section 5.1.4: the last alternative that we can show; the first plain one as its text."""
    text: list[Entity] = []
    html: list[Entity] = []
    for child in entity.children[:20]:
        pieces = list(_pieces(child, first))
        if found := [piece[1] for piece in pieces if piece[1]]:
            html = found
            text = text or [piece[0] for piece in pieces if piece[0]]
        elif not text:
            text = [piece[0] for piece in pieces if piece[0]]
    for at in range(max(len(text), len(html))):
        yield (text[at] if at < len(text) else None), (html[at] if at < len(html) else None)


def _root_of(entity: Entity) -> Entity:
    """RFC 2387 section 3.2: `start` names the root, else it is the first."""
    start = entity.parameters.get("start", "").strip("<>")
    named = (child for child in entity.children if start and child.content_id == start)
    return next(named, entity.children[0])


def _decoded(entity: Entity, raw: bytes, found: Bodies) -> str:
    octets = entity.octets(raw, TEXT_MAX)
    cut = entity.end - entity.begin > TEXT_MAX
    found.cut |= cut
    charset = entity.parameters.get("charset", "")
    if not charset and entity.content_type == "text/html":
        charset = html_charset(octets)
    text = text_decoded(octets, charset, cut=cut).removeprefix("\ufeff").replace("\0", "")
    if entity.content_type == "text/plain" and entity.parameters.get("format", "").lower() == "flowed":
        return unflowed(text, delete_space=entity.parameters.get("delsp", "").lower() == "yes")
    return text


def _as_html(text: str) -> str:
    return f'<div style="white-space:pre-wrap">{escape(text)}</div>'
