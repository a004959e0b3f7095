"""Warnings that a mailbox is nearly full: at 80, 90 and 95 percent, once each, as a message in its inbox.

A delivery must not pay for this, so it is a job that looks afterwards; and used_bytes has no index, which
each delivery would have to keep. What can have crossed a step is what had mail since the job looked last, and
that the index of delivery records by time gives at the price of that mail. Once a day all mailboxes are
looked at, page by page: those whose quota an operator has lowered, and those that a job which was not run has
missed.

A step counts again once the mailbox was below it when the job looked.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes.exceptions import MailboxError
from mailboxes.house_mail import Letter, in_language_of, send
from mailboxes.models import DeliveryRecord, Mailbox, Status

log = logging.getLogger(__name__)

STEPS = (80, 90, 95)
# The job comes every ten minutes; one that was late, or not run once, misses nothing.
LOOK_BACK = timedelta(minutes=30)
PAGE = 500
# More than the message has with its trace, in any language: below that there is no use in trying.
ROOM_NEEDED = 4096


def warn(now: datetime | None = None, *, everybody: bool = False) -> int:
    """Warn the owners of mailboxes that have reached a step; returns how many messages were delivered."""
    since = None if everybody else (now or timezone.now()) - LOOK_BACK
    warned = 0
    for mailbox in _to_look_at(since):
        step = step_of(mailbox)
        if step < mailbox.quota_warned:
            _forget(mailbox, step)
        elif step > mailbox.quota_warned:
            warned += _warn(mailbox, step)
    return warned


def step_of(mailbox: Mailbox) -> int:
    """The highest step, in percent, that the mailbox has reached; 0 below all."""
    used = mailbox.used_bytes * 100
    return next((step for step in reversed(STEPS) if used >= mailbox.quota_bytes * step), 0)


def _to_look_at(since: datetime | None) -> Iterator[Mailbox]:
    """Mailboxes at the first step or above it, or warned of one, read page by page."""
    reached = Q(used_bytes__gte=F("quota_bytes") * STEPS[0] / 100) | Q(quota_warned__gt=0)
    found: QuerySet[Mailbox] = Mailbox.objects.filter(reached).exclude(account__status=Status.CLOSED)
    if since is not None:
        had_mail = DeliveryRecord.objects.filter(at__gte=since, mailbox__isnull=False)
        found = found.filter(pk__in=had_mail.values("mailbox"))
    last = 0
    while page := list(found.filter(pk__gt=last).select_related("account").order_by("pk")[:PAGE]):
        yield from page
        last = page[-1].pk


def _forget(mailbox: Mailbox, step: int) -> None:
    Mailbox.objects.filter(pk=mailbox.pk, quota_warned=mailbox.quota_warned).update(quota_warned=step)


def _warn(mailbox: Mailbox, step: int) -> bool:
    """Deliver one warning, and remember it in the same transaction; without room for it, another time."""
    if mailbox.quota_bytes - mailbox.used_bytes < ROOM_NEEDED:
        return False

    def remember() -> None:
        of_this = Mailbox.objects.filter(pk=mailbox.pk, quota_warned=mailbox.quota_warned)
        if not of_this.update(quota_warned=step):
            raise MailboxError("another job has warned")

    with in_language_of(mailbox.account):
        letter = _letter(mailbox, step)
    try:
        send(mailbox, letter, remember)
    except MailboxError as error:
        log.warning(
            "quota_warning mailbox=%d step=%d not_delivered=%s", mailbox.pk, step, type(error).__name__
        )
        return False
    log.info("quota_warning mailbox=%d step=%d", mailbox.pk, step)
    return True


def _letter(mailbox: Mailbox, step: int) -> Letter:
    said = {
        "login": mailbox.account.login,
        "used": filesizeformat(mailbox.used_bytes),
        "quota": filesizeformat(mailbox.quota_bytes),
    }
    return Letter(
        _("Your mailbox is %(step)d percent full") % {"step": step},
        (
            _("Your mailbox %(login)s holds %(used)s of %(quota)s.") % said,
            _(
                "When it is full, new mail has no room: senders try again for some days, and then get their "
                "mail back."
            ),
            _("What you can do, in the webmail:"),
            "- "
            + _("Empty the trash and the junk folder.")
            + "\n- "
            + _("Search for larger:5M and delete what you do not need.")
            + "\n- "
            + _("Export your mail under Account, and delete what you have kept elsewhere."),
            _("Or ask your provider for more room."),
        ),
    )
