"""The owner of a mailbox has read that staff looked into it, or have its mail sent elsewhere as well."""

from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from mailboxes import forward_notices, inspections
from webmail.sessions import SubscriberRequest, for_subscribers


@require_POST
@for_subscribers
def note(request: SubscriberRequest) -> HttpResponse:
    """Those that the page has shown; whatever came since is told on the next one."""
    inspections.note(request.mailbox.pk, _number(request, "newest"))
    forward_notices.note(request.mailbox.pk, _number(request, "newest_forward"))
    wanted = request.POST.get("here", "")
    ours = url_has_allowed_host_and_scheme(wanted, None) and wanted.startswith(reverse("webmail:home"))
    return HttpResponseRedirect(wanted if ours else reverse("webmail:home"))


def _number(request: SubscriberRequest, name: str) -> int:
    text = request.POST.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
