"""Sessions in browsers, webmail and console alike: begun, seen, ended, and logins that were refused.

The record is the session: one that has ended lets nobody in at the next request, wherever its cookie lies.
"""

import uuid
from datetime import timedelta
from importlib import import_module

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from mailboxes import throttle
from mailboxes.addresses import normalise
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, LoginThrottle, WebSession, WebSessionEnd

# How old `seen_at` may be: a request does not write.
SEEN_EVERY = timedelta(minutes=5)
# Refused logins of one network that are recorded in an hour: who guesses must not fill the disk.
REFUSED_MAX = 100
REFUSED_WINDOW = timedelta(hours=1)
SHOWN = 20


def begin(account: int, login: str, *, peer: str, program: str, second_factor: str = "") -> str:
    """Record that somebody has logged in; returns the name of the session. `second_factor`: what was shown
    beside the password, '' nothing."""
    now = timezone.now()
    return WebSession.objects.create(
        session=uuid.uuid4().hex,
        account_id=account,
        login=login,
        peer=peer[:64],
        program=program[:200],
        second_factor=second_factor,
        started_at=now,
        seen_at=now,
    ).session


def note_refused(login: str, *, peer: str, network: str, program: str, reason: str) -> None:
    """Record that somebody was refused, whether or not there is such an account: REFUSED_MAX an hour from one
    network, the others go unrecorded."""
    if not _may_be_noted(network):
        return
    now = timezone.now()
    try:
        name = normalise(login)
    except Invalid:
        name = "".join(c if c.isprintable() else "?" for c in login.strip().lower()[:320])
    WebSession.objects.create(
        session=uuid.uuid4().hex,
        login=name,
        peer=peer[:64],
        program=program[:200],
        started_at=now,
        seen_at=now,
        ended_at=now,
        ended=WebSessionEnd.REFUSED,
        reason=reason[:200],
    )


def _may_be_noted(network: str) -> bool:
    """Counted in the throttle's table, under a key of its own; `last_failure_at` is when the hour began."""
    key, now = throttle.key_of("refused web sessions", network), timezone.now()
    counted = LoginThrottle.objects.filter(key=key)
    LoginThrottle.objects.get_or_create(key=key, defaults={"last_failure_at": now})
    counted.filter(last_failure_at__lt=now - REFUSED_WINDOW).update(failures=0, last_failure_at=now)
    return bool(counted.filter(failures__lt=REFUSED_MAX).update(failures=F("failures") + 1))


def see(session: WebSession) -> None:
    """Somebody uses it now; written now and then only."""
    now = timezone.now()
    if session.seen_at < now - SEEN_EVERY:
        WebSession.objects.filter(pk=session.pk, seen_at__lt=now - SEEN_EVERY).update(seen_at=now)


def end(account: int, session: str, how: WebSessionEnd = WebSessionEnd.ENDED) -> bool:
    """End one session of an account; False: it has none such that is open."""
    found = WebSession.objects.filter(account=account, session=session, ended_at=None)
    return bool(found.update(ended_at=timezone.now(), ended=how))


def end_others(account: int, keep: str, how: WebSessionEnd = WebSessionEnd.ENDED) -> int:
    """End every session of an account but one ('': every one); returns how many."""
    found = WebSession.objects.filter(account=account, ended_at=None).exclude(session=keep)
    return found.update(ended_at=timezone.now(), ended=how)


def sessions_of(account: Account) -> list[WebSession]:
    """The last sessions: what is open first, each newest first."""
    found = WebSession.objects.filter(account=account).select_related("account").order_by("-started_at")
    rows = [*found.filter(ended_at=None)[:SHOWN], *found.exclude(ended_at=None)[:SHOWN]]
    return sorted(rows, key=lambda one: not one.is_open)[:SHOWN]


def refusals_of(account: Account) -> list[WebSession]:
    """The last logins that were refused under this name, newest first."""
    found = WebSession.objects.filter(login=account.login, ended=WebSessionEnd.REFUSED)
    return list(found.order_by("-started_at")[:SHOWN])


def forget_expired_cookies() -> None:
    """Remove what sessions whose cookies have expired have left in the database."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
