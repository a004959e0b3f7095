"""A mailbox as staff may see it: folders, sizes, headers, and what was deleted. No contents."""

from datetime import timedelta

from django.contrib import messages as notices
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from hosting.console.forms import SinceForm
from hosting.console.pages import back, here, show
from hosting.console.permissions import Act, StaffRequest, allowed
from mailboxes import inspections, restoring, whereabouts
from mailboxes.listing import Cursor, folders_of, page_of
from mailboxes.models import Account, FolderKind, Mailbox, POP3Session

# More than a page has; who wants more restores a session, or since a moment.
CHOSEN_MAX = 200


def _mailbox_of(account: Account) -> Mailbox:
    box: Mailbox | None = getattr(account, "mailbox", None)
    if box is None:
        raise Http404
    return box


@require_safe
@allowed(Act.SEE_FOLDERS)
def mailbox(request: StaffRequest, pk: int) -> HttpResponse:
    """The trash first, which is what people call about."""
    account = request.staff.account_at(pk, Act.SEE_FOLDERS)
    trash = next((one for one in folders_of(_mailbox_of(account)) if one.kind == FolderKind.TRASH), None)
    if trash is None:
        raise Http404
    return _folder(request, account, trash.pk)


@require_safe
@allowed(Act.SEE_FOLDERS)
def folder(request: StaffRequest, pk: int, number: int) -> HttpResponse:
    return _folder(request, request.staff.account_at(pk, Act.SEE_FOLDERS), number)


def _folder(request: StaffRequest, account: Account, number: int) -> HttpResponse:
    box = _mailbox_of(account)
    folders = folders_of(box)
    found = next((one for one in folders if one.pk == number), None)
    if found is None:
        raise Http404
    page = page_of(found, before=Cursor.read(request.GET.get("before", "")[:60]))
    removers = whereabouts.removers(account, box, page.messages)
    context = {
        "page": "accounts",
        "account": account,
        "box": box,
        "folders": folders,
        "folder": found,
        "rows": [(message, removers.get(message.removed_in_session)) for message in page.messages],
        "sessions": [(session, isinstance(session, POP3Session)) for session in removers.values()],
        "deleted_here": found.kind == FolderKind.TRASH or bool(removers),
        "yesterday": timezone.localtime() - timedelta(days=1),
        "may_change": request.staff.may_change(account),
        "minutes": inspections.FOR.seconds // 60,
        "reason_min": inspections.REASON_MIN,
        "older": here(request, before=page.older) if page.older else "",
    }
    return show(request, "mailbox.html", context)


@require_POST
@allowed(Act.RESTORE_MAIL)
def restore(request: StaffRequest, pk: int) -> HttpResponse:
    """Put back chosen messages, what one session deleted, or all that was since a moment; then to the
    mailbox, or to the account's page if that asked."""
    account, actor = request.staff.account_at(pk, Act.RESTORE_MAIL), request.staff.actor
    _mailbox_of(account)
    page = "account" if request.POST.get("page") == "account" else "mailbox"
    what = request.POST.get("what", "")
    if what == "since":
        form = SinceForm(request.POST)
        if not form.is_valid():
            notices.error(request, _("Say since when, as 2026-11-23 10:00."))
            return back("mailbox", pk)
        count = restoring.restore_since(account, form.cleaned_data["since"], actor=actor)
    elif what == "session":
        session = request.POST.get("session", "")[:32]
        # PostgreSQL refuses a NUL, in a question too.
        count = restoring.restore_session(account, session if session.isprintable() else "", actor=actor)
    else:
        chosen = request.POST.getlist("message")[:CHOSEN_MAX]
        numbers = [int(one) for one in chosen if one.isascii() and one.isdigit() and len(one) <= 18]
        count = restoring.restore_messages(account, numbers, actor=actor)
    if count:
        text = ngettext(
            "%(n)d message is back where it lay.", "%(n)d messages are back where they lay.", count
        )
        notices.success(request, text % {"n": count})
    else:
        notices.warning(request, _("There was nothing to be put back."))
    return back(page, pk)
