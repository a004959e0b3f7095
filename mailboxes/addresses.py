"""Addresses: how they are written down, and what they reach."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import idna
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from mailboxes import statements
from mailboxes.exceptions import (
    ClosedDomain,
    ForeignDomain,
    Invalid,
    RecipientRefused,
    RecipientUnavailable,
    UnknownRecipient,
)
from mailboxes.models import Address, AddressKind, Domain, Mailbox, Status, Target

LOCAL_PART_MAX = 64  # octets, RFC 5321 section 4.5.3.1.1
DOMAIN_MAX = 255  # octets, RFC 5321 section 4.5.3.1.2
ADDRESS_MAX = 320  # characters, both parts with the @; what the columns hold
# RFC 5322 section 3.2.3: what would have to be quoted in a local part.
SPECIALS = frozenset(' ()<>[]:;@\\,"')
# RFC 1123 section 2.1, and the underscore that some hosts have all the same.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# What every recipient of every message asks. As SQL, because having the ORM write it anew took five times as
# long as running it.
TARGETS = (
    "SELECT a.name, a.id, a.kind, d.active, d.closed_at IS NOT NULL, a.active, a.closed_at IS NOT NULL,"
    " t.mailbox_id, m.receiving_enabled, c.status,"
    # A list may reach an account of another domain, and that one may be closed. Not as one more join, whose
    # planning would cost every delivery as much as a third of the look-up.
    " c.domain_id <> a.domain_id AND"
    " (SELECT h.closed_at IS NOT NULL FROM mailboxes_domain h WHERE h.id = c.domain_id),"
    " t.forward_to, m.quota_bytes - m.used_bytes"
    " FROM mailboxes_address a JOIN mailboxes_domain d ON d.id = a.domain_id"
    " LEFT JOIN mailboxes_target t ON t.address_id = a.id"
    " LEFT JOIN mailboxes_mailbox m ON m.id = t.mailbox_id"
    " LEFT JOIN mailboxes_account c ON c.id = m.account_id WHERE a.name IN ({places})"
)
DETAIL = "+"  # ann+shop@example.test reaches ann@example.test (RFC 5233's 'detail')


@dataclass(frozen=True, slots=True)
class Route:
    """What a recipient reaches: mailboxes here (primary keys), and addresses elsewhere to be sent on to.

    `room`: octets that were free in the fullest of the mailboxes when they were looked up, None: not known.
    """

    recipient: str
    mailboxes: tuple[int, ...]
    forwards: tuple[tuple[int, str], ...] = ()  # (address primary key, where to)
    room: int | None = field(default=None, compare=False)


def normalise_domain(text: str) -> str:
    """A domain as lower-case A-label (IDNA 2008 with the mapping of UTS 46). Invalid."""
    return _a_label(text.strip())


def _a_label(text: str) -> str:
    name = text.removesuffix(".").lower()
    if len(name) > DOMAIN_MAX:
        raise Invalid(_("%(text)r is not a domain name: it is too long") % {"text": text[:80]})
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise Invalid(
                _("%(text)r is not a domain name: %(error)s") % {"text": text[:80], "error": error}
            ) from None
    if len(name) > DOMAIN_MAX or not all(map(_LABEL.fullmatch, name.split("."))):
        raise Invalid(_("%(text)r is not a domain name") % {"text": text[:80]})
    return name


def normalise(text: str) -> str:
    """An address as it is looked up: local part in lower case (NFC), domain as A-label. Invalid."""
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if not at or not local:
        raise Invalid(
            _("%(text)r is not an address: it needs a name, an @ and a domain") % {"text": text[:80]}
        )
    # Lowered before and composed after: the small letter of one character may be two.
    local = unicodedata.normalize("NFC", local.lower())
    # What is not printable has no place in a log, a header or PostgreSQL; specials would need quotes.
    if len(text) > ADDRESS_MAX or not text.isprintable() or SPECIALS & set(local):
        raise Invalid(_("%(text)r is not an address that can be given to anybody") % {"text": text[:80]})
    if len(local.encode()) > LOCAL_PART_MAX:
        raise Invalid(
            _("%(text)r has more than %(most)s octets before the @")
            % {"text": text[:80], "most": LOCAL_PART_MAX}
        )
    return f"{local}@{_a_label(domain)}"


@dataclass(frozen=True, slots=True)
class _Target:
    """One thing that an address reaches, or nothing (an address whose targets are gone)."""

    name: str
    address: int
    kind: str
    domain_active: bool
    domain_closed: bool
    address_active: bool
    address_closed: bool
    mailbox: int | None
    receiving: bool | None
    status: str | None
    home_closed: bool | None
    forward_to: str | None
    room: int | None

    @property
    def open(self) -> bool:
        """Whether it has not been closed, for good or for as long as that can be undone."""
        return bool(
            self.forward_to or (self.mailbox and self.status != Status.CLOSED and not self.home_closed)
        )


def resolve(recipient: str) -> Route:
    """What a recipient reaches, by one indexed look-up.

    UnknownRecipient, ForeignDomain, ClosedDomain, RecipientUnavailable.

    The whole address wins over the one without `+detail`, and any address over the domain's catch-all.
    """
    [found] = resolve_all([recipient])
    if isinstance(found, RecipientRefused):
        raise found
    return found


def resolve_all(recipients: Sequence[str]) -> list[Route | RecipientRefused]:
    """`resolve` for many at once, by one look-up for all that have an address of their own."""
    candidates = [_candidates(recipient.strip()) for recipient in recipients]
    targets = _targets_of([name for names in candidates for name in names])
    found: list[Route | RecipientRefused] = []
    for recipient, names in zip(recipients, candidates, strict=True):
        try:
            found.append(_route(recipient.strip(), names, targets))
        except RecipientRefused as refusal:
            found.append(refusal)
    return found


def _candidates(recipient: str) -> list[str]:
    """The names that a recipient may be known by, the best first; none when it cannot be an address."""
    try:
        name = normalise(recipient)
    except Invalid:
        return []
    local, _, domain = name.rpartition("@")
    if DETAIL in local[1:]:
        return [name, f"{local[: local.index(DETAIL, 1)]}@{domain}"]
    return [name]


def _route(recipient: str, names: Sequence[str], known: Mapping[str, Sequence[_Target]]) -> Route:
    if not names:
        raise UnknownRecipient(recipient)
    targets = next((known[name] for name in names if name in known), None)
    if targets is None:
        return _catch_all(names[0], recipient)
    first = targets[0]
    reached = tuple(sorted({t.mailbox for t in targets if t.mailbox}))
    if first.domain_closed:
        raise ClosedDomain(recipient, reached)
    if not first.domain_active:
        raise RecipientUnavailable(recipient, reached)
    # What was closed is still its owner's: its mail goes neither to the catch-all nor to another.
    open_ = [] if first.address_closed else [t for t in targets if t.open]
    # An account's own forward is a copy of what the account takes: it ends where that ends.
    is_copy = first.kind == AddressKind.PRIMARY
    if not any(t.mailbox or not is_copy for t in open_):
        raise UnknownRecipient(recipient, reached)
    if not first.address_active:
        raise RecipientUnavailable(recipient, reached)
    mailboxes = {t.mailbox: t.room for t in open_ if t.mailbox and t.receiving}
    forwards = tuple((t.address, t.forward_to) for t in open_ if t.forward_to)
    if not mailboxes and (is_copy or not forwards):
        raise RecipientUnavailable(recipient, reached)
    room = min((room for room in mailboxes.values() if room is not None), default=None)
    return Route(recipient, tuple(sorted(mailboxes)), forwards, room)


def _targets_of(names: Sequence[str]) -> Mapping[str, Sequence[_Target]]:
    """What each of these addresses reaches, as far as they exist."""
    targets: dict[str, list[_Target]] = defaultdict(list)
    if names:
        places, wanted = statements.places(names)
        for row in statements.run(TARGETS.format(places=places), wanted).fetchall():
            targets[row[0]].append(_Target(*row))
    return targets


def _catch_all(name: str, recipient: str) -> Route:
    domain = (
        Domain.objects.filter(name=name.rpartition("@")[2])
        .values_list(
            "active",
            "closed_at",
            "catch_all_id",
            "catch_all__receiving_enabled",
            "catch_all__account__status",
            "catch_all__account__domain__closed_at",
        )
        .first()
    )
    if domain is None:
        raise ForeignDomain(recipient)
    active, closed_at, mailbox, receiving, status, home_closed_at = domain
    if closed_at is not None:
        raise ClosedDomain(recipient)
    if not active:
        raise RecipientUnavailable(recipient)
    if mailbox is None or status == Status.CLOSED or home_closed_at is not None:
        raise UnknownRecipient(recipient)
    if not receiving:
        raise RecipientUnavailable(recipient)
    return Route(recipient, (mailbox,))


def domain_of(name: str) -> Domain:
    """The domain of an address, which must be ours and not closed. Invalid."""
    domain_name = name.rpartition("@")[2]
    domain = Domain.objects.filter(name=domain_name).first()
    if domain is None:
        raise Invalid(
            _("the domain %(domain)s is not served here: make it with create_domain %(domain)s")
            % {"domain": domain_name}
        )
    if domain.closed_at is not None:
        raise Invalid(_("the domain %(domain)s is closed: restore it first") % {"domain": domain_name})
    return domain


def add_address(
    name: str, kind: AddressKind, mailboxes: Iterable[Mailbox] = (), forward_to: Iterable[str] = ()
) -> Address:
    """Make an address that reaches mailboxes here or addresses elsewhere. Invalid: bad, foreign or taken."""
    name = normalise(name)
    domain = domain_of(name)
    try:
        with transaction.atomic():
            address = Address.objects.create(name=name, domain=domain, kind=kind)
            Target.objects.bulk_create(
                [Target(address=address, mailbox=mailbox) for mailbox in set(mailboxes)]
                + [Target(address=address, forward_to=to) for to in {normalise(to) for to in forward_to}]
            )
    except IntegrityError:
        raise Invalid(why_taken(name)) from None
    return address


def why_taken(name: str) -> str:
    """Why nobody can have this address now: it is somebody's, or was until lately."""
    closed_at = Address.objects.filter(name=name).values_list("closed_at", flat=True).first()
    if closed_at is None:
        return _("the address %(name)s exists already") % {"name": name}
    return _("the address %(name)s was closed and is not given again before %(day)s") % {
        "name": name,
        "day": f"{free_on(closed_at):%Y-%m-%d}",
    }


def free_on(closed_at: datetime) -> datetime:
    """When what was closed then is removed for good, and its name can be given again."""
    return closed_at + timedelta(days=settings.CLOSED_ACCOUNT_DAYS)


def room_in(mailboxes: Iterable[int], octets: int) -> bool:
    """Whether each mailbox has room for a message of this size now (a first look: delivery decides)."""
    wanted = set(mailboxes)
    with_room = Mailbox.objects.filter(pk__in=wanted, used_bytes__lte=F("quota_bytes") - octets).count()
    return with_room == len(wanted)
