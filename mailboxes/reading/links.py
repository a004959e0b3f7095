"""Where a link leads, where its text says that it leads, and names that are not what they look like. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

import idna

# RFC 1035 section 2.3.4; what is longer is no name.
HOST_MAX = 253
# So much of a link's text is looked at.
TEXT_MAX = 2_000


def words(text: str) -> frozenset[str]:
    """A set of names, written as a line of them."""
    return frozenset(text.split())


# In a sentence only these make a word with a dot a host; "Node.js" and "report.pdf" are none.
COMMON_ENDINGS = words(
    "com net org gov edu mil int info biz name bank shop app dev online site io co me tv ai "
    "de at ch eu fr uk nl be it es pt pl cz se no dk fi ie ru ua cn jp kr in au nz ca us br mx"
)
FILE_ENDINGS = words(
    "pdf doc docx xls xlsx ppt pptx odt txt csv zip gz png jpg jpeg gif webp htm html php js css xml json "
    "md py mp3 mp4 eml ics exe"
)
# Scripts that are written together (UTS 39 section 5.2, "highly restrictive"), as Unicode names them.
TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
# Letters that a reader takes for Latin ones: Cyrillic and Greek (UTS 39, confusables).
LOOKALIKES = frozenset("асԁеһіјӏорԛѕԝхуԍьгпαοριυνκγωτηχ")

_STRIPPED = re.compile(r"[\t\n\r]")
_EDGE = "".join(map(chr, range(33)))
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_NAMED = re.compile(
    r"(?:(?P<scheme>https?:[/\\]{1,4}|www\.)|(?P<at>@)|(?<![\w.@-]))"
    r"(?P<host>[\w-]{1,63}(?:\.[\w-]{1,63}){0,10})(?![\w@])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class LinkWarning:
    """`other_host`: the text names `shown`, the target is `target`; `mixed_scripts`, `lookalike`, `userinfo`:
    the target's name is not what it looks like."""

    code: str
    shown: str
    target: str


def scheme_of(url: str) -> str:
    """The scheme as a browser reads it (WHATWG URL: edges and line ends do not count)."""
    found = _SCHEME.match(tidy_url(url))
    return found[1].lower() if found else ""


def tidy_url(url: str) -> str:
    return _STRIPPED.sub("", url.strip(_EDGE))


def host_of(url: str) -> str:
    """The host that a browser would ask for (WHATWG URL), as A-labels; "" when there is none."""
    return _host(_authority(url).rpartition("@")[2])


def _authority(url: str) -> str:
    url = tidy_url(url)
    scheme = scheme_of(url)
    if scheme == "mailto":
        return unquote(url[7:].partition("?")[0].partition(",")[0])[-HOST_MAX - 100 :]
    if scheme not in {"http", "https"}:
        return ""
    # Browsers take a backslash for a slash, and any number of either before the host.
    rest = url[len(scheme) + 1 :].lstrip("/\\")
    return re.split(r"[/\\?#]", rest[: HOST_MAX * 4], maxsplit=1)[0]


def _host(text: str) -> str:
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return ascii_host(unquote(text).partition(":")[0])


@lru_cache(maxsize=1024)
def ascii_host(host: str) -> str:
    """A host's A-labels (UTS 46); what has none stays, in lower case."""
    host = unicodedata.normalize("NFKC", host[:HOST_MAX]).lower().replace("\u3002", ".").strip(".")
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return host


@lru_cache(maxsize=1024)
def unicode_host(host: str) -> str:
    """What a host's A-labels stand for; labels that stand for nothing stay."""
    return ".".join(map(_unicode_label, host[:HOST_MAX].lower().split(".")))


def _unicode_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode") if len(label) <= 63 else label
    except (UnicodeError, ValueError):
        return label


def suspicion(host: str) -> str:
    """`mixed_scripts`: one label mixes scripts that are not written together; `lookalike`: a label has no
    Latin letter, yet a reader takes it for Latin; else ""."""
    for label in unicode_host(host).split("."):
        if label.isascii():
            continue
        scripts = _scripts(label)
        if len(scripts) > 1 and not any(scripts <= together for together in TOGETHER):
            return "mixed_scripts"
        letters = {letter for letter in label if letter.isalpha()}
        if letters and letters <= LOOKALIKES:
            return "lookalike"
    return ""


def _scripts(label: str) -> set[str]:
    names = (unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0] for letter in label if letter.isalpha())
    return {"CJK" if name in {"IDEOGRAPHIC"} else name for name in names}


def same_site(one: str, other: str) -> bool:
    """Whether one host is the other or lies under it."""
    one, other = one.removeprefix("www."), other.removeprefix("www.")
    return one == other or one.endswith("." + other) or (other.endswith("." + one) and "." in one)


def hosts_named(text: str) -> list[str]:
    """The hosts that a reader sees in a text."""
    seen = "".join(c for c in text[:TEXT_MAX] if unicodedata.category(c) != "Cf")
    seen = unicodedata.normalize("NFKC", seen).strip()
    alone = not re.search(r"\s", seen)
    hosts = []
    for found in _NAMED.finditer(seen):
        host = found["host"].strip("-").lower()
        ending = host.rpartition(".")[2]
        if found["scheme"] and found["scheme"].lower() == "www.":
            host = "www." + host
        explicit = bool(found["scheme"] or found["at"])
        plausible = ending in COMMON_ENDINGS or (
            alone and found.start() == 0 and len(ending) > 1 and ending not in FILE_ENDINGS
        )
        if "." in host and (explicit or (plausible and ending.isalpha())):
            hosts.append(ascii_host(host))
    return hosts


def examine(text: str, url: str) -> LinkWarning | None:
    """What a reader should know of a link before following it."""
    target = host_of(url)
    if not target:
        return None
    for shown in hosts_named(text):
        if not same_site(shown, target):
            return LinkWarning("other_host", unicode_host(shown), target)
    if code := suspicion(target):
        return LinkWarning(code, unicode_host(target), target)
    if "@" in _authority(url) and scheme_of(url) != "mailto":
        return LinkWarning("userinfo", unquote(_authority(url).rpartition("@")[0])[:100], target)
    return None
