"""What a worker of the door has counted since it began: plain numbers, raised by its event loop only.

Sessions count for themselves while they are open and leave their numbers here when they end, so a command
costs nothing more; what is told is the sum of both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hosting.serving import commands
from hosting.serving.door import Door
from hosting.serving.workers import restarts
from pop3d.protocol import Commands

if TYPE_CHECKING:
    from pop3d.server import POP3Connection, Services


@dataclass(slots=True)
class Counted:
    """Logins, deletions, and what the sessions that have ended were sent."""

    logins: int = 0
    refused: int = 0
    messages: int = 0
    octets: int = 0
    deleted: int = 0
    commands: Commands = field(default_factory=Commands)

    def take_over(self, session: "POP3Connection") -> None:
        messages, octets = session.counted()
        self.messages += messages
        self.octets += octets


def figures(door: Door, services: "Services") -> Callable[[], dict[str, float]]:
    """Gives the numbers of this moment, by the names that mailboxes/beats.py hands on."""
    ended = services.counted

    def count() -> dict[str, float]:
        now = Counted(messages=ended.messages, octets=ended.octets)
        for session in door.open:
            now.take_over(session)  # type: ignore[arg-type]  # this door has no other kind
        return {
            "connections": len(door.open),
            "connections_total": door.admitted,
            "connections_refused_total": door.turned_away,
            "logins_total": ended.logins,
            "logins_refused_total": ended.refused,
            "messages_out_total": now.messages,
            "octets_out_total": now.octets,
            "deleted_total": ended.deleted,
            "waiting": services.verbs.inside + services.hashing.inside + services.recalls.inside,
            **commands.written(
                (keyword.decode(), good, times) for (keyword, good), times in ended.commands.items()
            ),
            **restarts(),
        }

    return count
