"""The second factor: set up, renewed and removed by its owner."""

from typing import Any

import segno
from django.contrib import messages as notices
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from mailboxes import passkeys, secondfactor
from mailboxes.exceptions import Invalid, LoginRefused
from webmail import halfway, sessions
from webmail.refusals import said_of
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.sites import site_of
from webmail.views.security import actor_of, back, in_frame, number_in, proven, sentence

PART = "second-factor"


# -- the authenticator --------------------------------------------------------------------------


@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
@proven
def authenticator(request: SubscriberRequest) -> HttpResponse:
    """Show the secret and take the first code; a POST without a code makes a new secret."""
    owner, error = request.mailbox.account, ""
    try:
        if request.method == "POST" and "code" not in request.POST:
            secondfactor.begin_authenticator(owner)
            return HttpResponseRedirect(reverse("webmail:authenticator"))
        if request.method == "POST":
            codes = secondfactor.confirm_authenticator(
                owner, request.POST["code"], actor=actor_of(request), keep=sessions.name_of(request)
            )
            return _is_set_up(request, codes, _("The authenticator app is set up."))
    except LoginRefused as refusal:
        error = said_of(refusal)
    except Invalid as why:
        notices.error(request, sentence(why))
        return back(PART)
    return _authenticator_page(request, error)


def _authenticator_page(request: SubscriberRequest, error: str) -> HttpResponse:
    waiting = secondfactor.waiting_authenticator(request.mailbox.account)
    if waiting is None:
        return back(PART)
    secret, uri = waiting
    # As an image of its own: a page of ours may show those from data, and no style of an SVG within it.
    qr = segno.make(uri, error="m", micro=False).svg_data_uri(scale=5, border=3, light="white")
    context: dict[str, Any] = {"secret": secret, "uri": uri, "qr": qr, "error": error}
    return in_frame(request, "webmail/security/authenticator.html", context, 422 if error else 200)


@require_POST
@for_subscribers
@proven
def remove_authenticator(request: SubscriberRequest) -> HttpResponse:
    owner, keep = request.mailbox.account, sessions.name_of(request)
    if not secondfactor.remove_authenticator(owner, actor=actor_of(request), keep=keep):
        raise Http404
    return _is_removed(request, _("The authenticator app is removed."))


# -- passkeys -----------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
@proven
def add_passkey(request: SubscriberRequest) -> HttpResponse:
    owner, site = request.mailbox.account, site_of(request)
    if site is None:
        notices.error(request, _("Passkeys need these pages under a name and HTTPS, not an IP address."))
        return back(PART)
    error = ""
    if request.method == "POST":
        try:
            codes = passkeys.add(
                owner,
                request.POST.get("name", "")[:200],
                request.POST.get("passkey", ""),
                halfway.take_challenge(request),
                site,
                actor=actor_of(request),
                keep=sessions.name_of(request),
            )
        except Invalid as why:
            error = sentence(why)
        else:
            return _is_set_up(request, codes, _("The passkey is set up."))
    ceremony = passkeys.ask_to_create(owner, site)
    halfway.keep_challenge(request, ceremony.challenge)
    context = {"options": ceremony.options, "error": error, "name": request.POST.get("name", "")[:60]}
    return in_frame(request, "webmail/security/passkey.html", context, 422 if error else 200)


@require_POST
@for_subscribers
@proven
def remove_passkey(request: SubscriberRequest) -> HttpResponse:
    owner, number = request.mailbox.account, number_in(request.POST.get("passkey", ""))
    if not passkeys.remove(owner, number, actor=actor_of(request), keep=sessions.name_of(request)):
        raise Http404
    return _is_removed(request, _("The passkey is removed."))


# -- recovery codes -----------------------------------------------------------------------------


@require_POST
@for_subscribers
@proven
def renew_recovery_codes(request: SubscriberRequest) -> HttpResponse:
    owner, keep = request.mailbox.account, sessions.name_of(request)
    try:
        codes = secondfactor.renew_recovery_codes(owner, actor=actor_of(request), keep=keep)
    except Invalid as why:
        notices.error(request, sentence(why))
        return back(PART)
    return _is_set_up(request, codes, _("The old codes are void."))


# -- afterwards ---------------------------------------------------------------------------------


def _is_set_up(request: SubscriberRequest, codes: list[str], said: str) -> HttpResponse:
    """The session goes on; recovery codes, if there are new ones, are shown on a page that is shown once."""
    sessions.renew(request, request.mailbox.account)
    onward = sessions.onward_of(request, reverse("webmail:security"))
    if not codes:
        notices.success(request, said)
        return HttpResponseRedirect(onward)
    context = {"said": said, "codes": codes, "onward": onward}
    return in_frame(request, "webmail/security/recovery_codes.html", context)


def _is_removed(request: SubscriberRequest, said: str) -> HttpResponse:
    sessions.renew(request, request.mailbox.account)
    if not request.mailbox.account.second_factor:
        said = _("%(said)s Your password alone lets in now, here and in mail programs.") % {"said": said}
    notices.success(request, said)
    return back(PART)
