"""Mail that a program on this host hands in, as raw text: read by pieces, spooled, delivered."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from mailboxes import storage
from mailboxes.addresses import resolve
from mailboxes.content import facts_of
from mailboxes.delivery import Arrival, deliver
from mailboxes.exceptions import Invalid
from mailboxes.sizes import size_text
from mailboxes.storage import IN_MEMORY, Spool, new_key
from mailboxes.trace import trace_headers
from mailboxes.wire import MAX_RECEIVED, Stuffer, count_received

DOOR = "command"
# An mbox's From_ line before the header: some programs that call a delivery command send one along.
_FROM_LINE = re.compile(rb"From [^\r\n]*\r?\n")


class Empty(Invalid):
    """There is nothing in the message."""


class TooLarge(Invalid):
    """The message is larger than MESSAGE_SIZE_LIMIT."""


class MailLoop(Invalid):
    """The message has passed through too many hosts."""


def deliver_locally(
    recipient: str, chunks: Iterable[bytes], *, sender: str | None = None, at: datetime | None = None
) -> None:
    """Deliver one raw message to one recipient; when this returns, it is stored.

    `sender` None: nobody said who sent it. RecipientRefused, StoreFull, StoreUnavailable, Empty, TooLarge,
    MailLoop.
    """
    route = resolve(recipient)
    at = at or timezone.now()
    transaction = new_key().hex
    trace = trace_headers(
        sender=sender,
        helo="",
        peer="",
        hostname=settings.HOSTNAME,
        protocol="local",
        transaction=transaction,
        at=at,
    )
    spool, octets = spool_message(_without_from_line(chunks), trace)
    if count_received(spool.head) > MAX_RECEIVED:
        spool.discard()
        raise MailLoop(f"the message has passed through more than {MAX_RECEIVED} hosts: a mail loop")
    facts, wire_octets = facts_of(spool.head), spool.wire_octets
    key = spool.keep()
    arrival = Arrival(
        key=key,
        octets=octets,
        wire_octets=wire_octets,
        routes=[route],
        sender=sender or "",
        facts=facts,
        door=DOOR,
        transaction=transaction,
        received_at=at,
    )
    [[outcome]] = deliver([arrival])
    if outcome is not None:
        storage.remove_content(key)
        raise outcome


def spool_message(
    chunks: Iterable[bytes], trace: bytes = b"", seen: Callable[[bytes], object] = len
) -> tuple[Spool, int]:
    """Spool a raw message behind its trace header; returns it and its un-stuffed octets. Empty, TooLarge.

    `seen` is shown each piece of the wire form.
    """
    spool, stuffer = Spool(), Stuffer()
    try:
        _add(spool, trace, seen)
        for chunk in chunks:
            _add(spool, stuffer.feed(chunk), seen)
            if stuffer.octets > settings.MESSAGE_SIZE_LIMIT:
                raise TooLarge(
                    f"the message is larger than MESSAGE_SIZE_LIMIT, {size_text(settings.MESSAGE_SIZE_LIMIT)}"
                )
        _add(spool, stuffer.finish(), seen)
        if not stuffer.octets:
            raise Empty("the message is empty")
    except BaseException:
        spool.discard()
        raise
    return spool, stuffer.octets + len(trace)


def _add(spool: Spool, wire: bytes, seen: Callable[[bytes], object]) -> None:
    if not wire:
        return
    seen(wire)
    spool.add(wire)
    if spool.waiting > IN_MEMORY:
        spool.flush()


def _without_from_line(chunks: Iterable[bytes]) -> Iterable[bytes]:
    first = True
    for chunk in chunks:
        if first and (match := _FROM_LINE.match(chunk)):
            chunk = chunk[match.end() :]
        first = False
        yield chunk
