"""What mail programs need to know to connect, from the settings and from nowhere else.

The page that people read, Thunderbird's and Outlook's files and Apple's profile are all written from this, so
they cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

SECURITY_NAMES: dict[str, str | Promise] = {
    "tls": "SSL/TLS",
    "starttls": "STARTTLS",
    "none": _("none"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """`security`: tls (from the first octet on), starttls or none. The user name is the whole address."""

    host: str
    port: int
    security: str

    @property
    def security_name(self) -> str:
        return str(SECURITY_NAMES[self.security])


def incoming() -> Server:
    """Where mail is fetched by POP3."""
    return _server(settings.POP3_FOR_PROGRAMS)


def outgoing() -> Server | None:
    """Where mail is handed in to be sent; None: this house names no such server."""
    return _server(settings.SMTP_FOR_PROGRAMS) if settings.SMTP_FOR_PROGRAMS["host"] else None


def _server(told: Mapping[str, Any]) -> Server:
    return Server(told["host"], told["port"], told["security"])
