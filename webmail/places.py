"""How folders are named in URLs: `inbox`, `archive`, ... and the number of an own folder."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from django.http import Http404
from django.urls import reverse

from mailboxes.listing import Cursor, Page
from mailboxes.models import Folder, FolderKind

# What a URL says of the list beside a message: a search, or where a page of a folder begins.
LIST_FIELDS = ("q", "in", "before", "after")
KINDS = [kind.value for kind in FolderKind if kind != FolderKind.OWN]


class FolderConverter:
    """A folder in a path. Whether it is the reader's own is found out by the view."""

    regex = "|".join(KINDS) + "|[0-9]{1,18}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class MessageConverter:
    """A message's number in a path, of no more digits than a database's integer holds."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class KeyConverter:
    """An errand's key in a path: 128 bits that nobody guesses."""

    regex = "[0-9a-f]{32}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


def slug_of(folder: Folder) -> str:
    return str(folder.pk) if folder.kind == FolderKind.OWN else folder.kind


def find(folders: list[Folder], slug: str) -> Folder | None:
    return next((folder for folder in folders if slug_of(folder) == slug), None)


def find_or_404(folders: list[Folder], slug: str) -> Folder:
    folder = find(folders, slug)
    if folder is None:
        raise Http404
    return folder


def list_url(slug: str, query: str = "") -> str:
    return reverse("webmail:folder", args=[slug]) + (f"?{query}" if query else "")


def message_url(slug: str, message: int, query: str = "") -> str:
    return reverse("webmail:message", args=[slug, message]) + (f"?{query}" if query else "")


def message_urls(slug: str, query: str = "") -> Callable[[int], str]:
    """What gives the URLs of the messages of a list."""
    return numbered("webmail:message", [slug], query)


def numbered(name: str, args: Sequence[str], query: str) -> Callable[[int], str]:
    """What gives the URLs of pages whose paths differ in the number at their end; reversed but once."""
    path = reverse(name, args=[*args, 0]).removesuffix("0/")
    ending = f"/?{query}" if query else "/"
    return lambda number: f"{path}{number}{ending}"


def list_fields(asked: Mapping[str, str]) -> dict[str, str]:
    """Of a query or a form, what names the list that the reader came from."""
    return {name: asked[name] for name in LIST_FIELDS if asked.get(name)}


def message_in_list(slug: str, message: int, asked: Mapping[str, str], **more: str) -> str:
    """The URL of a message beside the list that its reader came from; `more` goes first in its query."""
    fields = list_fields(asked)
    if "q" in fields:
        page = reverse("webmail:found", args=[message])
    else:
        page = reverse("webmail:message", args=[slug, message])
        fields.pop("in", None)
    query = urlencode({name: value for name, value in more.items() if value} | fields)
    return f"{page}?{query}" if query else page


def query_of(before: Cursor | None, after: Cursor | None) -> str:
    """What a page's URL says of where it begins."""
    return f"after={after}" if after else f"before={before}" if before else ""


def empty_behind_the_end(page: Page, before: Cursor | None, after: Cursor | None) -> bool:
    """A page that was left without messages, for they were moved: its reader is better off at the first."""
    return not page.messages and (before is not None or after is not None)
