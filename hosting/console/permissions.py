"""Who of the staff may do what: one table, which the page about roles shows and every view obeys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, wraps
from typing import Any, Concatenate, TypeVar

from django.conf import settings
from django.contrib import messages as notices
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext, gettext_noop

from mailboxes.audit import Actor
from mailboxes.directory import Scope
from mailboxes.models import Account, Address, Domain, Role
from webmail.peers import peer_of
from webmail.sessions import detour_of, lead_aside, mailbox_of

T = TypeVar("T")


class Act(Enum):
    """What staff do, as the page about roles says it in the reader's language."""

    LOOK_UP = gettext_noop("Look up domains, accounts and addresses, and what happened to an account's mail")
    SEE_FOLDERS = gettext_noop("See a mailbox's folders, sizes and headers, without contents")
    RESTORE_MAIL = gettext_noop("Restore deleted mail")
    RESET = gettext_noop("Reset a password and end sessions")
    RESET_SECOND_FACTOR = gettext_noop("Reset the second factor of who has lost it")
    REVOKE_APP_PASSWORDS = gettext_noop("Revoke app passwords")
    OPEN = gettext_noop("Open accounts, one by one or from a list, and export them as a list")
    CHANGE = gettext_noop(
        "Change services and quota; suspend, close and restore accounts, one or many at once"
    )
    ADDRESS = gettext_noop("Make, suspend, close and restore aliases, lists, forwards and the catch-all")
    READ_AUDIT = gettext_noop("Read and export the audit")
    SEE_HOUSE = gettext_noop("See how the house is doing")
    SERVE_DOMAINS = gettext_noop("Serve, suspend, close and restore domains; set what a new mailbox may hold")
    MANAGE_STAFF = gettext_noop("Make people staff, and change accounts of staff")
    OPEN_CONTENTS = gettext_noop(
        "Read the mail in a mailbox for 15 minutes, for a reason that its owner is told"
    )


class Reach(Enum):
    """How far a role's right goes."""

    NONE = gettext_noop("no")
    OWN = gettext_noop("own domains")
    ALL = gettext_noop("yes")


STAFF = (Role.OPERATOR, Role.DOMAIN_ADMINISTRATOR, Role.SUPPORT)
TABLE: Mapping[Act, Mapping[str, Reach]] = {
    act: dict(zip(STAFF, reaches, strict=True))
    for act, reaches in {
        Act.LOOK_UP: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.SEE_FOLDERS: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.RESTORE_MAIL: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.RESET: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.RESET_SECOND_FACTOR: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.REVOKE_APP_PASSWORDS: (Reach.ALL, Reach.OWN, Reach.ALL),
        Act.OPEN: (Reach.ALL, Reach.OWN, Reach.NONE),
        Act.CHANGE: (Reach.ALL, Reach.OWN, Reach.NONE),
        Act.ADDRESS: (Reach.ALL, Reach.OWN, Reach.NONE),
        Act.READ_AUDIT: (Reach.ALL, Reach.OWN, Reach.NONE),
        Act.SEE_HOUSE: (Reach.ALL, Reach.NONE, Reach.ALL),
        Act.SERVE_DOMAINS: (Reach.ALL, Reach.NONE, Reach.NONE),
        Act.MANAGE_STAFF: (Reach.ALL, Reach.NONE, Reach.NONE),
        Act.OPEN_CONTENTS: (Reach.ALL, Reach.NONE, Reach.NONE),
    }.items()
}


@dataclass
class Staff:
    """Who works in the console, and how far each of their rights goes."""

    account: Account
    peer: str

    @property
    def actor(self) -> Actor:
        return Actor(self.account.login, self.peer)

    def may(self, act: Act) -> bool:
        return self._reach(act) is not Reach.NONE

    def scope(self, act: Act = Act.LOOK_UP) -> Scope:
        """The domains that an act reaches (primary keys); None: all of them."""
        reach = self._reach(act)
        if reach is Reach.ALL:
            return None
        return set(self._own) if reach is Reach.OWN else set()

    def domain_names(self, act: Act = Act.LOOK_UP) -> set[str] | None:
        """The names of those domains; None: all of them."""
        reach = self._reach(act)
        if reach is Reach.ALL:
            return None
        return set(self._own.values()) if reach is Reach.OWN else set()

    def _reach(self, act: Act) -> Reach:
        return TABLE[act].get(self.account.role, Reach.NONE)

    @cached_property
    def _own(self) -> dict[int, str]:
        return dict(self.account.administers.values_list("pk", "name"))

    # What a URL names: that which may not be seen is not there (404), that which may not be done is refused
    # (403).

    def domain(self, pk: int, act: Act = Act.LOOK_UP) -> Domain:
        found = Domain.objects.filter(pk=pk)
        scope = self.scope(act)
        return _or_404((found if scope is None else found.filter(pk__in=scope)).first())

    def account_at(self, pk: int, act: Act = Act.LOOK_UP) -> Account:
        """An account that may be seen; and for any act that changes it, one that is nobody's of the staff."""
        found = Account.objects.select_related("mailbox", "domain").filter(pk=pk)
        scope = self.scope(act)
        account = _or_404((found if scope is None else found.filter(domain__in=scope)).first())
        if act not in LOOKING and not self.may_change(account):
            raise PermissionDenied(gettext("accounts of staff are changed by operators"))
        return account

    def address(self, pk: int, act: Act = Act.ADDRESS) -> Address:
        found = Address.objects.select_related("domain").filter(pk=pk)
        scope = self.scope(act)
        return _or_404((found if scope is None else found.filter(domain__in=scope)).first())

    def may_change(self, account: Account) -> bool:
        """Else who may reset passwords could become an operator."""
        return account.role == Role.SUBSCRIBER or self.may(Act.MANAGE_STAFF)


LOOKING = {Act.LOOK_UP}


def _or_404(found: T | None) -> T:
    if found is None:
        raise Http404
    return found


class StaffRequest(HttpRequest):
    """A request of somebody who may do what the view is for."""

    staff: Staff


View = Callable[Concatenate[StaffRequest, ...], HttpResponseBase]


def _detour_of(request: HttpRequest, account: Account) -> HttpResponseBase | None:
    """Where staff must go before any page of the console: to a password of their own, to a second factor."""
    if (aside := detour_of(request, account)) is not None:
        return aside
    if settings.CONSOLE_SECOND_FACTOR == "optional" or account.second_factor:
        return None
    said = gettext("The console needs a second factor. Set one up here; then you go on to the console.")
    notices.warning(request, said)
    return lead_aside(request, reverse("webmail:security"))


def allowed(act: Act | None) -> Callable[[View], Callable[..., HttpResponseBase]]:
    """Only for staff whose role may do this (None: for all staff); no browser keeps it in a cache."""

    def decorate(view: View) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def admitted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            mailbox = mailbox_of(request)
            if mailbox is None:
                wanted = request.get_full_path() if request.method == "GET" else reverse("console:home")
                return redirect_to_login(wanted)
            staff = Staff(mailbox.account, peer_of(request))
            if staff.account.role not in STAFF or (act is not None and not staff.may(act)):
                raise PermissionDenied
            if (aside := _detour_of(request, staff.account)) is not None:
                return aside
            request.staff = staff  # type: ignore[attr-defined]  # which makes it a StaffRequest
            response = view(request, *args, **kwargs)  # type: ignore[arg-type]
            patch_cache_control(response, private=True, no_store=True)
            return response

        return admitted

    return decorate
