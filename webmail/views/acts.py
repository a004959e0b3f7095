"""Keeping: what a subscriber does to messages, and takes back; on more than he waits for, as an errand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages as notices
from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from mailboxes import change_errands, changes, conversations, errands
from mailboxes.change_errands import FLAGS
from mailboxes.errands import TooMany
from mailboxes.listing import ACT_MAX, all_in, newest_in
from mailboxes.messages import expunge
from mailboxes.models import Change, Errand, ErrandKind, Folder, FolderKind, Message
from webmail import deeds, places
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.panes import TEMPORARY, Panes, show
from webmail.views.redrawn import redrawn, still_open
from webmail.views.search import SLUG, Results

MOVES = {"archive": FolderKind.ARCHIVE, "junk": FolderKind.JUNK, "trash": FolderKind.TRASH}
# Explicit choices are made on one page; more than some pages' worth is no form of ours.
CHOSEN_MAX = 1_000
# A page of conversations, each as long as one may be, has fewer.
WHOLE_MAX = 100_000


@require_POST
@for_subscribers
def act(request: SubscriberRequest) -> HttpResponse:
    """One act on the chosen messages, or on all of the list; answers with the list as it is then."""
    panes = _panes_of(request)
    verb, chosen = _asked(request.POST, panes)
    if verb == "expunge" and "sure" not in request.POST and isinstance(panes, Panes):
        return _confirm(panes, chosen)
    perform = _performer(panes, verb)
    if perform is None:
        return HttpResponseBadRequest(_("There is no such act."))
    if isinstance(chosen, Everything):
        return _ask(request, panes, verb, chosen)
    if verb != "restore_session" and not chosen:
        notices.warning(request, _("Choose some messages first."))
    else:
        _tell(request, verb, perform(chosen), panes)
    return _answer(request, shuts=verb == "unseen", chosen=chosen)


def _panes_of(request: SubscriberRequest) -> Panes | Results:
    slug = request.POST.get("folder", "")
    return Results.of(request, request.POST) if slug == SLUG else Panes.of(request, slug, request.POST)


def _asked(form: QueryDict, panes: Panes | Results) -> tuple[str, "list[int] | Everything"]:
    """The act and its messages: a button beside one message names both, another one means those chosen.

    Where conversations are one row, all of it that lies in the folder; only a star marks the one message.
    """
    single, _colon, number = form.get("one", "").partition(":")
    verb = single or form.get("act", "")
    if verb == "restore_session":
        return verb, _of_session(panes, _session(form))
    if isinstance(panes, Results):
        if not single and form.get("all"):
            return verb, _all_found(panes, form.get("all", ""))
        return verb, _numbers([number] if single else form.getlist("message")[:CHOSEN_MAX])
    newest = _numbers([form.get("all", "")])
    if newest and not single:
        return verb, _all_of_folder(panes, newest[0])
    chosen = _numbers([number] if single else form.getlist("message")[:CHOSEN_MAX])
    if "grouped" in form and verb != "star":
        chosen = conversations.whole(panes.folder, chosen, WHOLE_MAX)
    return verb, chosen


@dataclass(frozen=True, slots=True)
class Everything:
    """More messages than anybody waits for: `arguments` say to a worker which, `of` says it to people."""

    arguments: dict[str, Any]
    of: str


def _all_of_folder(panes: Panes, newest: int) -> list[int] | Everything:
    chosen = list(all_in(panes.folder, newest)[: ACT_MAX + 1])
    if len(chosen) <= ACT_MAX:
        return chosen
    of = _("all in %(folder)s") % {"folder": panes.folder.title}
    return Everything({"within": panes.folder.pk, "newest": newest}, of)


def _all_found(panes: Results, until: str) -> list[int] | Everything:
    found = panes.everything(until, ACT_MAX)
    if not (found.more or found.timed_out):
        return found.messages
    within = panes.within.pk if panes.within else None
    of = _("all that match “%(query)s”") % {"query": panes.text}
    return Everything({"query": panes.text, "before": until, "within": within}, of)


def _session(form: QueryDict) -> str:
    """The name of a session, or '' for what is none: PostgreSQL refuses a NUL, in a question too."""
    text = form.get("session", "")[:32]
    return text if text.isprintable() else ""


def _of_session(panes: Panes | Results, session: str) -> list[int] | Everything:
    box = panes.request.mailbox
    found = Message.objects.filter(mailbox=box, removed_in_session=session)
    if not session or len(found.values_list("pk", flat=True)[: ACT_MAX + 1]) <= ACT_MAX:
        return []
    return Everything({"session": session}, _("what your mail program deleted"))


def _ask(request: SubscriberRequest, panes: Panes | Results, verb: str, what: Everything) -> HttpResponse:
    """Let a worker do it, and show how far it is."""
    to = _target(panes, verb)
    arguments = what.arguments | {
        "verb": verb,
        "to": to.pk if to else None,
        "to_name": to.title if to else "",
        "title": deeds.title(verb, what.of, to.title if to else ""),
        "browser": request.web_session.session,
    }
    box = request.mailbox
    try:
        return _watch(request, errands.ask(ErrandKind.CHANGE, box.account, box, arguments))
    except TooMany as why:
        notices.warning(request, str(why))
        return _answer(request)


def _watch(request: SubscriberRequest, errand: Errand) -> HttpResponse:
    url = reverse("webmail:errand", args=[errand.key])
    if "HX-Request" in request.headers:
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def _target(panes: Panes | Results, verb: str) -> Folder | None:
    if verb in MOVES:
        return next(folder for folder in panes.folders if folder.kind == MOVES[verb])
    return places.find(panes.folders, panes.request.POST.get("to", "")) if verb == "move" else None


def _numbers(texts: list[str]) -> list[int]:
    return [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 18]


def _performer(panes: Panes | Results, verb: str) -> Callable[[list[int]], Change | int | None] | None:
    mailbox, form = panes.request.mailbox.pk, panes.request.POST
    if verb in FLAGS:
        return lambda chosen: changes.flag(mailbox, chosen, *FLAGS[verb])
    if (to := _target(panes, verb)) is not None:
        browser = panes.request.web_session.session
        return lambda chosen: changes.move(mailbox, chosen, to, browser=browser)
    if verb == "restore_session":
        return lambda _: changes.restore_session(mailbox, _session(form))
    if isinstance(panes, Results) and form.get("all"):
        return None  # of all that match nothing is put back: what lies elsewhere has no place to go back to
    others: dict[str, Callable[[list[int]], Change | int | None]] = {
        "restore": lambda chosen: changes.restore(mailbox, chosen),
    }
    if isinstance(panes, Panes) and panes.folder.kind in TEMPORARY:
        others["expunge"] = lambda chosen: expunge(mailbox, chosen, still_in=panes.folder.pk)
    return others.get(verb)


def _confirm(panes: Panes, chosen: list[int] | Everything) -> HttpResponse:
    if isinstance(chosen, Everything):
        count = all_in(panes.folder, chosen.arguments["newest"]).count()
    else:
        count = len(chosen)
    context = panes.frame_context() | {
        "page_name": "confirm",
        "chosen": chosen if "all" not in panes.request.POST else [],
        "all": panes.request.POST.get("all", ""),
        "count": count,
        "back_url": places.list_url(panes.slug, panes.query),
    }
    return show(panes.request, "webmail/confirm.html", context)


@require_http_methods(["GET", "HEAD"])
@for_subscribers
def empty(request: SubscriberRequest, slug: str) -> HttpResponse:
    """Ask whether trash or junk shall be emptied; the form there posts to `act`."""
    panes = Panes.of(request, slug)
    if panes.folder.kind not in TEMPORARY:
        return HttpResponseRedirect(places.list_url(slug))
    context = panes.frame_context() | {
        "page_name": "confirm",
        "chosen": [],
        "all": newest_in(panes.folder),
        "count": panes.folder.message_count,
        "back_url": places.list_url(panes.slug),
    }
    return show(request, "webmail/confirm.html", context)


def _tell(request: SubscriberRequest, verb: str, done: Change | int | None, panes: Panes | Results) -> None:
    if isinstance(done, Change):
        to = _target(panes, verb)
        text = deeds.said(verb, done.count, to.title if to else "")
        notices.success(request, text, extra_tags=done.key)
    elif done:
        notices.success(request, deeds.said(verb, done))
    elif verb == "restore_session":
        notices.info(request, _("Nothing of that session is left to restore."))


def _answer(request: SubscriberRequest, *, shuts: bool = False, chosen: Sequence[int] = ()) -> HttpResponse:
    """The list as it is now, and what has changed of the open message; or, without scripts, the way to both.

    `shuts`: the open message is closed, if it is one of those chosen.
    """
    # Counters have changed, and what was found.
    panes, opened = _panes_of(request), _numbers([request.POST.get("open", "")])
    shut = not opened or (shuts and opened[0] in chosen)
    message = None if shut else still_open(panes, opened[0])
    if "HX-Request" not in request.headers:
        return HttpResponseRedirect(panes.message_url(message.pk) if message else panes.here)
    asked = panes.here
    context = panes.list_context(message.pk if message else None) | panes.frame_context()
    context["message"] = message
    context["redrawn"] = redrawn(panes, message) if message else ""
    context["closes"] = bool(opened) and message is None
    response = show(request, "webmail/part_list.html", context)
    if context["closes"] or (message is None and panes.here != asked):
        response.headers["HX-Push-Url"] = panes.here
    return response


@require_POST
@for_subscribers
def undo(request: SubscriberRequest) -> HttpResponse:
    """Take an act back; answers as the act did."""
    box, key = request.mailbox, request.POST.get("change", "")[:64]
    change = changes.undoable(box.pk, key)
    if change is not None and change.count > ACT_MAX:
        return _undo_later(request, change)
    count = changes.undo(box.pk, key)
    if count:
        notices.info(request, deeds.said("undo", count))
    else:
        notices.warning(request, _("That cannot be undone any more."))
    return _undone(request)


def _undo_later(request: SubscriberRequest, change: Change) -> HttpResponse:
    of = ngettext("%(n)d message", "%(n)d messages", change.count) % {"n": change.count}
    box, title = request.mailbox, deeds.title("undo", of)
    try:
        errand = change_errands.ask_to_undo(box.account, box, change.key, title)
    except TooMany as why:
        notices.warning(request, str(why))
        return _undone(request)
    return _watch(request, errand) if errand else _undone(request)


def _undone(request: SubscriberRequest) -> HttpResponse:
    """As after an act; unless the folder from which it was asked for is gone by now."""
    try:
        return _answer(request)
    except Http404:
        return HttpResponseRedirect(reverse("webmail:home"))
