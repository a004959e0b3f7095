"""Operators who look into a mailbox: for a reason, for a quarter of an hour, and its owner is told.

Each is audited, with every message that was opened; no entry says anything of what stands in one.
"""

import secrets
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import audit
from mailboxes.audit import Who
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Inspection, Mailbox, Message
from mailboxes.notices import Notices

FOR = timedelta(minutes=15)
REASON_MIN = 10  # characters: its owner shall understand it
REASON_MAX = 300  # characters: what the column holds


def begin(mailbox: Mailbox, operator: Account, reason: str, *, actor: Who) -> Inspection:
    """Open a mailbox's contents to an operator, for FOR. Invalid: no reason that its owner understands.

    Whether the operator may is for the caller to judge.
    """
    reason = reason.strip()
    if not REASON_MIN <= len(reason) <= REASON_MAX:
        raise Invalid(
            _("the reason needs %(least)s to %(most)s characters: the subscriber reads it")
            % {"least": REASON_MIN, "most": REASON_MAX}
        )
    now = timezone.now()
    with transaction.atomic():
        made = Inspection.objects.create(
            key=secrets.token_hex(16),
            mailbox=mailbox,
            operator=operator,
            operator_login=operator.login,
            reason=reason,
            began_at=now,
            until=now + FOR,
        )
        audit.write("begin_inspection", mailbox.account.login, actor, reason=reason)
    return made


def find(operator: Account, key: str) -> Inspection | None:
    """An inspection that this operator began, also when it is over; nobody finds another's."""
    found = Inspection.objects.select_related("mailbox__account").filter(operator=operator, key=key)
    return found.first()


def is_open(inspection: Inspection) -> bool:
    """By the clock, at every request."""
    return timezone.now() < inspection.until


def end(inspection: Inspection, *, actor: Who) -> None:
    """End it before its time; one that is over stays as it is."""
    now = timezone.now()
    with transaction.atomic():
        if Inspection.objects.filter(pk=inspection.pk, until__gt=now).update(until=now):
            audit.write("end_inspection", inspection.mailbox.account.login, actor)


def note_opened(inspection: Inspection, message: Message, *, actor: Who) -> None:
    """Put down that a message was opened: which one, and nothing of what stands in it."""
    audit.write("inspect_message", inspection.mailbox.account.login, actor, after=_facts(message))


def note_shown(inspection: Inspection, message: Message, *, actor: Who) -> None:
    """Put down that a message was shown, unless its opening stands there: its HTML has a URL of its own."""
    noted = audit.Search(
        subject=inspection.mailbox.account.login,
        actor=inspection.operator_login,
        since=inspection.began_at,
    ).entries()
    if not noted.filter(verb="inspect_message", after__message=message.pk).exists():
        note_opened(inspection, message, actor=actor)


def note_fetched(inspection: Inspection, message: Message, part: str, *, actor: Who) -> None:
    """Put down that an attachment was fetched, by its place in the message."""
    facts = _facts(message) | {"part": part[:20]}
    audit.write("inspect_part", inspection.mailbox.account.login, actor, after=facts)


def _facts(message: Message) -> dict[str, Any]:
    return {"message": message.pk, "received": message.received_at.isoformat(timespec="seconds")}


# -- what its owner is told ---------------------------------------------------------------------


_notices = Notices(Inspection, "began_at")
of_mailbox, unnoted = _notices.of_mailbox, _notices.unnoted
has_unnoted, note = _notices.has_unnoted, _notices.note
