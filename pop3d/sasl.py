"""The SASL mechanisms PLAIN (RFC 4616) and LOGIN, as POP3's AUTH runs them (RFC 5034).

Both mechanisms carry the password itself, so that the server can hold nothing but its hash.
"""

from __future__ import annotations

import binascii

from pop3d import texts
from pop3d.events import Login
from pop3d.texts import Refusal

# RFC 5034 section 4: a challenge is `+ ` and base64.
# PLAIN has nothing to ask, LOGIN asks `Username:` and `Password:`.
_CHALLENGES = {
    b"PLAIN": (b"+ \r\n",),
    b"LOGIN": (b"+ VXNlcm5hbWU6\r\n", b"+ UGFzc3dvcmQ6\r\n"),
}
MECHANISMS = tuple(_CHALLENGES)


def login_name(octets: bytes) -> str:
    """The user name in these octets. It is safe to log: no control, no line's end, no change of direction."""
    if not octets:
        raise Refusal(texts.USER_MISSING)
    try:
        name = octets.decode()  # RFC 6856 section 2: user names and passwords are UTF-8
    except UnicodeDecodeError:
        raise Refusal(texts.USER_UNREADABLE) from None
    if not name.isprintable():
        raise Refusal(texts.USER_UNREADABLE)
    return name


def password(octets: bytes) -> str:
    """The password in these octets, with every space and control in it."""
    if not octets:
        raise Refusal(texts.PASSWORD_MISSING)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise Refusal(texts.PASSWORD_UNREADABLE) from None


class Exchange:
    """One run of a mechanism: challenges go out, responses come in, a Login stands at the end."""

    __slots__ = ("_mechanism", "_responses")

    def __init__(self, mechanism: bytes) -> None:
        if mechanism not in _CHALLENGES:
            raise Refusal(texts.UNKNOWN_MECHANISM)
        self._mechanism = mechanism
        self._responses: list[bytes] = []

    def challenge(self) -> bytes:
        """The line that asks for the next response."""
        return _CHALLENGES[self._mechanism][len(self._responses)]

    def respond(self, line: bytes) -> Login | None:
        """Take one response in base64; None when another one is needed."""
        self._responses.append(_from_base64(line))
        if len(self._responses) < len(_CHALLENGES[self._mechanism]):
            return None
        return _READERS[self._mechanism](self._responses)


def _from_base64(line: bytes) -> bytes:
    try:
        octets = binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise Refusal(texts.BAD_BASE64) from None
    if len(line) % 4:  # strict mode lets surplus padding pass after a complete group
        raise Refusal(texts.BAD_BASE64)
    return octets


def _read_plain(responses: list[bytes]) -> Login:
    """RFC 4616 section 2: `[authzid] NUL authcid NUL passwd`."""
    parts = responses[0].split(b"\0")
    if len(parts) != 3:
        raise Refusal(texts.BAD_PLAIN)
    authorization, authentication, secret = parts
    if authorization not in (b"", authentication):
        raise Refusal(texts.NO_PROXY_LOGIN, bad=False)
    return Login(login_name(authentication), password(secret), "PLAIN")


def _read_login(responses: list[bytes]) -> Login:
    name, secret = responses
    return Login(login_name(name), password(secret), "LOGIN")


_READERS = {b"PLAIN": _read_plain, b"LOGIN": _read_login}
