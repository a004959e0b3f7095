"""What a worker of the door has counted since it began: plain numbers, raised by its event loop only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hosting.serving import commands
from hosting.serving.door import Door
from hosting.serving.workers import restarts
from smtpd.protocol import Commands

if TYPE_CHECKING:
    from smtpd.server import Services


@dataclass(slots=True)
class Counted:
    """`messages` and `refused` count recipients, as delivery records do; `octets` counts a message once."""

    messages: int = 0
    octets: int = 0
    refused: int = 0
    commands: Commands = field(default_factory=Commands)


def figures(door: Door, services: "Services") -> Callable[[], dict[str, float]]:
    """Gives the numbers of this moment, by the names that mailboxes/beats.py hands on."""
    counted = services.counted

    def count() -> dict[str, float]:
        return {
            "connections": len(door.open),
            "connections_total": door.admitted,
            "connections_refused_total": door.turned_away,
            "messages_in_total": counted.messages,
            "refused_total": counted.refused,
            "octets_in_total": counted.octets,
            "waiting": services.verbs.inside + services.lookups.inside,
            **commands.written((verb, good, times) for (verb, good), times in counted.commands.items()),
            **restarts(),
        }

    return count
