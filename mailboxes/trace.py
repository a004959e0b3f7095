"""The trace header that a door writes at the head of a message: Return-Path and Received. Pure.

Everything a peer said of itself is in it, so nothing of that can end a line, open a comment or forge a field.
"""

import ipaddress
import re
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

# RFC 5321 section 4.5.3.1.2: a domain has at most 255 octets.
NAME_MAX = 255
# RFC 5321 section 4.5.3.1.3 gives a path 256 octets and asks to take more; RFC 5322 section 2.1.1 gives a
# line 998, and a path cannot be folded.
PATH_MAX = 900

_NOT_IN_A_NAME = re.compile(r"[^\w.:\[\]-]")
_NOT_IN_A_PATH = re.compile(r"[<>\s]")


def trace_headers(
    *,
    sender: str | None,
    helo: str,
    peer: str,
    hostname: str,
    protocol: str,
    transaction: str,
    at: datetime,
) -> bytes:
    """Return-Path and Received in wire form (RFC 5321 section 4.4).

    `sender` without angle brackets, "" the null path, None no Return-Path at all; `helo` and `peer` (an IP
    address, or what a socket without one is called) both empty: the message came from no peer, but from a
    program on this host. Text beyond ASCII stands only where `protocol` is one of RFC 6531 section 4.3
    (UTF8SMTP, UTF8LMTPS, ...).
    """
    utf8 = protocol.upper().startswith("UTF8")
    lines = [] if sender is None else [f"Return-Path: <{_path(sender, utf8)}>"]
    by = f"by {_name(hostname, utf8)} with {_name(protocol, utf8)} id {_name(transaction, utf8)};"
    if helo or peer:
        lines += [f"Received: from {_from(helo, peer, utf8)}", f"\t{by}"]
    else:
        lines += [f"Received: {by}"]
    lines += [f"\t{_date(at.replace(microsecond=0), at.utcoffset())}"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _from(helo: str, peer: str, utf8: bool) -> str:
    # RFC 5321 section 4.1.3 and 4.4: TCP-info is an address literal, in a comment after the name.
    if literal := _literal(peer):
        return f"{_name(helo, utf8) or literal} ({literal})"
    name = _name(helo, utf8) or "unknown"
    return f"{name} ({_name(peer, utf8)})" if peer else name


@lru_cache(maxsize=1024)
def _literal(peer: str) -> str:
    """An IP address as RFC 5321 section 4.1.3 writes it; '' when it is none. Peers come again and again."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


@lru_cache(maxsize=16)
def _date(at: datetime, _zone: timedelta | None) -> str:
    """RFC 5322 section 3.3, of a whole second: the messages of a second share it. `_zone` tells apart what is
    the same moment elsewhere."""
    return format_datetime(at)


def _name(text: str, utf8: bool) -> str:
    return _cut(_NOT_IN_A_NAME.sub("?", _printable(text, utf8)), NAME_MAX)


def _path(text: str, utf8: bool) -> str:
    text = _printable(text, utf8)
    # RFC 5321 section 4.1.2: a quoted local part may hold a space and angle brackets, a dot-string may not.
    return _cut(text if text.startswith('"') else _NOT_IN_A_PATH.sub("?", text), PATH_MAX)


def _printable(text: str, utf8: bool) -> str:
    if text.isprintable() and (utf8 or text.isascii()):  # nearly all
        return text
    return "".join(c if c.isprintable() and (utf8 or c.isascii()) else "?" for c in text)


def _cut(text: str, octets: int) -> str:
    return text.encode()[:octets].decode(errors="ignore")
