"""CSS to CSS that neither loads nor covers anything: known properties with checked values, written anew.

Nothing of the source is copied through: each token is checked by kind and written out again from its value,
so that an escape (`\\75rl(`), a comment or an unclosed bracket means here what it means to a browser, or is
refused. A declaration with anything unknown in it goes as a whole.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import tinycss2  # type: ignore[import-untyped]
import tinycss2.color4  # type: ignore[import-untyped]

from mailboxes.reading.links import words

# Style sheets of newsletters have 5 to 40 KB.
SHEET_MAX = 96 * 1024
RULES_MAX = 2_000
# One style attribute; Outlook's have some 500 characters.
DECLARATIONS_MAX = 4 * 1024
# Functions in one style attribute. Each bracket in a bracket costs the parser a level of its own.
BRACKETS_MAX = 100
# All different style attributes of one message together: 1 us a character.
ATTRIBUTES_MAX = 192 * 1024
NUMBER_MAX = 10_000
DEPTH_MAX = 5
VALUE_MAX = 100

SIDES = words("top right bottom left")
PROPERTIES = words(
    "background background-color background-image background-position background-repeat background-size "
    "border border-collapse border-color border-radius border-spacing border-style border-width box- "
    "sizing caption-side clear color direction display empty-cells float font font-family font-size "
    "font-style font-variant font-weight height letter-spacing line-height list-style list-style-image "
    "list-style-position list-style-type margin max-height max-width min-height min-width opacity "
    "outline overflow overflow-wrap overflow-x overflow-y padding position table-layout text-align "
    "text-decoration text-decoration-color text-decoration-line text-decoration-style text-indent text- "
    "overflow text-transform unicode-bidi vertical-align visibility white-space width word-break word- "
    "spacing word-wrap hyphens flex flex-direction flex-wrap justify-content align-items align-content "
    "gap object-fit box-shadow text-shadow border-top-left-radius border-top-right-radius border- "
    "bottom-left-radius border-bottom-right-radius page-break-inside page-break-before page-break-after"
) | {
    name
    for side in SIDES
    for name in (
        f"margin-{side}",
        f"padding-{side}",
        f"border-{side}",
        *(f"border-{side}-{what}" for what in ("color", "style", "width")),
    )
}
WITH_IMAGES = {"background", "background-image", "list-style", "list-style-image"}
WITH_STRINGS = {"font", "font-family"}
COLOURS = {"color", "background-color", "border-color", "text-decoration-color"} | {
    f"border-{side}-color" for side in SIDES
}
# What is fixed or sticky stays while the reader scrolls, and what is absolute can cover a warning.
POSITIONS = {"static", "relative"}
SUMS = {"calc", "min", "max", "clamp"}
COLOUR_FUNCTIONS = {"rgb", "rgba", "hsl", "hsla"}
GRADIENTS = {f"{kind}-gradient" for kind in ("linear", "radial", "repeating-linear", "repeating-radial")}
UNITS = words("px em rem ex ch pt pc cm mm in q vw vh vmin vmax deg grad rad turn dpi dppx dpcm")
GLOBAL = {"inherit", "initial", "unset", "revert", "currentcolor", "transparent"}
PSEUDO_CLASSES = {"hover", "link", "visited", "active", "focus", "first-child", "last-child"}
PREFIX = "m-"

_IDENT = re.compile(r"-{0,2}[^\W\d][\w-]{0,63}")
_STRING = re.compile(r"[\w .,'&+-]{1,100}")
_NAME = re.compile(r"[\w-]{1,100}")
_URL = re.compile(r"[\w/.:?&=%~+@,;!$*-]+", re.ASCII)

Images = Callable[[str], str | None]
Tokens = Sequence[Any]


class _Refused(Exception):
    pass


def prefixed(name: str) -> str:
    """A sender's class or id, such that it is never one of ours."""
    return name if name.startswith(PREFIX) else PREFIX + name


def declarations(text: str, images: Images) -> str:
    """What is allowed of a style attribute. `images` says where an image comes from, None: nowhere."""
    if len(text) > DECLARATIONS_MAX or text.count("(") > BRACKETS_MAX:
        return ""
    if "(" not in text:
        return _imageless(text)
    return _declarations(
        tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True), images
    )


@lru_cache(maxsize=4096)
def _imageless(text: str) -> str:
    # Without a bracket there is no function, and so no image.
    nodes = tinycss2.parse_blocks_contents(text, skip_comments=True, skip_whitespace=True)
    return _declarations(nodes, lambda url: None)


def sheet(text: str, images: Images) -> str:
    """What is allowed of a style sheet."""
    nodes = tinycss2.parse_stylesheet(text[:SHEET_MAX], skip_comments=True, skip_whitespace=True)
    rules: list[str] = []
    _rules(nodes, images, rules, 0)
    return "".join(rules)


def _rules(nodes: Iterable[Any], images: Images, rules: list[str], depth: int) -> None:
    for node in nodes:
        if len(rules) >= RULES_MAX:
            return
        if node.type == "qualified-rule":
            try:
                selector = _selector(node.prelude)
            except _Refused:
                continue
            inside = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
            if body := _declarations(inside, images):
                rules.append(f"{selector}{{{body}}}")
        elif node.type == "at-rule" and node.lower_at_keyword == "media" and node.content and depth < 2:
            try:
                query = _media(node.prelude)
            except _Refused:
                continue
            inner: list[str] = []
            _rules(
                tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True),
                images,
                inner,
                depth + 1,
            )
            rules.append(f"@media {query}{{{''.join(inner)}}}")


def _declarations(nodes: Iterable[Any], images: Images) -> str:
    kept = []
    for node in nodes:
        if node.type != "declaration" or node.lower_name not in PROPERTIES:
            continue
        try:
            value = _value(node.value, node.lower_name, images)
        except _Refused:
            continue
        if value:
            kept.append(f"{node.lower_name}:{value}{'!important' if node.important else ''}")
    return ";".join(kept)


def _value(tokens: Tokens, name: str, images: Images) -> str:
    value = _Value(name, images).written(tokens, 0).strip()
    if name in COLOURS and not all(map(_is_colour, value.split(" ") if "(" not in value else [value])):
        raise _Refused
    if name == "position" and value.lower() not in POSITIONS:
        raise _Refused
    return value


def _is_colour(text: str) -> bool:
    return text.lower() in GLOBAL or tinycss2.color4.parse_color(text) is not None


class _Value:
    """Writes the value of one property."""

    def __init__(self, name: str, images: Images) -> None:
        self._name = name
        self._images = images

    def written(self, tokens: Tokens, depth: int, *, inside: str = "") -> str:
        if depth > DEPTH_MAX or len(tokens) > VALUE_MAX:
            raise _Refused
        return "".join(self._token(token, depth, inside) for token in tokens)

    def _token(self, token: Any, depth: int, inside: str) -> str:
        kind = token.type
        if kind == "whitespace":
            return " "
        if kind == "comment":
            return ""
        if kind == "ident" and _IDENT.fullmatch(token.value):
            return str(token.value)
        if kind in {"number", "percentage", "dimension"}:
            return self._number(token)
        if kind == "hash" and len(token.value) in {3, 4, 6, 8} and _is_hex(token.value):
            return f"#{token.value}"
        if kind == "literal" and token.value in ("+-," if inside in SUMS else ",/"):
            return str(token.value)
        if kind == "string" and self._name in WITH_STRINGS and _STRING.fullmatch(token.value):
            return f'"{token.value}"'
        if kind == "url":
            return self._image(token.value)
        if kind == "function":
            return self._function(token, depth)
        if kind == "() block" and inside in SUMS:
            return f"({self.written(token.content, depth + 1, inside=inside)})"
        raise _Refused

    def _number(self, token: Any) -> str:
        unit = "%" if token.type == "percentage" else ""
        if token.type == "dimension":
            unit = token.lower_unit
            if unit not in UNITS:
                raise _Refused
        if not abs(token.value) <= NUMBER_MAX or (token.value < 0 and self._name.startswith("margin")):
            raise _Refused
        return f"{round(token.value, 4):.10g}{unit}"

    def _function(self, token: Any, depth: int) -> str:
        name = token.lower_name
        if name == "url":
            strings = [inner.value for inner in token.arguments if inner.type == "string"]
            others = [inner for inner in token.arguments if inner.type not in {"string", "whitespace"}]
            if len(strings) != 1 or others:
                raise _Refused
            return self._image(strings[0])
        if name in COLOUR_FUNCTIONS:
            if tinycss2.color4.parse_color(token) is None:
                raise _Refused
        elif name not in SUMS and not (name in GRADIENTS and self._name in WITH_IMAGES):
            raise _Refused
        return f"{name}({self.written(token.arguments, depth + 1, inside=name)})"

    def _image(self, url: str) -> str:
        if self._name not in WITH_IMAGES:
            raise _Refused
        ours = self._images(url)
        if ours is None or not _URL.fullmatch(ours):
            return "none"
        return f'url("{ours}")'


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


def _selector(tokens: Tokens) -> str:
    """Types, classes, ids and `[class=...]`, joined as one likes; the sender's names get their prefix."""
    if len(tokens) > 10 * VALUE_MAX:
        raise _Refused
    written = []
    before = ""
    for token in tokens:
        kind = token.type
        if kind == "whitespace":
            written.append(" ")
        elif kind == "ident" and _NAME.fullmatch(token.value):
            if before == ":" and token.lower_value not in PSEUDO_CLASSES:
                raise _Refused
            written.append(prefixed(token.value) if before == "." else token.lower_value)
        elif kind == "hash" and _NAME.fullmatch(token.value):
            written.append(f"#{prefixed(token.value)}")
        elif kind == "literal" and token.value in ".,:*>+~" and not (before == ":" and token.value == ":"):
            written.append(token.value)
        elif kind == "[] block":
            written.append(_class_attribute(token.content))
        elif kind != "comment":
            raise _Refused
        before = token.value if kind == "literal" else ""
    return "".join(written).strip()


def _class_attribute(tokens: Tokens) -> str:
    """`[class=x]` and its kin, with which style sheets for Yahoo once began."""
    found = [token for token in tokens if token.type != "whitespace"]
    if not found or found[0].type != "ident" or found[0].lower_value != "class":
        raise _Refused
    name = found[-1]
    if len(found) < 3 or name.type not in {"ident", "string"} or not _NAME.fullmatch(name.value):
        raise _Refused
    return f".{prefixed(name.value)}"


def _media(tokens: Tokens) -> str:
    """Media types and features with plain values: `only screen and (max-width: 600px)`."""
    if len(tokens) > VALUE_MAX:
        raise _Refused
    written = []
    for token in tokens:
        if token.type == "whitespace":
            written.append(" ")
        elif token.type == "ident" and _NAME.fullmatch(token.value):
            written.append(token.lower_value)
        elif token.type == "literal" and token.value == ",":
            written.append(",")
        elif token.type == "() block":
            written.append(f"({_feature(token.content)})")
        elif token.type != "comment":
            raise _Refused
    return "".join(written).strip()


def _feature(tokens: Tokens) -> str:
    written = []
    for token in tokens:
        if token.type == "ident" and _NAME.fullmatch(token.value):
            written.append(token.lower_value)
        elif token.type == "literal" and token.value in ":/":
            written.append(token.value)
        elif token.type in {"number", "dimension"}:
            written.append(_Value("width", lambda url: None).written([token], 0))
        elif token.type not in {"whitespace", "comment"}:
            raise _Refused
    return "".join(written)
