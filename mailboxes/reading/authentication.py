"""What our own mail server found out about the sender (RFC 8601), and whether one click may unsubscribe."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from mailboxes.reading.links import host_of, same_site, scheme_of

FIELD_MAX = 16 * 1024
RESULTS_MAX = 50
SIGNATURES_MAX = 10
# RFC 6376 section 3.6.1: a key's owner signs for its domain and those below.
COVERED = {"list-unsubscribe", "list-unsubscribe-post"}

_METHOD = re.compile(r"([\w-]{1,40})(?:/\d{1,4})?\s*=\s*(\w{1,40})", re.ASCII)
_PROPERTY = re.compile(r"(\w{1,20}\.[\w-]{1,60})\s*=\s*(?:\"([^\"]{0,320})\"|([^\s;\"]{1,320}))", re.ASCII)
_TAG = re.compile(r"(?:\A|;)\s*([a-z]{1,3})\s*=\s*([^;]*)")
_URI = re.compile(r"<([^<>]{1,8000})>")

Word = Literal["verified", "failed", "unknown"]
Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Result:
    """One method's result: `dkim`, `pass`, `{"header.d": "example.test"}`."""

    method: str
    result: str
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """The domain that the method speaks of."""
        for name in ("header.d", "header.i", "smtp.mailfrom", "header.from"):
            if value := self.properties.get(name):
                return value.rpartition("@")[2].lower().strip(".")
        return ""


@dataclass(frozen=True, slots=True)
class Authentication:
    """`word` says it in one word, `results` what it rests on; without results nobody has looked."""

    word: Word = "unknown"
    results: list[Result] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Where one unsubscribes (RFC 2369); by one POST without a question only if `one_click` (RFC 8058)."""

    https_url: str | None
    mailto: str | None
    one_click: bool


def authentication_word(headers: Headers, authserv_id: str, sender_domain: str = "") -> Word:
    return authentication(headers, authserv_id, sender_domain).word


def authentication(headers: Headers, authserv_id: str, sender_domain: str = "") -> Authentication:
    """The results in the topmost Authentication-Results of our own server; any other may be the sender's.

    RFC 8601 section 5: the server that adds ours removes those that came with its name.
    """
    results = _results(headers, authserv_id)
    return Authentication(_word(results, sender_domain), results)


def _results(headers: Headers, authserv_id: str) -> list[Result]:
    for name, value in headers:
        if name.lower() != "authentication-results" or not authserv_id:
            continue
        text = _without_comments(value[:FIELD_MAX])
        identity, _, rest = text.partition(";")
        words = identity.split()
        if words and words[0].strip('"').lower() == authserv_id.lower():
            return [result for piece in rest.split(";")[:RESULTS_MAX] if (result := _result(piece))]
    return []


def _without_comments(text: str) -> str:
    """RFC 5322 section 3.2.2, nested and in strings, in one pass."""
    out, depth, quoted, escaped = [], 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\" and (quoted or depth):
            escaped = True
        elif character == '"' and not depth:
            quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")" and depth:
            depth -= 1
            continue
        if not depth:
            out.append(character)
    return "".join(out)


def _result(piece: str) -> Result | None:
    method = _METHOD.match(piece.strip())
    if method is None:
        return None
    properties: dict[str, str] = {}
    for found in _PROPERTY.finditer(piece):
        properties.setdefault(found[1].lower(), found[2] or found[3] or "")
    return Result(method[1].lower(), method[2].lower(), properties)


def _word(results: list[Result], sender_domain: str) -> Word:
    """DMARC's word, for it is about the address that people see; else what is aligned with that address."""
    dmarc = {result.result for result in results if result.method == "dmarc"}
    if dmarc & {"pass", "fail"}:
        return "verified" if dmarc == {"pass"} else "failed"
    methods = [result for result in results if result.method in {"dkim", "spf"}]
    if any(r.result == "pass" and r.domain and _aligned(r.domain, sender_domain) for r in methods):
        return "verified"
    if methods and all(result.result in {"fail", "hardfail"} for result in methods):
        return "failed"
    return "unknown"


def _aligned(domain: str, sender_domain: str) -> bool:
    # RFC 7489 section 3.1, without a list of public suffixes: what signs may not be a single label.
    return bool(sender_domain) and "." in domain and "." in sender_domain and same_site(domain, sender_domain)


def unsubscribe(headers: list[tuple[str, str]], results: list[Result]) -> Unsubscribe | None:
    """List-Unsubscribe, and whether RFC 8058 lets a button do it: exactly one HTTPS URI (section 3.1),
    the field that says so, and a signature that our server found valid and that covers both (section 4)."""
    value = _first(headers, "list-unsubscribe")
    https_url = mailto = None
    https_urls = 0
    for found in _URI.finditer(value[:FIELD_MAX]):
        url = "".join(found[1].split())
        scheme = scheme_of(url)
        if scheme == "https" and host_of(url):
            https_url = https_url or url
            https_urls += 1
        elif scheme == "mailto" and "@" in url:
            mailto = mailto or url
    if https_url is None and mailto is None:
        return None
    post = "".join(_first(headers, "list-unsubscribe-post").lower().split())
    said = post == "list-unsubscribe=one-click" and _once(headers)
    return Unsubscribe(https_url, mailto, https_urls == 1 and said and _signed(headers, results))


def _first(headers: list[tuple[str, str]], wanted: str) -> str:
    return next((value for name, value in headers if name.lower() == wanted), "")


def _once(headers: list[tuple[str, str]]) -> bool:
    """A second field of the name may be one that somebody set before the signed one."""
    names = [name.lower() for name, _ in headers]
    return all(names.count(name) == 1 for name in COVERED)


def _signed(headers: list[tuple[str, str]], results: list[Result]) -> bool:
    passed = {result.domain for result in results if (result.method, result.result) == ("dkim", "pass")}
    signatures = [value for name, value in headers if name.lower() == "dkim-signature"][:SIGNATURES_MAX]
    for value in signatures:
        tags = {name: "".join(text.split()) for name, text in _TAG.findall(value[:FIELD_MAX])}
        covers = set(tags.get("h", "").lower().split(":")) >= COVERED
        if covers and tags.get("d", "").lower() in passed:
            return True
    return False
