"""The arguments of MAIL and RCPT: a path in angle brackets, then parameters. RFC 5321 sections 4.1.1.2,
4.1.1.3, 4.1.2.

Taken, though the grammar does not have it: a space after the colon, and dots anywhere in an unquoted local
part (providers have given out addresses like "a..b." for decades, and their owners write to ours).
"""

import re
from dataclasses import dataclass

from smtpd.replies import (
    BAD_PARAMETER,
    BAD_RECIPIENT,
    BAD_SENDER,
    MAIL_SYNTAX,
    NOT_ASCII,
    RCPT_SYNTAX,
    RECIPIENT_TOO_LONG,
    REPEATED_PARAMETER,
    SENDER_TOO_LONG,
    UNKNOWN_PARAMETER,
    Refusal,
    Reply,
)

# RFC 5321 sections 4.5.3.1.1 to 4.5.3.1.3, in octets; RFC 6531 section 3.3 keeps them and counts UTF-8. The
# path includes its angle brackets; a source route, which is ignored, is not counted.
MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
MAX_PATH = 256

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\xa1-\U0010ffff-]+"
_QUOTED = r'"(?:[ !#-\[\]-~\xa1-\U0010ffff]|\\[ -~])+"'
_LABEL = r"(?!-)[A-Za-z0-9_\xa1-\U0010ffff-]+(?<!-)"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_LITERAL = r"\[[!-Z^-~]+\]"
# RFC 5321 appendix C: a source route MUST be accepted and SHOULD be ignored.
_ROUTE = rf"(?:@(?:{_DOMAIN}|{_LITERAL})(?:,@(?:{_DOMAIN}|{_LITERAL}))*:)?"
_MAILBOX = re.compile(rf"<{_ROUTE}(?P<local>{_ATOM}|{_QUOTED})@(?P<domain>{_DOMAIN}|{_LITERAL})>")
_POSTMASTER = re.compile(r"<(postmaster)>", re.IGNORECASE)
# Where a path ends: at the first ">" outside of quotes.
_BRACKETED = re.compile(r'<(?:"(?:[^"\\]|\\.)*"|[^">])*>')
# RFC 5321 section 4.1.2: esmtp-param
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\xa1-\U0010ffff]+))?")
# RFC 1870 section 3: size-value is at most 20 digits.
_SIZE = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Mail:
    """What MAIL says. `sender` is in the form of RFC 5321 ("" for <>), `size` in octets."""

    sender: str
    size: int | None
    body: str
    smtputf8: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """What differs between the two commands that take a path."""

    keyword: re.Pattern[str]
    syntax: Reply
    bad: Reply
    too_long: Reply


_FROM = _Side(re.compile(r"FROM:[ \t]*", re.IGNORECASE), MAIL_SYNTAX, BAD_SENDER, SENDER_TOO_LONG)
_TO = _Side(re.compile(r"TO:[ \t]*", re.IGNORECASE), RCPT_SYNTAX, BAD_RECIPIENT, RECIPIENT_TOO_LONG)


def parse_mail(argument: str) -> Mail:
    """What follows "MAIL "; raises Refusal."""
    path, rest = _split(argument, _FROM)
    given = _parameters(rest)
    if given.keys() - {"SIZE", "BODY", "SMTPUTF8"}:
        raise Refusal(UNKNOWN_PARAMETER)
    smtputf8 = "SMTPUTF8" in given
    if smtputf8 and given["SMTPUTF8"] is not None:
        raise Refusal(BAD_PARAMETER)
    # RFC 5321 section 4.5.5: the null reverse-path, of bounces
    sender = "" if path == "<>" else _quoted(*_mailbox(path, _FROM, smtputf8))
    return Mail(sender, _size(given), _body(given), smtputf8)


def parse_rcpt(argument: str, *, smtputf8: bool) -> str:
    """What follows "RCPT ": the address as local@domain, the local part without quotes; raises Refusal.

    RFC 5321 section 4.5.1: "postmaster" needs no domain, and is returned without one.
    """
    path, rest = _split(argument, _TO)
    if _parameters(rest):
        raise Refusal(UNKNOWN_PARAMETER)
    if postmaster := _POSTMASTER.fullmatch(path):
        return postmaster[1]
    local, domain = _mailbox(path, _TO, smtputf8)
    return f"{local}@{domain}"


def _split(argument: str, side: _Side) -> tuple[str, str]:
    """The path with its brackets, and the parameters after it."""
    keyword = side.keyword.match(argument)
    if keyword is None or not argument.startswith("<", keyword.end()):
        raise Refusal(side.syntax)
    path = _BRACKETED.match(argument, keyword.end())
    if path is None:
        raise Refusal(side.bad)
    rest = argument[path.end() :]
    if rest and rest[0] not in " \t":
        raise Refusal(side.bad)
    return path[0], rest


def _mailbox(path: str, side: _Side, smtputf8: bool) -> tuple[str, str]:
    """The local part without its quotes, and the domain."""
    match = _MAILBOX.fullmatch(path)
    if match is None:
        raise Refusal(side.bad)
    local, domain = match["local"], match["domain"]
    if not smtputf8 and not (local + domain).isascii():
        # RFC 6531 section 3.5
        raise Refusal(NOT_ASCII)
    octets = len(local.encode()), len(domain.encode())
    if octets[0] > MAX_LOCAL_PART or octets[1] > MAX_DOMAIN or sum(octets) + len("<@>") > MAX_PATH:
        raise Refusal(side.too_long)
    if local.startswith('"'):
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return local, domain


def _quoted(local: str, domain: str) -> str:
    """The address as a path has it: quotes around a local part that needs them, and around no other.

    RFC 5321 section 4.1.2: forms that differ in needless quotes are one address, and the bare form is to be
    used.
    """
    if not re.fullmatch(_ATOM, local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain}"


def _parameters(text: str) -> dict[str, str | None]:
    """The parameters by name in upper case; None is that of a parameter without a value."""
    given: dict[str, str | None] = {}
    for word in re.findall(r"[^ \t]+", text):
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise Refusal(BAD_PARAMETER)
        if match[1].upper() in given:
            raise Refusal(REPEATED_PARAMETER)
        given[match[1].upper()] = match[2]
    return given


def _size(given: dict[str, str | None]) -> int | None:
    if "SIZE" not in given:
        return None
    value = given["SIZE"] or ""
    if not _SIZE.fullmatch(value):
        raise Refusal(BAD_PARAMETER)
    return int(value)


def _body(given: dict[str, str | None]) -> str:
    if "BODY" not in given:
        return "7BIT"
    value = (given["BODY"] or "").upper()
    if not value:
        raise Refusal(BAD_PARAMETER)
    # RFC 6152 section 2; BINARYMIME (RFC 3030 section 3) is not offered.
    if value not in ("7BIT", "8BITMIME"):
        raise Refusal(UNKNOWN_PARAMETER)
    return value
