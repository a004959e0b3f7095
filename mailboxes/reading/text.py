"""Plain text as HTML that is safe to show. Pure; linear in the length of the text, whatever stands in it.

Everything is escaped first; links are then made of what is already escaped, and nothing is looked at twice.
"""

import re
from collections.abc import Iterator
from html import escape, unescape
from itertools import groupby

from mailboxes.reading.links import LinkWarning, examine

# So much of a text is shown: a book's length.
TEXT_MAX = 512 * 1024
LINES_MAX = 100_000
# Deeper quotes are shown at this depth.
QUOTES_MAX = 10
URL_MAX = 2_000
# Changes of depth; a thread of a hundred answers, answered line by line, has some hundreds.
BLOCKS_MAX = 5_000
# So many different names are looked at; a newsletter as plain text has some dozens.
NAMES_MAX = 2_000
# A quote of so few lines that an answer follows is left open: one reads both.
SHORT_QUOTE = 12

_QUOTE = re.compile(r"(?:> ?){1,100}")
# Runs on escaped text: `&amp;` is the only reference that may stand in a URL.
_LINK = re.compile(
    r"(?:\bhttps?://|\bmailto:|(?<![\w@./-])www\.(?=[\w-]))(?:[^\s<>\"'&\\^`{|}]|&amp;)++", re.IGNORECASE
)
# Of our own making: a sender's quotation marks are escaped.
_MADE = re.compile(r'<a href="((?:[^:/"]*:/*)([^/?"]*)[^"]*)"')
_TRAILING = ".,;:!?*_~…"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ufff9-\ufffb\ufeff]")
_LINE_END = re.compile(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")

Block = tuple[int, list[str]]

SIGNATURE = {"-- ", "--"}


def render_text(text: str, *, quote_label: str = "…") -> str:
    """Safe HTML for a plain text, to be shown with `white-space: pre-wrap`.

    Quotes fold in `<details class="quote">`, one in another by depth; a quote that a text follows is open
    when it is short. What follows "-- " is a `<div class="signature">`. `quote_label` is
    what the fold is called.
    """
    rest = text[TEXT_MAX:]
    text = _UNSEEN.sub("", _LINE_END.sub("\n", text[:TEXT_MAX]))
    lines = text.split("\n", LINES_MAX)
    rest += "".join(lines[LINES_MAX:])
    del lines[LINES_MAX:]
    lines, signature = _signature_apart(lines)
    out = list(_folded(_blocks(lines), escape(quote_label)))
    if signature:
        out.append(f'<div class="signature">{_joined(signature)}</div>')
    if rest:
        out.append('<p class="restante-cut">[…]</p>')
    return "".join(out)


def text_warnings(rendered: str) -> list[LinkWarning]:
    """What a reader should know of the links in a text that `render_text` has made; one for each name."""
    urls: dict[str, str] = {}
    for found in _MADE.finditer(rendered):
        urls.setdefault(found[2], found[1])
        if len(urls) >= NAMES_MAX:
            break
    # A link's text is its target here, so it names no other; a path may well name one.
    warnings = (examine("", unescape(url)) for url in urls.values())
    return [warning for warning in warnings if warning]


def _blocks(lines: list[str]) -> list[Block]:
    """Lines of one depth each; when there are too many for folding, the rest as it stands."""
    blocks: list[Block] = []
    read = 0
    for depth, group in groupby(map(_quoted, lines), _depth):
        if len(blocks) >= BLOCKS_MAX:
            blocks.append((0, lines[read:]))
            break
        blocks.append((depth, [line for _, line in group]))
        read += len(blocks[-1][1])
    return blocks


def _depth(quoted: tuple[int, str]) -> int:
    return quoted[0]


def _quoted(line: str) -> tuple[int, str]:
    """The depth of a quoted line, and the line without its marks."""
    marks = _QUOTE.match(line) if line.startswith(">") else None
    if marks is None:
        return 0, line
    return min(marks[0].count(">"), QUOTES_MAX), line[marks.end() :]


def _signature_apart(lines: list[str]) -> tuple[list[str], list[str]]:
    """RFC 3676 section 4.3: the last line that is "-- " begins the signature, which ends the text."""
    for at in range(len(lines) - 1, max(-1, len(lines) - 40), -1):
        if lines[at] in SIGNATURE and (lines[at] == "-- " or len(lines) - at <= 8):
            return lines[:at], lines[at:]
        if lines[at].startswith(">"):
            break
    return lines, []


def _folded(blocks: list[Block], label: str) -> Iterator[str]:
    open_now = 0
    last = max((at for at, (depth, lines) in enumerate(blocks) if not depth and any(lines)), default=-1)
    for at, (depth, lines) in enumerate(blocks):
        while open_now > depth:
            yield "</details>"
            open_now -= 1
        while open_now < depth:
            unfolded = " open" if at < last and len(lines) <= SHORT_QUOTE else ""
            yield f'<details class="quote"{unfolded}><summary>{label}</summary>'
            open_now += 1
        yield f"<div>{_joined(lines)}</div>"
    yield "</details>" * open_now


def _joined(lines: list[str]) -> str:
    # No link reaches over the end of a line, for none holds white space.
    return _LINK.sub(_link, escape("\n".join(lines)))


def _link(found: re.Match[str]) -> str:
    """An anchor for a URL in escaped text. Its end is not the URL's when it ends a sentence or a bracket."""
    url = found[0]
    if len(url) > URL_MAX:
        return url
    end = len(url)
    unopened = {close: url.count(close) - url.count(opening) for opening, close in (("(", ")"), ("[", "]"))}
    while end and (url[end - 1] in _TRAILING or unopened.get(url[end - 1], 0) > 0):
        if url.endswith("&amp;", 0, end):
            break
        end -= 1
        if url[end] in unopened:
            unopened[url[end]] -= 1
    target, after = url[:end], url[end:]
    if target[:4].lower() == "www.":
        # As a browser does with what is typed; a name of two labels is more likely a word.
        if "." not in target[4:]:
            return url
        href = f"https://{target}"
    elif target.endswith(("://", "mailto:")) or not target.partition(":")[2].strip("/"):
        return url
    else:
        href = target
    return f'<a href="{href}" target="_blank" rel="noopener noreferrer nofollow">{target}</a>{after}'


def unflowed(text: str, *, delete_space: bool = False) -> str:
    """RFC 3676 (format=flowed): lines that end in a space go on in the next of the same quote depth."""
    paragraphs: list[list[str]] = []
    flowing, flowing_depth = False, 0
    lines = _LINE_END.sub("\n", text).split("\n", LINES_MAX)
    for line in lines[:LINES_MAX]:
        marks = len(line) - len(line.lstrip(">"))
        content = line[marks:].removeprefix(" ")
        soft = content.endswith(" ") and content != "-- "
        piece = content[:-1] if soft and delete_space else content
        if flowing and marks == flowing_depth and content != "-- ":
            paragraphs[-1].append(piece)
        else:
            quote = ">" * marks + " " if marks else ""
            paragraphs.append([quote, piece])
        flowing, flowing_depth = soft, marks
    flown = ["".join(pieces) for pieces in paragraphs]
    return "\n".join(flown + lines[LINES_MAX:])
