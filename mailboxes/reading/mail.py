"""A message as its reader sees it: headers, people, the body in the best form, attachments. Pure.

`parse` never raises: what is broken is shown as well as can be, and what is too much is left out.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from mailboxes.reading import filenames, mime
from mailboxes.reading.authentication import Authentication, Unsubscribe, authentication, unsubscribe
from mailboxes.reading.bodies import Bodies, bodies_of
from mailboxes.reading.decoding import field_text, moment, one_line, text_decoded, words_decoded
from mailboxes.reading.invitation import CALENDAR_MAX, Invitation, invitation
from mailboxes.reading.markup import words_of
from mailboxes.reading.mime import Entity
from mailboxes.reading.people import Caution, Person, cautions_of, people
from mailboxes.reading.tnef import Enclosed, enclosed

log = logging.getLogger(__name__)

SUBJECT_MAX = 2_000
VALUE_MAX = 16 * 1024
IDS_MAX = 200
# How far a message in a message in a message is opened.
INSIDE_MAX = 8
TNEF_MAX = 64 * 1024 * 1024
# Both together of all texts: what search stores of a message.
SEARCH_MAX = 512 * 1024
# Of these, what an invitation says and names of attachments.
FACTS_MAX = 16_000

# Signatures of the letter as a whole are nothing that a reader opens.
NOT_ATTACHED = {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}

# The ending of the name says more.
UNTYPED = {"application/unknown", "application/download", "application/force-download"}

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,998}>")
_WORD = re.compile(r"\w+")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the message. `number` names it to `part_bytes`: "2.1"; behind a dash stands a part of what
    the part itself holds, of a message or a winmail.dat ("2-1.3"). `size` in decoded octets, of large parts
    reckoned. `kind`: text, html, image (such as browsers show), pdf, message, calendar, tnef, other.
    `charset` as a text claims it.
    """

    number: str
    content_type: str
    filename: str
    size: int
    disposition: str
    content_id: str
    is_inline: bool
    kind: str
    charset: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """What `parse` found. `parts` are all leaves; `attachments` those that the body does not show itself."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    subject: str = ""
    sender: list[Person] = field(default_factory=list)
    reply_to: list[Person] = field(default_factory=list)
    to: list[Person] = field(default_factory=list)
    cc: list[Person] = field(default_factory=list)
    bcc: list[Person] = field(default_factory=list)
    date: datetime | None = None
    message_id: str = ""
    in_reply_to: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    list_unsubscribe: Unsubscribe | None = None
    authentication: Authentication = field(default_factory=Authentication)
    warnings: list[Caution] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    attachments: list[Part] = field(default_factory=list)
    body_text: str = ""
    body_html: str | None = None
    body_cut: bool = False
    invitation: Invitation | None = None


def parse(raw: bytes, *, authserv_id: str = "", prefix: str = "") -> Mail:
    """Read a message (un-stuffed octets).

    `authserv_id` is the name under which our own server writes Authentication-Results; without it nothing is
    verified. `prefix` goes before each part's number: see `nested`.
    """
    try:
        return _parse(raw, authserv_id, prefix)
    except Exception:
        # A message that surprises us is still shown, as its raw source.
        log.exception("reading parse_failed octets=%d", len(raw))
        return Mail(body_text=field_text(raw[: 64 * 1024]))


def part_bytes(raw: bytes, number: str) -> bytes:
    """The decoded octets of a part. KeyError: there is none of that number."""
    inside, dash, rest = number.partition("-")
    if rest.count("-") >= INSIDE_MAX:
        raise KeyError(number)
    entity = mime.find(mime.split(raw)[1], inside)
    if entity is None:
        raise KeyError(number)
    octets = entity.octets(raw)
    if not dash:
        return octets
    if _kind(entity) == "message":
        return part_bytes(octets, rest)
    found = enclosed(octets) if _kind(entity) == "tnef" else []
    if not (rest.isascii() and rest.isdecimal() and 0 < int(rest[:6]) <= len(found)):
        raise KeyError(number)
    return found[int(rest) - 1].octets(octets)


def find_part(raw: bytes, number: str) -> tuple[Part, bytes]:
    """A part by its number, however many messages it lies inside, and its decoded octets. KeyError."""
    prefix = ""
    for _ in range(INSIDE_MAX):
        parts = parse(raw, prefix=prefix).parts
        for part in parts:
            if part.number == number:
                return part, part_bytes(raw, number.removeprefix(prefix))
        inside = (part for part in parts if part.kind == "message" and number.startswith(f"{part.number}-"))
        holder = next(inside, None)
        if holder is None:
            break
        raw = part_bytes(raw, holder.number.removeprefix(prefix))
        prefix = f"{holder.number}-"
    raise KeyError(number)


def nested(raw: bytes, number: str, *, authserv_id: str = "") -> Mail:
    """A message that another carries, with part numbers that hold for the outer one. KeyError.

    `authserv_id` is nothing that one passes here, unless the inner message is known to be as our server left
    it: whoever sends it writes its headers.
    """
    return parse(part_bytes(raw, number), authserv_id=authserv_id, prefix=f"{number}-")


def search_text(mail: Mail) -> str:
    """What search finds a message by, besides its facts: the words of its body, also those that only its HTML
    has, what it invites to, and the names of what it has."""
    facts = [mail.invitation.summary, mail.invitation.location] if mail.invitation else []
    facts += [part.filename for part in mail.attachments]
    last = "\n".join(facts)[:FACTS_MAX]
    room = SEARCH_MAX - len(last) - 2
    rich = _only_in_html(mail, room // 2)
    return "\n".join(filter(None, [mail.body_text[: room - len(rich)], rich, last])).strip()


def _only_in_html(mail: Mail, most: int) -> str:
    """The lines of the HTML in which there is a word that the plain text lacks: often none, and all of them
    where the text says only that there is HTML."""
    if not mail.body_html:
        return ""
    known = set(_WORD.findall(mail.body_text.casefold()))
    lines = words_of(mail.body_html, SEARCH_MAX).splitlines()
    return "\n".join(line for line in lines if not known.issuperset(_WORD.findall(line.casefold())))[:most]


def _parse(raw: bytes, authserv_id: str, prefix: str) -> Mail:
    fields, root = mime.split(raw)
    named: dict[str, str] = {}
    for name, value in fields:
        named.setdefault(name.lower(), value)

    def listed(name: str) -> list[Person]:
        return people(named.get(name, ""))

    sender, reply_to = listed("from") or listed("sender"), listed("reply-to")
    domain = sender[0].domain if len(sender) == 1 else ""
    checked = authentication(fields, authserv_id, domain)
    bodies = _or(bodies_of, Bodies(), root, raw)
    parts, attachments = _parts(raw, root, bodies, prefix)
    return Mail(
        headers=[(name, _shown(value)) for name, value in fields],
        subject=one_line(words_decoded(named.get("subject", "")[:VALUE_MAX]), SUBJECT_MAX),
        sender=sender,
        reply_to=reply_to,
        to=listed("to"),
        cc=listed("cc"),
        bcc=listed("bcc"),
        date=moment(named.get("date", "").encode("utf-8", "replace")),
        message_id=next(iter(_ids(named.get("message-id", ""))), ""),
        in_reply_to=_ids(named.get("in-reply-to", "")),
        references=_ids(named.get("references", "")),
        list_unsubscribe=unsubscribe(fields, checked.results),
        authentication=checked,
        warnings=cautions_of(sender, reply_to),
        parts=parts,
        attachments=attachments,
        body_text=bodies.text,
        body_html=bodies.html,
        body_cut=bodies.cut,
        invitation=_invitation(raw, root),
    )


def _or(verb: Callable[[Entity, bytes], _T], otherwise: _T, root: Entity, raw: bytes) -> _T:
    """Headers and parts are shown even of a message whose body surprises us."""
    try:
        return verb(root, raw)
    except Exception:
        log.exception("reading %s_failed octets=%d", verb.__name__, len(raw))
        return otherwise


def _shown(value: str) -> str:
    return one_line(words_decoded(value[:VALUE_MAX]), VALUE_MAX)


def _ids(value: str) -> list[str]:
    return _MESSAGE_ID.findall(value)[:IDS_MAX]


def _parts(raw: bytes, root: Entity, bodies: Bodies, prefix: str) -> tuple[list[Part], list[Part]]:
    parts, attachments = [], []
    for entity in root.leaves():
        kind = _kind(entity)
        inline = entity.content_id in bodies.content_ids or (
            kind == "image" and entity.disposition == "inline" and not entity.filename
        )
        part = Part(
            number=prefix + entity.number,
            content_type=entity.content_type,
            filename=_filename(raw, entity, kind),
            size=entity.size(raw),
            disposition=entity.disposition,
            content_id=entity.content_id,
            is_inline=bool(inline or entity.number in bodies.shown),
            kind=kind,
            charset=entity.parameters.get("charset", ""),
        )
        inside = _or(_enclosed, list[Enclosed](), entity, raw) if kind == "tnef" else []
        found = [part, *(_enclosed_part(part, at, one) for at, one in enumerate(inside, 1))]
        parts += found
        shown = entity.number in bodies.shown or entity.content_id in bodies.content_ids
        if not shown and entity.content_type not in NOT_ATTACHED and not _is_alternative_calendar(entity):
            attachments += found
    return parts, attachments


def _is_alternative_calendar(entity: Entity) -> bool:
    return entity.content_type == "text/calendar" and not entity.filename and not entity.disposition


def _enclosed(entity: Entity, raw: bytes) -> list[Enclosed]:
    return enclosed(entity.octets(raw)) if entity.end - entity.begin <= TNEF_MAX else []


def _enclosed_part(holder: Part, at: int, one: Enclosed) -> Part:
    content_type = filenames.type_of(one.name)
    return Part(
        number=f"{holder.number}-{at}",
        content_type=content_type,
        filename=filenames.safe(one.name, content_type),
        size=one.size,
        disposition="attachment",
        content_id="",
        is_inline=False,
        kind=filenames.kind_of(content_type),
    )


def _kind(entity: Entity) -> str:
    content_type = entity.content_type
    if content_type.startswith(("application/octet", "application/x-octet")) or content_type in UNTYPED:
        content_type = filenames.type_of(entity.filename)
    return filenames.kind_of(content_type)


def _filename(raw: bytes, entity: Entity, kind: str) -> str:
    name = entity.filename
    if not name and kind == "message":
        for title, value in mime.split(raw[entity.begin : min(entity.end, entity.begin + 64 * 1024)])[0]:
            if title.lower() == "subject":
                name = one_line(words_decoded(value[:VALUE_MAX]), 100).replace("/", "-")
                name = f"{name}.eml" if name else ""
                break
    return filenames.safe(name, entity.content_type)


def _invitation(raw: bytes, root: Entity) -> Invitation | None:
    for entity in root.leaves():
        if _kind(entity) == "calendar":
            octets = entity.octets(raw, CALENDAR_MAX)
            method = entity.parameters.get("method", "")
            if found := invitation(text_decoded(octets, entity.parameters.get("charset", "utf-8")), method):
                return found
    return None
