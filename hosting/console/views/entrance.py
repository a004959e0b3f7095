"""The front door: who asks for no page begins where they work."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from hosting.console.permissions import STAFF
from webmail.sessions import mailbox_of


@never_cache
@require_safe
def front(request: HttpRequest) -> HttpResponse:
    """Staff begin in the console, subscribers with their mail, and who is not logged in does that first."""
    mailbox = mailbox_of(request)
    if mailbox is None:
        return redirect("login")
    return redirect("console:home" if mailbox.account.role in STAFF else "webmail:home")
