"""Reading: the folders, the list and one message, each state with a URL of its own."""

from django.http import Http404, HttpResponse, HttpResponseNotModified, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from mailboxes.listing import message_of
from mailboxes.models import Message
from webmail import places
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.opened import around_a_letter, letter_html, mark_read, open_in
from webmail.views.panes import Panes, show, wanted_part


@require_safe
@for_subscribers
def home(request: SubscriberRequest) -> HttpResponse:
    return redirect("webmail:folder", "inbox")


@require_safe
@for_subscribers
def folder(request: SubscriberRequest, slug: str) -> HttpResponse:
    panes = Panes.of(request, slug)
    context = panes.list_context() | panes.frame_context()
    template = "webmail/part_list.html" if wanted_part(request) == "list" else "webmail/mail.html"
    return show(request, template, context)


@require_safe
@for_subscribers
def message(request: SubscriberRequest, slug: str, number: int) -> HttpResponse:
    found = own_message(request, number)
    if places.slug_of(found.folder) != slug:
        # It was moved since the link was made.
        return HttpResponseRedirect(places.message_url(places.slug_of(found.folder), number))
    return open_in(request, slug, found)


@require_safe
@for_subscribers
def letter(request: SubscriberRequest, slug: str, number: int) -> HttpResponse:
    """One letter of a conversation, which its reader has unfolded; without scripts the way to its page.

    `at` is the folder, and `row` the message, at which the conversation is open.
    """
    found = own_message(request, number)
    if "HX-Request" not in request.headers:
        return HttpResponseRedirect(places.message_url(places.slug_of(found.folder), number))
    panes = Panes.of(request, request.GET.get("at", slug))
    html = letter_html(request, found, around_a_letter(panes, _row_of(request, found)), alone=True)
    mark_read(request, [found])
    panes = Panes.of(request, panes.slug)  # with the counters as they are now
    context = panes.frame_context() | {"html": html, "message": found}
    return show(request, "webmail/part_letter.html", context)


def _row_of(request: SubscriberRequest, found: Message) -> int:
    """The message that stands for the conversation, as the stack says it in whose midst a letter is shown."""
    text = request.GET.get("row", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else found.pk


def own_message(request: SubscriberRequest, number: int) -> Message:
    """A message of the one who asks. Http404: there is none, or it is another's; which, nobody learns."""
    found = message_of(request.mailbox, number)
    if found is None:
        raise Http404
    return found


@require_safe
@for_subscribers
def version(request: SubscriberRequest) -> HttpResponse:
    """The version of the mailbox; 304 while the one that the browser knows is the last."""
    tag = f'"{request.mailbox.version}"'
    if request.headers.get("If-None-Match") == tag:
        response: HttpResponse = HttpResponseNotModified()
    else:
        response = JsonResponse({"version": request.mailbox.version})
    response.headers["ETag"] = tag
    return response
