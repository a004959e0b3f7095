"""The three panes, whole or the part that was asked for: folders, list, message."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, TypedDict

from django.conf import settings
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, pgettext
from django.utils.translation import gettext as _

from mailboxes.conversations import Summary, summaries_of
from mailboxes.highlight import Segment, cut, mark
from mailboxes.listing import Cursor, Page, folders_of, newest_in, page_of, removers_of
from mailboxes.models import Folder, FolderKind, Message, POP3Session
from mailboxes.models.message import SNIPPET_MAX
from mailboxes.search import Marks
from webmail import places
from webmail.sessions import SubscriberRequest

TEMPORARY = {FolderKind.TRASH, FolderKind.JUNK}
# What is marked where nothing was searched for.
NOTHING = Marks()
# More names than these have no room in a row.
NAMES_MAX = 3


class Row(TypedDict):
    """A message as a list shows it; or a conversation, at its newest message in the folder.

    In a dict, and in writing, as it will stand there: what takes a template long is to find an attribute, and
    to write a number, a date or a list, and a page has 50 rows.
    """

    number: str
    url: str
    sender: SafeString
    title: str  # the subject without marks
    subject: SafeString
    snippet: SafeString
    when: str
    when_short: str
    when_long: str
    unread: bool
    starred: bool
    has_attachments: bool
    open: bool
    count: int  # letters of a conversation; 0: it is a message
    removed_by: POP3Session | None
    where: str


@dataclass(frozen=True)
class Entry:
    """A folder as the list of folders shows it."""

    folder: Folder
    slug: str
    url: str
    current: bool


@dataclass
class Panes:
    """What the page is made of; the parts that are not asked for are never read."""

    request: SubscriberRequest
    folders: list[Folder]
    folder: Folder
    before: Cursor | None = None
    after: Cursor | None = None

    @classmethod
    def of(cls, request: SubscriberRequest, slug: str, query: QueryDict | None = None) -> "Panes":
        """Http404: the mailbox has no such folder."""
        folders = folders_of(request.mailbox)
        asked = request.GET if query is None else query
        before, after = Cursor.read(asked.get("before", "")), Cursor.read(asked.get("after", ""))
        return cls(request, folders, places.find_or_404(folders, slug), before, after)

    @property
    def slug(self) -> str:
        return places.slug_of(self.folder)

    @property
    def query(self) -> str:
        return places.query_of(self.before, self.after)

    @property
    def grouped(self) -> bool:
        """Whether a conversation is one row."""
        return self.request.mailbox.conversations

    @property
    def here(self) -> str:
        """The URL of the list as it stands."""
        return places.list_url(self.slug, self.query)

    def message_url(self, number: int) -> str:
        """The URL of a message beside this list."""
        return places.message_url(self.slug, number, self.query)

    def page(self) -> Page:
        page = page_of(self.folder, before=self.before, after=self.after, grouped=self.grouped)
        if places.empty_behind_the_end(page, self.before, self.after):
            self.before = self.after = None
            page = page_of(self.folder, grouped=self.grouped)
        return page

    def frame_context(self) -> dict[str, Any]:
        """What stands around the list and the message."""
        return surroundings(self.request, self.folders, self.folder) | {
            "folder": self.folder,
            "slug": self.slug,
            "kind": self.folder.kind,
            "place": self.slug,
            "list_name": self.folder.title,
        }

    def place_context(self) -> dict[str, Any]:
        """What a form says of the list that it stands beside."""
        return {
            "place": self.slug,
            "before": self.before or "",
            "after": self.after or "",
            "grouped": self.grouped,
            "back_url": self.here,
        }

    def list_context(self, open_message: int | None = None) -> dict[str, Any]:
        page = self.page()
        summaries = summaries_of(self.folder, [one.thread for one in page.messages]) if self.grouped else {}
        removers = removers_of(self.request.mailbox, page.messages)
        today = timezone.localdate()
        url_of = places.message_urls(self.slug, self.query)
        rows = [
            row_of(
                message,
                url_of(message.pk),
                today,
                summary=summaries.get(message.thread),
                own=self.request.mailbox.account.login,
                is_open=message.pk == open_message,
                removed_by=removers.get(message.removed_in_session),
            )
            for message in page.messages
        ]
        return self.place_context() | {
            "rows": rows,
            "page": page,
            "older_url": places.list_url(self.slug, f"before={page.older}") if page.older else "",
            "newer_url": places.list_url(self.slug, f"after={page.newer}") if page.newer else "",
            "here": self.here,
            "newest": newest_in(self.folder) if self.folder.message_count > len(rows) else 0,
            "sessions": list(removers.values()),
            "trash_days": settings.TRASH_DAYS,
            "temporary": self.folder.kind in TEMPORARY,
        }


def surroundings(
    request: SubscriberRequest, folders: Iterable[Folder], current: Folder | None
) -> dict[str, Any]:
    """The list of folders, and who is here."""
    entries = [
        Entry(folder, slug, places.list_url(slug), current is not None and folder.pk == current.pk)
        for folder in folders
        for slug in [places.slug_of(folder)]
    ]
    return {
        "mailbox": request.mailbox,
        "account": request.mailbox.account,
        "entries": entries,
        "targets": [entry for entry in entries if entry.folder.kind not in ("sent", "drafts")],
    }


def row_of(
    message: Message,
    url: str,
    today: date,
    *,
    summary: Summary | None = None,
    own: str = "",
    marks: Marks = NOTHING,
    text: str = "",
    is_open: bool = False,
    removed_by: POP3Session | None = None,
    where: str = "",
) -> Row:
    """`own`: the reader's address. `marks`: what a search found, and `text`: where in it, if it is known."""
    when = timezone.localtime(message.received_at)
    together = summary is not None and summary.count > 1
    sender = names_of(summary, own) if summary and together else sender_of(message)
    snippet = (cut(text, marks.text, SNIPPET_MAX) if marks.text else "") or message.snippet
    return Row(
        number=str(message.pk),
        url=url,
        sender=_marked(mark(sender, marks.sender)),
        title=message.subject or _("(no subject)"),
        subject=_marked(mark(message.subject, marks.subject) or [(_("(no subject)"), False)]),
        snippet=_marked(mark(snippet, marks.text)),
        when=when.isoformat(),
        when_short=_short(when, today),
        when_long=f"{_day(when.date(), 'DATE_FORMAT', get_language())}, {when:%H:%M}",
        unread=bool(summary.unread) if summary else not message.seen,
        starred=summary.starred if summary else message.starred,
        has_attachments=summary.has_attachments if summary else message.has_attachments,
        open=is_open,
        count=summary.count if summary and together else 0,
        removed_by=removed_by,
        where=where,
    )


def _marked(pieces: Iterable[Segment]) -> SafeString:
    """A text that was looked through, as HTML."""
    escaped = [f"<mark>{escape(text)}</mark>" if found else escape(text) for text, found in pieces]
    return mark_safe("".join(escaped))  # noqa: S308  # each piece is escaped


@lru_cache(1_000)
def _day(day: date, shape: str, language: str) -> str:
    """A day as a language writes it; a page has many messages of few days."""
    return date_format(day, shape)


def names_of(summary: Summary, own: str) -> str:
    """Who takes part, in the order in which they came: the first, and the last that have room."""
    names = list(dict.fromkeys(_name(name, address, own) for name, address, _unread in summary.people))
    if len(names) > NAMES_MAX:
        return f"{names[0]} … {', '.join(names[1 - NAMES_MAX :])}"
    if len(names) > 1:
        names = [name.split()[0] if "@" not in name and name.split() else name for name in names]
    return ", ".join(names)


def _name(name: str, address: str, own: str) -> str:
    if own and address.lower() == own:
        return _("me")
    return name or address or _("(no sender)")


def _short(when: datetime, today: date) -> str:
    """As much of a time as says which it is: today's hour, this year's day."""
    if when.date() == today:
        return f"{when:%H:%M}"
    if when.year == today.year:
        return _day(when.date(), pgettext("the letters of Django's date filter", "j M"), get_language())
    return _day(when.date(), "SHORT_DATE_FORMAT", get_language())


def sender_of(message: Message) -> str:
    return message.sender_name or message.sender_address or message.envelope_sender or _("(no sender)")


def leaves_on(message: Message, folder: Folder) -> datetime | None:
    """When retention removes a message that lies where nothing lies for ever."""
    if folder.kind not in TEMPORARY:
        return None
    return (message.moved_at or message.received_at) + timedelta(days=settings.TRASH_DAYS)


def wanted_part(request: SubscriberRequest) -> str:
    """Which part of the page is asked for: `list`, `message`, or the whole ('')."""
    if "HX-Request" not in request.headers or "HX-History-Restore-Request" in request.headers:
        return ""
    target = request.headers.get("HX-Target", "")
    return target if target in {"list", "message"} else ""


def show(
    request: SubscriberRequest, template: str, context: dict[str, Any], status: int = 200
) -> HttpResponse:
    return render(request, template, context, status=status)
