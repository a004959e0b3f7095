"""The LMTP and SMTP door: connections to the outside, the store's verbs in threads, the machine between."""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hosting.serving.connection import Connection, EventKinds, Work
from hosting.serving.door import Door
from hosting.serving.gathering import Gathering
from hosting.serving.pool import VerbPool
from mailboxes.addresses import Route
from mailboxes.delivery import Arrival, Outcome
from mailboxes.exceptions import ForeignDomain, MailboxError, RecipientRefused
from mailboxes.group_commit import GroupCommit
from mailboxes.records import Recorder
from mailboxes.storage import IN_MEMORY, Spool
from mailboxes.trace import trace_headers
from smtpd import intake, protocol, replies
from smtpd.events import (
    Close,
    Envelope,
    Flush,
    MessageAborted,
    MessageData,
    MessageEnded,
    MessageStarted,
    Recipient,
    StartTLS,
)
from smtpd.figures import Counted
from smtpd.intake import Coming, Kept, Wanted
from smtpd.refusals import record_refusal
from smtpd.replies import Reply
from smtpd.session import Dialect, Policy

log = logging.getLogger(__name__)

# RFC 5321 section 4.5.3.2.7: a server should wait at least 5 minutes for a command. Within the content no
# pause is that long (section 4.5.3.2.5: 3 minutes between blocks), so one limit serves.
IDLE_SECONDS = 300.0
# An MTA that keeps a connection open for the next message opens another one gladly; who drips does not.
CONNECTION_SECONDS = 2 * 3600.0
# On the public port, who asks for so many that do not exist is guessing, and waits for each further answer.
FREE_GUESSES = 20
GUESS_DELAY = 1.0


@dataclass(slots=True)
class Services:
    """What all connections of one process share."""

    hostname: str
    verbs: VerbPool
    lookups: Gathering[Wanted, Route]
    commits: GroupCommit
    recorder: Recorder
    counted: Counted = field(default_factory=Counted)


class MailConnection(Connection[protocol.Connection]):
    """One connection, and the message that is arriving on it."""

    __slots__ = ("_fault", "_guesses", "_octets_before", "_spool", "_transaction", "policy", "services")
    kinds = EventKinds(Flush, Close, StartTLS)

    def __init__(self, door: Door, services: Services, policy: Policy) -> None:
        super().__init__(door)
        self.services = services
        self.policy = policy
        self._spool: Spool | None = None
        self._fault: MailboxError | None = None
        self._octets_before = 0  # of the trace header, which counts in the size
        self._transaction = ""
        self._guesses = 0

    # What the door asks.

    def make_machine(self, *, secure: bool) -> protocol.Connection:
        commands = self.services.counted.commands
        return protocol.Connection(self.policy, secure=secure, peer=self.peer, commands=commands)

    def refuse_connection(self) -> bytes:
        return replies.TOO_MANY_CONNECTIONS.encode()

    def idle_limit(self) -> float:
        return IDLE_SECONDS

    def age_limit(self) -> float:
        return CONNECTION_SECONDS

    def ended(self) -> None:
        self._forget()

    def perform(self, event: object) -> Work | None:
        if isinstance(event, MessageData):
            return self._take(event.data)
        if isinstance(event, Recipient):
            return self._look_up(event)
        if isinstance(event, MessageStarted):
            self._start_message(event.envelope)
        elif isinstance(event, MessageAborted):
            self._forget()
        elif isinstance(event, MessageEnded):
            return self._deliver(event.envelope, event.octets)
        return None

    # Recipients.

    async def _look_up(self, event: Recipient) -> None:
        self._transaction = ""  # a message has its name when its content begins
        size = event.envelope.size_declared or 0
        try:
            route = await self.services.lookups.run(Wanted(event.address, size))
        except MailboxError as error:
            await self._refuse(event, error)
        except Exception as error:
            log.exception("%s lookup_failed peer=%s", self.door.name, self.peer)
            reply = intake.reply_to(error)
            self._record_refusal(event.address, event.envelope, reply)
            self.machine.recipient_refused(reply)
        else:
            self.machine.recipient_accepted(route)

    async def _refuse(self, event: Recipient, error: MailboxError) -> None:
        reply = intake.reply_to(error)
        if not isinstance(error, ForeignDomain):
            of = error.mailboxes if isinstance(error, RecipientRefused) else ()
            self._record_refusal(event.address, event.envelope, reply, of=of)
        self._guesses += 1
        if self.policy.dialect is Dialect.SMTP and self._guesses > FREE_GUESSES:
            await asyncio.sleep(GUESS_DELAY)
        self.machine.recipient_refused(reply)

    # The message.

    def _start_message(self, envelope: Envelope) -> None:
        self._transaction = uuid.uuid4().hex[:16]
        header = trace_headers(
            sender=envelope.sender,
            helo=envelope.helo,
            peer=self.peer,
            hostname=self.services.hostname,
            protocol=envelope.protocol,
            transaction=self._transaction,
            at=datetime.now(UTC),
        )
        self._fault = None
        self._octets_before = len(header)
        self._spool = Spool()
        self._spool.add(header)

    def _take(self, data: bytes) -> Work | None:
        if self._spool is None or self._fault is not None:
            return None
        self._spool.add(data)
        return self._flush(self._spool) if self._spool.waiting > IN_MEMORY else None

    async def _flush(self, spool: Spool) -> None:
        try:
            await self.services.verbs.run(spool.flush)
        except MailboxError as error:
            # What still comes of this message is swallowed, and answered at its end.
            self._fault = error
            spool.discard()
        if self.gone:
            spool.discard()

    def _forget(self) -> None:
        if self._spool is not None:
            self._spool.discard()
            self._spool = None

    async def _deliver(self, envelope: Envelope, octets: int) -> None:
        spool, self._spool = self._spool, None
        routes = [route for route in envelope.recipients if isinstance(route, Route)]
        if spool is None:  # the peer hung up before this was begun: it will send the message again
            return
        try:
            outcomes = await self._stored(spool, envelope, routes, octets + self._octets_before)
        except MailboxError as error:
            answers = [intake.reply_to(error)] * len(routes)
        except Exception as error:
            log.exception("%s delivery_failed peer=%s", self.door.name, self.peer)
            answers = [intake.reply_to(error)] * len(routes)
        else:
            answers = [self._answer(outcome) for outcome in outcomes]
        self.services.counted.octets += octets
        for route, answer in zip(routes, answers, strict=True):
            if answer.code == 250:
                self.services.counted.messages += 1
            else:
                self._record_refusal(route.recipient, envelope, answer, octets, route.mailboxes)
        if self.policy.dialect is Dialect.SMTP:
            answers = [max(answers, key=lambda reply: reply.code)]
        if not self.gone:
            self.machine.delivered(answers)

    async def _stored(
        self, spool: Spool, envelope: Envelope, routes: Sequence[Route], octets: int
    ) -> list[Outcome]:
        if self._fault is not None:
            raise self._fault
        # Small messages are synced together; what is large takes its time, and a thread of its own.
        message: Spool | Kept = spool
        if not spool.in_memory:
            message = await self.services.verbs.run(intake.keep, spool)
        transaction = self._transaction

        def arrival(kept: Kept) -> Arrival:
            return Arrival(
                key=kept.key,
                octets=octets,
                wire_octets=kept.wire_octets,
                routes=routes,
                sender=envelope.sender,
                facts=kept.facts,
                door=self.policy.dialect.value.lower(),
                peer=self.peer,
                helo=envelope.helo,
                transaction=transaction,
                whole=self.policy.dialect is Dialect.SMTP,
            )

        return await asyncio.wrap_future(self.services.commits.submit(Coming(message, arrival)))

    def _answer(self, outcome: Outcome) -> Reply:
        return replies.delivered(self._transaction) if outcome is None else intake.reply_to(outcome)

    def _record_refusal(
        self, recipient: str, envelope: Envelope, reply: Reply, octets: int = 0, of: Sequence[int] = ()
    ) -> None:
        self.services.counted.refused += 1
        record_refusal(
            self.services.recorder,
            reply,
            recipient=recipient,
            sender=envelope.sender,
            octets=octets or envelope.size_declared or 0,
            door=self.policy.dialect.value.lower(),
            peer=self.peer,
            helo=envelope.helo,
            transaction=self._transaction,
            of=of,
        )
