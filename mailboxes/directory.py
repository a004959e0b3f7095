"""Who and what is in the house, page by page: domains, accounts and addresses by how they begin.

A page begins behind the last name of the one before (never at an offset), shows stored counters, and counts
nothing. A prefix is a range of octets, so each of these reads one index from one place on (migration 0004).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

from django.db.models import F, Model, Prefetch, QuerySet
from django.db.models.functions import Lower

from mailboxes import names
from mailboxes.addresses import DETAIL, normalise
from mailboxes.exceptions import Invalid
from mailboxes.models import (
    Account,
    Address,
    AddressKind,
    DeliveryRecord,
    Domain,
    Mailbox,
    POP3Session,
    Target,
    WebSession,
)

PAGE_SIZE = 50
EXPORTED_AT_ONCE = 500
# What one search shows of each kind; who needs more narrows it.
FOUND_MAX = 20
# Of accounts of one state so many are looked through for a page: 25 ms.
LOOKED_THROUGH = 5_000
# Records of one peer or Message-ID that are looked at to find those that may be shown.
LOOKED_AT = 200
# An address with more targets than this shows so many of them in a list.
TARGETS_SHOWN = 3

M = TypeVar("M", bound=Model)
Scope = names.Scope


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows, and the name behind which the next page begins ('': this is the last)."""

    rows: list[M]
    next: str = ""


def domains(scope: Scope = None, *, prefix: str = "", after: str = "") -> Page[Domain]:
    """Domains by name."""
    found = Domain.objects.all()
    if scope is not None:
        found = found.filter(pk__in=scope)
    return _page(found, "name", prefix, after)


def accounts(
    scope: Scope = None,
    *,
    domain: Domain | None = None,
    prefix: str = "",
    after: str = "",
    status: str = "",
    size: int | None = None,
) -> Page[Account]:
    """Accounts by login, with their mailboxes.

    `status`: only those, of which a page may be short or empty: it looks through LOOKED_THROUGH accounts at
    most, and the next one goes on behind them.
    """
    found = _of_domain(Account.objects.select_related("mailbox"), domain, scope)
    if not status:
        return _page(found, "login", prefix, after, size)
    last = _reached(_of_domain(Account.objects.all(), domain, scope), prefix, after)
    if last:
        found = found.alias(_upto=names.octets(F("login"))).filter(_upto__lte=last)
    page = _page(found.filter(status=status), "login", prefix, after, size)
    return page if page.next else Page(page.rows, last)


def _reached(found: "QuerySet[Account]", prefix: str, after: str) -> str:
    """The login up to which LOOKED_THROUGH accounts lie; '': there are not so many."""
    return str(
        _narrowed(found, "login", prefix, after).values_list("login", flat=True)[LOOKED_THROUGH:][:1].first()
        or ""
    )


def matching(
    scope: Scope = None, *, domain: Domain | None = None, prefix: str = "", status: str = "", most: int
) -> list[int]:
    """The accounts of a list, without its pages: primary keys by login, one more than `most` if there are."""
    found = _narrowed(_of_domain(Account.objects.all(), domain, scope), "login", prefix, "")
    if status:
        found = found.filter(status=status)
    return list(found.values_list("pk", flat=True)[: most + 1])


def addresses(
    scope: Scope = None,
    *,
    domain: Domain | None = None,
    prefix: str = "",
    after: str = "",
    size: int | None = None,
    beside_accounts: bool = False,
    whole: bool = False,
) -> Page[Address]:
    """Addresses of every kind by name, with what they reach: of a list what is shown and one more, as
    `reached`, or with `whole` all, as `targets`. `beside_accounts`: none of an account's own.
    """
    found = _of_domain(Address.objects.prefetch_related(_targets(whole)), domain, scope)
    if beside_accounts:
        found = found.exclude(kind=AddressKind.PRIMARY)
    return _page(found, "name", prefix, after, size)


def _targets(whole: bool = False) -> "Prefetch[Any]":
    targets = Target.objects.select_related("mailbox__account").order_by("pk")
    return (
        Prefetch("targets", targets)
        if whole
        else Prefetch("targets", targets[: TARGETS_SHOWN + 1], "reached")
    )


def catch_alls(scope: Scope, domain: Domain | None = None) -> Iterator[tuple[str, str]]:
    """Domains that have a catch-all, by name, and whose it is."""
    found = _of_scope(scope).exclude(catch_all=None)
    if domain is not None:
        found = found.filter(pk=domain.pk)
    yield from found.order_by("name").values_list("name", "catch_all__account__login").iterator()


def _of_domain(found: "QuerySet[M]", domain: Domain | None, scope: Scope) -> "QuerySet[M]":
    if domain is not None:
        if scope is not None and domain.pk not in scope:
            return found.none()
        return found.filter(domain=domain)
    return found if scope is None else found.filter(domain__in=scope)


def _page(found: "QuerySet[M]", column: str, prefix: str, after: str, size: int | None = None) -> "Page[M]":
    size = size or PAGE_SIZE
    rows = list(_narrowed(found, column, prefix, after)[: size + 1])
    return Page(rows[:size], str(getattr(rows[size - 1], column)) if len(rows) > size else "")


def _narrowed(found: "QuerySet[M]", column: str, prefix: str, after: str) -> "QuerySet[M]":
    """Those that begin so, behind a name, in the order of their names: a range of one index."""
    found = found.alias(_name=names.octets(F(column)))
    if prefix:
        found = found.filter(_name__gte=prefix, _name__lt=prefix + names.LAST)
    if after:
        found = found.filter(_name__gt=after)
    return found.order_by("_name")


@dataclass(frozen=True, slots=True)
class Found:
    """What one search box brings. `at_once`: the account that was meant, if there can be no doubt."""

    accounts: Sequence[Account] = ()
    addresses: Sequence[Address] = ()
    domains: Sequence[Domain] = ()
    deliveries: Sequence[DeliveryRecord] = ()
    sessions: Sequence[POP3Session] = ()
    web_sessions: Sequence[WebSession] = ()
    at_once: Account | None = None

    def __bool__(self) -> bool:
        return bool(
            self.accounts
            or self.addresses
            or self.domains
            or self.deliveries
            or self.sessions
            or self.web_sessions
        )


def find(text: str, scope: Scope = None) -> Found:
    """Look for an address, the beginning of a name, a Message-ID or an IP address; the text says which."""
    text = text.strip()
    if not text.isprintable() or not text:
        return Found()
    if _is_ip(text):
        return _by_peer(str(ip_address(text)), scope)
    if text.startswith("<"):
        return Found(deliveries=_deliveries_of(text, scope))
    if "@" in text:
        return _by_address(text, scope)
    return _by_name(text.lower(), text, scope)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _by_peer(peer: str, scope: Scope) -> Found:
    deliveries = DeliveryRecord.objects.filter(peer=peer).order_by("-at")
    sessions = POP3Session.objects.filter(peer=peer).order_by("-started_at")
    browsers = WebSession.objects.filter(peer=peer).order_by("-started_at")
    return Found(
        deliveries=_visible(deliveries, "recipient", scope),
        sessions=_visible(sessions, "login", scope),
        web_sessions=_visible(browsers, "login", scope),
    )


def _deliveries_of(message_id: str, scope: Scope) -> list[DeliveryRecord]:
    """By Message-ID, with and without its brackets: people copy it in both ways."""
    bare = message_id.strip("<>")
    found = DeliveryRecord.objects.filter(message_id__in=[bare, f"<{bare}>"]).exclude(message_id="")
    return _visible(found.order_by("-at"), "recipient", scope)


def _visible(found: "QuerySet[M]", column: str, scope: Scope) -> "list[M]":
    if scope is None:
        return list(found[:FOUND_MAX])
    served = set(Domain.objects.filter(pk__in=scope).values_list("name", flat=True))
    rows = list(found[:LOOKED_AT])
    return [row for row in rows if str(getattr(row, column)).rpartition("@")[2] in served][:FOUND_MAX]


def _by_address(text: str, scope: Scope) -> Found:
    try:
        name = normalise(text)
    except Invalid:
        # 'ann@exa': the beginning of an address, or a Message-ID that is no address.
        prefix = text.lower()
    else:
        prefix = name
    accounts_found = _page(
        _of_domain(Account.objects.select_related("mailbox"), None, scope), "login", prefix, "", FOUND_MAX
    ).rows
    exact = next((account for account in accounts_found if account.login == prefix), None)
    exact = exact or _by_detail(prefix, scope)
    if exact is not None:
        return Found(accounts=[exact], at_once=exact)
    addresses_found = _page(
        _of_domain(Address.objects.prefetch_related(_targets()), None, scope),
        "name",
        prefix,
        "",
        FOUND_MAX,
    ).rows
    refused = DeliveryRecord.objects.filter(recipient=prefix).order_by("-at")
    return Found(
        accounts=accounts_found,
        addresses=addresses_found,
        deliveries=_visible(refused, "recipient", scope) or _deliveries_of(text, scope),
    )


def _by_detail(name: str, scope: Scope) -> Account | None:
    """ann+shop@example.test is ann's, unless it is an address of its own."""
    local, at, domain = name.rpartition("@")
    base, plus, _ = local.partition(DETAIL)
    if not (base and plus) or Address.objects.filter(name=name).exists():
        return None
    found = _of_domain(Account.objects.select_related("mailbox"), None, scope)
    return found.filter(login=f"{base}{at}{domain}").first()


def _by_name(prefix: str, text: str, scope: Scope) -> Found:
    by_login = _page(
        _of_domain(Account.objects.select_related("mailbox"), None, scope), "login", prefix, "", FOUND_MAX
    ).rows
    named = _of_domain(Account.objects.select_related("mailbox"), None, scope)
    named = named.alias(_named=names.octets(Lower("name")))
    named = named.filter(_named__gte=prefix, _named__lt=prefix + names.LAST)
    by_name = list(named.order_by("_named")[:FOUND_MAX])
    shown = {account.pk: account for account in [*by_login, *by_name, *_bearers(text, scope)]}
    return Found(
        accounts=list(shown.values())[:FOUND_MAX],
        domains=_page(_of_scope(scope), "name", prefix, "", FOUND_MAX).rows,
        addresses=[one for one in addresses(scope, prefix=prefix).rows if one.kind != "primary"][:FOUND_MAX],
    )


def _bearers(text: str, scope: Scope) -> list[Account]:
    """Whose names have words that begin so."""
    found = Account.objects.select_related("mailbox").in_bulk(names.bearers(text, scope, FOUND_MAX))
    return sorted(found.values(), key=lambda account: (account.name.casefold(), account.login))


def _of_scope(scope: Scope) -> "QuerySet[Domain]":
    found = Domain.objects.all()
    return found if scope is None else found.filter(pk__in=scope)


def mailbox_of(account: Account) -> Mailbox | None:
    """An account's mailbox; None: it has none."""
    return Mailbox.objects.filter(account=account).first()
