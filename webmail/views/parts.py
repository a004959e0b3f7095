"""What a message is made of, each piece a response that cannot touch the page around it."""

import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlencode

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.safestring import mark_safe
from django.utils.translation import gettext
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from hosting import colours
from hosting.csp import HEADER
from mailboxes.exceptions import ContentMissing
from mailboxes.models import Message
from mailboxes.reading import Part, find_part, octets_of, parse, part_bytes
from mailboxes.reading.decoding import text_decoded
from webmail import places
from webmail.letters import frame_of, open_inside, raw_of, when_of
from webmail.pictures import picture_type
from webmail.sessions import SubscriberRequest, for_subscribers
from webmail.views.mail import own_message
from webmail.views.opened import letter_links
from webmail.views.panes import Panes, show

# The letter may open links in windows that are free again; it never runs a script, nor is it of our origin.
LETTER_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src {images}; "
    "style-src 'unsafe-inline'; frame-ancestors 'self'"
)
SHUT = "sandbox; default-src 'none'; frame-ancestors 'self'"
# Browsers show no PDF in a sandbox; its own reader is none of our origin either.
PDF_POLICY = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
PDF_BEGINS = b"%PDF-"
# Attachments in one zip: more parts than that is no letter, and the octets are those of the message.
ZIPPED_MAX = 1_000
ZIP_NAME_MAX = 150
TEXT_KINDS = {"text", "html", "calendar", "message"}


@require_safe
@for_subscribers
@xframe_options_sameorigin
def html(request: SubscriberRequest, slug: str, number: int, part: str = "") -> HttpResponseBase:
    """The letter's HTML as a document of its own, for the frame in the message pane.

    `part`: of a letter inside the letter. With `print` in the query it is as one prints it, with its head.
    """
    message = own_message(request, number)
    images = request.GET.get("images", "")
    try:
        letter = frame_of(message, slug, images, part)
    except (ContentMissing, KeyError):
        raise Http404 from None
    if letter is None:
        raise Http404
    printed = "print" in request.GET
    context = {
        "body": mark_safe(letter.html),  # noqa: S308  # nh3's result, which nothing edits
        "dark": request.GET.get("colours") != "original" and not printed,
        "head": message if printed and not part else None,
        "title": message.subject,
        "language": letter.language,
    } | colours.for_templates(request)
    sources = "data:"
    if letter.remote_used:
        # Of our own URLs those of this letter's images, and no others.
        sources += f" {request.build_absolute_uri(reverse('webmail:image', args=[slug, number]))}"
    response = HttpResponse(render_to_string("webmail/letter_frame.html", context))
    return _sealed(response, LETTER_POLICY.format(images=sources))


@require_safe
@for_subscribers
def inside(request: SubscriberRequest, slug: str, number: int, part: str) -> HttpResponseBase:
    """A letter that came in a letter: a page of its own, shown as safely, with a way back."""
    message = own_message(request, number)
    try:
        letter = open_inside(message, part, request.GET.get("images", ""))
    except (ContentMissing, KeyError):
        raise Http404 from None
    context = Panes.of(request, slug).frame_context() | {
        "page_name": "inside",
        "message": message,
        "letter": letter,
        "around": _around(part),
        "sender": next((one.name or one.address for one in letter.mail.sender), gettext("(no sender)")),
        "recipients": len(letter.mail.to) + len(letter.mail.cc),
        "original_colours": request.GET.get("colours") == "original",
        "as_text": request.GET.get("show") == "text",
        "when": when_of(letter.mail.invitation),
        "outer_url": places.message_in_list(slug, number, request.GET),
    }
    return show(request, "webmail/inside.html", context | letter_links(request, slug, message, letter))


def _around(part: str) -> list[str]:
    """The letters in which a letter lies, by their parts, the outermost first."""
    steps = part.split("-")
    return ["-".join(steps[:depth]) for depth in range(1, len(steps))]


@require_safe
@for_subscribers
def source(request: SubscriberRequest, slug: str, number: int) -> HttpResponseBase:
    """The message as it came: plain text to look at, or a file to keep."""
    raw = _octets(own_message(request, number), whole=True)
    if "download" in request.GET:
        return _file(raw, f"message-{number}.eml")
    return _sealed(HttpResponse(raw, content_type="text/plain; charset=utf-8"), SHUT)


@require_safe
@for_subscribers
def headers(request: SubscriberRequest, slug: str, number: int, part: str = "") -> HttpResponseBase:
    """All headers; `part`: of a letter inside the letter."""
    message = own_message(request, number)
    context = Panes.of(request, slug).frame_context() | {
        "page_name": "headers",
        "message": message,
        "headers": parse(_letter(message, part)).headers,
        "letter_url": _way_back(request, slug, number, part),
    }
    return show(request, "webmail/headers.html", context)


@require_safe
@for_subscribers
def download(request: SubscriberRequest, slug: str, number: int, part: str) -> HttpResponseBase:
    """An attachment as a file: no browser is told a type that it would act upon."""
    octets, found = _part(own_message(request, number), part)
    return _file(octets, found.filename)


@require_safe
@for_subscribers
@xframe_options_sameorigin
def look(request: SubscriberRequest, slug: str, number: int, part: str) -> HttpResponseBase:
    """A picture, a text or a PDF in place: as what its octets are, never as what its sender says."""
    octets, found = _part(own_message(request, number), part)
    if content_type := picture_type(octets):
        return _sealed(HttpResponse(octets, content_type=content_type), SHUT, found.filename)
    if octets.startswith(PDF_BEGINS):
        return _sealed(HttpResponse(octets, content_type="application/pdf"), PDF_POLICY, found.filename)
    if found.kind in TEXT_KINDS:
        text = text_decoded(octets, found.charset)
        return _sealed(HttpResponse(text, content_type="text/plain; charset=utf-8"), SHUT, found.filename)
    raise Http404


@require_safe
@for_subscribers
def archive(request: SubscriberRequest, slug: str, number: int, part: str = "") -> HttpResponseBase:
    """All attachments as one zip, sent while it is made; `part`: those of a letter inside the letter."""
    message = own_message(request, number)
    raw = _letter(message, part) if part else _octets(message)
    attachments = parse(raw).attachments[:ZIPPED_MAX]
    if not attachments:
        raise Http404
    response = StreamingHttpResponse(_zipped(raw, attachments), content_type="application/zip")
    return _sealed(response, SHUT, f"attachments-{number}.zip", as_attachment=True)


def _octets(message: Message, *, whole: bool = False) -> bytes:
    """`whole`: with what stands before the content, as POP3 sends it."""
    try:
        return raw_of(message) if whole else octets_of(message.content_id)
    except ContentMissing:
        raise Http404 from None


def _letter(message: Message, part: str) -> bytes:
    """The letter that a page is about: the message, or one inside it."""
    if not part:
        return _octets(message, whole=True)
    octets, found = _part(message, part)
    if found.kind != "message":
        raise Http404
    return octets


def _way_back(request: SubscriberRequest, slug: str, number: int, part: str) -> str:
    if not part:
        return places.message_in_list(slug, number, request.GET)
    fields = urlencode(places.list_fields(request.GET))
    return reverse("webmail:inside", args=[slug, number, part]) + (f"?{fields}" if fields else "")


def _part(message: Message, number: str) -> tuple[bytes, Part]:
    try:
        found, octets = find_part(_octets(message), number)
    except KeyError:
        raise Http404 from None
    return octets, found


def _file(octets: bytes, name: str) -> HttpResponseBase:
    response = HttpResponse(octets, content_type="application/octet-stream")
    return _sealed(response, SHUT, name, as_attachment=True)


def _sealed(
    response: HttpResponseBase, policy: str, name: str = "", *, as_attachment: bool = False
) -> HttpResponseBase:
    disposition = content_disposition_header(as_attachment, name)
    if disposition:
        response.headers["Content-Disposition"] = disposition
    response.headers[HEADER] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


class _Stream:
    """Where zipfile writes, and from where the response takes what was written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None

    def taken(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _zipped(raw: bytes, attachments: list[Part]) -> Iterator[bytes]:
    stream = _Stream()
    names: set[str] = set()
    with zipfile.ZipFile(stream, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for part in attachments:
            archive.writestr(_free_name(part.filename, names), part_bytes(raw, part.number))
            yield stream.taken()
    yield stream.taken()


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no other file of the zip has, on no system: 'plan.png', 'plan (2).png', ..."""
    path = PurePosixPath(name.replace("/", "_").replace("\\", "_")[-ZIP_NAME_MAX:] or "attachment")
    free, count = path.name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{path.stem} ({count}){path.suffix}"
    taken.add(free.casefold())
    return free
