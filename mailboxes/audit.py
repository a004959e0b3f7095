"""The audit: who changed what, when, from where and why. Written here and nowhere else, and never changed.

The database itself refuses UPDATE and DELETE (migration 0004), so what stands here stood here from the first.
"""

import os
import pwd
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from mailboxes import rows
from mailboxes.models import AuditEntry

PAGE_SIZE = 50
PEER_MAX = 64  # characters: what the column holds
# What must never be read here, whatever a verb hands over.
SECRET = ("password", "token", "content", "body")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: a login name, `command` or `job`; and the address that they come from, of a
    command who runs it on which machine."""

    name: str
    peer: str = ""


Who = Actor | str


def write(
    verb: str,
    subject: str,
    who: Who,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Put down one change, in the transaction of the change itself. `subject`: a login, address or domain."""
    entry(verb, subject, who, before=before, after=after, reason=reason).save(force_insert=True)


def write_all(entries: Sequence[AuditEntry]) -> None:
    """Put down many changes that are one transaction."""
    now = timezone.now()
    for one in entries:
        one.at = now
    rows.insert(entries)


def entry(
    verb: str,
    subject: str,
    who: Who,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> AuditEntry:
    """One change as it is put down, for `write_all`."""
    actor = who if isinstance(who, Actor) else Actor(who)
    return AuditEntry(
        verb=verb,
        subject=subject,
        domain=subject.rpartition("@")[2][:255],
        actor=actor.name,
        peer=actor.peer or (_operating() if actor.name == "command" else ""),
        before=_shown(before),
        after=_shown(after),
        reason=reason,
    )


def _operating() -> str:
    """Who runs a command: the person behind sudo, where there is one."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or _user()
    return f"{user}@{socket.gethostname()}"[:PEER_MAX]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container whose number has no name
        return str(os.getuid())


def _shown(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (facts or {}).items() if name not in SECRET}


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for; an empty part does not narrow. `domains` None: all of them."""

    subject: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None
    domains: Collection[str] | None = None

    def entries(self) -> "QuerySet[AuditEntry]":
        """Newest first."""
        found = AuditEntry.objects.order_by("-pk")
        if self.domains is not None:
            found = found.filter(domain__in=self.domains)
        if self.subject and "@" in self.subject:
            found = found.filter(subject=self.subject)
        elif self.subject:
            found = found.filter(domain=self.subject)
        if self.actor:
            found = found.filter(actor=self.actor)
        if self.since:
            found = found.filter(at__gte=self.since)
        if self.until:
            found = found.filter(at__lt=self.until)
        return found


def page_of(search: Search, before: int | None = None) -> tuple[list[AuditEntry], int | None]:
    """A page of entries, newest first, and from where the next one goes on (None: there is none)."""
    found = search.entries()
    if before is not None:
        found = found.filter(pk__lt=before)
    entries = list(found[: PAGE_SIZE + 1])
    more = len(entries) > PAGE_SIZE
    return entries[:PAGE_SIZE], entries[PAGE_SIZE - 1].pk if more else None


def last_of(verb: str, subject: str) -> AuditEntry | None:
    """The last change of this kind, whose `before` says how to undo it."""
    return AuditEntry.objects.filter(subject=subject, verb=verb).order_by("-at", "-pk").first()
