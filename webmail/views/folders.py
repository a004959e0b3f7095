"""One's own folders; and on a phone, the way to all of them."""

from collections.abc import Callable

from django.contrib import messages as notices
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from mailboxes.exceptions import Invalid
from mailboxes.folders import create_folder, remove_folder, rename_folder
from mailboxes.preferences import choose_conversations
from webmail import places
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.panes import Panes, show


@require_http_methods(["GET", "HEAD", "POST"])
@for_subscribers
def folders(request: SubscriberRequest) -> HttpResponse:
    panes = Panes.of(request, "inbox")
    if request.method != "POST":
        return show(request, "webmail/folders.html", panes.frame_context() | {"page_name": "folders"})
    try:
        notices.success(request, _change(request))
    except Invalid as why:
        notices.error(request, f"{str(why)[:1].upper()}{str(why)[1:]}.")
    return HttpResponseRedirect(reverse("webmail:folders"))


def _change(request: SubscriberRequest) -> str:
    mailbox, form = request.mailbox.pk, request.POST
    name, number = form.get("name", ""), form.get("number", "")
    folder = int(number) if number.isascii() and number.isdigit() and len(number) <= 18 else 0
    acts: dict[str, tuple[Callable[[], object], str]] = {
        "create": (lambda: create_folder(mailbox, name), _("The folder is made.")),
        "rename": (lambda: rename_folder(mailbox, folder, name), _("The folder has its new name.")),
        "remove": (lambda: remove_folder(mailbox, folder), _("The folder is gone.")),
    }
    if form.get("act") not in acts:
        raise Invalid(_("there is no such act"))
    perform, said = acts[form["act"]]
    perform()
    return said


@require_POST
@for_subscribers
def conversations(request: SubscriberRequest) -> HttpResponse:
    """Whether lists show a conversation as one row; answers with the list from its beginning, and so closes
    what was open beside a later page."""
    choose_conversations(request.mailbox.pk, request.POST.get("group") == "1")
    request.mailbox.refresh_from_db()
    panes = Panes.of(request, request.POST.get("folder", ""), request.POST)
    if "HX-Request" not in request.headers:
        return HttpResponseRedirect(places.list_url(panes.slug))
    turned = panes.query != ""
    panes = Panes.of(request, panes.slug, QueryDict())
    context = panes.list_context() | panes.frame_context() | {"closes": turned}
    response = show(request, "webmail/part_list.html", context)
    if turned:
        response.headers["HX-Push-Url"] = panes.here
    return response
