"""Settings as people write them, in the environment or in `.env`, read and judged one by one.

Every reader raises `ImproperlyConfigured` with one line that names the setting, what stood there and
what may stand there, so that a wrong value stops the start instead of surprising somebody later.
"""

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import environ  # type: ignore[import-untyped]  # it has none
from django.core.exceptions import ImproperlyConfigured

from mailboxes.sizes import octets_from

T = TypeVar("T")

TRUE = {"1", "true", "yes", "on"}
FALSE = {"", "0", "false", "no", "off"}


def networks_from(text: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """'10.0.0.0/8, 2001:db8::/32' as networks; ValueError names the part that is none."""
    return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]


class Environment:
    """The environment and, below it, the `.env` file of the project (or the file that ENV_FILE names)."""

    def __init__(self, root: Path) -> None:
        self.env = environ.Env()
        env_file = root / (self.env.str("ENV_FILE", default="") or ".env")
        if env_file.is_file():
            self.env.read_env(str(env_file))
        self.file = env_file
        self.root = root

    def file_says(self, name: str) -> bool:
        """Whether the file itself, and not the environment, sets something."""
        return self.file.is_file() and any(
            line.removeprefix("export ").partition("=")[0].strip() == name
            for line in self.file.read_text().splitlines()
        )

    def text(self, name: str, default: str | None = None) -> str:
        """What is set to nothing is not set: an empty CONTENT_ROOT must not mean the project's own folder."""
        value: str = self.env.str(name, default="").strip() or default or ""
        if not value and default is None:
            raise ImproperlyConfigured(f"{name} is not set: put it into the environment or into .env")
        return value

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self.text(name, default).lower()
        if value not in choices:
            raise ImproperlyConfigured(f"{name}={value!r}: choose one of {', '.join(choices)}")
        return value

    def switch(self, name: str, default: bool) -> bool:
        value = self.text(name, "1" if default else "0").lower()
        if value not in TRUE | FALSE:
            raise ImproperlyConfigured(f"{name}={value!r}: say 1 or 0")
        return value in TRUE

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        return self._judged(name, str(default), lambda text: _between(int(text), least, most))

    def size(self, name: str, default: str, *, least: int = 1, most: int = 2**53) -> int:
        """A number of octets."""
        return self._judged(name, default, lambda text: _between(octets_from(text), least, most))

    def path(self, name: str, default: str) -> Path:
        """A path; a relative one counts from the project's folder."""
        return self.root / self.text(name, default)

    def optional_path(self, name: str) -> Path | None:
        value = self.text(name, "")
        return self.root / value if value else None

    def names(self, name: str, default: str = "") -> list[str]:
        return [part.strip() for part in self.text(name, default).split(",") if part.strip()]

    def networks(self, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        return self._judged(name, "", networks_from)

    def database(self, name: str, default: str) -> dict[str, Any]:
        text = self.text(name, default)
        try:
            parsed: dict[str, Any] = environ.Env.db_url_config(text)
        except (ValueError, ImproperlyConfigured, KeyError):
            parsed = {}
        if parsed.get("ENGINE", "").rpartition(".")[2] not in {"sqlite3", "postgresql"}:
            raise ImproperlyConfigured(
                f"{name}: say sqlite:///var/restante.sqlite3 or postgres://user:password@host:5432/name"
            )
        if "OPTIONS" in parsed:  # numbers and True are read already
            parsed["OPTIONS"] = {
                option: None if said == "None" else said for option, said in parsed["OPTIONS"].items()
            }
        return parsed

    def _judged(self, name: str, default: str, judge: Callable[[str], T]) -> T:
        value = self.text(name, default)
        try:
            return judge(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}={value!r}: {error}") from None


def _between(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"must lie between {least} and {most}")
    return value
