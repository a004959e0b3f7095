"""Remote images: shown when the reader asks, fetched by us, and the senders of whom they always are."""

from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages as notices
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from hosting.csp import HEADER
from mailboxes import trusted_senders
from mailboxes.exceptions import ContentMissing
from mailboxes.models import Message, Status
from mailboxes.reading import octets_of, parse
from webmail import places
from webmail.outside import Refused, Unanswered
from webmail.pictures import picture_type
from webmail.remote_images import NoRoom, confirmed_sender, fetch, is_image_of, show_token
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.mail import own_message
from webmail.views.panes import Panes, show

KEPT_BY_THE_BROWSER = "private, max-age=3600"


@require_safe
def image(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """An image that a letter names, as we have fetched it.

    The frame that shows it is sandboxed: it is of no origin, so no cookie comes with its requests, and what
    stands for one is the signature, which we have written for this mailbox, message and URL.
    """
    message = Message.objects.filter(
        pk=number, mailbox__webmail_enabled=True, mailbox__account__status=Status.ACTIVE
    ).first()
    url, signed = request.GET.get("u", ""), request.GET.get("s", "")
    if message is None or not settings.REMOTE_IMAGES or not is_image_of(message, url, signed):
        raise Http404
    try:
        octets = fetch(message.mailbox_id, url)
    except Refused:
        return _sealed(HttpResponse(status=404), "no-store")
    except Unanswered:
        return _sealed(HttpResponse(status=504), "no-store")
    except NoRoom:
        return _sealed(HttpResponse(status=503, headers={"Retry-After": "10"}), "no-store")
    return _sealed(HttpResponse(octets, content_type=picture_type(octets)), KEPT_BY_THE_BROWSER)


def _sealed(response: HttpResponse, kept: str) -> HttpResponse:
    headers = {
        "Cache-Control": kept,
        HEADER: "sandbox; default-src 'none'; frame-ancestors 'none'",
        # Not same-origin: that would keep it from the letter's frame, which has no origin.
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    for name, value in headers.items():
        response.headers[name] = value
    return response


@require_POST
@for_subscribers
def show_images(request: SubscriberRequest, slug: str, number: int) -> HttpResponse:
    """Show the letter with its images: this once, or whatever else comes from this sender too."""
    message = own_message(request, number)
    part = request.POST.get("part", "")
    if "/" in part:
        raise Http404
    if request.POST.get("show") == "always" and not part:
        _trust_sender_of(request, message)
    token = show_token(message)
    if part:
        query = urlencode({"images": token} | places.list_fields(request.POST))
        return HttpResponseRedirect(f"{reverse('webmail:inside', args=[slug, number, part])}?{query}")
    return HttpResponseRedirect(places.message_in_list(slug, number, request.POST, images=token))


def _trust_sender_of(request: SubscriberRequest, message: Message) -> None:
    try:
        mail = parse(octets_of(message.content_id), authserv_id=settings.HOSTNAME)
    except ContentMissing:
        raise Http404 from None
    sender = confirmed_sender(mail)
    if not sender:
        notices.error(request, _("Nobody confirms who sent this message, so its sender was not remembered."))
    elif not trusted_senders.trust(message.mailbox_id, sender):
        notices.error(request, _("Your list of senders is full. Take one back first."))


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
def senders(request: SubscriberRequest) -> HttpResponse:
    """Whose images are always shown; each can be taken back."""
    if request.method == "POST":
        number = request.POST.get("sender", "")
        known = number.isascii() and number.isdecimal() and len(number) <= 18
        if known and (address := trusted_senders.distrust(request.mailbox.pk, int(number))):
            notices.success(request, _("Images of {sender} are shown on request.").format(sender=address))
        return HttpResponseRedirect(reverse("webmail:senders"))
    context = Panes.of(request, "inbox").frame_context() | {
        "page_name": "account",
        "senders": trusted_senders.trusted_by(request.mailbox.pk),
        "remote_images": settings.REMOTE_IMAGES,
    }
    return show(request, "webmail/senders.html", context)
