"""Long work that a subscriber asks for: taking mail away, bringing it, fetching it; and how far it is."""

from typing import Any

from django.conf import settings
from django.contrib import messages as notices
from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from mailboxes import changes, errands, uploads
from mailboxes.errands import TooMany
from mailboxes.models import Errand, ErrandKind
from mailboxes.sizes import size_text
from webmail import deeds
from webmail.forms import ExportForm, FetchForm, ImportForm
from webmail.progress import PART, progress_context
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.panes import Panes, show

KINDS = [ErrandKind.EXPORT, ErrandKind.IMPORT, ErrandKind.FETCH, ErrandKind.CHANGE]
# What a form has beside its files: field names, boundaries, the folder.
FORM_OCTETS = 64 * 1024


@require_safe
@for_subscribers
def moving(request: SubscriberRequest) -> HttpResponse:
    return _page(request)


def _page(request: SubscriberRequest, status: int = 200, **forms: Any) -> HttpResponse:
    panes = Panes.of(request, "inbox")
    context = panes.frame_context() | {
        "page_name": "account",
        "section": "moving",
        "export_form": ExportForm(panes.folders, prefix="export"),
        "import_form": ImportForm(panes.folders, prefix="import"),
        "fetch_form": FetchForm(prefix="fetch"),
        "errands": errands.of_account(request.mailbox.account, KINDS),
        "export_days": errands.FILE_DAYS,
        "empty": not request.mailbox.message_count,
    }
    return show(request, "webmail/account/moving.html", context | forms, status)


@require_POST
@for_subscribers
def export(request: SubscriberRequest) -> HttpResponse:
    panes = Panes.of(request, "inbox")
    form = ExportForm(panes.folders, request.POST, prefix="export")
    if not form.is_valid():
        return _page(request, 422, export_form=form)
    folder = form.cleaned_data["folder"]
    name = next((one.name for one in panes.folders if one.pk == folder), "")
    return _ask(request, ErrandKind.EXPORT, {"folder": folder, "name": name})


@csrf_exempt
@require_POST
@for_subscribers
def upload(request: SubscriberRequest) -> HttpResponseBase:
    """Refuse what is too large or too much before it is read: looking for the CSRF token would read it all.

    Uploads that come at the same moment all pass here; of those `errands.ask` takes no more than may wait.
    """
    try:
        octets = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        octets = 0
    if octets > settings.IMPORT_SIZE_LIMIT + FORM_OCTETS:
        most = size_text(settings.IMPORT_SIZE_LIMIT)
        why = _("These files have more than %(most)s together. Import them in several parts.")
        return _refused_upload(request, why % {"most": most}, 413)
    try:
        errands.may_ask(ErrandKind.IMPORT, request.mailbox.account, request.mailbox)
    except TooMany as reason:
        return _refused_upload(request, str(reason), 429)
    return _upload(request)


@csrf_protect
def _upload(request: SubscriberRequest) -> HttpResponse:
    folders = Panes.of(request, "inbox").folders
    try:
        form = ImportForm(folders, request.POST, request.FILES, prefix="import")
    except SuspiciousOperation:  # more files than Django takes in one form
        return _refused_upload(request, _("These are too many files at once. Put them into one zip."), 400)
    if not form.is_valid():
        return _page(request, 422, import_form=form)
    chosen = form.cleaned_data
    arguments = {
        "folder": chosen["folder"],
        "seen": chosen["seen"],
        "name": uploads.shown(chosen["files"][0].name),
        "files": len(chosen["files"]),
    }
    file = uploads.together(chosen["files"])
    try:
        return _ask(request, ErrandKind.IMPORT, arguments, file=file)
    finally:
        file.close()


def _refused_upload(request: SubscriberRequest, why: str, status: int) -> HttpResponse:
    # The form is not built from the request, which is not to be read.
    return _page(request, status, refused_upload=why)


@sensitive_post_parameters("fetch-password")
@require_POST
@for_subscribers
def fetch(request: SubscriberRequest) -> HttpResponse:
    form = FetchForm(request.POST, prefix="fetch")
    if not form.is_valid():
        return _page(request, 422, fetch_form=form)
    asked = dict(form.cleaned_data)
    return _ask(request, ErrandKind.FETCH, asked, secret=asked.pop("password"))


def _ask(request: SubscriberRequest, kind: str, arguments: dict[str, Any], **more: Any) -> HttpResponse:
    try:
        errand = errands.ask(kind, request.mailbox.account, request.mailbox, arguments, **more)
    except TooMany as why:
        notices.warning(request, str(why))
        return HttpResponseRedirect(reverse("webmail:moving"))
    return HttpResponseRedirect(reverse("webmail:errand", args=[errand.key]))


def _errand_of(request: SubscriberRequest, key: str) -> Errand:
    errand = errands.find(request.mailbox.account, key, KINDS)
    if errand is None:
        raise Http404
    return errand


@require_safe
@for_subscribers
def errand(request: SubscriberRequest, key: str) -> HttpResponse:
    """How far it is, and what came of it; the part of the page that asks for itself anew, or all of it."""
    found = _errand_of(request, key)
    context = progress_context(
        request,
        found,
        page_url=reverse("webmail:errand", args=[key]),
        cancel_url=reverse("webmail:cancel_errand", args=[key]),
        result_template=f"errands/_{found.kind}.html",
    )
    if found.kind == ErrandKind.CHANGE:
        context |= _change_context(found)
    if context["part"]:
        return render(request, PART, context)
    context |= Panes.of(request, "inbox").frame_context() | {"page_name": "account", "section": "moving"}
    return show(request, "webmail/account/errand.html", context)


def _change_context(found: Errand) -> dict[str, Any]:
    """What an act on many messages has done, and whether it can be undone."""
    asked, count = found.arguments, found.result.get("count", 0)
    change = changes.undoable(found.mailbox_id or 0, found.key) if not found.is_open else None
    return {
        "change_said": deeds.said(asked["verb"], count, asked.get("to_name", "")),
        "undoable": change is not None,
    }


@require_POST
@for_subscribers
def cancel(request: SubscriberRequest, key: str) -> HttpResponse:
    errands.cancel(_errand_of(request, key))
    return HttpResponseRedirect(reverse("webmail:errand", args=[key]))


@require_safe
@for_subscribers
def file(request: SubscriberRequest, key: str) -> HttpResponseBase:
    """Hand out what was made, to whoever asked for it, as a file to keep and nothing else."""
    found = _errand_of(request, key)
    if not found.can_be_fetched:
        raise Http404
    try:
        opened = default_storage.open(found.file)
    except FileNotFoundError:
        raise Http404 from None
    day = timezone.localtime(found.ended_at or found.asked_at)
    name = f"mail-{request.mailbox.account.login.partition('@')[0]}-{day:%Y-%m-%d}.zip"
    return FileResponse(
        opened,
        as_attachment=True,
        filename=name,
        content_type="application/zip",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'"},
    )


@require_POST
@for_subscribers
def forget_file(request: SubscriberRequest, key: str) -> HttpResponse:
    errands.forget_file(_errand_of(request, key))
    notices.success(request, _("The file is removed."))
    return HttpResponseRedirect(reverse("webmail:moving"))
