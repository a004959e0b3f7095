"""Addresses: whatever can be written to, and what it reaches."""

from collections.abc import Sequence

from django.contrib import messages as notices
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosting.console.forms import BULK_ACTS, AddressBulkForm, AddressForm, ReachesForm, ReasonForm
from hosting.console.pages import (
    asked_domain,
    attempt,
    attempt_form,
    back_to_list,
    here,
    list_way,
    own_domains,
    prefix_in,
    prefix_of,
    sentence,
    show,
    show_form,
    tell,
)
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.console.views.acts import judge_name
from mailboxes import aliases, directory
from mailboxes.addresses import normalise
from mailboxes.bulk import change_addresses, changeable_addresses
from mailboxes.exceptions import Invalid
from mailboxes.models import Domain

# More than a page has.
CHOSEN_MAX = 200


@require_safe
@allowed(Act.LOOK_UP)
def addresses(request: StaffRequest) -> HttpResponse:
    prefix, after, scope = prefix_of(request), prefix_of(request, "after"), request.staff.scope()
    domain = asked_domain(request, request.GET)
    page = directory.addresses(scope, domain=domain, prefix=prefix, after=after)
    context = {
        "page": "addresses",
        "rows": page.rows,
        "prefix": prefix,
        "domain": domain,
        "own": own_domains(request),
        "acts": BULK_ACTS[:3],
        "older": here(request, after=page.next) if page.next else "",
    }
    return show(request, "addresses.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.ADDRESS)
def create(request: StaffRequest) -> HttpResponse:
    form = AddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, reaches = form.cleaned_data["name"], form.cleaned_data["reaches"]
        try:
            _judge(request, name, reaches)
            made = aliases.create_address(name, reaches, actor=request.staff.actor)
        except Invalid as why:
            form.add_error(None, sentence(why))
        else:
            notices.success(request, _("%(name)s is an address from now on.") % {"name": made.name})
            return back_to_list(request, "addresses", q=made.name)
    return show_form(request, "addresses", form, _("A new alias, list or forward"), _("Make the address"))


@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.ADDRESS)
def change(request: StaffRequest, pk: int) -> HttpResponse:
    """What an address reaches: who joins or leaves a list."""
    found = request.staff.address(pk)
    reached = aliases.reached_by(found)
    form = ReachesForm(request.POST or None, initial={"reaches": "\n".join(reached)})
    if request.method == "POST" and form.is_valid():
        reaches = form.cleaned_data["reaches"]
        try:
            _judge(request, found.name, [one for one in reaches if normalise(one) not in reached])
            aliases.change_address(found, reaches, actor=request.staff.actor)
        except Invalid as why:
            form.add_error(None, sentence(why))
        else:
            notices.success(request, _("What %(name)s reaches is changed.") % {"name": found.name})
            return back_to_list(request, "addresses", q=found.name)
    title = _("What %(name)s reaches") % {"name": found.name}
    return show_form(request, "addresses", form, title, _("Change"))


def _judge(request: StaffRequest, name: str, reaches: Sequence[str]) -> None:
    """A domain administrator's address lies in an own domain, and reaches own accounts or such elsewhere."""
    judge_name(request, name)
    own = request.staff.domain_names(Act.ADDRESS)
    if own is None:
        return
    domains = {normalise(one).rpartition("@")[2] for one in reaches}
    foreign = set(Domain.objects.filter(name__in=domains).values_list("name", flat=True)) - own
    if foreign:
        raise Invalid(_("the domain %(domain)s is not yours") % {"domain": min(foreign)})


@require_POST
@allowed(Act.ADDRESS)
def bulk(request: StaffRequest) -> HttpResponse:
    """One change to the chosen ones: which, what and why is shown first, and done when it is confirmed."""
    scope, way = request.staff.scope(Act.ADDRESS), list_way(request, "addresses", prefix_in(request.POST))
    ticked = [one for one in request.POST.getlist("address") if one.isascii() and one.isdigit()]
    found = changeable_addresses([int(one) for one in ticked[:CHOSEN_MAX] if len(one) <= 18], scope)
    if not found:
        notices.error(request, _("Choose aliases, lists or forwards first, such as you may change."))
        return HttpResponseRedirect(way)
    form = AddressBulkForm(request.POST if "confirmed" in request.POST else None, initial=request.POST.dict())
    if form.is_bound and form.is_valid():
        values = form.cleaned_data
        tell(request, change_addresses(found, values["act"], values["reason"], actor=request.staff.actor))
        return HttpResponseRedirect(way)
    act = request.POST.get("act", "")
    context = {
        "page": "addresses",
        "form": form,
        "act": act,
        "act_text": dict(BULK_ACTS).get(act, ""),
        "chosen": found,
        "prefix": prefix_in(request.POST),
        "domain": request.POST.get("domain", ""),
        "list_url": way,
    }
    return show(request, "address_bulk.html", context, status=422 if form.is_bound else 200)


@require_POST
@allowed(Act.ADDRESS)
def suspend(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.address(pk)
    said = _("%(name)s is suspended: senders are told to try again later.") % {"name": found.name}
    attempt_form(
        request,
        ReasonForm(request.POST),
        lambda values: aliases.suspend_address(found, values["reason"], actor=request.staff.actor),
        said,
    )
    return back_to_list(request, "addresses", q=found.name)


@require_POST
@allowed(Act.ADDRESS)
def close(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.address(pk)
    said = _("%(name)s is closed; until it is removed it can be restored here.") % {"name": found.name}
    attempt_form(
        request,
        ReasonForm(request.POST),
        lambda values: aliases.close_address(found, values["reason"], actor=request.staff.actor),
        said,
    )
    return back_to_list(request, "addresses", q=found.name)


@require_POST
@allowed(Act.ADDRESS)
def restore(request: StaffRequest, pk: int) -> HttpResponse:
    found = request.staff.address(pk)
    said = _("%(name)s reaches again what it reached.") % {"name": found.name}
    attempt(request, lambda: aliases.restore_address(found, actor=request.staff.actor), said)
    return back_to_list(request, "addresses", q=found.name)
