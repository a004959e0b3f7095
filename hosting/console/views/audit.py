"""The audit, to be searched and taken along."""

import json
from collections.abc import Iterator
from datetime import datetime, time, timedelta

from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from hosting.console.forms import AuditForm
from hosting.console.pages import here, show
from hosting.console.permissions import Act, StaffRequest, allowed
from mailboxes.audit import Search, page_of
from mailboxes.models import AuditEntry
from mailboxes.tables import csv_line

HEADING = ("at", "actor", "from", "verb", "subject", "before", "after", "reason")


@require_safe
@allowed(Act.READ_AUDIT)
def audit(request: StaffRequest) -> HttpResponse:
    form = AuditForm(request.GET)
    text = request.GET.get("before", "")
    before = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    entries, older = page_of(_search(request, form), before)
    context = {
        "page": "audit",
        "form": form,
        "entries": entries,
        "older": here(request, before=older) if older else "",
        "found": here(request, before=""),
    }
    return show(request, "audit.html", context)


def _search(request: StaffRequest, form: AuditForm) -> Search:
    """What the form says, and never more than the reader's own domains."""
    values = form.cleaned_data if form.is_valid() else {}
    since, until = values.get("since"), values.get("until")
    return Search(
        subject=values.get("subject", "").lower(),
        actor=values.get("actor", "").lower(),
        since=timezone.make_aware(datetime.combine(since, time.min)) if since else None,
        until=timezone.make_aware(datetime.combine(until + timedelta(days=1), time.min)) if until else None,
        domains=request.staff.domain_names(Act.READ_AUDIT),
    )


@require_safe
@allowed(Act.READ_AUDIT)
def export(request: StaffRequest) -> StreamingHttpResponse:
    """All that was found, as CSV, read page by page while it is sent."""
    lines = _lines(_search(request, AuditForm(request.GET)))
    headers = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def _lines(search: Search) -> Iterator[str]:
    yield csv_line(HEADING)
    before: int | None = None
    while True:
        entries, before = page_of(search, before)
        yield from (csv_line(_row(entry)) for entry in entries)
        if before is None:
            return


def _row(entry: AuditEntry) -> tuple[object, ...]:
    changed = [json.dumps(facts, ensure_ascii=False) for facts in (entry.before, entry.after)]
    at = entry.at.isoformat(timespec="seconds")
    return (at, entry.actor, entry.peer, entry.verb, entry.subject, *changed, entry.reason)
