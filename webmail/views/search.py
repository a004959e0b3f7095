"""Searching: what was found is a list, where everything can be done that can be done in a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.views.decorators.http import require_safe

from mailboxes.content import one_line
from mailboxes.entries import KEPT_MAX, texts_of
from mailboxes.exceptions import ContentMissing, StoreUnavailable
from mailboxes.highlight import TEXT_MAX, cut
from mailboxes.listing import ROW, Cursor, folders_of
from mailboxes.models import Folder, Message
from mailboxes.models.message import SNIPPET_MAX
from mailboxes.query import QUERY_MAX
from mailboxes.reading import octets_of, parse, search_text
from mailboxes.search import Found, all_that_match, search
from mailboxes.storage import is_local
from webmail import places
from webmail.letters import open_letter
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.mail import own_message
from webmail.views.opened import letter_context, mark_read, show_beside
from webmail.views.panes import row_of, show, surroundings, wanted_part

# How the list of results is named where folders are named by their slugs.
SLUG = "search"
# Of so many messages of a page, and of so much of each, the whole text is read to show where in it something
# was found: some milliseconds each.
WHOLE_MAX = 5
WHOLE_OCTETS = 128 * 1024


@dataclass
class Results:
    """The panes of a search; what it found is looked for once, when it is asked for."""

    request: SubscriberRequest
    folders: list[Folder]
    text: str = ""
    within: Folder | None = None
    before: Cursor | None = None
    slug: str = field(default=SLUG, init=False)
    grouped: bool = field(default=False, init=False)

    @classmethod
    def of(cls, request: SubscriberRequest, asked: QueryDict | None = None) -> "Results":
        query = request.GET if asked is None else asked
        folders = folders_of(request.mailbox)
        within = places.find(folders, query.get("in", ""))
        text = query.get("q", "")[: QUERY_MAX * 2].replace("\0", " ").strip()
        return cls(request, folders, text, within, Cursor.read(query.get("before", "")))

    @property
    def _within(self) -> int | None:
        return self.within.pk if self.within else None

    @cached_property
    def found(self) -> Found:
        return search(self.request.mailbox.pk, self.text, before=self.before, folder=self._within)

    def everything(self, until: str, limit: int) -> Found:
        """The newest of all that match and had come by then."""
        place = Cursor.read(until)
        if place is None:
            return Found()
        box = self.request.mailbox.pk
        return all_that_match(box, self.text, before=place, folder=self._within, limit=limit)

    def url(self, **more: str) -> str:
        return f"{reverse('webmail:search')}?{self._query(**more)}"

    def _query(self, **more: str) -> str:
        asked = {"q": self.text, "in": places.slug_of(self.within) if self.within else "", **more}
        return urlencode({name: value for name, value in asked.items() if value})

    @property
    def here(self) -> str:
        return self.url(before=str(self.before or ""))

    def message_url(self, number: int) -> str:
        return self._message_urls()(number)

    def _message_urls(self) -> Callable[[int], str]:
        return places.numbered("webmail:found", [], self._query(before=str(self.before or "")))

    def frame_context(self) -> dict[str, Any]:
        return surroundings(self.request, self.folders, None) | {
            "searching": True,
            "kind": SLUG,
            "slug": SLUG,
            "place": SLUG,
            "q": self.text,
            "within": places.slug_of(self.within) if self.within else "",
        }

    def place_context(self) -> dict[str, Any]:
        return {
            "place": SLUG,
            "before": self.before or "",
            "after": "",
            "grouped": False,
            "back_url": self.here,
        }

    def list_context(self, open_message: int | None = None) -> dict[str, Any]:
        messages = self._messages()
        marks = self.found.marks
        texts = self._texts(messages) if marks.text else {}
        names = {folder.pk: folder.title for folder in self.folders}
        today = timezone.localdate()
        url_of = self._message_urls()
        last = Cursor.of(messages[-1]) if messages and self.found.more else None
        return self.place_context() | {
            "rows": [
                row_of(
                    message,
                    url_of(message.pk),
                    today,
                    marks=marks,
                    text=texts.get(message.pk, ""),
                    is_open=message.pk == open_message,
                    where=names.get(message.folder_id, ""),
                )
                for message in messages
            ],
            "found": self.found,
            "here": self.here,
            "older_url": self.url(before=str(last)) if last else "",
            "newer_url": self.url() if self.before else "",
            "newest": self._now() if self.found.more or self.before else 0,
        }

    def _texts(self, messages: Sequence[Message]) -> dict[int, str]:
        """By message, a text in which stands what was found, as far as one is at hand."""
        texts = texts_of([message.pk for message in messages])
        wanted = self.found.marks.text
        left = WHOLE_MAX
        for message in messages:
            text = texts.get(message.pk, "")
            # What is shorter was kept whole.
            if left and len(text) == KEPT_MAX and _is_near(message) and not cut(text, wanted, SNIPPET_MAX):
                left -= 1
                try:
                    texts[message.pk] = _whole_text(message) or text
                except ContentMissing:
                    continue
                except StoreUnavailable:
                    break  # the next would wait as long for nothing
        return texts

    def _messages(self) -> list[Message]:
        lying = Message.objects.in_mailbox(self.request.mailbox).only(*ROW, "content_id")
        by_number = lying.in_bulk(self.found.messages)
        return [by_number[number] for number in self.found.messages if number in by_number]

    def _now(self) -> str:
        """A place before all that comes from now on; search orders by whole seconds."""
        return str(Cursor(timezone.now() + timedelta(seconds=1), 0))


def _is_near(message: Message) -> bool:
    """Whether reading its beginning costs little: from elsewhere all of it would be fetched."""
    return is_local() or message.size <= WHOLE_OCTETS


def _whole_text(message: Message) -> str:
    """ContentMissing, StoreUnavailable."""
    return one_line(search_text(parse(octets_of(message.content_id, WHOLE_OCTETS))), TEXT_MAX)


@require_safe
@for_subscribers
def results(request: SubscriberRequest) -> HttpResponse:
    panes = Results.of(request)
    context = panes.list_context() | panes.frame_context()
    template = "webmail/part_list.html" if wanted_part(request) == "list" else "webmail/mail.html"
    return show(request, template, context)


@require_safe
@for_subscribers
def found(request: SubscriberRequest, number: int) -> HttpResponse:
    """A message that was found, beside the results."""
    message = own_message(request, number)
    letter = open_letter(message, request.GET.get("images", ""))
    mark_read(request, [message])
    panes = Results.of(request)
    # What can be done to it depends on where it lies; where the way back leads, on how it was found.
    context = letter_context(request, message, letter) | panes.place_context() | {"words": panes.found.words}
    return show_beside(panes, "webmail/message.html", context, message, number)
