"""Leaving a mailing list: by one click where RFC 8058 allows, else by what the sender offers."""

import logging
import time
from urllib.parse import parse_qs, quote, unquote

from django.conf import settings
from django.contrib import messages as notices
from django.core.cache import cache
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from mailboxes.exceptions import ContentMissing
from mailboxes.models import Message
from mailboxes.reading import Unsubscribe, octets_of, parse
from mailboxes.reading.links import host_of
from webmail import places, remote_images
from webmail.outside import Refused, Unanswered
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.mail import own_message
from webmail.views.panes import Panes, show

log = logging.getLogger(__name__)

# RFC 8058 section 3.2: this body and no other; as a form, which all that send such fields understand.
BODY = b"List-Unsubscribe=One-Click"
CONTENT_TYPE = "application/x-www-form-urlencoded"
# More lists than anybody leaves in an hour by hand.
MAX_AN_HOUR = 60


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
def unsubscribe(request: SubscriberRequest, slug: str, number: int) -> HttpResponse:
    """Says what will be done and asks; then does it, and says what came of it."""
    message = own_message(request, number)
    ways = _ways(message)
    fault = ""
    if request.method == "POST":
        if not ways.one_click or ways.https_url is None or not settings.REMOTE_IMAGES:
            raise Http404
        fault = _asked(message.mailbox_id, ways.https_url)
        if not fault:
            said = _("{host} has taken it. A message or two may still be on their way.")
            notices.success(request, said.format(host=host_of(ways.https_url)))
            return HttpResponseRedirect(places.message_in_list(slug, number, request.GET))
    context = Panes.of(request, slug).frame_context() | {
        "page_name": "unsubscribe",
        "message": message,
        "message_url": places.message_in_list(slug, number, request.GET),
        "ways": ways,
        "host": host_of(ways.https_url or ""),
        "write_to": _write_to(ways.mailto or ""),
        "fault": fault,
        "remote_images": settings.REMOTE_IMAGES,
    }
    return show(request, "webmail/unsubscribe.html", context, 502 if fault else 200)


def _ways(message: Message) -> Unsubscribe:
    try:
        mail = parse(octets_of(message.content_id), authserv_id=settings.HOSTNAME)
    except ContentMissing:
        raise Http404 from None
    if mail.list_unsubscribe is None:
        raise Http404
    return mail.list_unsubscribe


def _asked(mailbox: int, url: str) -> str:
    """Asks the sender's server; "": it has taken it, else what to tell the reader."""
    counter = f"unsubscribed:{mailbox}:{int(time.time()) // 3600}"
    asked = int(cache.get(counter, 0))
    if asked >= MAX_AN_HOUR:
        return _("You have left many lists in this hour. Please go on later.")
    cache.set(counter, asked + 1, 3600)
    try:
        # RFC 8058 section 3.1: the server must not redirect; where it does, nobody has said that it is done.
        status = remote_images.outside.post(url, BODY, CONTENT_TYPE).status
    except (Refused, Unanswered) as error:
        log.info("unsubscribe outcome=failed mailbox=%d host=%s reason=%s", mailbox, _logged(url), error)
        return _("{host} could not be reached.").format(host=host_of(url))
    log.info("unsubscribe outcome=%d mailbox=%d host=%s", status, mailbox, _logged(url))
    if 200 <= status < 300:
        return ""
    return _("{host} did not take it (it answered {status}).").format(host=host_of(url), status=status)


def _logged(url: str) -> str:
    """The host, in which the sender may have written the end of a line."""
    return quote(host_of(url), safe="[]:")


def _write_to(mailto: str) -> dict[str, str]:
    """The address of a mailto URI, with the subject and text that it asks for (RFC 6068)."""
    address, _mark, query = mailto[len("mailto:") :].partition("?")
    # RFC 6068 section 5: a plus is a plus.
    asked = {name.lower(): values[0] for name, values in parse_qs(query.replace("+", "%2B")).items()}
    return {"address": unquote(address), "subject": asked.get("subject", ""), "text": asked.get("body", "")}
