"""Long work of staff: how far it is, its end, and the passwords that it made, once."""

from django.contrib import messages as notices
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from hosting.console.pages import back, show
from hosting.console.permissions import Act, StaffRequest, allowed
from mailboxes import account_errands, errands
from mailboxes.models import Errand, ErrandKind
from mailboxes.secrets_at_rest import Unreadable
from webmail.progress import PART, progress_context

# An administrator and an operator have all three; whose it is decides.
ASKED_BY = Act.OPEN


def _errand(request: StaffRequest, key: str) -> Errand:
    found = errands.find(request.staff.account, key, account_errands.KINDS)
    if found is None:
        raise Http404
    return found


@require_safe
@allowed(ASKED_BY)
def errand(request: StaffRequest, key: str) -> HttpResponse:
    found = _errand(request, key)
    context = progress_context(
        request,
        found,
        page_url=reverse("console:errand", args=[key]),
        cancel_url=reverse("console:cancel_errand", args=[key]),
        result_template="console/errand_result.html",
    )
    context["page"] = "addresses" if found.kind == ErrandKind.ALIASES else "accounts"
    if context["part"]:
        return show(request, PART, context)
    return show(request, "errand.html", context)


@require_POST
@allowed(ASKED_BY)
def cancel(request: StaffRequest, key: str) -> HttpResponse:
    errands.cancel(_errand(request, key))
    return back("errand", key)


@sensitive_variables("text")
@require_POST
@allowed(ASKED_BY)
def passwords(request: StaffRequest, key: str) -> HttpResponse:
    """The file, which is gone with this."""
    found = _errand(request, key)
    try:
        text = account_errands.take_passwords(found)
    except Unreadable:
        text = None
    if text is None:
        notices.error(
            request, _("The passwords were fetched before, or their time is over. Reset them one by one.")
        )
        return back("errand", key)
    headers = {"Content-Disposition": 'attachment; filename="passwords.csv"'}
    return HttpResponse(text, content_type="text/csv; charset=utf-8", headers=headers)
