"""What an address beyond the primary one reaches: aliases, lists, forwards, and a domain's catch-all.

The audit has each change under the logins whose mail it concerns, so that an account's time line shows it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import audit, forward_notices, rows
from mailboxes.addresses import add_address, domain_of, normalise
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, AddressKind, AuditEntry, Domain, Mailbox, Status, Target

T = TypeVar("T")

# One message to a list is one row for each member, in one transaction.
TARGETS_MAX = 1_000
REASON_MAX = 300  # characters: what the columns hold
PURGED_AT_ONCE = 500
ASKED_AT_ONCE = 5_000  # names in one statement; SQLite takes 32,766
INSERTED_AT_ONCE = 1_000  # rows between two looks whether it is still wanted: some tens of milliseconds


def create_address(name: str, reaches: Sequence[str], *, actor: Who = "command") -> Address:
    """Make an address that reaches accounts here, addresses elsewhere, or both (a list). Invalid.

    `reaches`: login names of accounts here, and any addresses whose domains are not ours.
    """
    mailboxes, elsewhere = _targets(reaches)
    with transaction.atomic():
        address = add_address(name, _kind(mailboxes), mailboxes, elsewhere)
        whose = [mailbox.account.login for mailbox in mailboxes]
        after = {"address": address.name, "reaches": sorted([*whose, *elsewhere])}
        _write("create_address", whose or [address.name], actor, after=after)
    return address


@dataclass(frozen=True, slots=True)
class Prepared:
    """Addresses that are to be made together, with all that belongs to them, and catch-alls to be set."""

    addresses: Sequence[Address]
    targets: Sequence[Target]
    entries: Sequence[AuditEntry]
    catch_alls: Sequence[tuple[Domain, str]]
    actor: Who


def prepare_addresses(
    made: Sequence[tuple[str, Sequence[str]]],
    caught: Sequence[tuple[str, str]],
    *,
    actor: Who,
    step: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """All that making many addresses (name and what each reaches) and setting catch-alls (domain and login)
    takes, but for the writing itself, so that nobody waits for it. `step` is told of each.

    Invalid: one cannot be. Names are normalised.
    """
    domains = {name: domain_of(f"@{name}") for name in {name.rpartition("@")[2] for name, _ in made}}
    logins = {one for _, reaches in made for one in reaches}
    boxes = {box.account.login: box for box in _mailboxes_of(sorted(logins))}
    ours = _served_among(logins)
    for one in sorted(logins - boxes.keys()):
        if one.rpartition("@")[2] in ours:
            raise Invalid(_("there is no open account %(one)s") % {"one": one})
    addresses, targets, entries = list[Address](), list[Target](), list[AuditEntry]()
    for name, reaches in made:
        kind = _kind(boxes.keys() & reaches)
        address = Address(name=name, domain=domains[name.rpartition("@")[2]], kind=kind)
        addresses.append(address)
        targets += [
            Target(address=address, mailbox=boxes.get(one), forward_to="" if one in boxes else one)
            for one in reaches
        ]
        after = {"address": name, "reaches": [*reaches]}
        whose = [one for one in reaches if one in boxes] or [name]
        entries += [audit.entry("create_address", subject, actor, after=after) for subject in whose]
        step(1)
    catch_alls = []
    for name, login in caught:
        catch_alls.append((domain_of(f"@{name}"), login))
        step(1)
    return Prepared(addresses, targets, entries, catch_alls, actor)


def make_addresses(prepared: Prepared, check: Callable[[], None] = lambda: None) -> None:
    """Make all of them or none. `check` is asked again and again meanwhile; what it raises ends the work.

    Invalid: something has changed since they were prepared.
    """
    try:
        with transaction.atomic():
            for addresses in _portions(prepared.addresses, check):
                Address.objects.bulk_create(addresses)
            for target in prepared.targets:
                target.address_id = target.address.pk  # it has one by now
            for targets in _portions(prepared.targets, check):
                rows.insert(targets)
            for entries in _portions(prepared.entries, check):
                audit.write_all(entries)
            for domain, login in prepared.catch_alls:
                check()
                set_catch_all(domain, login, actor=prepared.actor)
            check()
    except IntegrityError:
        raise Invalid(
            _("one of the addresses was made by somebody else meanwhile: look at the list again")
        ) from None


def _portions(made: Sequence[T], check: Callable[[], None]) -> Iterator[Sequence[T]]:
    for start in range(0, len(made), INSERTED_AT_ONCE):
        check()
        yield made[start : start + INSERTED_AT_ONCE]


def _kind(mailboxes: Collection[object]) -> AddressKind:
    """Of an address that reaches these here."""
    return AddressKind.ALIAS if mailboxes else AddressKind.FORWARD


def _mailboxes_of(logins: Sequence[str]) -> Iterator[Mailbox]:
    """Those of open accounts among these."""
    open_ = Mailbox.objects.select_related("account").exclude(account__status=Status.CLOSED)
    for start in range(0, len(logins), ASKED_AT_ONCE):
        yield from open_.filter(account__login__in=logins[start : start + ASKED_AT_ONCE])


def change_address(address: Address, reaches: Sequence[str], *, actor: Who = "command") -> None:
    """Let an alias, list or forward reach something else from now on. Invalid: closed; an account's own."""
    mailboxes, elsewhere = _targets(reaches)
    with transaction.atomic():
        was = _locked(address)
        if was.closed_at is not None:
            raise Invalid(_("the address %(name)s is closed") % {"name": was.name})
        before, whose = _reach_of(was)
        Target.objects.filter(address=was).delete()
        Target.objects.bulk_create(
            [Target(address=was, mailbox=mailbox) for mailbox in mailboxes]
            + [Target(address=was, forward_to=to) for to in elsewhere]
        )
        was.kind = _kind(mailboxes)
        was.save(update_fields=["kind"])
        after, whose_now = _reach_of(was)
        concerned = sorted({*whose, *whose_now}) or [was.name]
        _write("change_address", concerned, actor, before=before, after=after)


def suspend_address(address: Address, reason: str, *, actor: Who = "command") -> None:
    """Ask senders to try again later (450), until it is restored. Invalid: closed, or an account's own."""
    _change(address, "suspend_address", actor, reason, {"closed_at": None}, active=False)


def close_address(address: Address, reason: str = "", *, actor: Who = "command") -> None:
    """Refuse mail for an alias, list or forward from now on; what it reached is kept for
    CLOSED_ACCOUNT_DAYS, in which it can be restored, and then purged. Invalid: closed, or an account's own.
    """
    _change(address, "close_address", actor, reason, {"closed_at": None}, closed_at=timezone.now())


def restore_address(address: Address, reason: str = "", *, actor: Who = "command") -> None:
    """Let an address that was suspended or closed reach again what it reached. Invalid: nothing to undo."""
    _change(address, "restore_address", actor, reason, {}, active=True, closed_at=None)


def _change(
    address: Address, verb: str, actor: Who, reason: str, only: Mapping[str, Any], **values: Any
) -> None:
    _refuse_long(reason)
    with transaction.atomic():
        was = _locked(address)
        if verb == "restore_address" and was.status == Status.ACTIVE:
            raise Invalid(_("the address %(name)s is active already") % {"name": address.name})
        # Why it is not active; of one that is, the audit alone says why.
        standing = "" if verb == "restore_address" else reason
        if not Address.objects.filter(pk=address.pk, **only).update(status_reason=standing, **values):
            raise Invalid(_("the address %(name)s is closed") % {"name": address.name})
        before, whose = _reach_of(address)
        _write(verb, whose or [address.name], actor, before=before | {"status": was.status}, reason=reason)
    address.refresh_from_db()


def _refuse_long(reason: str) -> None:
    if len(reason) > REASON_MAX:
        raise Invalid(
            _("the reason has %(count)s characters: %(most)s have room")
            % {"count": len(reason), "most": REASON_MAX}
        )


def _locked(address: Address) -> Address:
    """An address that is nobody's own, as it is now, until the transaction ends. Invalid."""
    found = Address.objects.select_for_update().filter(pk=address.pk).first()
    if found is None:
        raise Invalid(_("the address %(name)s is gone already") % {"name": address.name})
    if found.kind == AddressKind.PRIMARY:
        raise Invalid(
            _("%(name)s is the address of an account: change the account instead") % {"name": found.name}
        )
    return found


def purge_closed_addresses() -> int:
    """Remove closed addresses whose grace time has run out; returns how many."""
    before = timezone.now() - timedelta(days=settings.CLOSED_ACCOUNT_DAYS)
    due = Address.objects.filter(closed_at__lt=before).select_related("domain")
    removed = 0
    while some := list(due[:PURGED_AT_ONCE]):
        for address in some:
            with transaction.atomic():
                # What was restored meanwhile stays.
                if due.filter(pk=address.pk).delete()[0]:
                    audit.write("purge_address", address.name, "job")
                    removed += 1
    return removed


def set_forward(account: Account, to: str, *, reason: str = "", actor: Who = "command") -> None:
    """Send a copy of what comes for an account's own address elsewhere; '' ends it. Invalid."""
    _refuse_long(reason)
    with transaction.atomic():
        address = Address.objects.select_for_update().filter(name=account.login).first()
        if address is None:
            raise Invalid(_("the account %(login)s has no address of its own") % {"login": account.login})
        elsewhere = [normalise(to)] if to.strip() else []
        if elsewhere:
            _refuse_ours(elsewhere)
        forwards = Target.objects.filter(address=address, mailbox=None)
        before = {"forward": sorted(forwards.values_list("forward_to", flat=True))}
        forwards.delete()
        Target.objects.bulk_create([Target(address=address, forward_to=one) for one in elsewhere])
        after = {"forward": elsewhere}
        audit.write("set_forward", account.login, actor, before=before, after=after, reason=reason)
        if after != before:
            forward_notices.tell(account, "".join(elsewhere), actor)


def set_catch_all(domain: Domain, login: str, *, reason: str = "", actor: Who = "command") -> None:
    """Let an account have what comes for addresses that do not exist; '' refuses it again. Invalid."""
    _refuse_long(reason)
    mailbox = _mailbox_of(normalise(login)) if login.strip() else None
    with transaction.atomic():
        was = Mailbox.objects.filter(catches_all_of=domain).values_list("account__login", flat=True).first()
        Domain.objects.filter(pk=domain.pk).update(catch_all=mailbox)
        after = {"catch_all": mailbox.account.login if mailbox else ""}
        before = {"catch_all": was or ""}
        audit.write("set_catch_all", domain.name, actor, before=before, after=after, reason=reason)
    domain.refresh_from_db()


def _targets(reaches: Sequence[str]) -> tuple[list[Mailbox], list[str]]:
    names = sorted({normalise(name) for name in reaches if name.strip()})
    if not names:
        raise Invalid(_("an address must reach something: name an account here or an address elsewhere"))
    if len(names) > TARGETS_MAX:
        raise Invalid(
            _("an address may reach %(most)s others, not %(count)s")
            % {"most": TARGETS_MAX, "count": len(names)}
        )
    ours = _served_among(names)
    here = [name for name in names if name.rpartition("@")[2] in ours]
    return [_mailbox_of(name) for name in here], [name for name in names if name not in here]


def _mailbox_of(name: str) -> Mailbox:
    mailbox = Mailbox.objects.select_related("account").filter(account__login=name).first()
    if mailbox is None or mailbox.account.status == Status.CLOSED:
        raise Invalid(_("there is no open account %(one)s") % {"one": name})
    return mailbox


def _served_among(names: Iterable[str]) -> set[str]:
    domains = sorted({name.rpartition("@")[2] for name in names})
    return {
        name
        for start in range(0, len(domains), ASKED_AT_ONCE)
        for name in Domain.objects.filter(name__in=domains[start : start + ASKED_AT_ONCE]).values_list(
            "name", flat=True
        )
    }


def _refuse_ours(names: Sequence[str]) -> None:
    # From one address of ours to another would make loops that no server between could stop.
    if _served_among(names):
        raise Invalid(
            _("%(one)s is an address here: make an alias, which needs no sending") % {"one": names[0]}
        )


def reached_by(address: Address) -> list[str]:
    """Logins of accounts here and addresses elsewhere, sorted: as `create_address` and `change_address` take
    them."""
    here, elsewhere = _reached(address)
    return sorted(here + elsewhere)


def _reached(address: Address) -> tuple[list[str], list[str]]:
    targets = Target.objects.filter(address=address).values_list("mailbox__account__login", "forward_to")
    found = list(targets)
    return sorted(login for login, _ in found if login), [to for _, to in found if to]


def _reach_of(address: Address) -> tuple[dict[str, object], list[str]]:
    """What the audit tells of it, and under whose logins."""
    whose, elsewhere = _reached(address)
    return {"address": address.name, "reaches": sorted(whose + elsewhere)}, whose


def _write(
    verb: str,
    subjects: Sequence[str],
    actor: Who,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    reason: str = "",
) -> None:
    audit.write_all(
        [audit.entry(verb, subject, actor, before=before, after=after, reason=reason) for subject in subjects]
    )
