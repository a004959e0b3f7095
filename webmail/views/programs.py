"""Connecting a mail program: told to people, and to the programs that ask by themselves."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from webmail import autoconfiguration
from webmail.autoconfiguration import NotUnderstood
from webmail.connection import incoming, outgoing
from webmail.forms import POP3DeleteForm
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.account import in_account

XML = "text/xml; charset=utf-8"


@require_safe
@for_subscribers
def programs(request: SubscriberRequest) -> HttpResponse:
    context = {
        "incoming": incoming(),
        "outgoing": outgoing(),
        "pop3_form": POP3DeleteForm(initial={"pop3_delete": request.mailbox.pop3_delete}),
        "trash_days": settings.TRASH_DAYS,
        "second_factor": request.mailbox.account.second_factor,
    }
    return in_account(request, "programs", context)


@require_safe
@for_subscribers
def apple_profile(request: SubscriberRequest) -> HttpResponse:
    """Only for whoever is logged in: it names the account."""
    sending, owner = outgoing(), request.mailbox.account
    if sending is None or not request.mailbox.pop3_enabled:
        raise Http404
    profile = autoconfiguration.apple(owner.login, owner.name, incoming(), sending)
    headers = {"Content-Disposition": 'attachment; filename="mail.mobileconfig"'}
    return HttpResponse(profile, content_type="application/x-apple-aspen-config", headers=headers)


@require_safe
@cache_control(public=True, max_age=3600)
def thunderbird(request: HttpRequest) -> HttpResponse:
    sending = outgoing()
    if sending is None:
        raise Http404
    domain = autoconfiguration.domain_of(request.GET.get("emailaddress", ""))
    return HttpResponse(autoconfiguration.thunderbird(domain, incoming(), sending), content_type=XML)


@csrf_exempt  # changes nothing, and Outlook has no page of ours to take a token from
@require_POST
def outlook(request: HttpRequest) -> HttpResponse:
    length = request.META.get("CONTENT_LENGTH") or "0"
    try:
        if not length.isdigit() or int(length) > autoconfiguration.REQUEST_MAX:
            raise NotUnderstood
        address = autoconfiguration.outlook_asks_for(request.body)
    except NotUnderstood:
        answer = autoconfiguration.outlook_error(f"{timezone.now():%H:%M:%S.%f}")
    else:
        answer = autoconfiguration.outlook(address, incoming(), outgoing())
    return HttpResponse(answer, content_type=XML)
