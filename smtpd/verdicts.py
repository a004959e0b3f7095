"""The door that Postfix asks at RCPT: policy connections, the answers of RCPT, and a record of each refusal.

Its look-ups (smtpd/lookups.py) carry no sender; this does, so that what Postfix refuses is found by support
staff as what our own doors refuse.
"""

import logging

from hosting.serving.connection import Connection, EventKinds, Work
from hosting.serving.door import Door
from mailboxes.exceptions import ForeignDomain, RecipientRefused
from smtpd import delegation, intake, replies
from smtpd.delegation import Question
from smtpd.events import Close, Flush, StartTLS
from smtpd.intake import Wanted
from smtpd.refusals import record_refusal
from smtpd.replies import Reply
from smtpd.server import Services

log = logging.getLogger(__name__)

# Postfix itself hangs up after 300 seconds without a question, and after 1000 in any case; it asks again by
# another connection where one was closed.
IDLE_SECONDS = 360.0
CONNECTION_SECONDS = 3600.0
# What the records call it: who told the sender is Postfix.
DOOR = "postfix"
ASKED_AT = "RCPT"
# No opinion: what else Postfix was told to look at decides.
NO_OPINION = "DUNNO"


class PolicyConnection(Connection[delegation.Connection]):
    """One process of Postfix, asking."""

    __slots__ = ("services",)
    kinds = EventKinds(Flush, Close, StartTLS)

    def __init__(self, door: Door, services: Services) -> None:
        super().__init__(door)
        self.services = services

    def make_machine(self, *, secure: bool) -> delegation.Connection:
        return delegation.Connection()

    def refuse_connection(self) -> bytes:
        return b""  # in case of trouble the protocol wants no reply

    def idle_limit(self) -> float:
        return IDLE_SECONDS

    def age_limit(self) -> float:
        return CONNECTION_SECONDS

    def perform(self, event: Question) -> Work | None:
        if event.state == ASKED_AT:
            return self._judge(event)
        self.machine.answer(NO_OPINION)
        return None

    async def _judge(self, question: Question) -> None:
        try:
            await self.services.lookups.run(Wanted(question.recipient, question.octets))
        except ForeignDomain:
            # Whether it takes mail for others is Postfix's to know; to us it would not be sent.
            action = NO_OPINION
        except RecipientRefused as refusal:
            reply = intake.reply_to(refusal)
            self._record(question, reply, refusal)
            action = f"{reply.code} {reply.enhanced} {reply.text}"
        except Exception:
            log.exception("%s recipient_policy_failed peer=%s", self.door.name, self.peer)
            self._record(question, replies.STORE_UNAVAILABLE)
            action = f"DEFER_IF_PERMIT {replies.STORE_UNAVAILABLE.enhanced} {replies.STORE_UNAVAILABLE.text}"
        else:
            action = NO_OPINION
        self.machine.answer(action)

    def _record(self, question: Question, reply: Reply, refusal: RecipientRefused | None = None) -> None:
        self.services.counted.refused += 1
        record_refusal(
            self.services.recorder,
            reply,
            recipient=question.recipient,
            sender=question.sender,
            octets=question.octets,
            door=DOOR,
            peer=question.client,
            helo=question.helo,
            of=refusal.mailboxes if refusal else (),
        )
