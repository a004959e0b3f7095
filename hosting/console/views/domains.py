"""Domains: which are served, and how each is set."""

from django.contrib import messages as notices
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosting.console.forms import DefaultQuotaForm, DomainForm, ReasonForm, WhereToForm
from hosting.console.pages import attempt, attempt_form, back, here, prefix_of, sentence, show, show_form
from hosting.console.permissions import Act, StaffRequest, allowed
from mailboxes import aliases, directory
from mailboxes import domains as verbs
from mailboxes.accounts import create_domain
from mailboxes.addresses import free_on
from mailboxes.audit import Search, last_of, page_of
from mailboxes.exceptions import Invalid
from mailboxes.models import Account, Domain, Mailbox

CHANGES_SHOWN = 10
STAFF_SHOWN = 20


@require_safe
@allowed(Act.LOOK_UP)
def domains(request: StaffRequest) -> HttpResponse:
    prefix, after = prefix_of(request), prefix_of(request, "after")
    page = directory.domains(request.staff.scope(), prefix=prefix, after=after)
    older = here(request, after=page.next) if page.next else ""
    return show(
        request, "domains.html", {"page": "domains", "rows": page.rows, "prefix": prefix, "older": older}
    )


@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.SERVE_DOMAINS)
def create(request: StaffRequest) -> HttpResponse:
    form = DomainForm(request.POST or None, initial={"name": request.GET.get("name", "")})
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            made = create_domain(
                values["name"], default_quota=values["default_quota"], actor=request.staff.actor
            )
        except Invalid as why:
            form.add_error("name", sentence(why))
        else:
            notices.success(request, _("The domain %(name)s is served from now on.") % {"name": made.name})
            return back("domain", made.pk)
    return show_form(request, "domains", form, _("A new domain"), _("Serve the domain"))


@require_safe
@allowed(Act.LOOK_UP)
def domain(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk)
    box = Mailbox.objects.select_related("account").filter(catches_all_of=found).first()
    catcher = box.account if box is not None else None
    changes = page_of(Search(subject=found.name))[0][:CHANGES_SHOWN] if _may_read_audit(request) else []
    caught_before, caught_reason = _caught_before(found, catcher)
    context = {
        "page": "domains",
        "domain": found,
        "catcher": catcher,
        "caught_before": caught_before,
        "caught_reason": caught_reason,
        "gone_on": free_on(found.closed_at) if found.closed_at else None,
        "own_home": _is_own_home(request, found),
        "changes": changes,
        "administrators": _administrators(request, found),
        "quota_form": DefaultQuotaForm(initial={"default_quota": found.default_quota_bytes}),
    }
    return show(request, "domain.html", context)


def _administrators(request: StaffRequest, found: Domain) -> list[tuple[Account, bool]]:
    """Whoever administers it, and whether the reader may see their account: it may lie in another domain."""
    scope = request.staff.scope()
    staff = Account.objects.filter(administers=found).order_by("login")[:STAFF_SHOWN]
    return [(one, scope is None or one.domain_id in scope) for one in staff]


def _may_read_audit(request: StaffRequest) -> bool:
    return request.staff.may(Act.READ_AUDIT)


def _caught_before(domain: Domain, catcher: Account | None) -> tuple[str, str]:
    """Who had the catch-all before the last change of it, for whoever wants that undone ('' nobody), and why
    it was changed."""
    last = last_of("set_catch_all", domain.name)
    login = str(last.before.get("catch_all", "")) if last is not None else ""
    if last is None or (catcher is not None and catcher.login == login):
        return "", ""
    return login, last.reason


def _is_own_home(request: StaffRequest, domain: Domain) -> bool:
    """Who shuts themselves out would have nobody to let them in."""
    return request.staff.account.domain_id == domain.pk


@require_POST
@allowed(Act.SERVE_DOMAINS)
def switch(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk, Act.SERVE_DOMAINS)
    active, reason = request.POST.get("active") == "1", request.POST.get("reason", "").strip()
    said = (
        _("Mail for %(name)s is taken in again.")
        if active
        else _("Mail for %(name)s is put off from now on.")
    )
    attempt(
        request,
        lambda: verbs.switch_domain(found, active, reason=reason, actor=request.staff.actor),
        said % {"name": found.name},
    )
    return back("domain", pk)


@require_POST
@allowed(Act.SERVE_DOMAINS)
def suspend(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk, Act.SERVE_DOMAINS)
    if not _refused_at_home(request, found):
        attempt_form(
            request,
            ReasonForm(request.POST),
            lambda values: verbs.suspend_domain(found, values["reason"], actor=request.staff.actor),
            _("%(name)s is suspended: nobody of it can log in. Mail still comes in.") % {"name": found.name},
        )
    return back("domain", pk)


@require_POST
@allowed(Act.SERVE_DOMAINS)
def close(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk, Act.SERVE_DOMAINS)
    if request.POST.get("name", "").strip().lower() != found.name:
        notices.error(request, _("Write the name of the domain to close it."))
    elif not _refused_at_home(request, found):
        attempt_form(
            request,
            ReasonForm(request.POST),
            lambda values: verbs.close_domain(found, values["reason"], actor=request.staff.actor),
            _("%(name)s is closed; until it is removed it can be restored here.") % {"name": found.name},
        )
    return back("domain", pk)


def _refused_at_home(request: StaffRequest, domain: Domain) -> bool:
    if not _is_own_home(request, domain):
        return False
    notices.error(request, _("Your own account lies in this domain: let somebody else do that."))
    return True


@require_POST
@allowed(Act.SERVE_DOMAINS)
def restore(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk, Act.SERVE_DOMAINS)
    said = _("%(name)s is as it was.") % {"name": found.name}
    attempt(request, lambda: verbs.restore_domain(found, actor=request.staff.actor), said)
    return back("domain", pk)


@require_POST
@allowed(Act.SERVE_DOMAINS)
def quota(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.domain(pk, Act.SERVE_DOMAINS)
    attempt_form(
        request,
        DefaultQuotaForm(request.POST),
        lambda values: verbs.set_default_quota(found, values["default_quota"], actor=request.staff.actor),
        _("A new mailbox has that much room from now on; those that there are keep theirs."),
    )
    return back("domain", pk)


@require_POST
@allowed(Act.ADDRESS)
def catch_all(request: StaffRequest, pk: int) -> HttpResponse:
    """Where mail to addresses that do not exist goes: to an account of the domain."""
    found, login = request.staff.domain(pk, Act.ADDRESS), request.POST.get("to", "").strip()
    names = request.staff.domain_names(Act.ADDRESS)
    if login and names is not None and login.lower().rpartition("@")[2] not in names:
        notices.error(request, _("That account lies in a domain that is not yours."))
        return back("domain", pk)
    said = (
        _("The catch-all is set.") if login else _("There is no catch-all any more. It can be put back here.")
    )
    attempt_form(
        request,
        WhereToForm(request.POST),
        lambda values: aliases.set_catch_all(
            found, values["to"], reason=values["reason"], actor=request.staff.actor
        ),
        said,
    )
    return back("domain", pk)
