"""Logging in and out: the password, then the second factor where there is one; or a passkey for both."""

from collections.abc import Callable
from threading import BoundedSemaphore
from time import sleep
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from hosting.serving.addresses import network_of
from mailboxes import passkeys, secondfactor, web_sessions
from mailboxes.credentials import Service, admit, authenticate
from mailboxes.exceptions import LoginRefused
from mailboxes.models import Account
from mailboxes.throttle import LONGEST_DELAY
from webmail import halfway, sessions
from webmail.halfway import Halfway
from webmail.peers import peer_of
from webmail.programs import program_of
from webmail.refusals import said_of
from webmail.sites import site_of

# Whoever guesses waits; but those who wait hold a thread each, and must leave some for the others.
WAITING_MAX = 4
_waiting = BoundedSemaphore(WAITING_MAX)
BUSY = gettext_lazy("Too many people are logging in at this moment. Try again in some seconds.")

# Shows the page again with what is wrong, and its status.
Show = Callable[[str, int], HttpResponse]


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    where = _where_to(request)
    name = request.POST.get("login", "")

    def show(error: str = "", status: int = 200) -> HttpResponse:
        context = {"error": error, "next": where, "login": name[:320], "passkeys": site_of(request)}
        return render(request, "webmail/login.html", context, status=status)

    if request.method != "POST":
        return show() if sessions.mailbox_of(request) is None else redirect(where or _front())
    try:
        admitted = authenticate(
            name, request.POST.get("password", ""), Service.WEBMAIL, network_of(peer_of(request))
        )
    except LoginRefused as refusal:
        return _refuse(request, refusal, name, show)
    if admitted.second_factor:
        halfway.begin(request, admitted.account, where)
        return redirect("second_step")
    return _let_in(request, Account.objects.get(pk=admitted.account), where)


@sensitive_post_parameters("code")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    """A code of the authenticator, a recovery code, or a passkey: for who has shown the password."""
    half = halfway.of(request)
    if half is None:
        return redirect("login")

    def show(error: str = "", status: int = 200) -> HttpResponse:
        return _second_step(request, half, error, status)

    if request.method != "POST":
        return show()
    try:
        if "passkey" in request.POST:
            _verify_passkey(request, half.account)
            shown = "passkey"
        else:
            shown = secondfactor.verify_code(half.account, request.POST.get("code", ""))
        # Whatever was switched off meanwhile counts.
        admit(half.account.login, Service.WEBMAIL)
    except LoginRefused as refusal:
        return _refuse(request, refusal, half.account.login, show)
    return _let_in(request, half.account, half.where, shown)


def _second_step(request: HttpRequest, half: Halfway, error: str, status: int) -> HttpResponse:
    context: dict[str, Any] = {
        "error": error,
        "login": half.account.login,
        "authenticator": secondfactor.has_authenticator(half.account),
    }
    site = site_of(request)
    if site is not None and passkeys.of(half.account):
        ceremony = passkeys.ask_to_show(half.account, site)
        halfway.keep_challenge(request, ceremony.challenge)
        context["options"] = ceremony.options
    return render(request, "webmail/login_second.html", context, status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def by_passkey(request: HttpRequest) -> HttpResponse:
    """A passkey that its device has verified its owner for stands for name, password and second factor."""
    where = _where_to(request)
    site = site_of(request)
    if site is None:
        return redirect("login")

    def show(error: str = "", status: int = 200) -> HttpResponse:
        ceremony = passkeys.ask_to_show(None, site)
        if sessions.mailbox_of(request) is None:
            request.session.set_expiry(halfway.SECONDS)
        halfway.keep_challenge(request, ceremony.challenge)
        context = {"error": error, "next": where, "options": ceremony.options}
        return render(request, "webmail/login_passkey.html", context, status=status)

    if request.method != "POST":
        return show()
    name = ""
    try:
        account = _verify_passkey(request, None)
        name = account.login
        admit(name, Service.WEBMAIL)
    except LoginRefused as refusal:
        return _refuse(request, refusal, name, show)
    return _let_in(request, account, where, "passkey")


def _verify_passkey(request: HttpRequest, account: Account | None) -> Account:
    challenge, site = halfway.take_challenge(request), site_of(request)
    if not challenge or site is None:
        raise LoginRefused("this page was open for too long: try again", reason="no_challenge")
    return passkeys.verify(account, request.POST.get("passkey", ""), challenge, site)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    sessions.end(request)
    return redirect("login")


def _let_in(request: HttpRequest, account: Account, where: str, second_factor: str = "") -> HttpResponse:
    sessions.begin(request, account, second_factor)
    return redirect(where or _front())


def _front() -> str:
    """Where whoever asked for no page begins: the house says it, for this door does not know the others."""
    return resolve_url(settings.LOGIN_REDIRECT_URL)


def _where_to(request: HttpRequest) -> str:
    """A page of ours that was asked for before, and of those only such as are no acts; '': none."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours and urlsplit(wanted).path.startswith(tuple(settings.LOGIN_LEADS_TO)) else ""


def _refuse(request: HttpRequest, refusal: LoginRefused, name: str, show: Show) -> HttpResponse:
    peer = peer_of(request)
    if refusal.delay and not _waiting.acquire(blocking=False):
        return show(str(BUSY), 429)
    try:
        web_sessions.note_refused(
            name, peer=peer, network=network_of(peer), program=program_of(request), reason=refusal.reason
        )
        if refusal.delay:
            sleep(min(refusal.delay, LONGEST_DELAY))
    finally:
        if refusal.delay:
            _waiting.release()
    return show(said_of(refusal), 403 if refusal.permanent else 401)
