"""A sender's HTML to HTML that is safe to show: nothing runs, nothing loads but what we hand out.

The order is the point. `markup.tame` reads the hostile text, marks the links that lie and takes the style
sheets out; nh3 (ammonia, html5ever) sanitises, with `_Policy` deciding on each value; and its result is not
touched again. Style sheets, written anew by `css.sheet`, stand before it.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import unquote

import nh3

from mailboxes.reading import css
from mailboxes.reading.links import LinkWarning, host_of, scheme_of, tidy_url, unicode_host
from mailboxes.reading.markup import ALLOWED, RAW, SKIPPED, tame

# Part of every cache key of a rendered message: raise it with every change to what is let through.
POLICY_VERSION = 3
# As much HTML as is shown of a message (WildDuck's bound too); newsletters have about 100 KB.
HTML_MAX = 640 * 1024
URL_MAX = 8_000
REMOTE_MAX = 500
# Ours; a sender's classes all begin with css.PREFIX.
WARNING_CLASS = "restante-link-warning"
CUT_CLASS = "restante-cut"
# On the element itself and important: no style sheet of the sender can take it away.
WARNING_STYLE = (
    "display:inline!important;visibility:visible!important;opacity:1!important;color:#7a1f00!important;"
    "background:#fff1d6!important;font:bold 12px/1.5 sans-serif!important;padding:0 4px!important;"
    "text-indent:0!important;letter-spacing:normal!important;white-space:normal!important"
)

Remote = Callable[[str], str]

_SIZED = {"width", "height"}
_CELL = {"align", "valign", "bgcolor", "background", "nowrap", "colspan", "rowspan"} | _SIZED
ATTRIBUTES: dict[str, set[str]] = {
    "*": {"style", "class", "id", "dir", "lang", "align"},
    "a": {"href"},
    "img": {"src", "alt", "title", "border", "hspace", "vspace"} | _SIZED,
    "table": {"border", "cellpadding", "cellspacing", "bgcolor", "background"} | _SIZED,
    "tr": {"valign", "bgcolor", "background", "height"},
    "td": _CELL,
    "th": _CELL,
    "tbody": {"valign"},
    "thead": {"valign"},
    "tfoot": {"valign"},
    "col": {"span", "width", "valign"},
    "colgroup": {"span", "width", "valign"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type"},
    "ul": {"type"},
    "li": {"value", "type"},
    "hr": {"size", "width", "noshade", "color"},
    "br": {"clear"},
    "abbr": {"title"},
}
# How far a cell may span: a browser lays out each column and row.
SPAN_MAX = {"colspan": 100, "rowspan": 500, "span": 100}
LINK_SCHEMES = {"http", "https", "mailto", "tel"}
ADDED = {("a", "rel"), ("a", "target")}

_LENGTH = re.compile(r"[+]?\d{1,4}(?:\.\d{1,4})?(?:%|px|pt|em|\*)?")
_COLOUR = re.compile(r"#?[0-9a-fA-F]{3,8}|[a-zA-Z]{3,24}")
_FACE = re.compile(r"[\w ,.'\"-]{1,200}")
_WORD = re.compile(r"[\w-]{0,30}")
_NAME = re.compile(r"[\w.:-]{1,100}")
# Where a page says what language it is in; it does so at its beginning.
_LANGUAGE = re.compile(
    r"<html\b[^<>]{0,500}?\blang\s{0,9}=\s{0,9}[\"']?([a-z]{2,3}(?:-[a-z0-9]{2,8}){0,3})[\"'\s>]",
    re.IGNORECASE,
)
_LANGUAGE_WITHIN = 10_000
_CLASSES_MAX = 20
_TEXT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class SafeHtml:
    """`html` for a frame of its own; how many remote images were left out or handed to our proxy (each URL
    counts once); what its links conceal; whether it was `cut`; how many `trackers` were taken out, which are
    remote images too small to be seen; the `language` that it says it is in (BCP 47), or ""."""

    html: str
    blocked_remote: int
    remote_used: int
    link_warnings: list[LinkWarning] = field(default_factory=list)
    cut: bool = False
    trackers: int = 0
    language: str = ""


def render_html(html: str, *, cid: Mapping[str, str], remote: Remote | None = None) -> SafeHtml:
    """Sanitise a sender's HTML.

    `cid` maps a Content-ID to our URL of that part; `remote` maps the URL of a remote image to our proxy's,
    None leaves remote images out. Both may give URLs relative to our own host.
    """
    language = _LANGUAGE.search(html, 0, _LANGUAGE_WITHIN)
    html, cut = _cut(html)
    token = secrets.token_hex(8)
    tamed = tame(html, lambda host: f'<span class="{token}" style="{token}">{escape(_mark(host))}</span>')
    policy = _Policy(cid, remote, token)
    styles = "".join(css.sheet(style, policy.image) for style in _bounded(tamed.styles))
    body = _sanitised(tamed.html + _ending(cut or tamed.cut, token), policy)
    return SafeHtml(
        (f"<style>{styles}</style>" if styles and "<" not in styles else "") + body,
        blocked_remote=len(policy.blocked),
        remote_used=len(policy.used),
        link_warnings=tamed.warnings,
        cut=cut or tamed.cut,
        trackers=tamed.trackers,
        language=language[1] if language else "",
    )


def _cut(html: str) -> tuple[str, bool]:
    """Cut before a tag, so that none is torn; one that never ends is torn anyhow."""
    if len(html) <= HTML_MAX:
        return html, False
    at = html.rfind("<", HTML_MAX // 2, HTML_MAX)
    return html[: at if at > 0 else HTML_MAX], True


def _mark(host: str) -> str:
    shown = unicode_host(host)
    return f"\u26a0 {host}" if shown == host else f"\u26a0 {shown} ({host})"


def _ending(cut: bool, token: str) -> str:
    return f'<p class="{token}-cut">[…]</p>' if cut else ""


def _bounded(styles: list[str]) -> list[str]:
    """As many of the style sheets as together are no larger than one may be."""
    kept, octets = [], 0
    for style in styles:
        octets += len(style)
        if octets > css.SHEET_MAX:
            break
        kept.append(style)
    return kept


def _sanitised(html: str, policy: "_Policy") -> str:
    return nh3.Cleaner(
        tags=set(ALLOWED),
        clean_content_tags=set(RAW | SKIPPED),
        attributes=ATTRIBUTES,
        attribute_filter=policy.attribute,
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener noreferrer nofollow",
        url_schemes=LINK_SCHEMES | {"cid"},
        # Denies every relative URL but those that this very policy has put there.
        url_relative=policy.relative,
    ).clean(html)


class _Policy:
    """What each attribute may say, and where images come from, for one message."""

    def __init__(self, cid: Mapping[str, str], remote: Remote | None, token: str) -> None:
        self._cid = cid
        self._remote = remote
        self._token = token
        self._ours: dict[str, str | None] = {}
        self._issued: set[str] = set()
        self._styles: dict[str, str] = {}
        self._style_octets = 0
        self.blocked: set[str] = set()
        self.used: set[str] = set()

    def attribute(self, tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return self._style(value)
        if name == "class":
            return self._classes(value)
        if name == "href":
            return self._link(value)
        if name in {"src", "background"}:
            return self.image(value)
        if (tag, name) in ADDED:
            return value
        return _plain(name, value.strip())

    def relative(self, url: str) -> str | None:
        return url if url in self._issued else None

    def image(self, url: str) -> str | None:
        """Our URL of an image, if it has one and may be shown."""
        if url not in self._ours:
            ours = self._image(tidy_url(url))
            self._ours[url] = ours
            if ours:
                self._issued.add(ours)
        return self._ours[url]

    def _image(self, url: str) -> str | None:
        scheme = scheme_of(url)
        if scheme == "cid":
            name = url[4:]
            return self._cid.get(name) or self._cid.get(unquote(name))
        if url.startswith("//"):
            url, scheme = "https:" + url, "https"
        if scheme not in {"http", "https"} or len(url) > URL_MAX or not host_of(url):
            return None
        if self._remote is None or len(self.used) >= REMOTE_MAX:
            self.blocked.add(url)
            return None
        self.used.add(url)
        return self._remote(url)

    def _style(self, text: str) -> str | None:
        if text == self._token:
            return WARNING_STYLE
        if text not in self._styles:
            self._style_octets += len(text)
            enough = self._style_octets > css.ATTRIBUTES_MAX
            self._styles[text] = "" if enough else css.declarations(text, self.image)
        return self._styles[text] or None

    def _classes(self, value: str) -> str | None:
        if value.startswith(self._token):
            return CUT_CLASS if value.endswith("-cut") else WARNING_CLASS
        names = [css.prefixed(name) for name in value.split()[:_CLASSES_MAX] if _NAME.fullmatch(name)]
        return " ".join(names) or None

    def _link(self, value: str) -> str | None:
        url = tidy_url(value)
        scheme = scheme_of(url)
        if scheme not in LINK_SCHEMES or len(url) > URL_MAX:
            return None
        return url if scheme not in {"http", "https"} or host_of(url) else None


def _plain(name: str, value: str) -> str | None:
    """An attribute that is text, a number, a colour or a word."""
    if name in SPAN_MAX:
        return value if value.isascii() and value.isdigit() and int(value[:6]) <= SPAN_MAX[name] else None
    if name in {"alt", "title"}:
        return value[:_TEXT_MAX]
    if name in {"bgcolor", "color"}:
        return value if _COLOUR.fullmatch(value) else None
    if name == "face":
        return value if _FACE.fullmatch(value) else None
    if name == "id":
        return css.prefixed(value) if _NAME.fullmatch(value) else None
    if name in {"width", "height", "border", "cellpadding", "cellspacing", "hspace", "vspace", "size"}:
        return value if _LENGTH.fullmatch(value) else None
    return value if _WORD.fullmatch(value) else None
