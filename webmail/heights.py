"""How high the frame of a letter's HTML wants to be, estimated from what stands in it. Pure.

The frame is sandboxed without scripts and without an origin: nobody, not even the page around it, can ask
it how high it is. A reply of three lines in a frame for a newsletter is a page of nothing.
"""

import re
from html import unescape
from typing import NamedTuple

# The steps of rows that a style sheet has a height for (`heights.css`).
STEPS = (3, 4, 6, 8, 11, 15, 20, 27, 36, 48)
# More than this is not looked at: such a letter is a long one, and scrolls within its frame.
LOOKED_AT = 64 * 1024
# Letters that have room in a line of a wide pane and of a phone's, rather too few than too many: what is
# too high is a little empty, what is too low hides lines.
WIDE, NARROW = 80, 42
# Lines of the space between two paragraphs.
APART = 0.65
# Pixels of a line, for pictures that say how high they are.
LINE = 24

# Where each end of a line in the source is one on the screen; more of them than are is a little empty.
_AS_TYPED = re.compile(r"<pre\b|white-space:(?:pre|break-spaces)")
# nh3 wrote it: each "<" begins a tag, and no tag lacks its ">".
_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)([^>]*)>")
_STYLES = re.compile(r"<style>[^<]*</style>")
_HEIGHT = re.compile(r'\bheight="(\d{1,4})"')
# What begins a line, and what keeps a line's distance from what stands before it.
_BLOCKS = frozenset(["br", "div", "tr", "li", "dt", "dd", "table", "ul", "ol", "dl", "center", "pre"])
_APART = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr"])


class Rows(NamedTuple):
    """Lines of text that the frame shows, in a wide pane and on a phone; both 0: many, or nobody knows."""

    wide: int = 0
    narrow: int = 0


def rows_of(html: str) -> Rows:
    """The rows for sanitised HTML, each one of STEPS, or 0."""
    if len(html) > LOOKED_AT:
        return Rows()
    as_typed = _AS_TYPED.search(html) is not None
    html = _STYLES.sub("", html)
    if as_typed:
        html = html.replace("\n", "<br>")
    lengths: list[int] = []
    more = 0.0
    length = at = apart = 0
    for tag in _TAG.finditer(html):
        length += _length(html[at : tag.start()])
        at = tag.end()
        ends, name, attributes = tag.groups()
        if name == "img" and "src=" in attributes:
            height = _HEIGHT.search(attributes)
            if height is None:
                return Rows()
            more += int(height[1]) / LINE
        elif name in _APART or name in _BLOCKS:
            if length or name == "br":
                lengths.append(length)
                length = 0
            apart += name in _APART and not ends
    length += _length(html[at:])
    lengths += [length] if length else []
    more += APART * (apart + 1) if apart else 0
    wide = _step(lengths, WIDE, more)
    return Rows(wide, _step(lengths, NARROW, more) or STEPS[-1]) if wide else Rows()


def _length(text: str) -> int:
    """A line of nothing but a space that does not break is a line as well."""
    return len(" ".join(unescape(text).replace("\xa0", "·").split()))


def _step(lengths: list[int], width: int, more: float) -> int:
    lines = sum(max(1, -(-length // width)) for length in lengths) + more
    return next((step for step in STEPS if lines <= step), 0)
