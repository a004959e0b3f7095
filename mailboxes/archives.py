"""A mailbox, or one folder of it, as a zip to take away: an mbox for each folder, with the flags.

What is exported is settled at the beginning: a message that is moved meanwhile is in the folder where it was,
and nothing is left out or doubled by it. Bytes stream from content to zip; memory stays flat but for the
list of messages, 16 octets each.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from mailboxes import errands
from mailboxes.errands import Refused, Work
from mailboxes.exporting import PAGE, write_messages
from mailboxes.models import ErrandKind, Folder, Mailbox, Message

# Compressing harder takes three times as long and gains some percent, for most of mail is base64.
LEVEL = 1
NAME_MAX = 80
# The result names so many of what was left out, and counts the others.
TOLD_MAX = 100
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')


@dataclass
class Contents:
    """The messages of one folder as they were when the export began, in their order."""

    folder: Folder
    messages: "array[int]"


@errands.runner(ErrandKind.EXPORT)
def export(work: Work) -> None:
    """Arguments: `folder`, its number, or null for all. Counted in octets."""
    contents, octets = _settle(work.mailbox, work.arguments.get("folder"))
    if not any(one.messages for one in contents):
        raise Refused(_("There is no message in it."))
    work.expect(octets)
    work.result |= {"messages": 0, "missing": 0, "gone": 0, "folders": len(contents), "left_out": []}
    with TemporaryUploadedFile("export.zip", "application/zip", 0, None) as file:
        with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            _write(archive, contents, work)
        work.result["octets"] = file.tell()
        work.keep(file)


def _settle(mailbox: Mailbox, folder: int | None) -> tuple[list[Contents], int]:
    """What is to be exported, and how many octets it has."""
    folders = Folder.objects.filter(mailbox=mailbox).order_by("pk")
    if folder is not None:
        folders = folders.filter(pk=folder)
    by_folder = {one.pk: Contents(one, array("q")) for one in folders}
    octets = 0
    found: QuerySet[Message] = Message.objects.filter(mailbox=mailbox, folder__in=list(by_folder))
    rows = found.order_by("pk").values_list("pk", "folder_id", "size")
    for pk, where, size in rows.iterator(chunk_size=PAGE):
        by_folder[where].messages.append(pk)
        octets += size
    return [one for one in by_folder.values() if one.messages], octets


def _write(archive: ZipFile, contents: list[Contents], work: Work) -> None:
    taken: set[str] = set()
    for one in contents:
        info = ZipInfo(_free_name(one.folder.name, taken), timezone.localtime().timetuple()[:6])
        info.compress_type = ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with archive.open(info, "w", force_zip64=True) as out:
            _write_folder(cast("BinaryIO", out), one, work)


def _write_folder(out: BinaryIO, one: Contents, work: Work) -> None:
    def written(octets: int) -> None:
        work.result["messages"] += 1
        work.step(octets)

    missing = write_messages(out, _read(one, work), progress=written, marks=True)
    work.result["missing"] += len(missing)
    for message in missing[: TOLD_MAX - len(work.result["left_out"])]:
        day = date_format(timezone.localtime(message.received_at), "DATE_FORMAT")
        place = _("“%(subject)s” of %(day)s in %(folder)s") % {
            "subject": message.subject or _("(no subject)"),
            "day": day,
            "folder": one.folder.title,
        }
        work.result["left_out"].append((place, _("what was stored of it cannot be found")))


def _read(one: Contents, work: Work) -> Iterator[Message]:
    """The messages; those that were removed for good since the beginning are counted."""
    for start in range(0, len(one.messages), PAGE):
        some = one.messages[start : start + PAGE].tolist()
        there = list(Message.objects.filter(mailbox=work.mailbox, pk__in=some).order_by("pk"))
        work.result["gone"] += len(some) - len(there)
        yield from there


def _free_name(name: str, taken: set[str]) -> str:
    """A file name that every system takes and no other folder has: 'Inbox.mbox', 'Inbox (2).mbox'."""
    stem = _NOT_IN_NAMES.sub("_", name).strip(" .")[:NAME_MAX] or "folder"
    free, count = stem, 1
    while free.casefold() in taken:
        count += 1
        free = f"{stem} ({count})"
    taken.add(free.casefold())
    return f"{free}.mbox"
