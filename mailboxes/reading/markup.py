"""Hostile HTML to tame markup that costs its readers no more than its length. Pure; guards nothing by itself.

The sanitiser (`sanitiser.py`) has the last word on what is safe. This comes before it, for three reasons: an
HTML parser takes quadratic time for deep nesting, for thousands of attributes, and for formatting elements
that are never closed; a link's text can only be compared with its target while both are at hand; and style
sheets are taken out here, to be checked by themselves. So the tokens are read as browsers read them (WHATWG
HTML, section 13.2.5), tags nobody needs are left out, and depth is bounded.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Literal

from mailboxes.reading.links import LinkWarning, examine, words

# A parser walks the open elements for many a tag; newsletters nest some 60 deep, quoted threads 90.
DEPTH_MAX = 120
# Formatting elements that are open at once: each is opened again in every paragraph that follows.
FORMATTING_MAX = 30
REOPENED_MAX = 200_000
# Attributes are compared with one another; real tags have ten. Shorter tags cannot have too many.
ATTRIBUTES_MAX = 100
TAG_UNCOUNTED = 400
LINK_TEXT_MAX = 2_000
WARNINGS_MAX = 100
# Past so many links that lie, a link that lies loses its target.
MARKED_MAX = 1_000
STYLES_MAX = 50
# The parser's time grows with the square of the references in a text. Mail in other scripts may have one for
# each letter: past so many, those that stand for a letter are replaced; a text with so many others is cut.
AMPERSANDS_MAX = 20_000
BODY_TAG_MAX = 4_000

VOID = words("br hr img col wbr")
# Elements that the parser closes by itself when the next one comes.
SELF_CLOSING = words("p li dt dd")
CELLS = words("td th caption")
TABLE_PARTS = CELLS | words("tr tbody thead tfoot colgroup")
FORMATTING = words("a b big code em font i s small strike strong tt u")
INLINE = FORMATTING | words("span abbr acronym bdi bdo cite del dfn ins kbd mark q samp sub sup time var")
BLOCKS = words(
    "div center blockquote pre h1 h2 h3 h4 h5 h6 ul ol dl table address article aside section header footer "
    "main nav figure figcaption"
)
ALLOWED = VOID | SELF_CLOSING | TABLE_PARTS | INLINE | BLOCKS
# Their content is not markup, up to their own end tag.
RAW = words("script style title textarea xmp iframe noembed noframes")
# Their content is no letter's text.
SKIPPED = words("svg math template select datalist audio video canvas object applet")
BREAKS_LINE = SELF_CLOSING | BLOCKS | words("br hr tr")

# HTML's white space, which is less than Python's.
_ATTRIBUTE = r"""
    ( [^\t\n\f\r\ />] [^\t\n\f\r\ />=]*+ )
    (?: [\t\n\f\r\ ]*+ = [\t\n\f\r\ ]*+ ( "[^"]*+" | '[^']*+' | (?!["'])[^\t\n\f\r\ >]*+ )
      | (?! [\t\n\f\r\ ]*+ = ) )
"""
_ATTRIBUTES = re.compile(_ATTRIBUTE, re.VERBOSE)
_UNNAMED = _ATTRIBUTE.replace("( [^", "(?: [^").replace('( "', '(?: "')
_TAG = re.compile(
    rf"([a-zA-Z][^\t\n\f\r\ />]*+) (?> [\t\n\f\r\ /]++ | {_UNNAMED} )*+ >",
    re.VERBOSE,
)
_COMMENT_END = re.compile(r"--!?>")
_BODY = re.compile(r"<body(?=[\s/>])", re.IGNORECASE)
_ENDS = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW | SKIPPED}
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_SPACES = re.compile(r"[ \t\r\f\n]+")
_REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_TINY = re.compile(r"\s*[01](?:px)?\s*")
_TINY_STYLES = {
    side: re.compile(rf"(?:\A|[;\s]){side}\s*:\s*[01](?:px)?\s*(?:!\s*important\s*)?(?:;|\Z)", re.IGNORECASE)
    for side in ("width", "height")
}

Kind = Literal["text", "start", "end", "raw"]
Token = tuple[Kind, str, int, int]


def tokens(html: str) -> Iterator[Token]:
    """(kind, name, begin, end) of each token: a text, a start or end tag, the inside of a raw element.

    Comments, declarations and what is unended are none. Linear: what is sought in vain is not sought again.
    """
    at, size = 0, len(html)
    endless: set[str] = set()
    while at < size:
        begin = html.find("<", at)
        if begin < 0:
            yield "text", "", at, size
            return
        if begin > at:
            yield "text", "", at, begin
        mark = html[begin + 1 : begin + 2]
        if mark.isascii() and mark.isalpha():
            tag = _TAG.match(html, begin + 1)
            if tag is None:
                return
            name, at = tag[1].lower(), tag.end()
            if name in RAW or (name in SKIPPED and name not in endless):
                end = _ENDS[name].search(html, at)
                if end is None and name in RAW:
                    yield "raw", name, at, size
                    return
                if end is None:
                    endless.add(name)
                else:
                    yield "raw", name, at, end.start()
                    at = end.start()
            else:
                yield "start", name, begin, at
        elif mark == "/" and html[begin + 2 : begin + 3].isascii() and html[begin + 2 : begin + 3].isalpha():
            tag = _TAG.match(html, begin + 2)
            if tag is None:
                return
            at = tag.end()
            yield "end", tag[1].lower(), begin, at
        elif mark and mark in "/!?":
            at = _comment_end(html, begin)
            if at < 0:
                return
        else:
            at = begin + 1
            yield "text", "<", begin, at


def _comment_end(html: str, begin: int) -> int:
    if not html.startswith("<!--", begin):
        return html.find(">", begin) + 1 or -1
    if html.startswith((">", "->"), begin + 4):
        return html.index(">", begin) + 1
    end = _COMMENT_END.search(html, begin + 4)
    return end.end() if end else -1


def attributes(tag: str) -> dict[str, str]:
    """The attributes of a start tag, the first of each name, values unescaped."""
    inside = _TAG.match(tag, 1)
    found: dict[str, str] = {}
    for attribute in _ATTRIBUTES.finditer(tag, inside.end(1) if inside else 1, len(tag) - 1):
        name, value = attribute[1].lower(), attribute[2] or ""
        found.setdefault(name, unescape(value[1:-1] if value[:1] in {'"', "'"} else value))
    return found


@dataclass(slots=True)
class Tame:
    """`html` for the sanitiser, the style sheets it had, what its links conceal, whether it was cut, and how
    many images it had that nobody sees and that only tell their sender of a reader."""

    html: str
    styles: list[str]
    warnings: list[LinkWarning]
    cut: bool
    trackers: int = 0


def tame(html: str, mark: Callable[[str], str]) -> Tame:
    """Read hostile HTML; `mark` gives the markup that is set behind a link which leads to another host."""
    html, cut = _few_references(html.replace("\0", ""))
    tamer = _Tamer(html, mark)
    tamer.cut = cut
    for kind, name, begin, end in tokens(html):
        if kind == "text":
            tamer.text(html[begin:end])
        elif kind == "start":
            tamer.start(name, begin, end)
        elif kind == "end":
            tamer.end(name)
        elif name == "style" and len(tamer.styles) < STYLES_MAX:
            tamer.styles.append(html[begin:end])
        if tamer.reopened > REOPENED_MAX:
            tamer.cut = True
            break
    return tamer.finish()


def _few_references(html: str) -> tuple[str, bool]:
    if html.count("&") <= AMPERSANDS_MAX:
        return html, False
    pieces = _REFERENCE.sub(_letter, html).split("&", AMPERSANDS_MAX)
    return "&".join(pieces[:AMPERSANDS_MAX]), len(pieces) > AMPERSANDS_MAX


def _letter(reference: re.Match[str]) -> str:
    letter = unescape(reference[0])
    return letter if letter.isalpha() or letter == "\xa0" else reference[0]


@dataclass(slots=True)
class _Link:
    url: str
    text: list[str] = field(default_factory=list)
    length: int = 0
    at: int = 0

    def add(self, text: str) -> None:
        if self.length < LINK_TEXT_MAX:
            self.text.append(text[:LINK_TEXT_MAX])
            self.length += len(text)


class _Tamer:
    """Keeps the open elements, such that a parser's own are never many more."""

    def __init__(self, html: str, mark: Callable[[str], str]) -> None:
        self._html = html
        self._mark = mark
        self._out: list[str] = []
        self._open: list[str] = []
        # Where in the open elements a table or a cell stands: an end tag does not reach beyond.
        self._fences: list[int] = []
        self._formatting = 0
        self._left_out: Counter[str] = Counter()
        self._link: _Link | None = None
        self._marked = 0
        self._warnings: list[LinkWarning] = []
        self.styles: list[str] = []
        self.trackers = 0
        self.reopened = 0
        self.cut = False
        self._begin_with_body()

    def _begin_with_body(self) -> None:
        """The first body tag's colours and styles belong to everything: a div around it carries them."""
        body = _BODY.search(self._html)
        tag = _TAG.match(self._html, body.start() + 1) if body else None
        if tag and tag.end() - tag.start() < BODY_TAG_MAX:
            given = attributes(self._html[tag.start() - 1 : tag.end()])
            colours = {"background-color": given.get("bgcolor"), "color": given.get("text")}
            style = "".join(f"{name}:{colour};" for name, colour in colours.items() if colour)
            style = escape(style + given.get("style", ""))
            named = escape(given.get("class", ""))
            self._out.append(f'<div class="{named}" id="{escape(given.get("id", ""))}" style="{style}">')
            self._open.append("div")

    def text(self, text: str) -> None:
        self._out.append("&lt;" if text == "<" else text)
        if self._link:
            self._link.add(text)

    def start(self, name: str, begin: int, end: int) -> None:
        if name not in ALLOWED:
            return
        tag = self._html[begin:end]
        if end - begin > TAG_UNCOUNTED:
            tag = f"<{name}" + _bounded(tag[len(name) + 1 :])
        if name not in INLINE:
            self.reopened += self._formatting
        if name in VOID:
            given = attributes(tag) if name == "img" else {}
            if _is_tracker(given):
                self.trackers += 1
                return
            if name == "img" and "alt" not in given:
                # Whoever has a page read aloud hears nothing, rather than the image's URL.
                tag = f'<img alt=""{tag[len("<img") :]}'
            if given and self._link:
                self._link.add(f" {escape(given.get('alt', ''))} ")
        elif name in TABLE_PARTS:
            if "table" not in self._open:
                return
            self._back_to_table()
            if name in CELLS:
                self._fences.append(len(self._open))
                self._open.append("td")
        elif name not in SELF_CLOSING and not self._push(name, tag):
            return
        self._out.append(tag)

    def _push(self, name: str, tag: str) -> bool:
        if name == "a" and "a" in self._reach():
            self.end("a")
        full = name in FORMATTING and self._formatting >= FORMATTING_MAX
        if full or len(self._open) >= DEPTH_MAX:
            self._left_out[name] += 1
            return False
        if name == "table":
            self._fences.append(len(self._open))
        self._open.append(name)
        self._formatting += name in FORMATTING
        if name == "a":
            self._link = _Link(attributes(tag).get("href", ""), at=len(self._out))
        return True

    def end(self, name: str) -> None:
        if name not in ALLOWED or name in VOID:
            return
        if name not in INLINE:
            self.reopened += self._formatting
        if self._left_out[name]:
            self._left_out[name] -= 1
        elif name in SELF_CLOSING:
            self._out.append(f"</{name}>")
        elif name in TABLE_PARTS:
            self._end_part(name)
        elif name == "table":
            if "table" in self._open:
                self._back_to_table()
                self._pop()
        else:
            self._end_element(name)

    def _end_part(self, name: str) -> None:
        in_cell = bool(self._fences) and self._open[self._fences[-1]] == "td"
        if in_cell:
            while len(self._open) > self._fences[-1] + 1:
                self._pop()
            self._pop()
        if in_cell or (name not in CELLS and "table" in self._open):
            self._out.append(f"</{name}>")

    def _end_element(self, name: str) -> None:
        reach = self._reach()
        if name not in reach:
            return
        above = len(reach) - 1 - reach[::-1].index(name)
        if name in INLINE and not INLINE.issuperset(reach[above:]):
            # A block begins inside and ends outside. The parser mends this for formatting; others stay open.
            if name in FORMATTING:
                del self._open[len(self._open) - len(reach) + above]
                self._close(name)
            return
        for _ in reach[above:]:
            self._pop()

    def _reach(self) -> list[str]:
        return self._open[self._fences[-1] + 1 :] if self._fences else self._open

    def _back_to_table(self) -> None:
        while self._open[-1] != "table":
            self._pop()

    def _pop(self) -> None:
        name = self._open.pop()
        if self._fences and self._fences[-1] == len(self._open):
            self._fences.pop()
        if name != "td":
            self._close(name)

    def _close(self, name: str) -> None:
        self._out.append(f"</{name}>")
        self._formatting -= name in FORMATTING
        if name == "a" and self._link:
            self._end_link(self._link)

    def _end_link(self, link: _Link) -> None:
        self._link = None
        warning = examine(unescape("".join(link.text)), link.url)
        if warning is None:
            return
        if len(self._warnings) < WARNINGS_MAX:
            self._warnings.append(warning)
        self._marked += 1
        if self._marked > MARKED_MAX:
            self._out[link.at] = "<a>"
        else:
            self._out.append(self._mark(warning.target))

    def finish(self) -> Tame:
        while self._open:
            self._pop()
        return Tame("".join(self._out), self.styles, self._warnings, self.cut, self.trackers)


def _is_tracker(image: dict[str, str]) -> bool:
    """A remote image of one pixel or less, by its attributes or its style."""
    if not _REMOTE.match(image.get("src", "")):
        return False
    style = image.get("style", "")[:BODY_TAG_MAX]
    return all(
        _TINY.fullmatch(image.get(side, "")) or _TINY_STYLES[side].search(style) for side in _TINY_STYLES
    )


def _bounded(rest: str) -> str:
    """What follows a tag's name, unless it has more attributes than any real tag."""
    for count, _ in enumerate(_ATTRIBUTES.finditer(rest, 0, len(rest) - 1)):
        if count >= ATTRIBUTES_MAX:
            return ">"
    return rest


def words_of(html: str, most: int) -> str:
    """The words that a reader of HTML sees, one line a block, for search and where only text is shown."""
    pieces: list[str] = []
    length = 0
    for kind, name, begin, end in tokens(html):
        if kind == "text":
            pieces.append(_SPACES.sub(" ", html[begin:end]))
            length += len(pieces[-1])
        elif kind in {"start", "end"} and name in BREAKS_LINE:
            pieces.append("\n")
        elif kind == "start" and name in TABLE_PARTS:
            pieces.append(" ")
        if length > most:
            break
    lines = (" ".join(line.split()) for line in unescape("".join(pieces)).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()[:most]
