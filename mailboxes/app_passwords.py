"""App passwords: one for each mail program, made by the house, shown once, revoked one by one.

They open POP3 and sending, never the webmail. While a second factor is on, nothing else opens those: a mail
program cannot ask for one.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from mailboxes import accounts, audit, security_letters
from mailboxes.audit import Who
from mailboxes.digests import digest, digests
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, AppPassword

PURPOSE = "app passwords"
# Letters that are told apart in any font and read over the telephone; no vowel but a, so hardly a word.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
# 16 of 31 letters are 79 bits.
LENGTH, GROUP = 16, 4
# Enough for every device of a family; a bound, because each is a row.
MOST = 25
NAME_MAX = 60
# A poll does not write: the last use is as old as this at most, or from another address.
NOTED_EVERY = timedelta(minutes=10)
# Uses that a process remembers to have noted.
NOTED_MAX = 50_000


def make(account: Account, name: str, *, actor: Who) -> str:
    """Make an app password; returns it, and nobody learns it again. Invalid: no name, or too many."""
    name = " ".join(name.split())
    if not name:
        raise Invalid(_("give it a name, such as the device that will use it"))
    if len(name) > NAME_MAX or not name.isprintable():
        raise Invalid(_("the name is too long, or has characters that cannot be shown"))
    letters = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    try:
        with transaction.atomic():
            # Whoever makes two at the same moment waits here, so that the bound holds.
            Account.objects.select_for_update().get(pk=account.pk)
            if AppPassword.objects.filter(account=account).count() >= MOST:
                raise Invalid(_("there may be no more app passwords: revoke one that is not used"))
            AppPassword.objects.create(account=account, name=name, digest=digest(PURPOSE, letters))
            audit.write("make_app_password", account.login, actor, after={"name": name})
            security_letters.tell(account, "make_app_password", actor, name)
    except IntegrityError:
        raise Invalid(_("that did not work: try again")) from None
    return "-".join(letters[at : at + GROUP] for at in range(0, LENGTH, GROUP))


def revoke(account: Account, app_password: int, *, actor: Who, keep: str = "") -> bool:
    """Take one back: it opens nothing from this moment on. False: the account has none such.

    The credential version rises, which is what makes every process forget it; so browsers other than `keep`
    (the name of a web session) log in anew.
    """
    with transaction.atomic():
        found = AppPassword.objects.filter(account=account, pk=app_password)
        name = found.values_list("name", flat=True).first()
        if name is None or not found.delete()[0]:
            return False
        accounts.change(account, "revoke_app_password", actor, ({"name": name}, {}), keep=keep)
    return True


def revoke_all(account: Account, *, actor: Who) -> int:
    """Take all back, for staff; returns how many there were. Invalid: there are none."""
    with transaction.atomic():
        removed = AppPassword.objects.filter(account=account).delete()[0]
        if not removed:
            raise Invalid(_("the account has no app passwords"))
        accounts.change(account, "revoke_app_passwords", actor, ({"count": removed}, {}))
    return removed


def of(account: Account) -> list[AppPassword]:
    """An account's app passwords, the newest first; at most MOST."""
    return list(AppPassword.objects.filter(account=account).order_by("-created_at", "-pk")[:MOST])


# -- at the gate --------------------------------------------------------------------------------


def letters_of(password: str) -> str:
    """What was given without the spaces and hyphens that people put in or leave out; '': no app password."""
    if len(password) > 3 * LENGTH:
        return ""
    letters = password.replace("-", "").replace(" ", "").lower()
    return letters if len(letters) == LENGTH and set(letters) <= set(LETTERS) else ""


class Key(NamedTuple):
    """What opened: an app password and what its owner calls it; OWN is the account's own password."""

    number: int
    name: str


OWN = Key(0, "")


def find(account: int | None, password: str) -> Key:
    """The app password of an account that this is, or OWN where it is none.

    Asks the database for whatever looks like one, whether or not there is such an account, so that time tells
    nothing.
    """
    if not (letters := letters_of(password)):
        return OWN
    current, *old = digests(PURPOSE, letters)
    found = AppPassword.objects.filter(account=account or 0, digest__in=[current, *old])
    row = found.values_list("pk", "name", "digest").first()
    if row is None:
        return OWN
    number, name, stored = row
    if stored != current:
        # SECRET_KEY has changed since.
        AppPassword.objects.filter(pk=number).update(digest=current)
    return Key(number, name)


# -- the last use -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Use:
    at: datetime
    peer: str


class Uses:
    """When and from where app passwords were last used: noted in memory, and stored together now and then.

    `note` is called at every login, also from an event loop: it looks into a dictionary and is done, unless
    something is to be written. `store` writes what waits, in one transaction; whoever owns this calls it in a
    thread soon after `note` said that something waits.
    """

    def __init__(self) -> None:
        self._noted: OrderedDict[int, _Use] = OrderedDict()
        self._waiting: dict[int, _Use] = {}
        self._lock = threading.Lock()

    def note(self, app_password: int, peer: str) -> bool:
        """True: this is the first use that waits to be stored."""
        now, noted = timezone.now(), self._noted.get(app_password)
        if noted is not None and noted.peer == peer and now < noted.at + NOTED_EVERY:
            return False
        with self._lock:
            first = not self._waiting
            self._noted[app_password] = self._waiting[app_password] = _Use(now, peer)
            self._noted.move_to_end(app_password)
            if len(self._noted) > NOTED_MAX:
                self._noted.popitem(last=False)
        return first

    def store(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        try:
            with transaction.atomic():
                # In one order everywhere, so that two processes never wait for each other.
                for app_password, use in sorted(waiting.items()):
                    _store(app_password, use)
        except Exception:
            with self._lock:
                self._waiting = waiting | self._waiting
            raise


def _store(app_password: int, use: _Use) -> None:
    """Another process may have written it just now."""
    older = Q(last_used_at=None) | Q(last_used_at__lt=use.at - NOTED_EVERY)
    elsewhere = ~Q(last_used_from=use.peer) & Q(last_used_at__lt=use.at)
    AppPassword.objects.filter(older | elsewhere, pk=app_password).update(
        last_used_at=use.at, last_used_from=use.peer[:64]
    )
