"""The POP3 door: connections to the outside, the store's verbs in threads, the protocol machine between."""

import asyncio
import logging
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from hosting.serving.addresses import is_loopback, network_of
from hosting.serving.connection import Connection, EventKinds, Work
from hosting.serving.door import Door
from hosting.serving.gathering import Gathering
from hosting.serving.pool import PoolBusy, VerbPool
from hosting.serving.seats import Seats
from mailboxes import rows
from mailboxes.app_passwords import Uses
from mailboxes.credentials import Login as Admitted
from mailboxes.exceptions import ContentMissing, LoginRefused, MaildropLocked
from mailboxes.maildrops import give_back, renew_leases
from mailboxes.models import POP3Session, SessionEnd
from mailboxes.records import Recorder
from mailboxes.storage import is_local
from pop3d import maildrop, protocol
from pop3d.figures import Counted
from pop3d.maildrop import Attempt, Opened, Reader
from pop3d.protocol import Close, Expunge, Flush, Login, Policy, Retrieve, StartTLS, State

log = logging.getLogger(__name__)

# RFC 1939 section 3: an autologout timer must be at least 10 minutes; before login nobody needs as much.
IDLE_SECONDS = 600.0
LOGIN_SECONDS = 60.0
# Words alone do not hold a place: so long may all attempts to log in take.
LOGIN_SECONDS_IN_ALL = 180.0
# A session's snapshot needs its contents, which are kept for CONTENT_GRACE_HOURS after they were deleted.
SESSION_SECONDS = 12 * 3600.0
# Sessions of one account from one address at a time: a family behind one router, not a broken program.
SESSIONS_PER_ACCOUNT = 20
LEASE_RENEWAL_SECONDS = 30.0
# A message up to this size is read at once and joins the replies of its burst in one write.
SMALL = 64 * 1024
# fetchmail asks for TOP n 99999999 where others ask for RETR n.
WHOLE = 1_000_000
# So much is sent to a fast reader before others get a turn: who polls waits for one turn of each of those.
TURN = 256 * 1024


@dataclass(slots=True)
class Services:
    """What all connections of one process share."""

    hostname: str
    plaintext_login: str
    exclusive: bool
    tls_offered: bool
    recalls: Gathering[Attempt, Admitted | None]
    verbs: VerbPool
    hashing: VerbPool
    seats: Seats
    recorder: Recorder
    app_passwords: Uses = field(default_factory=Uses)
    counted: Counted = field(default_factory=Counted)


class POP3Connection(Connection[protocol.Connection]):
    """One session: its machine, its maildrop once it is opened, and what its record will say."""

    __slots__ = (
        "_deleted",
        "_end",
        "_fetched",
        "_name",
        "_octets",
        "_opened",
        "_reason",
        "_recorded",
        "_seat",
        "_session",
        "_started",
        "_tls",
        "_tops",
        "services",
    )
    kinds = EventKinds(Flush, Close, StartTLS)

    def __init__(self, door: Door, services: Services) -> None:
        super().__init__(door)
        self.services = services
        self._opened: Opened | None = None
        self._seat = b""
        self._name = self._session = self._reason = self._tls = ""
        self._end = SessionEnd.DROPPED
        self._fetched = self._tops = self._deleted = self._octets = 0
        self._started = datetime.now(UTC)
        self._recorded = False

    # What the door asks.

    def make_machine(self, *, secure: bool) -> protocol.Connection:
        services = self.services
        plain = services.plaintext_login == "always" or (
            services.plaintext_login == "loopback" and (self.peer == "local" or is_loopback(self.peer))
        )
        policy = Policy(services.hostname, "Restante", services.tls_offered, plain)
        return protocol.Connection(policy, secure=secure, commands=services.counted.commands)

    def refuse_connection(self) -> bytes:
        return b"-ERR [SYS/TEMP] too many connections, try again later\r\n"

    def idle_limit(self) -> float:
        return LOGIN_SECONDS if self._opened is None else IDLE_SECONDS

    def age_limit(self) -> float:
        return LOGIN_SECONDS_IN_ALL if self._opened is None else SESSION_SECONDS

    def cut_short(self, why: str) -> None:
        self._end = SessionEnd(why)

    def perform(self, event: object) -> Work | None:
        if isinstance(event, Retrieve):
            return self._retrieve(event)
        if isinstance(event, Login):
            return self._log_in(event)
        assert isinstance(event, Expunge)
        return self._expunge(event)

    # Login.

    async def _log_in(self, event: Login) -> None:
        services = self.services
        self._name = event.login
        network = network_of(self.peer)
        self._session = self._session or uuid.uuid4().hex
        self._tls = _tls_of(self.transport)
        lease = self._session if services.exclusive else ""
        attempt = Attempt(event.login, event.password, network, lease)
        try:
            opened = await self._open(attempt)
        except LoginRefused as refusal:
            self._note(refusal.reason)
            await asyncio.sleep(refusal.delay)
            self._refuse(refusal.text, _code_of(refusal))
        except MaildropLocked as locked:
            self._note("in_use")
            self._refuse(str(locked), "IN-USE")
        except Exception as error:
            if not isinstance(error, PoolBusy):
                log.exception("pop3 login_failed peer=%s", self.peer)
            self._note("fault")
            self._refuse("cannot open mailboxes now, try again later", "SYS/TEMP")
        else:
            await self._admit(opened)

    async def _open(self, attempt: Attempt) -> Opened:
        services = self.services
        login = await services.recalls.run(attempt)
        if login is None:
            return await services.hashing.run(maildrop.open_verified, attempt)
        # Who polls finds the mailbox as he left it, most of the time.
        if (opened := maildrop.open_unchanged(login, attempt)) is not None:
            return opened
        return await services.verbs.run(maildrop.open_admitted, login, attempt)

    @property
    def _listens(self) -> bool:
        """Somebody is still there to be answered; the session may have ended while work was done."""
        return self.machine.state is not State.CLOSED

    def _note(self, reason: str) -> None:
        self._end, self._reason = SessionEnd.REFUSED, reason
        self.services.counted.refused += 1

    def _refuse(self, text: str, code: str) -> None:
        if self._listens:
            self.machine.login_refused(text, code)

    async def _admit(self, opened: Opened) -> None:
        seat = f"{opened.login.account}\n{self.peer}".encode()
        if self.gone or not self.services.seats.sit(seat):
            self._note("too_many_sessions")
            await self._release(opened)
            self._refuse(
                f"more than {SESSIONS_PER_ACCOUNT} sessions for this account from your address", "IN-USE"
            )
            return
        self._seat, self._opened = seat, opened
        self.services.counted.logins += 1
        self._end, self._reason = SessionEnd.DROPPED, ""
        uses, app_password = self.services.app_passwords, opened.login.app_password
        if app_password and uses.note(app_password, self.peer):
            self.services.recorder.record(uses.store)
        if self._listens:
            self.machine.login_accepted(opened.listing)

    async def _release(self, opened: Opened) -> None:
        if opened.lease:
            await self.services.verbs.run(give_back, opened.login.mailbox, opened.lease)

    # Fetching.

    def _retrieve(self, event: Retrieve) -> Work | None:
        """Send a small message that the system has in memory at once; else in a task."""
        if not is_local():
            return self._fetch(event)
        try:
            reader = self._reader(event)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours: logged, and temporary)
            self._fail(error)
            return None
        if reader.left <= SMALL:
            try:
                part = reader.read(SMALL, os.RWF_NOWAIT)
            except OSError:
                return self._send(reader, event)
            if reader.done:
                reader.close()
                assert self._opened is not None
                self.machine.retrieve_started(self._opened.listing.octets_of(event.number))
                self.machine.add_output(part)
                self._octets += len(part)
                self._sent(event)
                return None
            return self._send(reader, event, part)
        return self._send(reader, event)

    async def _fetch(self, event: Retrieve) -> None:
        """Send a message that lies elsewhere: others are served while it comes."""
        try:
            reader = await self.services.verbs.run(self._reader, event)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours: logged, and temporary)
            self._fail(error)
        else:
            await self._send(reader, event)

    def _reader(self, event: Retrieve) -> Reader:
        assert self._opened is not None
        listing, number = self._opened.listing, event.number
        return Reader(
            listing.content_of(number), listing.preamble_of(number), listing.octets_of(number), event.lines
        )

    def _fail(self, error: Exception) -> None:
        """A message that cannot be had is refused before anything is promised."""
        assert self._opened is not None
        mailbox = self._opened.login.mailbox
        if isinstance(error, ContentMissing):
            log.error("pop3 content_missing mailbox=%d", mailbox)
        else:
            log.error("pop3 content_unreadable mailbox=%d", mailbox, exc_info=error)
        self.machine.retrieve_failed(temporary=not isinstance(error, ContentMissing))

    async def _send(self, reader: Reader, event: Retrieve, part: bytes = b"") -> None:
        """Stream a message: never more of it in memory than the socket takes."""
        assert self._opened is not None
        try:
            part = part or await self._read(reader)
            self.machine.retrieve_started(self._opened.listing.octets_of(event.number))
            self.write(self.machine.take_output())
            turn = 0
            while True:
                self.write(part)
                self._octets += len(part)
                turn += len(part)
                await self.writable()
                if reader.done:
                    break
                if turn >= TURN:
                    turn = 0
                    await asyncio.sleep(0)
                part = await self._read(reader)
            self._sent(event)
        finally:
            reader.close()

    def _sent(self, event: Retrieve) -> None:
        self.machine.retrieve_finished()
        if event.lines is None or event.lines >= WHOLE:
            self._fetched += 1
        else:
            self._tops += 1

    async def _read(self, reader: Reader) -> bytes:
        try:
            return reader.read(maildrop.CHUNK, os.RWF_NOWAIT)
        except OSError:
            return await self.services.verbs.run(reader.read)

    # The end.

    async def _expunge(self, event: Expunge) -> None:
        assert self._opened is not None
        self._deleted, self._end = len(event.numbers), SessionEnd.QUIT
        self._recorded = True  # with the deletions, in their transaction
        try:
            await self.services.verbs.run(maildrop.expunge, self._opened, event.numbers, self._record())
        except Exception:
            log.exception("pop3 update_failed mailbox=%d", self._opened.login.mailbox)
            self._deleted, self._end = 0, SessionEnd.UPDATE_FAILED
            self._recorded = False
            if self.gone:
                self.ended()
            if self._listens:
                self.machine.expunge_failed()
        else:
            self.services.counted.deleted += self._deleted
            if self._listens:
                self.machine.expunged()

    def close(self) -> None:
        if self._end is SessionEnd.DROPPED and self._opened is not None and not self._listens:
            # The machine has hung up, not the peer.
            said_goodbye = self.machine.said_goodbye
            self._end = SessionEnd.QUIT if said_goodbye else SessionEnd.TOO_MANY_ERRORS
        super().close()

    def counted(self) -> tuple[int, int]:
        """Messages and octets that were sent."""
        return self._fetched, self._octets

    def ended(self) -> None:
        if self._seat:
            self.services.counted.take_over(self)
            self.services.seats.leave(self._seat)
            self._seat = b""
        if self._opened is not None and self._opened.lease:
            self.door.start(self._release(self._opened))
        if self._name and not self._recorded:
            self._recorded = True
            self.services.recorder.record(lambda: (POP3Session, rows.row(POP3Session, **self._facts())))

    def _record(self) -> POP3Session:
        return POP3Session(**self._facts())

    def _facts(self) -> dict[str, Any]:
        opened = self._opened
        return {
            "session": self._session,
            "mailbox_id": opened.login.mailbox if opened else None,
            "login": opened.login.login if opened else _printable(self._name.strip().lower(), 320),
            "peer": self.peer,
            "tls": self._tls,
            "program": _program(opened.login.device if opened else "", self.machine.program),
            "started_at": self._started,
            "ended_at": datetime.now(UTC),
            "fetched": self._fetched,
            "tops": self._tops,
            "deleted": self._deleted,
            "octets": self._octets,
            "recent": bool(opened and opened.recent),
            "ended": self._end,
            "reason": self._reason,
        }


def _program(device: str, said: str) -> str:
    """Which program it was: what the owner calls its app password, and what it says itself (ID)."""
    names = [name for name in (device, said) if name]
    return _printable(f"{names[0]} ({names[1]})" if len(names) > 1 else "".join(names), 80)


def _code_of(refusal: LoginRefused) -> str:
    """RFC 3206 section 4: AUTH is for credentials; what only a person can mend is SYS/PERM."""
    return "SYS/PERM" if refusal.permanent else "AUTH"


def _tls_of(transport: asyncio.Transport) -> str:
    tls = transport.get_extra_info("ssl_object")
    return f"{tls.version()} {tls.cipher()[0]}"[:60] if tls else ""


def _printable(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:most])


class LeaseKeeper:
    """Renews the leases of all sessions of this process, now and then (POP3_EXCLUSIVE)."""

    def __init__(self, door: Door, services: Services) -> None:
        self.door = door
        self.services = services
        self._next = monotonic()

    def tick(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + LEASE_RENEWAL_SECONDS
        held = [token for c in self.door.open if (token := _lease_of(c))]
        if held:
            self.door.start(self._renew(held))

    async def _renew(self, tokens: Sequence[str]) -> None:
        try:
            await self.services.verbs.run(renew_leases, tokens)
        except Exception:
            log.exception("pop3 lease_renewal_failed sessions=%d", len(tokens))


def _lease_of(connection: object) -> str:
    opened = connection._opened if isinstance(connection, POP3Connection) else None
    return opened.lease if opened else ""
