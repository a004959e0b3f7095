"""Password and security: what lets into this account, who is in, and how to end that."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages as notices
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosting.serving.addresses import network_of
from mailboxes import accounts, app_passwords, audit, passkeys, secondfactor, web_sessions
from mailboxes.audit import Actor
from mailboxes.credentials import Service, authenticate
from mailboxes.exceptions import Invalid, LoginRefused
from webmail import sessions
from webmail.forms import PasswordForm
from webmail.peers import peer_of
from webmail.refusals import said_of
from webmail.sessions import SubscriberRequest, for_arrivals, for_subscribers
from webmail.sites import site_of
from webmail.views.panes import Panes, show

View = Callable[..., HttpResponse]


# -- the page -----------------------------------------------------------------------------------


@require_safe
@for_subscribers
def security(request: SubscriberRequest) -> HttpResponse:
    return page(request, PasswordForm(request.mailbox.account))


def page(request: SubscriberRequest, form: PasswordForm, status: int = 200) -> HttpResponse:
    owner = request.mailbox.account
    rows = web_sessions.sessions_of(owner)
    context = {
        "password_form": form,
        "authenticator": secondfactor.has_authenticator(owner),
        "passkeys": passkeys.of(owner),
        "passkeys_possible": site_of(request) is not None,
        "recovery_codes_left": secondfactor.recovery_codes_left(owner) if owner.second_factor else 0,
        "app_passwords": app_passwords.of(owner),
        "web_sessions": rows,
        "others": sum(one.is_open for one in rows) > 1,
        "earlier": any(not one.is_open for one in rows),
        "refusals": web_sessions.refusals_of(owner),
        "this_session": request.web_session.session,
    }
    return in_frame(request, "webmail/security/page.html", context, status)


def in_frame(
    request: SubscriberRequest, template: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    """A page of this section, in the frame of the account's pages."""
    frame = Panes.of(request, "inbox").frame_context()
    return show(request, template, frame | {"page_name": "account", "section": "security"} | context, status)


def back(part: str = "") -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("webmail:security") + (f"#{part}" if part else ""))


def actor_of(request: SubscriberRequest) -> Actor:
    return Actor(request.mailbox.account.login, peer_of(request))


def sentence(why: object) -> str:
    text = str(why)
    return f"{text[:1].upper()}{text[1:]}."


# -- what weakens the account needs the password, given lately ----------------------------------


def proven(view: View) -> View:
    """Only for who gave the password in the last ten minutes; others give it first, and then go on."""

    @wraps(view)
    def asked(request: SubscriberRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if sessions.is_proven(request):
            return view(request, *args, **kwargs)
        onward = request.get_full_path() if request.method == "GET" else reverse("webmail:security")
        if request.method == "POST":
            notices.warning(request, _("Give your password first; then do it again."))
        return HttpResponseRedirect(f"{reverse('webmail:prove')}?next={onward}")

    return asked


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
def prove(request: SubscriberRequest) -> HttpResponse:
    """Ask for the password again, through the one gate and its throttle."""
    onward, error = _onward(request), ""
    if request.method == "POST":
        try:
            _authenticate(request, request.POST.get("password", ""))
        except LoginRefused as refusal:
            error = _why(refusal)
        else:
            sessions.note_proof(request)
            return HttpResponseRedirect(onward)
    context = {"error": error, "next": onward}
    return in_frame(request, "webmail/security/prove.html", context, 422 if error else 200)


def _onward(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    security_url = reverse("webmail:security")
    return wanted if ours and wanted.startswith(security_url) else security_url


def _authenticate(request: SubscriberRequest, password: str) -> None:
    """LoginRefused."""
    login = request.mailbox.account.login
    authenticate(login, password, Service.WEBMAIL, network_of(peer_of(request)))


def _why(refusal: LoginRefused) -> str:
    return _("This is not your password.") if refusal.reason == "wrong_password" else said_of(refusal)


# -- the password -------------------------------------------------------------------------------


@sensitive_post_parameters("old_password", "new_password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
@for_arrivals
def choose_password(request: SubscriberRequest) -> HttpResponse:
    """One's own instead of a temporary one: the only page there is until then."""
    owner = request.mailbox.account
    if owner.password_until is None:
        return back("password")
    form = PasswordForm(owner, request.POST if request.method == "POST" else None)
    if request.method == "POST" and _change(request, form):
        return HttpResponseRedirect(sessions.onward_of(request, reverse("webmail:home")))
    context = {"password_form": form, "until": owner.password_until, "login": owner.login}
    return show(request, "webmail/login_password.html", context, 422 if form.errors else 200)


@sensitive_post_parameters("old_password", "new_password", "again")
@require_POST
@for_subscribers
def change_password(request: SubscriberRequest) -> HttpResponse:
    """Change the password, if the old one passes the gate; every other session ends."""
    form = PasswordForm(request.mailbox.account, request.POST)
    if not _change(request, form):
        return page(request, form, status=422)
    return back()


def _change(request: SubscriberRequest, form: PasswordForm) -> bool:
    if not form.is_valid():
        return False
    try:
        _authenticate(request, form.cleaned_data["old_password"])
    except LoginRefused as refusal:
        form.add_error("old_password", _why(refusal))
        return False
    owner, name = request.mailbox.account, sessions.name_of(request)
    accounts.reset_password(owner, form.cleaned_data["new_password"], actor=actor_of(request), keep=name)
    sessions.renew(request, owner)
    sessions.note_proof(request)
    if owner.second_factor:
        said = _("The password is changed. App passwords still open your mail programs.")
    else:
        said = _("The password is changed. Mail programs that use it need the new one now.")
    notices.success(request, said)
    return True


# -- sessions -----------------------------------------------------------------------------------


@require_POST
@for_subscribers
def end_session(request: SubscriberRequest) -> HttpResponseBase:
    """End one session, or all but this one."""
    owner, this = request.mailbox.account, sessions.name_of(request)
    if "others" in request.POST:
        ended = accounts.end_other_sessions(owner, keep=this, actor=actor_of(request))
        said = ngettext("%(count)d session has ended.", "%(count)d sessions have ended.", ended)
        notices.success(request, said % {"count": ended})
        return back("sessions")
    name = request.POST.get("session", "")
    if name == this:
        sessions.end(request)
        return HttpResponseRedirect(reverse("login"))
    if not web_sessions.end(owner.pk, name[:32]):
        raise Http404
    audit.write("end_session", owner.login, actor_of(request))
    notices.success(request, _("The session has ended."))
    return back("sessions")


# -- app passwords ------------------------------------------------------------------------------


@require_POST
@for_subscribers
@proven
def make_app_password(request: SubscriberRequest) -> HttpResponse:
    """A password for one mail program, on a page that is shown once."""
    owner, name = request.mailbox.account, request.POST.get("name", "")[:200]
    try:
        password = app_passwords.make(owner, name, actor=actor_of(request))
    except Invalid as why:
        notices.error(request, sentence(why))
        return back("app-passwords")
    context = {"name": name, "app_password": password}
    return in_frame(request, "webmail/security/app_password.html", context)


@require_POST
@for_subscribers
def revoke_app_password(request: SubscriberRequest) -> HttpResponse:
    owner, number = request.mailbox.account, request.POST.get("app_password", "")
    keep = sessions.name_of(request)
    if not app_passwords.revoke(owner, number_in(number), actor=actor_of(request), keep=keep):
        raise Http404
    sessions.renew(request, owner)
    notices.success(request, _("The app password is revoked. Your other browsers log in again, too."))
    return back("app-passwords")


def number_in(text: str) -> int:
    """A row's number as a form sends it; 0 for whatever is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
