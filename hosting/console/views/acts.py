"""What staff do to one account: a form that comes by POST, one verb of the store, back to the page."""

from typing import Any

from django.contrib import messages as notices
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from hosting.console.forms import QuotaForm, ReasonForm, RoleForm, ServiceForm, WhereToForm
from hosting.console.pages import attempt, attempt_form, back, sentence, show
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.console.views.accounts import judge_quota, token_of_password
from mailboxes import accounts as verbs
from mailboxes import aliases, secondfactor
from mailboxes.addresses import normalise
from mailboxes.app_passwords import revoke_all
from mailboxes.exceptions import Invalid
from mailboxes.models import Account

SERVICE_TEXTS = {
    ("pop3", True): gettext_noop("POP3 is switched on."),
    ("pop3", False): gettext_noop("POP3 is switched off."),
    ("webmail", True): gettext_noop("The webmail is switched on."),
    ("webmail", False): gettext_noop("The webmail is switched off."),
    ("sending", True): gettext_noop("Sending is switched on."),
    ("sending", False): gettext_noop("Sending is switched off."),
    ("receiving", True): gettext_noop("Receiving is switched on."),
    ("receiving", False): gettext_noop("Receiving is switched off."),
}


@require_POST
@allowed(Act.CHANGE)
def service(request: StaffRequest, pk: int) -> HttpResponse:
    account, name = request.staff.account_at(pk, Act.CHANGE), request.POST.get("service", "")
    # Each switch sends what it would be, and the button which of them is meant.
    enabled = request.POST.get(name) == "1"
    if name == "webmail" and not enabled and _is_oneself(request, account):
        return back("account", pk)
    said = _(SERVICE_TEXTS.get((name, enabled), gettext_noop("It is switched.")))
    attempt_form(
        request,
        ServiceForm(request.POST),
        lambda values: verbs.set_service(
            account, name, enabled, reason=values["reason"], actor=request.staff.actor
        ),
        said,
    )
    return back("account", pk)


@require_POST
@allowed(Act.CHANGE)
def name(request: StaffRequest, pk: int) -> HttpResponse:
    account, called = request.staff.account_at(pk, Act.CHANGE), request.POST.get("name", "")
    said = _("The name is changed.")
    attempt(request, lambda: verbs.set_name(account, called, actor=request.staff.actor), said)
    return back("account", pk)


@require_POST
@allowed(Act.CHANGE)
def quota(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.CHANGE)

    def change(values: dict[str, Any]) -> None:
        judge_quota(request, account.domain, values["quota"])
        verbs.set_quota(account, values["quota"], reason=values["reason"], actor=request.staff.actor)

    attempt_form(request, QuotaForm(request.POST), change, _("The quota is changed."))
    return back("account", pk)


@require_POST
@allowed(Act.CHANGE)
def suspend(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.CHANGE)
    if not _is_oneself(request, account):
        attempt_form(
            request,
            ReasonForm(request.POST),
            lambda values: verbs.suspend(account, values["reason"], actor=request.staff.actor),
            _("%(login)s is suspended. Mail still comes in.") % {"login": account.login},
        )
    return back("account", pk)


@require_POST
@allowed(Act.CHANGE)
def restore(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.CHANGE)
    said = _("%(login)s is active again.") % {"login": account.login}
    attempt(request, lambda: verbs.restore(account, actor=request.staff.actor), said)
    return back("account", pk)


@require_POST
@allowed(Act.CHANGE)
def close(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.CHANGE)
    if not _is_oneself(request, account):
        attempt_form(
            request,
            ReasonForm(request.POST),
            lambda values: verbs.close(account, reason=values["reason"], actor=request.staff.actor),
            _("%(login)s is closed; until it is removed it can be opened again here.")
            % {"login": account.login},
        )
    return back("account", pk)


@sensitive_variables("password")
@require_POST
@allowed(Act.RESET)
def password(request: StaffRequest, pk: int) -> HttpResponse:
    """A temporary password, on a page that is shown once and kept nowhere; to reload it makes no other."""
    account = request.staff.account_at(pk, Act.RESET)
    if not constant_time_compare(request.POST.get("token", ""), token_of_password(account)):
        notices.error(
            request,
            _(
                "The temporary password was shown already, and nothing is changed now."
                " If it was lost, make another."
            ),
        )
        return back("account", pk)
    try:
        password = verbs.give_temporary_password(account, actor=request.staff.actor)
    except Invalid as why:
        notices.error(request, sentence(why))
        return back("account", pk)
    return show(request, "password.html", {"page": "accounts", "account": account, "password": password})


@require_POST
@allowed(Act.RESET)
def sessions(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.RESET)
    said = _("Every session in the webmail has ended.")
    attempt(request, lambda: verbs.end_sessions(account, actor=request.staff.actor), said)
    return back("account", pk)


@require_POST
@allowed(Act.RESET_SECOND_FACTOR)
def second_factor(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.RESET_SECOND_FACTOR)
    said = _("The second factor is removed, and every session has ended. The password lets in again.")
    attempt(request, lambda: secondfactor.reset(account, actor=request.staff.actor), said)
    return back("account", pk)


@require_POST
@allowed(Act.REVOKE_APP_PASSWORDS)
def app_passwords(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.REVOKE_APP_PASSWORDS)
    said = _("Every app password is revoked, and every session has ended.")
    attempt(request, lambda: revoke_all(account, actor=request.staff.actor), said)
    return back("account", pk)


@require_POST
@allowed(Act.ADDRESS)
def alias(request: StaffRequest, pk: int) -> HttpResponse:
    """Another address for this account; one word is completed with the account's own domain."""
    account, name = request.staff.account_at(pk, Act.ADDRESS), request.POST.get("name", "").strip()
    if name and "@" not in name and account.domain is not None:
        name = f"{name}@{account.domain.name}"

    def make() -> None:
        judge_name(request, name)
        aliases.create_address(name, [account.login], actor=request.staff.actor)

    attempt(
        request, make, _("%(name)s reaches %(login)s from now on.") % {"name": name, "login": account.login}
    )
    return back("account", pk)


def judge_name(request: StaffRequest, name: str) -> None:
    """An address is made in a domain that one may change. Invalid."""
    names, domain = request.staff.domain_names(Act.ADDRESS), normalise(name).rpartition("@")[2]
    if names is not None and domain not in names:
        raise Invalid(_("the domain %(domain)s is not yours") % {"domain": domain})


@require_POST
@allowed(Act.ADDRESS)
def forward(request: StaffRequest, pk: int) -> HttpResponse:
    account, form = request.staff.account_at(pk, Act.ADDRESS), WhereToForm(request.POST)
    to = request.POST.get("to", "").strip()
    said = _("A copy of each message goes there from now on.") if to else _("Nothing is forwarded any more.")
    attempt_form(
        request,
        form,
        lambda values: aliases.set_forward(
            account, values["to"], reason=values["reason"], actor=request.staff.actor
        ),
        said,
    )
    return back("account", pk)


@require_POST
@allowed(Act.MANAGE_STAFF)
def role(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.MANAGE_STAFF)
    if not _is_oneself(request, account):
        attempt_form(
            request,
            RoleForm(request.POST),
            lambda values: verbs.set_role(
                account,
                values["role"],
                values["administers"],
                reason=values["reason"],
                actor=request.staff.actor,
            ),
            _("The role of %(login)s is changed.") % {"login": account.login},
        )
    return back("account", pk)


def _is_oneself(request: StaffRequest, account: Account) -> bool:
    """Who shuts themselves out would have nobody to let them in."""
    if account.pk != request.staff.account.pk:
        return False
    notices.error(request, _("This is your own account: let somebody else do that."))
    return True
