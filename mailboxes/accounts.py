"""Domains and accounts: opened, suspended, restored, closed, and their passwords reset."""

import secrets
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import audit, messages, names, rows, security_letters, web_sessions
from mailboxes.addresses import add_address, domain_of, free_on, normalise, normalise_domain, why_taken
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import (
    Account,
    Address,
    AddressKind,
    Domain,
    Folder,
    FolderKind,
    Mailbox,
    Message,
    Role,
    Status,
    Target,
    WebSessionEnd,
)

# Without 0 O 1 l I: a password is read over the telephone.
PASSWORD_LETTERS = "abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY346789"  # noqa: S105
REASON_MAX = 300  # characters: what the column holds
# Values that the audit does not repeat: secrets, and what its entry has itself (time, reason).
UNSHOWN = {"password", "password_until", "status_reason", "closed_at"}
EXPUNGED_AT_ONCE = 1_000  # messages
SERVICES = ("pop3", "webmail", "sending", "receiving")
NAME_MAX = 200  # characters: what the column holds
# Long enough for somebody who reads it tomorrow, too short to be kept.
TEMPORARY_FOR = timedelta(hours=24)
FOLDER_NAMES = {
    FolderKind.INBOX: "Inbox",
    FolderKind.SENT: "Sent",
    FolderKind.DRAFTS: "Drafts",
    FolderKind.ARCHIVE: "Archive",
    FolderKind.JUNK: "Junk",
    FolderKind.TRASH: "Trash",
}


def generate_password() -> str:
    """A password of four groups of four: 16 letters of 51, 90 bits."""
    groups = ["".join(secrets.choice(PASSWORD_LETTERS) for _ in range(4)) for _ in range(4)]
    return "-".join(groups)


def create_domain(name: str, *, default_quota: int | None = None, actor: Who = "command") -> Domain:
    """Serve a domain. Invalid: not a domain name, or served already."""
    name = normalise_domain(name)
    try:
        with transaction.atomic():
            domain = Domain.objects.create(
                name=name,
                default_quota_bytes=settings.DEFAULT_QUOTA if default_quota is None else default_quota,
            )
            audit.write("create_domain", name, actor)
    except IntegrityError:
        raise Invalid(_why_served(name)) from None
    return domain


def _why_served(name: str) -> str:
    closed_at = Domain.objects.filter(name=name).values_list("closed_at", flat=True).first()
    if closed_at is None:
        return _("the domain %(name)s exists already") % {"name": name}
    return _("the domain %(name)s was closed and its name is not given again before %(day)s") % {
        "name": name,
        "day": f"{free_on(closed_at):%Y-%m-%d}",
    }


def open_account(
    login: str,
    password: str,
    *,
    role: str = Role.SUBSCRIBER,
    quota: int | None = None,
    name: str = "",
    encoded: str = "",
    actor: Who = "command",
) -> Account:
    """Open an account with its mailbox, folders and primary address, or nothing of it. Invalid.

    `encoded`: the password as it is stored, where many were hashed at once; `password` is not read then.
    """
    login = normalise(login)
    domain = domain_of(login)
    if role not in Role.values:
        raise Invalid(
            _("there is no role %(role)r: choose one of %(roles)s")
            % {"role": role, "roles": ", ".join(Role.values)}
        )
    if quota is None:
        quota = domain.default_quota_bytes
    # Before the transaction: hashing takes 20 ms, for which SQLite would keep every other writer waiting.
    password_hash = encoded or make_password(password)
    try:
        with transaction.atomic():
            account = Account.objects.create(
                login=login, domain=domain, role=role, name=name, password=password_hash
            )
            if role == Role.DOMAIN_ADMINISTRATOR:
                account.administers.add(domain)
            names.write([account])
            Domain.objects.filter(pk=domain.pk).update(account_count=F("account_count") + 1)
            mailbox = Mailbox.objects.create(account=account, quota_bytes=quota)
            Folder.objects.bulk_create(
                [Folder(mailbox=mailbox, kind=kind, name=text) for kind, text in FOLDER_NAMES.items()]
            )
            add_address(login, AddressKind.PRIMARY, [mailbox])
            audit.write("open_account", login, actor, after={"role": role, "quota": mailbox.quota_bytes})
    except IntegrityError:
        raise Invalid(_why_taken(login)) from None
    return account


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A subscriber whose account is opened with many others; `encoded`: the password as it is stored."""

    login: str
    encoded: str = field(repr=False)
    quota: int
    name: str = ""


def open_accounts(newcomers: Sequence[Newcomer], *, actor: Who) -> None:
    """Open accounts with all that belongs to them, in a few statements: all of them or none.

    IntegrityError: a name was taken meanwhile. Invalid: a domain is not served. Logins are normalised.
    """
    of_domains = {one.login.rpartition("@")[2] for one in newcomers}
    served = {name: domain_of(f"@{name}") for name in of_domains}
    of = [served[one.login.rpartition("@")[2]] for one in newcomers]
    with transaction.atomic():
        made = Account.objects.bulk_create(
            Account(login=one.login, domain=domain, name=one.name, password=one.encoded)
            for one, domain in zip(newcomers, of, strict=True)
        )
        names.write(made)
        boxes = Mailbox.objects.bulk_create(
            Mailbox(account=account, quota_bytes=one.quota)
            for account, one in zip(made, newcomers, strict=True)
        )
        rows.insert(
            [
                Folder(mailbox=box, kind=str(kind), name=text)
                for box in boxes
                for kind, text in FOLDER_NAMES.items()
            ]
        )
        addresses = Address.objects.bulk_create(
            Address(name=one.login, domain=domain, kind=AddressKind.PRIMARY)
            for one, domain in zip(newcomers, of, strict=True)
        )
        rows.insert(
            [Target(address=address, mailbox=box) for address, box in zip(addresses, boxes, strict=True)]
        )
        audit.write_all(
            [
                audit.entry(
                    "open_account", one.login, actor, after={"role": Role.SUBSCRIBER, "quota": one.quota}
                )
                for one in newcomers
            ]
        )
        for domain, count in Counter(of).items():
            Domain.objects.filter(pk=domain.pk).update(account_count=F("account_count") + count)


def _why_taken(login: str) -> str:
    account = Account.objects.filter(login=login).first()
    if account is not None and account.closed_at is not None:
        free = free_on(account.closed_at)
        return _("the account %(login)s was closed and its name is not given again before %(day)s") % {
            "login": login,
            "day": f"{free:%Y-%m-%d}",
        }
    return (
        _("the account %(login)s exists already") % {"login": login}
        if account is not None
        else why_taken(login)
    )


def reset_password(account: Account, password: str, *, actor: Who = "command", keep: str = "") -> None:
    """Set a password; whatever was verified with the old one counts no longer. `keep`: the name of the web
    session that goes on."""
    values: dict[str, Any] = {"password": make_password(password), "password_until": None}
    change(account, "reset_password", actor, keep=keep, **values)


def give_temporary_password(account: Account, *, actor: Who = "command") -> str:
    """Reset to a new password that is good for TEMPORARY_FOR; returns it, and nobody else learns it.

    Invalid: the account is closed.
    """
    password = generate_password()
    values: dict[str, Any] = {
        "password": make_password(password),
        "password_until": timezone.now() + TEMPORARY_FOR,
    }
    change(account, "give_temporary_password", actor, of={Status.ACTIVE, Status.SUSPENDED}, **values)
    return password


def end_sessions(account: Account, *, reason: str = "", actor: Who = "command") -> None:
    """End every session in the webmail and the console; programs log in anew, with the same password."""
    change(account, "end_sessions", actor, reason=reason)


def end_other_sessions(account: Account, keep: str, *, actor: Who) -> int:
    """End every session in a browser but the one of that name; returns how many there were."""
    with transaction.atomic():
        ended = web_sessions.end_others(account.pk, keep)
        if ended:
            audit.write("end_other_sessions", account.login, actor, after={"count": ended})
            security_letters.tell(account, "end_other_sessions", actor)
    return ended


def suspend(account: Account, reason: str, *, actor: Who = "command") -> None:
    """Refuse every login with this reason, which the subscriber reads; mail still comes in.

    Invalid: the account is closed.
    """
    if len(reason) > REASON_MAX:
        raise Invalid(
            _("the reason has %(count)s characters: %(most)s have room")
            % {"count": len(reason), "most": REASON_MAX}
        )
    values: dict[str, Any] = {"status": Status.SUSPENDED, "status_reason": reason}
    change(account, "suspend", actor, reason=reason, of={Status.ACTIVE, Status.SUSPENDED}, **values)


def restore(account: Account, *, reason: str = "", actor: Who = "command") -> None:
    """Undo a suspension, or a closing whose grace time has not run out. Invalid: there is nothing to undo."""
    values: dict[str, Any] = {"status": Status.ACTIVE, "status_reason": "", "closed_at": None}
    change(account, "restore", actor, reason=reason, of={Status.SUSPENDED, Status.CLOSED}, **values)


def close(account: Account, *, reason: str = "", actor: Who = "command") -> None:
    """Close an account: no login, no new mail; kept for CLOSED_ACCOUNT_DAYS, then purged. Invalid."""
    if len(reason) > REASON_MAX:
        raise Invalid(
            _("the reason has %(count)s characters: %(most)s have room")
            % {"count": len(reason), "most": REASON_MAX}
        )
    values: dict[str, Any] = {"status": Status.CLOSED, "closed_at": timezone.now()}
    change(account, "close", actor, reason=reason, of={Status.ACTIVE, Status.SUSPENDED}, **values)


def set_service(
    account: Account, service: str, enabled: bool, *, reason: str = "", actor: Who = "command"
) -> None:
    """Switch `pop3`, `webmail`, `sending` or `receiving` on or off for an account's mailbox. Invalid."""
    if service not in SERVICES:
        raise Invalid(
            _("there is no service %(service)r: choose one of %(services)s")
            % {"service": service, "services": ", ".join(SERVICES)}
        )
    with transaction.atomic():
        was = Mailbox.objects.filter(account=account).values_list(f"{service}_enabled", flat=True).first()
        change(account, "set_service", actor, ({service: was}, {service: enabled}), reason=reason)
        Mailbox.objects.filter(account=account).update(**{f"{service}_enabled": enabled})


def set_name(account: Account, name: str, *, actor: Who = "command") -> None:
    """How the person is called, at most NAME_MAX characters; '' for nobody in particular. Invalid."""
    name = " ".join(name.split())
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid(_("a name has at most %(most)s letters and signs") % {"most": NAME_MAX})
    with transaction.atomic():
        found = Account.objects.select_for_update().get(pk=account.pk)
        was, found.name = found.name, name
        found.save(update_fields=["name"])
        names.rewrite(found)
        audit.write("set_name", account.login, actor, before={"name": was}, after={"name": name})


def set_quota(account: Account, octets: int, *, reason: str = "", actor: Who = "command") -> None:
    """Change how much the mailbox may hold; one that holds more already keeps it and takes nothing new."""
    with transaction.atomic():
        was = Mailbox.objects.select_for_update().values_list("quota_bytes", flat=True).get(account=account)
        Mailbox.objects.filter(account=account).update(quota_bytes=octets)
        facts = {"quota": was}, {"quota": octets}
        audit.write("set_quota", account.login, actor, before=facts[0], after=facts[1], reason=reason)


def set_role(
    account: Account,
    role: str,
    administers: Collection[Domain] = (),
    *,
    reason: str = "",
    actor: Who = "command",
) -> None:
    """Make somebody staff, or a subscriber again; `administers`: a domain administrator's own. Invalid."""
    if role not in Role.values:
        raise Invalid(
            _("there is no role %(role)r: choose one of %(roles)s")
            % {"role": role, "roles": ", ".join(Role.values)}
        )
    if role == Role.DOMAIN_ADMINISTRATOR and not administers:
        raise Invalid(_("a domain administrator needs a domain to administer"))
    own = sorted(domain.name for domain in administers) if role == Role.DOMAIN_ADMINISTRATOR else []
    with transaction.atomic():
        was = Account.objects.select_for_update().values_list("role", flat=True).get(pk=account.pk)
        before = {"role": was, "domains": sorted(account.administers.values_list("name", flat=True))}
        change(account, "set_role", actor, (before, {"role": role, "domains": own}), reason=reason, role=role)
        account.administers.set(administers if own else [])


def purge_closed() -> int:
    """Remove closed accounts whose grace time has run out, with all their mail; returns how many."""
    before = timezone.now() - timedelta(days=settings.CLOSED_ACCOUNT_DAYS)
    due = Account.objects.filter(status=Status.CLOSED, closed_at__lt=before)
    return sum(_purge(due.filter(pk=account)) for account in list(due.values_list("pk", flat=True)))


def purge(account: Account) -> None:
    """Remove an account and its mail for good; its contents wait out their grace time."""
    _purge(Account.objects.filter(pk=account.pk))


def _purge(due: QuerySet[Account]) -> bool:
    """Purge the one account, if it still is what was asked for once it is locked (it may be restored)."""
    while _expunge_some(due):
        pass
    with transaction.atomic():
        account = due.select_for_update().first()
        if account is None:
            return False
        mailbox = Mailbox.objects.select_for_update().filter(account=account).first()
        if mailbox is not None:
            _purge_mailbox(mailbox)
        login, accounts_of = account.login, Q(pk=account.domain_id)
        account.delete()
        Domain.objects.filter(accounts_of).update(account_count=F("account_count") - 1)
        audit.write("purge", login, "job")
    return True


def _expunge_some(due: QuerySet[Account]) -> bool:
    """Part of the mail, in a transaction of its own: on SQLite each keeps every other writer waiting."""
    with transaction.atomic():
        account = due.select_for_update().first()
        found = Message.objects.filter(mailbox__account=account).values_list("mailbox_id", "pk")
        some = list(found[:EXPUNGED_AT_ONCE]) if account is not None else []
        if some:
            messages.expunge(some[0][0], [pk for _, pk in some])
    return len(some) == EXPUNGED_AT_ONCE


def _purge_mailbox(mailbox: Mailbox) -> None:
    messages.expunge(mailbox.pk, list(Message.objects.filter(mailbox=mailbox).values_list("pk", flat=True)))
    elsewhere = Target.objects.filter(address=OuterRef("pk")).exclude(mailbox=mailbox)
    # The account's own goes, wherever it was sent on to.
    own = Q(kind=AddressKind.PRIMARY) | ~Exists(elsewhere)
    addresses = list(Address.objects.filter(own, targets__mailbox=mailbox).values_list("pk", flat=True))
    mailbox.delete()
    Address.objects.filter(pk__in=addresses).delete()


def change(
    account: Account,
    verb: str,
    actor: Who,
    audited: tuple[dict[str, Any], dict[str, Any]] | None = None,
    *,
    reason: str = "",
    of: Collection[Status] = tuple(Status),
    keep: str = "",
    **values: Any,
) -> None:
    """Change an account that has one of the statuses `of`; what was verified before counts no longer, and
    every session in a browser ends but `keep` (its name; who keeps it must give it the new version).

    `audited`: before and after, where these values do not say it.
    """
    shown = {name: str(value) for name, value in values.items() if name not in UNSHOWN}
    with transaction.atomic():
        before, after = audited or ({name: str(getattr(account, name)) for name in shown}, shown)
        changed = Account.objects.filter(pk=account.pk, status__in=of).update(
            **values, credential_version=F("credential_version") + 1
        )
        if not changed:
            raise Invalid(
                _("the account %(login)s is %(state)s")
                % {"login": account.login, "state": _state_of(account)}
            )
        how = WebSessionEnd.ENDED if verb == "end_sessions" else WebSessionEnd.REPLACED
        web_sessions.end_others(account.pk, keep, how)
        audit.write(verb, account.login, actor, before=before, after=after, reason=reason)
        security_letters.tell(account, verb, actor, str(after.get("name") or before.get("name") or ""))
    account.refresh_from_db()


def _state_of(account: Account) -> str:
    texts = {Status.ACTIVE: _("active"), Status.SUSPENDED: _("suspended"), Status.CLOSED: _("closed")}
    status = Account.objects.filter(pk=account.pk).values_list("status", flat=True).first()
    return texts[Status(status)] if status else _("gone")
