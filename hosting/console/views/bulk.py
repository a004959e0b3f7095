"""One change to many accounts: which, what and why is shown first, and done when it is confirmed."""

from urllib.parse import urlencode

from django.contrib import messages as notices
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from hosting.console.forms import BULK_ACTS, BulkForm
from hosting.console.pages import sentence, show, tell
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.console.views.accounts import Narrowing
from mailboxes import account_errands, directory
from mailboxes.bulk import CHOSEN_MAX, Bounds, Change, change_all, changeable
from mailboxes.exceptions import Invalid

# More are an errand: a browser waits for none of them longer than for a page.
AT_ONCE_MAX = 50
NAMED_MAX = 20


@require_POST
@allowed(Act.CHANGE)
def bulk(request: StaffRequest) -> HttpResponse:
    narrowing = Narrowing.read(request, request.POST)
    chosen, bounds = _chosen(request, narrowing), _bounds(request)
    if len(chosen) > CHOSEN_MAX:
        text = _("More than %(most)d accounts match: narrow the list first.")
        notices.error(request, text % {"most": CHOSEN_MAX})
        return _to_list(narrowing)
    found = changeable(chosen, bounds)
    if not found:
        notices.error(request, _("Choose accounts first, such as you may change."))
        return _to_list(narrowing)
    form = BulkForm(request.POST if "confirmed" in request.POST else None, initial=request.POST.dict())
    if form.is_bound and form.is_valid():
        if request.POST.get("confirmed") == str(len(found)):
            return _do(request, narrowing, [pk for pk, _login in found], form, bounds)
        notices.warning(request, _("Meanwhile it is other accounts that match: look again."))
    act = request.POST.get("act", "")
    context = {
        "page": "accounts",
        "form": form,
        "act": act,
        "act_text": dict(BULK_ACTS).get(act, ""),
        "count": len(found),
        "named": [login for _pk, login in found[:NAMED_MAX]],
        "more": len(found) - NAMED_MAX if len(found) > NAMED_MAX else 0,
        "left": len(chosen) - len(found),
        "chosen": [] if request.POST.get("which") == "all" else [pk for pk, _login in found],
        "which": request.POST.get("which", ""),
        "narrowing": narrowing,
        "list_url": _list_url(narrowing),
    }
    return show(request, "bulk.html", context, status=422 if form.is_bound else 200)


def _chosen(request: StaffRequest, narrowing: Narrowing) -> list[int]:
    """The accounts that were ticked, or all that the list would show, one more than may be."""
    if request.POST.get("which") == "all":
        return directory.matching(
            request.staff.scope(Act.CHANGE),
            domain=narrowing.domain,
            prefix=narrowing.prefix,
            status=narrowing.status,
            most=CHOSEN_MAX,
        )
    ticked = request.POST.getlist("account")[: CHOSEN_MAX + 1]
    return [int(one) for one in ticked if one.isascii() and one.isdigit() and len(one) <= 18]


def _bounds(request: StaffRequest) -> Bounds:
    scope = request.staff.scope(Act.CHANGE)
    return Bounds(
        but=request.staff.account.pk,
        domains=None if scope is None else sorted(scope),
        staff=request.staff.may(Act.MANAGE_STAFF),
        quota_bounded=not request.staff.may(Act.SERVE_DOMAINS),
    )


def _do(
    request: StaffRequest, narrowing: Narrowing, chosen: list[int], form: BulkForm, bounds: Bounds
) -> HttpResponse:
    values = form.cleaned_data
    change = Change(values["act"], values["reason"], values["quota"] or 0)
    if len(chosen) > AT_ONCE_MAX:
        try:
            errand = account_errands.ask_for_change(
                request.staff.account, chosen, change, bounds, request.staff.peer
            )
        except Invalid as why:
            notices.error(request, sentence(why))
            return _to_list(narrowing)
        return HttpResponseRedirect(reverse("console:errand", args=[errand.key]))
    tell(request, change_all(chosen, change, bounds, actor=request.staff.actor))
    return _to_list(narrowing)


def _list_url(narrowing: Narrowing) -> str:
    query = urlencode(narrowing.query)
    return reverse("console:accounts") + (f"?{query}" if query else "")


def _to_list(narrowing: Narrowing) -> HttpResponse:
    return HttpResponseRedirect(_list_url(narrowing))
