"""Accounts and addresses as lists: brought in after a look at every line, and taken out."""

from collections.abc import Callable, Iterator, Sequence

from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from hosting.console.forms import RosterForm
from hosting.console.pages import sentence, show
from hosting.console.permissions import Act, StaffRequest, allowed
from mailboxes import account_errands, alias_roster, errands, roster
from mailboxes.exceptions import Invalid
from mailboxes.models import Domain, Errand
from mailboxes.tables import csv_line

ERRANDS_SHOWN = 5
Rows = Iterator[Sequence[object]]


@sensitive_post_parameters("text")
@sensitive_variables("text", "read")
@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.OPEN)
def accounts(request: StaffRequest) -> HttpResponse:
    names = request.staff.domain_names(Act.OPEN)
    bounded = not request.staff.may(Act.SERVE_DOMAINS)
    return _bring(
        request,
        "import_accounts.html",
        {"page": "accounts", "columns": roster.COLUMNS, "most": roster.LINES_MAX},
        lambda text: roster.read_roster(text, names, bounded=bounded),
        lambda text: account_errands.ask_for_accounts(
            request.staff.account, text, _listed(names), bounded, request.staff.peer
        ),
    )


@sensitive_variables("text", "read")
@require_http_methods(["GET", "HEAD", "POST"])
@allowed(Act.ADDRESS)
def addresses(request: StaffRequest) -> HttpResponse:
    names = request.staff.domain_names(Act.ADDRESS)
    context = {"page": "addresses", "columns": alias_roster.COLUMNS, "most": alias_roster.LINES_MAX}
    return _bring(
        request,
        "import_addresses.html",
        context,
        lambda text: alias_roster.read_aliases(text, names),
        lambda text: account_errands.ask_for_aliases(
            request.staff.account, text, _listed(names), request.staff.peer
        ),
    )


def _listed(names: set[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


@sensitive_variables("text", "read")
def _bring(
    request: StaffRequest,
    template: str,
    context: dict[str, object],
    judge: "Callable[[str], roster.Roster | alias_roster.AliasRoster]",
    ask: Callable[[str], Errand],
) -> HttpResponse:
    """First each line is judged and nothing changed; then, confirmed, all of it is done or nothing."""
    form = RosterForm(request.POST or None, request.FILES or None)
    context |= {"form": form, "errands": _last(request)}
    if request.method != "POST" or not form.is_valid():
        return show(request, template, context, status=422 if form.is_bound else 200)
    text = form.cleaned_data["text"]
    read = judge(text)
    if not read.problems and not read.lines:
        form.add_error(None, _("There is no line below the heading."))
        return show(request, template, context, status=422)
    context |= {"judged": read, "problems": read.problems, "text": text}
    if read.problems or request.POST.get("confirmed") != "1":
        return show(request, template, context, status=422 if read.problems else 200)
    try:
        errand = ask(text)
    except Invalid as why:
        form.add_error(None, sentence(why))
        return show(request, template, context | {"judged": None}, status=422)
    return HttpResponseRedirect(reverse("console:errand", args=[errand.key]))


def _last(request: StaffRequest) -> list[Errand]:
    return errands.of_account(request.staff.account, account_errands.KINDS, ERRANDS_SHOWN)


@require_safe
@allowed(Act.OPEN)
def export_accounts(request: StaffRequest) -> StreamingHttpResponse:
    return _export("accounts.csv", roster.export_rows(request.staff.scope(Act.OPEN), _domain(request)))


@require_safe
@allowed(Act.ADDRESS)
def export_addresses(request: StaffRequest) -> StreamingHttpResponse:
    rows = alias_roster.export_rows(request.staff.scope(Act.ADDRESS), _domain(request))
    return _export("addresses.csv", rows)


def _domain(request: StaffRequest) -> Domain | None:
    """Only of one domain, where the list was of one; a name that is not served is a list of nothing."""
    name = request.GET.get("domain", "").lower()[:255]
    found = Domain.objects.filter(name=name).first() if name.isprintable() else None
    return (found or Domain(pk=0, name=name)) if name else None  # without a key, nothing could be looked for


def _export(name: str, rows: Rows) -> StreamingHttpResponse:
    """Read page by page while it is sent."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    lines = (csv_line(row) for row in rows)
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)
