"""The door that Postfix asks for recipients: socketmap connections, the store's answers in threads."""

import logging

from hosting.serving.connection import Connection, EventKinds
from hosting.serving.door import Door
from hosting.serving.pool import VerbPool
from smtpd import directory, socketmap
from smtpd.events import Close, Flush, StartTLS

log = logging.getLogger(__name__)

# Postfix itself hangs up after 10 seconds without a look-up, and after 100 in any case.
IDLE_SECONDS = 60.0


class LookupConnection(Connection[socketmap.Connection]):
    """One process of Postfix, asking."""

    __slots__ = ("verbs",)
    kinds = EventKinds(Flush, Close, StartTLS)

    def __init__(self, door: Door, verbs: VerbPool) -> None:
        super().__init__(door)
        self.verbs = verbs

    def make_machine(self, *, secure: bool) -> socketmap.Connection:
        return socketmap.Connection()

    def refuse_connection(self) -> bytes:
        return directory.TOO_MANY.encode()

    def idle_limit(self) -> float:
        return IDLE_SECONDS

    async def perform(self, event: socketmap.Lookup) -> None:
        try:
            answer = await self.verbs.run(directory.look_up, event.map, event.key)
        except Exception:
            log.exception("%s recipient_lookup_failed peer=%s", self.door.name, self.peer)
            answer = directory.UNAVAILABLE
        self.machine.answer(answer)
