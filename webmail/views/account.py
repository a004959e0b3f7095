"""The subscriber's account: room, what mail programs fetched and deleted, language and view."""

from typing import Any

from django.conf import settings
from django.contrib import messages as notices
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from mailboxes.listing import sessions_of
from mailboxes.models import POP3Delete
from mailboxes.preferences import choose_pop3_delete
from mailboxes.quota_warnings import STEPS
from webmail.forms import POP3DeleteForm
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.panes import Panes, show


def in_account(
    request: SubscriberRequest, section: str, context: dict[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    """A page of the account, in the frame that they have in common."""
    frame = Panes.of(request, "inbox").frame_context() | {"page_name": "account", "section": section}
    return show(request, f"webmail/account/{section}.html", frame | (context or {}), status)


@require_safe
@for_subscribers
def account(request: SubscriberRequest) -> HttpResponse:
    mailbox = request.mailbox
    percent = mailbox.used_bytes * 100 // max(1, mailbox.quota_bytes)
    context = {
        "percent": percent,
        "nearly_full": percent >= STEPS[0],
        "full": percent >= STEPS[-1],
        "left": max(0, mailbox.quota_bytes - mailbox.used_bytes),
        "steps": STEPS,
        "trash_days": settings.TRASH_DAYS,
    }
    return in_account(request, "overview", context)


@require_safe
@for_subscribers
def pop3_sessions(request: SubscriberRequest) -> HttpResponse:
    return in_account(request, "sessions", {"sessions": sessions_of(request.mailbox)})


@require_safe
@for_subscribers
def appearance(request: SubscriberRequest) -> HttpResponse:
    return in_account(request, "appearance", {"languages": settings.LANGUAGES})


@require_POST
@for_subscribers
def pop3_delete(request: SubscriberRequest) -> HttpResponse:
    form = POP3DeleteForm(request.POST)
    if form.is_valid():
        choose_pop3_delete(request.mailbox.pk, POP3Delete(form.cleaned_data["pop3_delete"]))
        notices.success(request, _("Your choice is kept; it counts from the next fetch on."))
    return HttpResponseRedirect(reverse("webmail:programs"))
