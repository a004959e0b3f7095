"""One change to many accounts or addresses: each by the verb that changes one, audited for each with the same
reason."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from mailboxes import accounts, aliases
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, AddressKind, Mailbox, Role

CHOSEN_MAX = 10_000
READ_AT_ONCE = 200
ASKED_AT_ONCE = 5_000  # SQLite takes 32,766 values in one statement
# Of those that could not be changed so many are told by name.
TOLD_MAX = 50


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to each: `act` is a key of ACTS; `value` is a quota in octets, where it needs one."""

    act: str
    reason: str = ""
    value: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What whoever asked may change: `domains` (primary keys; None: all), accounts of staff or none of them,
    quotas as large as they like or as a new mailbox has; never their own account."""

    but: int
    domains: Collection[int] | None = None
    staff: bool = False
    quota_bounded: bool = True


@dataclass(slots=True)
class Outcome:
    """How many were changed, how many were not, and of those the first: login and why."""

    changed: int = 0
    left: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)


Do = Callable[[Account, Change, Who], None]


def _service(name: str, enabled: bool) -> Do:
    def do(account: Account, change: Change, actor: Who) -> None:
        accounts.set_service(account, name, enabled, reason=change.reason, actor=actor)

    return do


def _quota(account: Account, change: Change, actor: Who) -> None:
    accounts.set_quota(account, change.value, reason=change.reason, actor=actor)


ACTS: Mapping[str, Do] = {
    "suspend": lambda account, change, actor: accounts.suspend(account, change.reason, actor=actor),
    "restore": lambda account, change, actor: accounts.restore(account, reason=change.reason, actor=actor),
    "close": lambda account, change, actor: accounts.close(account, reason=change.reason, actor=actor),
    "end_sessions": lambda account, change, actor: accounts.end_sessions(
        account, reason=change.reason, actor=actor
    ),
    "quota": _quota,
    **{
        f"{service}_{'on' if enabled else 'off'}": _service(service, enabled)
        for service in accounts.SERVICES
        for enabled in (True, False)
    },
}


DoAddress = Callable[[Address, str, Who], None]
ADDRESS_ACTS: Mapping[str, DoAddress] = {
    "suspend": lambda address, reason, actor: aliases.suspend_address(address, reason, actor=actor),
    "restore": lambda address, reason, actor: aliases.restore_address(address, reason, actor=actor),
    "close": lambda address, reason, actor: aliases.close_address(address, reason, actor=actor),
}


def change_all(
    chosen: Sequence[int],
    change: Change,
    bounds: Bounds,
    *,
    actor: Who,
    step: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Change accounts one after the other, each in its own transaction; what cannot be changed is left.

    `step` is told of each; what it raises ends the work, and what was changed stays changed.
    """
    outcome = Outcome()
    for account in within(chosen, bounds):
        try:
            _judge(account, change, bounds)
            ACTS[change.act](account, change, actor)
        except (Invalid, Mailbox.DoesNotExist) as why:
            outcome.left += 1
            if len(outcome.told) < TOLD_MAX:
                outcome.told.append((account.login, str(why)))
        else:
            outcome.changed += 1
        step(1)
    return outcome


def change_addresses(chosen: Sequence[Address], act: str, reason: str, *, actor: Who) -> Outcome:
    """Change aliases, lists and forwards one after the other; what cannot be changed is left."""
    outcome = Outcome()
    for address in chosen:
        try:
            ADDRESS_ACTS[act](address, reason, actor)
        except Invalid as why:
            outcome.left += 1
            outcome.told.append((address.name, str(why)))
        else:
            outcome.changed += 1
    return outcome


def changeable_addresses(chosen: Sequence[int], domains: Collection[int] | None) -> list[Address]:
    """Those of the chosen that may be changed, by name: of these domains (None: all), no account's own."""
    found = Address.objects.filter(pk__in=chosen).exclude(kind=AddressKind.PRIMARY).order_by("name")
    return list(found if domains is None else found.filter(domain__in=domains))


def _judge(account: Account, change: Change, bounds: Bounds) -> None:
    if change.act != "quota" or not bounds.quota_bounded or account.domain is None:
        return
    if change.value > account.domain.default_quota_bytes:
        raise Invalid(_("that is more than a mailbox of this domain may have: ask your provider"))


def changeable(chosen: Sequence[int], bounds: Bounds) -> list[tuple[int, str]]:
    """Those of the chosen that may be changed: primary key and login."""
    return [
        (pk, login)
        for start in range(0, len(chosen), ASKED_AT_ONCE)
        for pk, login in _bounded(chosen[start : start + ASKED_AT_ONCE], bounds).values_list("pk", "login")
    ]


def within(chosen: Sequence[int], bounds: Bounds) -> Iterator[Account]:
    """Those of the chosen that may be changed, by login, read piece by piece."""
    for start in range(0, len(chosen), READ_AT_ONCE):
        yield from _bounded(chosen[start : start + READ_AT_ONCE], bounds)


def _bounded(chosen: Sequence[int], bounds: Bounds) -> "QuerySet[Account]":
    found = Account.objects.filter(pk__in=chosen).exclude(pk=bounds.but).order_by("login")
    if bounds.domains is not None:
        found = found.filter(domain__in=bounds.domains)
    if not bounds.staff:
        found = found.filter(role=Role.SUBSCRIBER)
    return found.select_related("domain")
