"""What is open: one letter, or a conversation as a stack of them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from mailboxes.conversations import LETTERS_MAX, letters_of, newest_in_folder
from mailboxes.flags import Flag, set_flag
from mailboxes.listing import neighbours_of, removers_of
from mailboxes.models import Message, POP3Session
from webmail import places
from webmail.heights import rows_of
from webmail.letters import Letter, open_letter, when_of
from webmail.sessions import SubscriberRequest
from webmail.views.panes import Panes, leaves_on, sender_of, show, wanted_part

# Letters of a conversation that stand open at once, the newest of those that are unread: each is read and
# made safe to show, and each with HTML is a frame. The others are one line, and come when they are opened.
OPEN_MAX = 10


def letter_context(
    request: SubscriberRequest,
    message: Message,
    letter: Letter,
    removers: Mapping[str, POP3Session] | None = None,
) -> dict[str, Any]:
    """One letter, whatever stands around it. `removers`: of all that are shown, where they are known."""
    slug = places.slug_of(message.folder)
    if removers is None:
        removers = removers_of(request.mailbox, [message])
    return letter_links(request, slug, message, letter) | {
        "message": message,
        "letter": letter,
        "slug": slug,
        "folder": message.folder,
        "kind": message.folder.kind,
        "sender": sender_of(message),
        "removed_by": removers.get(message.removed_in_session),
        "leaves_on": leaves_on(message, message.folder),
        "original_colours": request.GET.get("colours") == "original",
        "as_text": request.GET.get("show") == "text",
        "recipients": len(letter.mail.to) + len(letter.mail.cc),
        # A list keeps no more than the beginning of a long one.
        "subject": letter.mail.subject or message.subject,
        "frame_rows": rows_of(letter.html.html) if letter.html else None,
        "when": when_of(letter.mail.invitation),
    }


def letter_links(request: SubscriberRequest, slug: str, message: Message, letter: Letter) -> dict[str, Any]:
    """The other views of a letter, and the way back from each to the list that the reader came from."""
    asked, images = request.GET, letter.images.token
    fields = places.list_fields(asked)
    around = f"?{urlencode(fields)}" if fields else ""
    if letter.part:
        inside = reverse("webmail:inside", args=[slug, message.pk, letter.part])

        def url(**more: str) -> str:
            query = urlencode({name: value for name, value in more.items() if value} | fields)
            return f"{inside}?{query}" if query else inside

        headers = reverse("webmail:inside_headers", args=[slug, message.pk, letter.part])
    else:

        def url(**more: str) -> str:
            return places.message_in_list(slug, message.pk, asked, **more)

        headers = reverse("webmail:headers", args=[slug, message.pk])
    return {
        "letter_url": url(),
        "text_url": url(show="text"),
        "dark_url": url(images=images),
        "original_url": url(colours="original", images=images),
        "headers_url": headers + around,
        "unsubscribe_url": reverse("webmail:unsubscribe", args=[slug, message.pk]) + around,
        "list_query": around,
        "list_fields": fields,
    }


def mark_read(request: SubscriberRequest, messages: list[Message]) -> None:
    """What is shown is read, unless its reader only asks for the head, or has just marked it as unread."""
    unread = [message for message in messages if not message.seen]
    if request.method == "GET" and unread and "unread" not in request.GET:
        set_flag(request.mailbox.pk, [message.pk for message in unread], Flag.SEEN, True)
        for message in unread:
            message.seen = True


def open_in(request: SubscriberRequest, slug: str, found: Message) -> HttpResponse:
    """A message beside the list of its folder, with its conversation where the reader wants that."""
    if request.mailbox.conversations and found.thread:
        before = _before(request, found)
        letters, older = letters_of(found, before=before)
        if len(letters) > 1 or before is not None:
            return _conversation(request, slug, found, letters, older)
    letter = open_letter(found, request.GET.get("images", ""))
    mark_read(request, [found])
    panes = Panes.of(request, slug)
    context = letter_context(request, found, letter) | beside_list(panes, found)
    return show_beside(panes, "webmail/message.html", context, found, found.pk)


def _before(request: SubscriberRequest, found: Message) -> Message | None:
    text = request.GET.get("earlier", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        return None
    same = Message.objects.filter(mailbox=request.mailbox, thread=found.thread)
    return same.filter(pk=int(text)).first()


def beside_list(panes: Panes, row: Message) -> dict[str, Any]:
    """The list that a message stands beside, and its neighbours there."""
    newer, older = neighbours_of(row, grouped=panes.grouped)
    return panes.place_context() | {
        "newer_message_url": places.message_url(panes.slug, newer) if newer else "",
        "older_message_url": places.message_url(panes.slug, older) if older else "",
    }


def _conversation(
    request: SubscriberRequest, slug: str, found: Message, letters: list[Message], older: bool
) -> HttpResponse:
    number = newest_in_folder(found)
    unread = [letter.pk for letter in letters if not letter.seen]
    # The one that was asked for, unless that only stands for the conversation; the last; and what is new.
    asked = {found.pk} if found.pk != number or {"show", "images", "colours"} & set(request.GET) else set()
    opened = {*asked, letters[-1].pk, *unread[-OPEN_MAX:]}
    row = next((one for one in letters if one.pk == number), found)
    around = around_a_letter(Panes.of(request, slug), row.pk)
    removers = removers_of(request.mailbox, letters)
    stack = []
    for message in letters:
        letter = {"message": message, "name": sender_of(message), "slug": places.slug_of(message.folder)}
        if message.pk in opened:
            alone = message.pk == found.pk
            letter["html"] = letter_html(request, message, around, alone=alone, removers=removers)
        stack.append(letter)
    some_unread = bool(unread)
    mark_read(request, [message for message in letters if message.pk in opened])
    panes = Panes.of(request, slug)  # with the counters as they are now
    context = beside_list(panes, row) | {
        "message": row,
        "stack": stack,
        "older_letters": letters[0].pk if older else 0,
        "later_letters": "earlier" in request.GET,
        "letters_max": LETTERS_MAX,
        "some_unread": some_unread,
        "starred": any(one.starred for one in letters if one.folder_id == found.folder_id),
        "conversation_url": panes.message_url(found.pk),
        "list_query": panes.query,
        "conversation": True,
    }
    return show_beside(panes, "webmail/conversation.html", context, row, number)


def around_a_letter(panes: Panes, row: int) -> dict[str, Any]:
    """What a form of one letter in a stack says. `row`: the message by which the list shows it all."""
    # Such a form is none of the grouped list: what it asks for is done to its letter and to no other.
    targets = panes.frame_context()["targets"]
    return panes.place_context() | {"grouped": False, "row": row, "targets": targets}


def letter_html(
    request: SubscriberRequest,
    message: Message,
    around: Mapping[str, Any],
    *,
    alone: bool,
    removers: Mapping[str, POP3Session] | None = None,
) -> str:
    """A letter of a stack, with what can be done to it alone; `around` as above.

    `alone`: what the query says of one letter is meant for this one.
    """
    letter = open_letter(message, request.GET.get("images", "") if alone else "")
    context = letter_context(request, message, letter, removers)
    if not alone:
        context |= {"original_colours": False, "as_text": False}
    return render_to_string("webmail/stacked_letter.html", {**context, **around}, request)


def show_beside(
    panes: Any, template: str, context: dict[str, Any], message: Message, number: int
) -> HttpResponse:
    """The message pane, alone or with the list beside it. `number`: of the row that is open."""
    around = panes.frame_context()
    pane = render_to_string(template, around | context, panes.request)
    if wanted_part(panes.request) == "message":
        return show(panes.request, "webmail/part_message.html", around | {"pane": pane, "message": message})
    whole = panes.list_context(number) | around | {"pane": pane, "message": message}
    return show(panes.request, "webmail/mail.html", whole)
