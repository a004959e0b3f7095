"""What an act changes of the message that stays open: its tools, its star, and how long it is kept."""

from typing import Any

from django.template.loader import render_to_string

from mailboxes.listing import message_of, removers_of
from mailboxes.models import Message
from webmail.views.opened import beside_list
from webmail.views.panes import Panes, leaves_on
from webmail.views.search import Results


def still_open(panes: Panes | Results, number: int) -> Message | None:
    """The open message; None: it is gone, or does not lie where its list says any more."""
    found = message_of(panes.request.mailbox, number)
    if found is not None and isinstance(panes, Panes) and found.folder_id != panes.folder.pk:
        return None
    return found


def redrawn(panes: Panes | Results, message: Message) -> str:
    """Those parts of its pane, to be put where they stand already; the letters are left as they are."""
    beside = _in_folder(panes, message) if isinstance(panes, Panes) else _found(panes, message)
    context = panes.frame_context() | {"message": message, "kind": message.folder.kind} | beside
    return render_to_string("webmail/redrawn.html", context, panes.request)


def _in_folder(panes: Panes, message: Message) -> dict[str, Any]:
    context = beside_list(panes, message)
    if panes.grouped and message.thread:
        together = Message.objects.filter(mailbox=message.mailbox_id, thread=message.thread)
        if len(together.values_list("pk", flat=True)[:2]) > 1:
            starred = together.filter(folder=message.folder_id, starred=True).exists()
            return context | {"conversation": True, "starred": starred}
    return context | _alone(panes, message)


def _found(panes: Results, message: Message) -> dict[str, Any]:
    return panes.place_context() | {"words": panes.found.words} | _alone(panes, message)


def _alone(panes: Panes | Results, message: Message) -> dict[str, Any]:
    return {
        "folder": message.folder,
        "starred": message.starred,
        "removed_by": removers_of(panes.request.mailbox, [message]).get(message.removed_in_session),
        "leaves_on": leaves_on(message, message.folder),
    }
