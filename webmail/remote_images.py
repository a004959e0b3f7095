"""Images that a letter names and does not bring: shown when its reader asks, and fetched by us.

The sender learns that somebody of this house opened the letter, when, and nothing else: no address of the
reader's, no browser, no cookie. Which images may be asked for is signed, so that this is a proxy for what
stands in letters and for nothing else.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from threading import BoundedSemaphore
from urllib.parse import quote

from django.conf import settings
from django.core import signing
from django.core.cache import cache, caches
from django.urls import reverse

from mailboxes.models import Message
from mailboxes.reading import POLICY_VERSION, Mail
from mailboxes.reading.links import host_of
from webmail.outside import Outside, Refused, Unanswered
from webmail.pictures import picture_type

# How long a page that shows images can be reloaded; what it says of itself is signed.
SHOWN_SECONDS = 6 * 3600
# A browser asks for the images of a page at once; what is lazy, it asks for while the page is read.
SIGNED_SECONDS = 6 * 3600
# At once in one process. Each keeps a thread of the web server busy for as long as a server far away likes,
# ten seconds at the most; so the web server has more threads than this (`--threads 8`): the rest serve pages.
FETCHES_AT_ONCE = 6
# Pages wait for those threads too, so what finds no room does not wait for long.
WAIT_SECONDS = 1.0
# A mailbox's images in ten minutes: newsletters have some 40. Counted in the cache, not in the database: each
# count is worth a write less than an image is, and when it is lost somebody sees a picture more.
FETCHES_MAX = 600
FETCHES_SECONDS = 600
KEPT_SECONDS = 24 * 3600
# So large an image is kept, in octets; with the cache's own bound on entries, 300 MB at the most.
KEPT_MAX = 1024 * 1024
# What could not be had is not asked for again at once.
MISSED_SECONDS = 60
# A server that keeps us waiting does so once a minute, not once an image.
SLOW_SECONDS = 60

ACCEPT = "image/avif,image/webp,image/png,image/jpeg,image/gif"
SHOWN_SALT = "webmail.remote_images.shown"
IMAGE_SALT = "webmail.remote_images.image"

_room = BoundedSemaphore(FETCHES_AT_ONCE)
# The world that images come from; tests have one of their own.
outside = Outside()


@dataclass(frozen=True, slots=True)
class Images:
    """What the reader is told of a letter's remote images, and offered.

    `count` of them; `shown` now, for the URL says `token`; `trusted`, the sender is on the reader's list;
    `sender` may be put on it; "" if nobody confirms that the letter is from there.
    """

    count: int = 0
    shown: bool = False
    trusted: bool = False
    sender: str = ""
    token: str = ""


class NoRoom(Exception):
    """Too many images are being fetched already, for this mailbox or for all."""


# -- who may be trusted -------------------------------------------------------------------------


def confirmed_sender(mail: Mail) -> str:
    """The sender's address, in lower case, if our own mail server found that its domain sent this letter.

    Else "": anybody can write any sender's name, so a letter that is not confirmed is never shown with images
    because of who it says it is from, and its sender cannot be put on the list either. Confirmed is what
    DMARC passed (RFC 7489), or a signature or SPF of the very domain that the reader sees. Two From fields
    are one too many: our server may have looked at the other.
    """
    if len(mail.sender) != 1 or mail.authentication.word != "verified":
        return ""
    if sum(name.lower() == "from" for name, _ in mail.headers) != 1:
        return ""
    sender = mail.sender[0]
    for result in mail.authentication.results:
        looked_at = result.properties.get("header.from", "").lower().rpartition("@")[2]
        if result.method == "dmarc" and looked_at and looked_at != sender.domain.lower():
            return ""
    return sender.address.lower() if "@" in sender.address else ""


# -- that they are shown ------------------------------------------------------------------------


def show_token(message: Message) -> str:
    """What the URL of a page says that shows this message with images: that its reader has asked for it.

    Signed, so that no link in a letter can ask for it in the reader's place.
    """
    return signing.dumps([message.mailbox_id, message.pk], salt=SHOWN_SALT)


def is_shown(message: Message, token: str) -> bool:
    try:
        said = signing.loads(token, salt=SHOWN_SALT, max_age=SHOWN_SECONDS) if token else None
    except signing.BadSignature:
        return False
    return bool(settings.REMOTE_IMAGES and said == [message.mailbox_id, message.pk])


def image_url(slug: str, message: Message, url: str) -> str:
    """Our URL for an image of a letter."""
    signed = _signer().sign(_signed_text(message, url)).removeprefix(_signed_text(message, url) + ":")
    return f"{reverse('webmail:image', args=[slug, message.pk])}?u={quote(url, safe='')}&s={quote(signed)}"


def is_image_of(message: Message, url: str, signed: str) -> bool:
    """Whether we have written that URL for this message ourselves, not long ago, by today's policy."""
    try:
        _signer().unsign(f"{_signed_text(message, url)}:{signed}", max_age=SIGNED_SECONDS)
    except signing.BadSignature:
        return False
    return True


def _signer() -> signing.TimestampSigner:
    return signing.TimestampSigner(salt=IMAGE_SALT)


def _signed_text(message: Message, url: str) -> str:
    # A URL has colons, as the signer's text has: hashed, no other one reads the same.
    return f"{POLICY_VERSION}:{message.mailbox_id}:{message.pk}:{sha256(url.encode()).hexdigest()}"


# -- fetching -----------------------------------------------------------------------------------


def fetch(mailbox: int, url: str) -> bytes:
    """The octets of an image, which are one. Refused, Unanswered, NoRoom."""
    key = sha256(f"{POLICY_VERSION}:{url}".encode()).hexdigest()
    kept: bytes | None = caches["images"].get(key)
    if kept is None:
        kept = _fetched(mailbox, url, key)
    if not kept:
        raise Refused("it could not be had a moment ago")
    return kept


def _fetched(mailbox: int, url: str, key: str) -> bytes:
    slow = f"images-slow:{sha256(host_of(url).encode()).hexdigest()}"
    if cache.get(slow):
        raise Unanswered("the server was slow a moment ago")
    began = time.monotonic()
    with _room_for(mailbox):
        try:
            answer = outside.get(url, ACCEPT)
            if answer.status != 200 or not picture_type(answer.octets):
                raise Refused("the answer is no image")
        except (Refused, Unanswered):
            caches["images"].set(key, b"", MISSED_SECONDS)
            if time.monotonic() - began > outside.seconds / 2:
                cache.set(slow, True, SLOW_SECONDS)
            raise
    if len(answer.octets) <= KEPT_MAX:
        caches["images"].set(key, answer.octets, KEPT_SECONDS)
    return answer.octets


@contextmanager
def _room_for(mailbox: int) -> Iterator[None]:
    counter = f"images-fetched:{mailbox}:{int(time.time()) // FETCHES_SECONDS}"
    try:
        cache.add(counter, 0, FETCHES_SECONDS)
        if cache.incr(counter) > FETCHES_MAX:
            raise NoRoom
    except ValueError:
        pass  # the cache has just dropped it
    if not _room.acquire(timeout=WAIT_SECONDS):
        raise NoRoom
    try:
        yield
    finally:
        _room.release()
