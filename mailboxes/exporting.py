"""A mailbox's messages go out as an mbox (mboxrd): what RETR sends, message by message."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from django.db.models import QuerySet, Sum

from mailboxes.delivery import preamble
from mailboxes.exceptions import ContentMissing, Invalid
from mailboxes.mbox import MboxWriter, from_line, marks_of
from mailboxes.models import Mailbox, Message
from mailboxes.storage import READ_CHUNK, open_content
from mailboxes.wire import Unstuffer

# Messages asked of the database at once: no cursor stays open while bytes are copied.
PAGE = 500

Progress = Callable[[int], object]


def _silent(octets: int) -> None:
    return None


def messages_of(mailbox: Mailbox, folder: str = "all") -> "QuerySet[Message]":
    """The messages of one kind of folder, or of all, own folders included."""
    found = Message.objects.filter(mailbox=mailbox)
    return found if folder == "all" else found.filter(folder__kind=folder)


def octets_of(messages: "QuerySet[Message]") -> int:
    """How many octets an export will read."""
    return messages.aggregate(octets=Sum("size"))["octets"] or 0


def export_to(path: Path, messages: "QuerySet[Message]", *, force: bool, progress: Progress) -> list[str]:
    """Write an mbox file, whole or not at all, readable by its owner only; returns what `write_mbox` does.

    Invalid: there is a file already (and no `force`), or no folder for it.
    """
    _refuse_to_overwrite(path, force)
    if not path.parent.is_dir():
        raise Invalid(f"{path.parent}: there is no such folder")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as out:
            missing = write_mbox(out, messages, progress=progress)
            out.flush()
            os.fsync(out.fileno())
        _refuse_to_overwrite(path, force)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return missing


def _refuse_to_overwrite(path: Path, force: bool) -> None:
    if path.is_dir() or (path.exists() and not force):
        raise Invalid(f"{path} exists already; --force replaces a file")


def write_mbox(out: BinaryIO, messages: "QuerySet[Message]", *, progress: Progress = _silent) -> list[str]:
    """Write messages to a stream, in their order; returns the UIDLs of those whose content is gone.

    StoreUnavailable, OSError: the stream is torn.
    """
    return [one.uidl for one in write_messages(out, _pages(messages), progress=progress)]


def write_messages(
    out: BinaryIO, messages: Iterable[Message], *, progress: Progress = _silent, marks: bool = False
) -> list[Message]:
    """The same for messages one by one; returns those themselves whose content is gone.

    `marks`: the flags stand first in each header, as mail programs that work on an mbox write them, and as
    `importing` takes them off again.
    """
    missing = []
    for message in messages:
        try:
            descriptor = open_content(message.content_id)
        except ContentMissing:
            missing.append(message)
            continue
        with open(descriptor, "rb") as content:
            out.write(from_line(message.envelope_sender, message.received_at))
            if marks:
                out.write(marks_of(message.seen, message.starred, message.answered))
            _write(out, message, content)
        progress(message.size)
    return missing


def _pages(messages: "QuerySet[Message]") -> Iterator[Message]:
    last = 0
    while page := list(messages.filter(pk__gt=last).order_by("pk")[:PAGE]):
        yield from page
        last = page[-1].pk


def _write(out: BinaryIO, message: Message, content: BinaryIO) -> None:
    unstuffer, writer = Unstuffer(), MboxWriter()
    out.write(writer.feed(preamble(message.envelope_recipient)))
    while wire := content.read(READ_CHUNK):
        out.write(writer.feed(unstuffer.feed(wire)))
    out.write(writer.finish())
