"""Domains: served or not now, closed with all that is in them, and what a new mailbox in them may hold.

`accounts` makes them.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import accounts, audit
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Address, Domain, Role, Status

log = logging.getLogger(__name__)

REASON_MAX = 300  # characters: what the columns hold
# So many addresses go in one transaction, which on SQLite keeps every other writer waiting.
BATCH = 500


def set_default_quota(domain: Domain, octets: int, *, actor: Who = "command") -> None:
    """What a mailbox that is opened from now on may hold."""
    _change(domain, "set_default_quota", actor, default_quota_bytes=octets)


def switch_domain(domain: Domain, active: bool, *, reason: str = "", actor: Who = "command") -> None:
    """Take mail for the domain, or ask senders to try again later (450); logins are not touched. Invalid."""
    _judge_reason(reason)
    _change(domain, "switch_domain", actor, reason, active=active)


def suspend_domain(domain: Domain, reason: str, *, actor: Who = "command") -> None:
    """Refuse every login to the domain with this reason, which its subscribers read; mail still comes in.

    Invalid: no reason, the domain is closed, or operators have their accounts in it.
    """
    if not reason.strip():
        raise Invalid(_("a suspension needs its reason: subscribers read it"))
    _judge_reason(reason)
    _judge_operators(domain)
    with transaction.atomic():
        if not Domain.objects.filter(pk=domain.pk, closed_at=None).update(status_reason=reason):
            raise Invalid(_("the domain %(name)s is closed") % {"name": domain.name})
        audit.write("suspend_domain", domain.name, actor, reason=reason)
    domain.refresh_from_db()


def close_domain(domain: Domain, reason: str, *, actor: Who = "command") -> None:
    """Close a domain: no login and no mail; all is kept for CLOSED_ACCOUNT_DAYS, then purged. Invalid.

    Nothing in it is changed, so that restoring it brings back everything as it was.
    """
    _judge_reason(reason)
    _judge_operators(domain)
    with transaction.atomic():
        open_ = Domain.objects.filter(pk=domain.pk, closed_at=None)
        if not open_.update(closed_at=timezone.now(), status_reason=reason):
            raise Invalid(_("the domain %(name)s is closed already") % {"name": domain.name})
        held = {"accounts": domain.account_count}
        audit.write("close_domain", domain.name, actor, before=held, reason=reason)
    domain.refresh_from_db()


def restore_domain(domain: Domain, *, actor: Who = "command") -> None:
    """Undo a suspension, or a closing whose grace time has not run out. Invalid: there is nothing to undo."""
    was = domain.status
    with transaction.atomic():
        shut = Domain.objects.filter(pk=domain.pk).exclude(closed_at=None, status_reason="")
        if not shut.update(closed_at=None, status_reason=""):
            raise Invalid(_("the domain %(name)s is active, or gone") % {"name": domain.name})
        audit.write("restore_domain", domain.name, actor, before={"status": was}, after={"status": "active"})
    domain.refresh_from_db()


def purge_closed_domains() -> int:
    """Remove domains whose grace time has run out, with all that is in them; returns how many.

    One account after the other, each with its mail, then the addresses: a domain that is restored meanwhile
    keeps what there still is.
    """
    before = timezone.now() - timedelta(days=settings.CLOSED_ACCOUNT_DAYS)
    due = Domain.objects.filter(closed_at__lt=before)
    return sum(_purge(domain, before) for domain in list(due))


def _purge(domain: Domain, before: datetime) -> bool:
    due = Domain.objects.filter(pk=domain.pk, closed_at__lt=before)
    while account := Account.objects.filter(domain=domain).order_by("pk").first():
        with transaction.atomic():
            if due.select_for_update().first() is None:
                return False
        accounts.purge(account)
    while some := list(Address.objects.filter(domain=domain).values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            if due.select_for_update().first() is None:
                return False
            Address.objects.filter(pk__in=some).delete()
    try:
        with transaction.atomic():
            if not due.delete()[0]:
                return False
            audit.write("purge_domain", domain.name, "job")
    except ProtectedError:  # something was made in it meanwhile: the next time
        log.warning("retention domain_not_empty domain=%s", domain.name)
        return False
    return True


def _judge_reason(reason: str) -> None:
    if len(reason) > REASON_MAX:
        raise Invalid(
            _("the reason has %(count)s characters: %(most)s have room")
            % {"count": len(reason), "most": REASON_MAX}
        )


def _judge_operators(domain: Domain) -> None:
    """Else nobody might be left who could undo it."""
    operators = Account.objects.filter(domain=domain, role=Role.OPERATOR, status=Status.ACTIVE)
    if one := operators.values_list("login", flat=True).first():
        raise Invalid(
            _("%(one)s is an operator's account in it: give operators accounts elsewhere first")
            % {"one": one}
        )


def _change(domain: Domain, verb: str, actor: Who, reason: str = "", **values: int | bool) -> None:
    with transaction.atomic():
        before = {name: getattr(domain, name) for name in values}
        if not Domain.objects.filter(pk=domain.pk).update(**values):
            raise Invalid(_("the domain %(name)s is gone") % {"name": domain.name})
        audit.write(verb, domain.name, actor, before=before, after=values, reason=reason)
    domain.refresh_from_db()
