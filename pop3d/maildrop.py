"""The maildrop of one session: open, read, expunge, each a plain function that a thread may run."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mailboxes import credentials, messages
from mailboxes.credentials import Login, Service
from mailboxes.exceptions import LoginRefused
from mailboxes.maildrops import Listing, read_listing, read_recent, take_lease
from mailboxes.models import POP3Session
from mailboxes.storage import open_content
from mailboxes.wire import TopCutter

RECENT = "recent:"
# Listings that are remembered, counted in messages: 2 million cost some 180 MB.
REMEMBERED_MESSAGES = 2_000_000
CHUNK = 256 * 1024


@dataclass(slots=True)
class Opened:
    """A maildrop that somebody was let into; `lease` is set while it is held alone."""

    login: Login
    listing: Listing
    recent: bool
    lease: str = ""


class Listings:
    """The listings of mailboxes as they were last seen, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, Listing] = OrderedDict()
        self._messages = 0
        self._lock = threading.Lock()

    def unchanged(self, login: Login) -> Listing | None:
        """The inbox, if it is known and as it was."""
        known = self._known.get(login.mailbox)
        return known if known is not None and known.version >= login.version else None

    def of(self, login: Login) -> Listing:
        """The inbox as it is now, read as far as it is not known."""
        known = self._known.get(login.mailbox)
        listing = read_listing(login, known)
        if listing is not known:
            self._remember(login.mailbox, listing)
        return listing

    def _remember(self, mailbox: int, listing: Listing) -> None:
        with self._lock:
            before = self._known.pop(mailbox, None)
            self._messages += listing.count + 1 - (before.count + 1 if before else 0)
            self._known[mailbox] = listing
            while self._messages > REMEMBERED_MESSAGES and len(self._known) > 1:
                _, forgotten = self._known.popitem(last=False)
                self._messages -= forgotten.count + 1


listings = Listings()


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody wants in: what he gave, and `lease`, the token to hold the maildrop by, '' for none."""

    login: str
    password: str = field(repr=False)
    network: str
    lease: str = ""

    @property
    def recent(self) -> bool:
        return self.login[: len(RECENT)].lower() == RECENT

    @property
    def name(self) -> str:
        return self.login[len(RECENT) :] if self.recent else self.login


def recall_all(attempts: Sequence[Attempt]) -> Sequence[Login | LoginRefused | None]:
    """Let in who was verified before, by one query for all; None: ask `open_verified`."""
    return credentials.recall_all(
        [credentials.Attempt(attempt.name, attempt.password, attempt.network) for attempt in attempts],
        Service.POP3,
    )


def open_unchanged(login: Login, attempt: Attempt) -> Opened | None:
    """Open a maildrop without asking anybody, if its listing is known and nobody needs a lease."""
    if attempt.recent or attempt.lease or (listing := listings.unchanged(login)) is None:
        return None
    return Opened(login, listing, recent=False)


def open_verified(attempt: Attempt) -> Opened:
    """Verify the password (which takes a core for some 20 ms), then open. LoginRefused, MaildropLocked."""
    login = credentials.authenticate(attempt.name, attempt.password, Service.POP3, attempt.network)
    return open_admitted(login, attempt)


def open_admitted(login: Login, attempt: Attempt) -> Opened:
    """Open a maildrop for who was let in. MaildropLocked."""
    if attempt.lease:
        take_lease(login.mailbox, attempt.lease)
    listing = read_recent(login) if attempt.recent else listings.of(login)
    return Opened(login, listing, attempt.recent, attempt.lease)


def expunge(opened: Opened, numbers: tuple[int, ...], session: POP3Session) -> None:
    """Delete for good or as the mailbox chooses, with the session's record, in one transaction."""
    messages.discard(opened.login.mailbox, [opened.listing.id_of(n) for n in numbers], session)


class Reader:
    """The wire form of one message, read in chunks: the preamble, then the file, cut for TOP.

    ContentMissing, StoreUnavailable when it is made: before anything has been promised to the client.
    """

    __slots__ = ("_cutter", "_offset", "_preamble", "descriptor", "done", "left")

    def __init__(self, key: str, preamble: bytes, octets: int, lines: int | None) -> None:
        self.descriptor = open_content(key)
        self._offset = 0
        self._preamble = preamble
        self._cutter = None if lines is None else TopCutter(lines)
        self.done = False
        # What fstat would say, but one number instead of an object of twenty.
        self.left = os.lseek(self.descriptor, 0, os.SEEK_END)
        if self.left + len(preamble) < octets:  # torn: never send less than was announced
            self.close()
            raise OSError(f"content {key} is shorter than it should be")

    def read(self, size: int = CHUNK, flags: int = 0) -> bytes:
        """The next part; empty at the end. With RWF_NOWAIT: BlockingIOError when the disk must be asked."""
        if self.done:
            return b""
        data = os.preadv(
            self.descriptor, [buffer := bytearray(min(size, self.left) or 1)], self._offset, flags
        )
        self._offset += data
        self.left -= data
        part = self._preamble + memoryview(buffer)[:data]
        self._preamble = b""
        if self._cutter is not None:
            part = self._cutter.feed(part)
            self.done = self._cutter.done
        if not data and self.left > 0:
            raise OSError("content ended early")
        self.done = self.done or self.left <= 0
        return part

    def chunks(self) -> Iterator[bytes]:
        while not self.done:
            yield self.read()

    def close(self) -> None:
        os.close(self.descriptor)
