"""A message as its reader sees it: its bytes fetched, parsed and made safe to show."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _

from mailboxes.delivery import preamble
from mailboxes.exceptions import ContentMissing
from mailboxes.models import Message
from mailboxes.reading import (
    POLICY_VERSION,
    Caution,
    Invitation,
    LinkWarning,
    Mail,
    Part,
    SafeHtml,
    find_part,
    octets_of,
    parse,
    part_bytes,
    render_html,
    render_text,
    text_warnings,
)
from mailboxes.trusted_senders import is_trusted
from webmail.pictures import picture_type
from webmail.remote_images import Images, confirmed_sender, image_url, is_shown, show_token

# Pictures that an HTML letter brings with it stand in its frame as data, for a sandboxed frame shows no
# cookie: so much of them, in octets.
PICTURES_MAX = 8 * 1024 * 1024
# What is sanitised once is kept for who reads it again; larger letters are not worth their room.
CACHED_MAX = 512 * 1024
CACHED_SECONDS = 3600
# Beside a letter so many pictures are shown as they are; the others are opened one by one.
LOOKS_MAX = 6
LOOK_OCTETS_MAX = 4 * 1024 * 1024
CAUTIONS = {
    "name_has_address": _(
        "The sender's name shows the address {found}, but the message comes from {expected}."
    ),
    "mixed_scripts": _(
        "The sender's domain {found} mixes letters of different scripts to look like another."
    ),
    "lookalike": _("The sender's domain {found} is not what it looks like."),
    "reply_to_differs": _("Answers would go to {found}, not to {expected}."),
    "several_senders": _("This message names several senders: {found}."),
}
LINK_CAUTIONS = {
    "other_host": _("A link that says {shown} leads to {target}."),
    "mixed_scripts": _("A link leads to {target}, which mixes letters of different scripts."),
    "lookalike": _("A link leads to {target}, which is not what it looks like."),
    "userinfo": _("A link shows {shown} but leads to {target}."),
}
# A letter full of lies is one warning to its reader, not a hundred.
WARNINGS_MAX = 5


@dataclass(frozen=True)
class Letter:
    """What the message pane shows. `missing`: the bytes are gone. `part`: of a letter inside another, the
    number of the part in which it came."""

    mail: Mail = field(default_factory=Mail)
    text: SafeString = field(default_factory=SafeString)
    html: SafeHtml | None = None
    warnings: list[str] = field(default_factory=list)
    pictures: list[Part] = field(default_factory=list)
    images: Images = field(default_factory=Images)
    missing: bool = False
    part: str = ""


def raw_of(message: Message) -> bytes:
    """The whole message as POP3 sends it, un-stuffed. ContentMissing, StoreUnavailable."""
    return preamble(message.envelope_recipient) + octets_of(message.content_id)


def open_letter(message: Message, images: str = "") -> Letter:
    """The letter; one whose bytes are gone says so. StoreUnavailable.

    `images` is what the URL says of remote images: see `remote_images.show_token`.
    """
    try:
        raw = octets_of(message.content_id)
    except ContentMissing:
        return Letter(missing=True)
    mail = parse(raw, authserv_id=settings.HOSTNAME)
    return _letter(message, raw, mail, images)


def open_inside(message: Message, part: str, images: str = "") -> Letter:
    """A letter that came as a part of another. KeyError, ContentMissing, StoreUnavailable."""
    raw = octets_of(message.content_id)
    return _letter(message, raw, _inside(raw, part), images, part)


def frame_of(message: Message, slug: str, images: str = "", part: str = "") -> SafeHtml | None:
    """The letter's HTML, sanitised; None: it has none. KeyError, ContentMissing, StoreUnavailable."""
    if not is_shown(message, images):
        kept: SafeHtml | None = cache.get(_cache_key(message, part))
        if kept is not None:
            return kept
    raw = octets_of(message.content_id)
    mail = _inside(raw, part) if part else parse(raw)
    if mail.body_html is not None and is_shown(message, images):
        # Not kept: each of its URLs is signed for this message and for now.
        return render_html(
            mail.body_html,
            cid=_pictures(raw, mail.parts),
            remote=lambda url: image_url(slug, message, url),
        )
    return _html_of(message, raw, mail, part)


def _inside(raw: bytes, part: str) -> Mail:
    # Whoever sends a letter writes the headers of those inside: nothing that they say is verified.
    found, octets = find_part(raw, part)
    if found.kind != "message":
        raise KeyError(part)
    return parse(octets, prefix=f"{part}-")


def _letter(message: Message, raw: bytes, mail: Mail, images: str, part: str = "") -> Letter:
    html = _html_of(message, raw, mail, part)
    text = render_text(mail.body_text)
    looks = [one for one in mail.attachments if one.kind == "image" and one.size <= LOOK_OCTETS_MAX]
    return Letter(
        mail=mail,
        text=mark_safe(text),  # noqa: S308  # render_text escapes everything, see its tests
        html=html,
        warnings=_warnings(mail.warnings, [*(html.link_warnings if html else []), *text_warnings(text)]),
        pictures=looks[:LOOKS_MAX],
        images=_images(message, mail, html, images),
        part=part,
    )


def _images(message: Message, mail: Mail, html: SafeHtml | None, token: str) -> Images:
    if html is None or not html.blocked_remote or not settings.REMOTE_IMAGES:
        return Images()
    sender = confirmed_sender(mail)
    if sender and is_trusted(message.mailbox_id, sender):
        token = show_token(message)
        return Images(html.blocked_remote, shown=True, trusted=True, sender=sender, token=token)
    shown = is_shown(message, token)
    return Images(html.blocked_remote, shown=shown, sender=sender, token=token if shown else "")


def _html_of(message: Message, raw: bytes, mail: Mail, part: str = "") -> SafeHtml | None:
    if mail.body_html is None:
        return None
    key = _cache_key(message, part)
    kept: SafeHtml | None = cache.get(key)
    if kept is None:
        kept = render_html(mail.body_html, cid=_pictures(raw, mail.parts))
        if len(kept.html) <= CACHED_MAX:
            cache.set(key, kept, CACHED_SECONDS)
    return kept


def _cache_key(message: Message, part: str) -> str:
    return f"letter-html:{POLICY_VERSION}:{message.content_id.hex}:{part}"


def _pictures(raw: bytes, parts: Iterable[Part]) -> dict[str, str]:
    """By Content-ID, the pictures that the letter brings with it, as data: URLs."""
    found: dict[str, str] = {}
    left = PICTURES_MAX
    for part in parts:
        if part.kind != "image" or not part.content_id or part.size > left:
            continue
        octets = part_bytes(raw, part.number)
        content_type = picture_type(octets)
        left -= len(octets)
        if content_type and left >= 0:
            found[part.content_id] = f"data:{content_type};base64,{base64.b64encode(octets).decode()}"
    return found


def _warnings(cautions: Iterable[Caution], links: Iterable[LinkWarning]) -> list[str]:
    texts = [
        str(CAUTIONS.get(one.code, "{found}")).format(found=one.found, expected=one.expected)
        for one in cautions
    ]
    texts += [
        str(LINK_CAUTIONS.get(one.code, "{target}")).format(shown=one.shown, target=one.target)
        for one in links
    ]
    return list(dict.fromkeys(texts))[:WARNINGS_MAX]


def when_of(invitation: Invitation | None) -> str:
    """When an appointment is, in the reader's time zone where the sender's is known."""
    if invitation is None or invitation.start is None:
        return ""
    start, end = invitation.start, invitation.end
    if not isinstance(start, datetime):
        last = end - timedelta(days=1) if isinstance(end, date) and not isinstance(end, datetime) else start
        if last <= start:
            return gettext("{day}, all day").format(day=_day(start))
        return gettext("{first} to {last}, all day").format(first=_day(start), last=_day(last))
    begins = f"{_day(_here(start))}, {_here(start):%H:%M}"
    if not isinstance(end, datetime):
        return begins
    ends = f"{_here(end):%H:%M}"
    if _here(end).date() != _here(start).date():
        ends = f"{_day(_here(end))}, {ends}"
    return gettext("{begin} to {end}").format(begin=begins, end=ends)


def _here(moment: datetime) -> datetime:
    return moment if timezone.is_naive(moment) else timezone.localtime(moment)


def _day(moment: date) -> str:
    return date_format(moment, pgettext("the letters of Django's date filter", "D, j F Y"))
