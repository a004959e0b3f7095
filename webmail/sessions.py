"""Who has logged in to the webmail, and whether that still counts.

A session names its account, the `credential_version` that it was let in with, and its own record. All are
compared at each request, in one row with the mailbox: a change of password, status or service ends every
session before it, and whoever ends one record ends that session.
"""

from collections.abc import Callable
from functools import wraps
from time import time
from typing import Any, Concatenate

from django.contrib import auth
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.views import redirect_to_login
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_cache_control

from mailboxes import forward_notices, inspections, web_sessions
from mailboxes.models import Account, Mailbox, Role, Status, WebSession, WebSessionEnd
from webmail.peers import peer_of
from webmail.programs import program_of

VERSION_KEY = "credential_version"
NAME_KEY = "web_session"
PROVEN_KEY = "proven_at"
ONWARD_KEY = "onward"
BACKEND = "django.contrib.auth.backends.ModelBackend"
# So long after a password was given, what weakens the account may be done without giving it again.
PROVEN_SECONDS = 600

View = Callable[Concatenate["SubscriberRequest", ...], HttpResponseBase]


class SubscriberRequest(HttpRequest):
    """A request of somebody who has a mailbox here, which is theirs."""

    mailbox: Mailbox
    web_session: WebSession


# -- a session begins and ends ------------------------------------------------------------------


def begin(request: HttpRequest, account: Account, second_factor: str = "") -> None:
    """Start a session for whom the gate has let in; its key is a new one (session fixation)."""
    name = web_sessions.begin(
        account.pk,
        account.login,
        peer=peer_of(request),
        program=program_of(request),
        second_factor=second_factor,
    )
    request.session.flush()
    auth.login(request, account, backend=BACKEND)
    sign(request.session, account, name)
    if account.role != Role.SUBSCRIBER:
        request.session.set_expiry(0)  # when the browser is closed; `is_over` ends it in any case


def sign(session: SessionBase, account: Account, name: str) -> None:
    """Write down whose session this is: what `mailbox_of` asks for, beside what Django has written."""
    session[VERSION_KEY] = account.credential_version
    session[NAME_KEY] = name
    session[PROVEN_KEY] = time()


def end(request: HttpRequest) -> None:
    account, name = request.session.get(SESSION_KEY), request.session.get(NAME_KEY)
    if account is not None and name is not None:
        web_sessions.end(int(account), name, WebSessionEnd.LOGOUT)
    auth.logout(request)


def renew(request: HttpRequest, account: Account) -> None:
    """Let the session go on in which its owner has just changed what lets in; all others have ended."""
    # Not by `update_session_auth_hash`, which looks at request.user, whose hash fits no longer.
    request.session.cycle_key()
    request.session[HASH_SESSION_KEY] = account.get_session_auth_hash()
    request.session[VERSION_KEY] = account.credential_version


def name_of(request: HttpRequest) -> str:
    """The name of this session's record; '' while nobody is logged in."""
    return str(request.session.get(NAME_KEY, ""))


# -- the password, given lately -----------------------------------------------------------------


def is_proven(request: HttpRequest) -> bool:
    """Whether whoever sits there has given the password, or a passkey, in the last ten minutes."""
    return time() - float(request.session.get(PROVEN_KEY, 0)) < PROVEN_SECONDS


def note_proof(request: HttpRequest) -> None:
    request.session[PROVEN_KEY] = time()


# -- at each request ----------------------------------------------------------------------------

# The sessions that still let in. Put together once: at each request that took longer than the database does.
OPEN = (
    WebSession.objects.select_related("account__mailbox")
    .annotate(
        looked_into=inspections.has_unnoted("account__mailbox"),
        forward_changed=forward_notices.has_unnoted("account__mailbox"),
    )
    .filter(
        # Nobody is in whose domain is closed or suspended; some of the house have no domain.
        Q(account__domain=None) | Q(account__domain__closed_at=None, account__domain__status_reason=""),
        ended_at=None,
        account__status=Status.ACTIVE,
        account__mailbox__webmail_enabled=True,
    )
)


def mailbox_of(request: HttpRequest) -> Mailbox | None:
    """The mailbox of the session, with its account; None: nobody is logged in, or no longer."""
    session = request.session
    account, version, name = session.get(SESSION_KEY), session.get(VERSION_KEY), session.get(NAME_KEY)
    if account is None or version is None or name is None:
        return None
    found = OPEN.filter(session=name, account=account, account__credential_version=version).first()
    if found is None or found.account is None:
        return None
    if found.is_over:
        web_sessions.end(found.account.pk, name, WebSessionEnd.EXPIRED)
        return None
    web_sessions.see(found)
    if found.account.language:
        translation.activate(found.account.language)
    request.web_session = found  # type: ignore[attr-defined]  # which makes it half a SubscriberRequest
    mailbox: Mailbox = found.account.mailbox
    # Whether staff have read in it, or had its mail sent elsewhere, and its owner has not been told yet:
    # `{% looked_into mailbox %}`.
    mailbox.looked_into = found.looked_into  # type: ignore[attr-defined]
    mailbox.forward_changed = found.forward_changed  # type: ignore[attr-defined]
    return mailbox


def for_subscribers(view: View) -> Callable[..., HttpResponseBase]:
    """Only for whoever has a mailbox and is logged in to it; nothing of it is kept by a browser's cache.

    Who has a temporary password is led to a page that changes it.
    """
    return _admitting(view, detour=True)


def for_arrivals(view: View) -> Callable[..., HttpResponseBase]:
    """The same, also before the temporary password is changed: the pages that one must be let to."""
    return _admitting(view, detour=False)


def _admitting(view: View, *, detour: bool) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def admitted(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        mailbox = mailbox_of(request)
        if mailbox is None:
            return _refused(request)
        if detour and (aside := detour_of(request, mailbox.account)) is not None:
            return aside
        request.mailbox = mailbox  # type: ignore[attr-defined]  # which makes it a SubscriberRequest
        response = view(request, *args, **kwargs)  # type: ignore[arg-type]
        patch_cache_control(response, private=True, no_store=True)
        return response

    return admitted


def _refused(request: HttpRequest) -> HttpResponseBase:
    if (
        VERSION_KEY not in request.session
        and SESSION_KEY in request.session
        and request.user.is_authenticated
    ):
        return render(request, "webmail/no_mailbox.html", status=403)
    if "HX-Request" in request.headers:
        # A part of a page would be replaced by the login page: the whole page must go there.
        return HttpResponse(status=204, headers={"HX-Redirect": reverse("login")})
    return redirect_to_login(request.get_full_path() if request.method == "GET" else reverse("webmail:home"))


# -- led aside, and on again --------------------------------------------------------------------


def detour_of(request: HttpRequest, account: Account) -> HttpResponseBase | None:
    """Where this account must go before it goes anywhere else; None: nowhere."""
    if account.password_until is None:
        return None
    return lead_aside(request, reverse("webmail:choose_password"))


def lead_aside(request: HttpRequest, url: str) -> HttpResponseBase:
    """To a page that must be dealt with first; `onward_of` says later where one was going."""
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    if request.method == "GET":
        request.session[ONWARD_KEY] = request.get_full_path()
    return HttpResponseRedirect(url)


def onward_of(request: HttpRequest, otherwise: str) -> str:
    """Where somebody who was led aside was going; asked once."""
    return str(request.session.pop(ONWARD_KEY, "") or otherwise)
