"""The contents of a mailbox before an operator: for a reason, read-only, over after a quarter of an hour.

Nothing here changes a message: none is marked as read, and there is no form but the one that ends it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate

from django.contrib import messages as notices
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils.http import content_disposition_header
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_POST, require_safe

from hosting import colours
from hosting.console.forms import InspectionForm
from hosting.console.pages import back, here, sentence, show
from hosting.console.permissions import Act, StaffRequest, allowed
from hosting.csp import HEADER
from mailboxes import inspections
from mailboxes.exceptions import ContentMissing, Invalid
from mailboxes.listing import Cursor, folders_of, message_of, page_of
from mailboxes.models import FolderKind, Inspection, Mailbox, Message
from mailboxes.reading import octets_of, parse, part_bytes
from webmail.letters import open_letter
from webmail.views.parts import LETTER_POLICY, SHUT


@require_POST
@allowed(Act.OPEN_CONTENTS)
def begin(request: StaffRequest, pk: int) -> HttpResponse:
    account = request.staff.account_at(pk, Act.OPEN_CONTENTS)
    box: Mailbox | None = getattr(account, "mailbox", None)
    if box is None:
        raise Http404
    form = InspectionForm(request.POST)
    if not form.is_valid():
        notices.error(request, " ".join(str(text) for texts in form.errors.values() for text in texts))
        return back("mailbox", pk)
    try:
        made = inspections.begin(
            box, request.staff.account, form.cleaned_data["reason"], actor=request.staff.actor
        )
    except Invalid as why:
        notices.error(request, sentence(why))
        return back("mailbox", pk)
    return back("inspection", made.key)


Inspect = Callable[Concatenate[StaffRequest, Inspection, ...], HttpResponseBase]


def _while_open(view: Inspect) -> Callable[..., HttpResponseBase]:
    """Only for the operator who began it, and only until it is over."""

    @wraps(view)
    def admitted(request: StaffRequest, key: str, *args: object, **kwargs: object) -> HttpResponseBase:
        found = inspections.find(request.staff.account, key)
        if found is None:
            raise Http404
        if not inspections.is_open(found):
            context = {"page": "accounts", "inspection": found, "account": found.mailbox.account}
            return show(request, "inspection_over.html", context, status=403)
        return view(request, found, *args, **kwargs)

    return admitted


@require_safe
@allowed(Act.OPEN_CONTENTS)
@_while_open
def folder(request: StaffRequest, inspection: Inspection, number: int | None = None) -> HttpResponse:
    """A folder's list; the inbox, unless one is named."""
    box = inspection.mailbox
    folders = folders_of(box)
    found = next(
        (one for one in folders if one.pk == number or (number is None and one.kind == FolderKind.INBOX)),
        None,
    )
    if found is None:
        raise Http404
    page = page_of(found, before=Cursor.read(request.GET.get("before", "")[:60]))
    context = {
        "page": "accounts",
        "account": box.account,
        "inspection": inspection,
        "folders": folders,
        "folder": found,
        "rows": page.messages,
        "older": here(request, before=page.older) if page.older else "",
    }
    return show(request, "inspection.html", context)


@require_safe
@allowed(Act.OPEN_CONTENTS)
@_while_open
def message(request: StaffRequest, inspection: Inspection, number: int) -> HttpResponse:
    found = _message_of(inspection, number)
    letter = open_letter(found)
    inspections.note_opened(inspection, found, actor=request.staff.actor)
    context = {
        "page": "accounts",
        "account": inspection.mailbox.account,
        "inspection": inspection,
        "message": found,
        "letter": letter,
        "as_text": request.GET.get("show") == "text",
    }
    return show(request, "inspection_message.html", context)


@require_safe
@allowed(Act.OPEN_CONTENTS)
@_while_open
@xframe_options_sameorigin
def html(request: StaffRequest, inspection: Inspection, number: int) -> HttpResponseBase:
    """The letter's HTML as a document of its own, for the frame of the page; audited unless that page was."""
    found = _message_of(inspection, number)
    letter = open_letter(found).html
    if letter is None:
        raise Http404
    inspections.note_shown(inspection, found, actor=request.staff.actor)
    body = mark_safe(letter.html)  # noqa: S308  # nh3's result, nobody edits it
    named = {"title": found.subject, "language": letter.language}
    context = {"body": body, "dark": True} | named | colours.for_templates(request)
    response = HttpResponse(render_to_string("webmail/letter_frame.html", context))
    # Nothing remote, whomever the subscriber trusts: the sender would learn that somebody reads.
    return _sealed(response, LETTER_POLICY.format(images="data:"))


@require_safe
@allowed(Act.OPEN_CONTENTS)
@_while_open
def part(request: StaffRequest, inspection: Inspection, number: int, part: str) -> HttpResponseBase:
    """An attachment as a file, of a type that no browser acts upon."""
    found = _message_of(inspection, number)
    try:
        raw = octets_of(found.content_id)
    except ContentMissing:
        raise Http404 from None
    wanted = next((one for one in parse(raw).attachments if one.number == part), None)
    if wanted is None:
        raise Http404
    inspections.note_fetched(inspection, found, wanted.number, actor=request.staff.actor)
    response = HttpResponse(part_bytes(raw, wanted.number), content_type="application/octet-stream")
    response.headers["Content-Disposition"] = (
        content_disposition_header(True, wanted.filename) or "attachment"
    )
    return _sealed(response, SHUT)


@require_POST
@allowed(Act.OPEN_CONTENTS)
@_while_open
def end(request: StaffRequest, inspection: Inspection) -> HttpResponse:
    inspections.end(inspection, actor=request.staff.actor)
    notices.success(request, _("The mailbox is shut again."))
    return back("account", inspection.mailbox.account_id)


def _message_of(inspection: Inspection, number: int) -> Message:
    found = message_of(inspection.mailbox, number)
    if found is None:
        raise Http404
    return found


def _sealed(response: HttpResponse, policy: str) -> HttpResponseBase:
    response.headers[HEADER] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
