"""What the mail door asks of the store, each a plain function that a thread may run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from mailboxes.addresses import Route, resolve_all
from mailboxes.content import Facts, facts_of
from mailboxes.delivery import Arrival
from mailboxes.exceptions import (
    ClosedDomain,
    ForeignDomain,
    MailboxError,
    OverQuota,
    RecipientRefused,
    RecipientUnavailable,
    StoreFull,
    UnknownRecipient,
)
from mailboxes.models import Mailbox, Message
from mailboxes.storage import Spool, keep_together
from mailboxes.wire import MAX_RECEIVED, count_received
from smtpd import replies
from smtpd.replies import Reply


class MailLoop(MailboxError):
    """The message has passed too many hosts (RFC 5321 section 6.3)."""


# The one place where what the store says becomes what the peer is told. Whatever is not named here is our own
# fault, and temporary.
REPLIES: dict[type[BaseException], Reply] = {
    UnknownRecipient: replies.UNKNOWN_RECIPIENT,
    ForeignDomain: replies.RELAY_DENIED,
    ClosedDomain: replies.DOMAIN_CLOSED,
    RecipientUnavailable: replies.MAILBOX_SUSPENDED,
    OverQuota: replies.OVER_QUOTA,
    StoreFull: replies.STORE_FULL,
    MailLoop: replies.LOOP,
}


def reply_to(error: BaseException) -> Reply:
    return REPLIES.get(type(error), replies.STORE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Kept:
    """A message whose bytes are on the disk."""

    key: UUID
    wire_octets: int
    facts: Facts


@dataclass(frozen=True, slots=True)
class Wanted:
    """A recipient that a peer names, and the size that it says the message has."""

    address: str
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Coming:
    """A message that has come whole: its bytes, or where they are kept already, and what comes of that."""

    message: Spool | Kept
    arrival: Callable[[Kept], Arrival]


def arrivals_of(coming: Sequence[Coming]) -> list[Arrival | MailboxError]:
    """What `GroupCommit` does first: keeps the bytes of messages, together."""
    kept = iter(keep_all([one.message for one in coming if isinstance(one.message, Spool)]))
    arrivals: list[Arrival | MailboxError] = []
    for one in coming:
        where = next(kept) if isinstance(one.message, Spool) else one.message
        arrivals.append(where if isinstance(where, MailboxError) else one.arrival(where))
    return arrivals


def routes_of(wanted: Sequence[Wanted]) -> list[Route | RecipientRefused]:
    """Where the mail of each recipient goes, or why not: unknown, foreign, unavailable, over quota."""
    routes = resolve_all([one.address for one in wanted])
    return [_judged(one, route) for one, route in zip(wanted, routes, strict=True)]


def _judged(wanted: Wanted, route: Route | RecipientRefused) -> Route | RecipientRefused:
    if isinstance(route, RecipientRefused) or _may_have_room(route, wanted.octets):
        return route
    return OverQuota(wanted.address, route.mailboxes)


def _may_have_room(route: Route, octets: int) -> bool:
    """A first look, for a refusal before the message is sent; delivery decides."""
    if route.room is not None and route.room >= octets:
        return True
    return all(_would_have_room(mailbox, octets) for mailbox in route.mailboxes)


def _would_have_room(mailbox: int, octets: int) -> bool:
    """Trash would give way."""
    trash = Message.objects.filter(mailbox=mailbox, folder__kind="trash").aggregate(
        octets=Coalesce(Sum("size"), 0)
    )
    return Mailbox.objects.filter(
        pk=mailbox, used_bytes__lte=F("quota_bytes") + trash["octets"] - octets
    ).exists()


def keep(spool: Spool) -> Kept:
    """Make a message durable. MailLoop, StoreFull, StoreUnavailable; then nothing is kept."""
    [kept] = keep_all([spool])
    if isinstance(kept, MailboxError):
        raise kept
    return kept


def keep_all(spools: Sequence[Spool]) -> list[Kept | MailboxError]:
    """Make messages durable together: MailLoop, StoreFull, StoreUnavailable for those that are not kept."""
    heads = [spool.head for spool in spools]
    looping = [count_received(head) > MAX_RECEIVED for head in heads]
    sizes = [spool.wire_octets for spool in spools]
    keys = iter(keep_together([spool for spool, loops in zip(spools, looping, strict=True) if not loops]))
    kept: list[Kept | MailboxError] = []
    for spool, head, loops, size in zip(spools, heads, looping, sizes, strict=True):
        if loops:
            spool.discard()
            kept.append(MailLoop())
        else:
            key = next(keys)
            kept.append(key if isinstance(key, MailboxError) else Kept(key, size, facts_of(head)))
    return kept
