"""Mail that a subscriber uploads: mbox files, single messages (.eml), or a zip of such.

Strangers' files: nothing is unpacked to the disk, every message has a bound (MESSAGE_SIZE_LIMIT), and so has
what a zip unpacks to. What cannot be read is left out and named, and the rest comes in. It is done in turns
of some minutes, so that others come to their right: the next reads the file again and brings what the ledger
of imports does not know.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import IO, Any, BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils.translation import gettext as _

from mailboxes import errands
from mailboxes.errands import GivesWay, Refused, Work
from mailboxes.importing import Named, Report, import_mail
from mailboxes.local_delivery import Empty, TooLarge
from mailboxes.mbox import CHUNK, MboxReader, without_marks
from mailboxes.messages import brought_by
from mailboxes.models import ErrandKind, Folder, FolderKind
from mailboxes.sizes import size_text
from mailboxes.sources import HEADER_LINE, Letter, Unreadable

# What a zip unpacks to, beside its size: text shrinks to a fifth, and a bomb to a thousandth.
UNPACKED_TIMES = 10
# zipfile reads a zip's whole directory into memory before anything else: some 100,000 files.
DIRECTORY_MAX = 16 * 1024 * 1024
NAME_MAX = 80
# An import that has gone on for so long, and has brought something, gives way to others.
TURN_SECONDS = 5 * 60.0
# The result names so many of what was left out, and counts the others.
TOLD_MAX = 100
_ENCRYPTED = 0x1
# Only these zipfile unpacks piece by piece: of bzip2 and LZMA, some hundred octets become gigabytes at once.
METHODS = (ZIP_STORED, ZIP_DEFLATED)
# What zipfile, zlib and the storage raise when the bytes are not what they should be.
BROKEN = (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class _Entry(io.RawIOBase):
    """A file of a zip, or the upload itself, as bytes; Unreadable when they cannot be had."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except BROKEN as error:
            raise Unreadable(type(error).__name__) from error
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position


def together(files: Sequence["File[bytes]"]) -> "File[bytes]":
    """Several uploads as one file to hand in: a zip that packs nothing. The caller closes it."""
    if len(files) == 1:
        return files[0]
    packed = TemporaryUploadedFile("upload.zip", "application/zip", 0, None)
    with ZipFile(packed, "w", ZIP_STORED) as archive:
        for number, file in enumerate(files, 1):
            name = f"{number:03d}/{shown(file.name or '')}"
            with archive.open(ZipInfo(name), "w", force_zip64=True) as out:
                for chunk in file.chunks(CHUNK):
                    out.write(chunk)
    packed.seek(0)
    return packed


def shown(name: str) -> str:
    """A file's name as it is told to people: its end, without what cannot be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c if c.isprintable() else "?" for c in last)[-NAME_MAX:]


@errands.runner(ErrandKind.IMPORT)
def bring(work: Work) -> None:
    """Arguments: `name` of the file, `folder` (a number), `seen`: mark all as read. Counted in octets."""
    folder = Folder.objects.filter(mailbox=work.mailbox, pk=work.arguments["folder"]).first()
    if folder is None:
        raise Refused(_("The folder that you chose is not there any more."))
    report = Report(tell=why)
    turn = _Turn(work, report)
    try:
        with default_storage.open(work.errand.file) as file:
            letters = _Letters(cast("BinaryIO", file), work, report, folder)
            import_mail(
                work.mailbox,
                turn.of(letters),
                report,
                progress=turn.step,
                own_folder=folder if folder.kind == FolderKind.OWN else None,
                seen=bool(work.arguments.get("seen")),
                known_by_message_id=True,
                errand=work.errand.pk,
            )
    except FileNotFoundError:
        raise Refused(_("The file that you uploaded is not there any more.")) from None
    finally:
        work.result |= told(report, work)
    if report.stopped_at:
        raise Refused(_("The mailbox has no room for more. Make room and import the file again."))
    if turn.is_over:
        raise GivesWay


class _Turn:
    """How long an import goes on at once, and how far the turns before it have come."""

    def __init__(self, work: Work, report: Report) -> None:
        self.is_over = False  # with something left to do
        self._work = work
        self._report = report
        self._end = monotonic() + TURN_SECONDS
        # Octets that have been read before and are counted already.
        self._again = work.errand.done if work.errand.forgiven else 0
        if self._again:
            work.step(self._again)

    def of(self, letters: Iterable[Letter]) -> Iterator[Letter]:
        """The letters until the turn is over; until one is stored in any case, so that each turn comes on."""
        for letter in letters:
            if self._report.imported and monotonic() >= self._end:
                self.is_over = True
                return
            yield letter

    def step(self, octets: int) -> None:
        known = min(octets, self._again)
        self._again -= known
        self._work.step(octets - known)


def told(report: Report, work: Work) -> dict[str, Any]:
    """A report as the page of the errand shows it, with what earlier attempts of it have brought."""
    left_out = [*report.skipped.first, *report.empty.first][:TOLD_MAX]
    return {
        "imported": brought_by(work.mailbox.pk, work.errand.pk),
        "already": report.already,
        "uidl_kept": report.uidl_kept,
        "uidl_lost": report.uidl_lost.count,
        "left_out": left_out,
        "left_out_count": report.skipped.count + report.empty.count,
        "stopped_at": report.stopped_at,
    }


def why(error: Exception) -> str:
    """Why a message was left out, to whoever imports it."""
    if isinstance(error, TooLarge):
        most = size_text(settings.MESSAGE_SIZE_LIMIT)
        return _("it is larger than %(most)s, the most that a message may have") % {"most": most}
    if isinstance(error, Empty):
        return _("it is empty")
    return _("it cannot be read to its end: the file is damaged")


class _Letters:
    """The messages of an upload, in their order; what is no mail is named in the report."""

    def __init__(self, file: BinaryIO, work: Work, report: Report, folder: Folder) -> None:
        self._file = file
        self._work = work
        self._skipped: Named = report.skipped
        # Mail for an own folder passes through the archive, in one transaction: nobody sees it there.
        self._folder = FolderKind.ARCHIVE if folder.kind == FolderKind.OWN else FolderKind(folder.kind)

    def __iter__(self) -> Iterator[Letter]:
        name = str(self._work.arguments.get("name", ""))
        beginning = self._file.read(4)
        self._file.seek(0)
        if beginning in (b"PK\x03\x04", b"PK\x05\x06"):
            yield from self._of_zip()
        else:
            self._work.expect(default_storage.size(self._work.errand.file))
            yield from self._of_file(name, self._file)

    def _of_zip(self) -> Iterator[Letter]:
        try:
            _refuse_large_directory(self._file)
            with ZipFile(self._file) as archive:
                entries = [one for one in archive.infolist() if _is_wanted(one)]
                _refuse_bomb(entries)
                self._work.expect(sum(one.file_size for one in entries))
                for entry in entries:
                    yield from self._of_entry(archive, entry)
        except (BadZipFile, zlib.error, EOFError):
            raise Refused(_("This zip file is damaged and cannot be opened.")) from None

    def _of_entry(self, archive: ZipFile, entry: ZipInfo) -> Iterator[Letter]:
        name = shown(entry.filename)
        if entry.flag_bits & _ENCRYPTED:
            self._skipped.add(name, _("it is encrypted"))
            return
        if entry.compress_type not in METHODS:
            self._skipped.add(name, _("it is packed in a way that is not read here: pack it as a plain zip"))
            return
        try:
            opened = archive.open(entry)
        except BROKEN:
            self._skipped.add(name, _("it cannot be read to its end: the file is damaged"))
            return
        with opened:
            yield from self._of_file(name, opened)

    def _of_file(self, name: str, file: IO[bytes]) -> Iterator[Letter]:
        reader = io.BufferedReader(_Entry(file), CHUNK)
        try:
            beginning = reader.peek(1024)[:1024].lstrip(b"\r\n")
            if beginning.startswith(b"From "):
                yield from self._of_mbox(name, cast("BinaryIO", reader))
            elif HEADER_LINE.match(beginning):
                yield Letter(name, _pieces(reader), self._folder, uidl=None, flags=None)
            else:
                why_not = _("it is neither a message nor an mbox") if beginning else _("it is empty")
                self._skipped.add(name, why_not)
        except Unreadable:
            self._skipped.add(name, _("it cannot be read to its end: the file is damaged"))

    def _of_mbox(self, name: str, file: BinaryIO) -> Iterator[Letter]:
        for number, found in enumerate(MboxReader(file), 1):
            place = _("%(file)s, message %(number)d") % {"file": name, "number": number}
            flags, chunks = without_marks(found.chunks)
            yield Letter(place, chunks, self._folder, found.received_at, found.sender, None, flags)


def _pieces(reader: "io.BufferedReader[_Entry]") -> Iterator[bytes]:
    while piece := reader.read(CHUNK):
        yield piece


def _is_wanted(entry: ZipInfo) -> bool:
    return not entry.is_dir() and not entry.filename.startswith("__MACOSX/")


def _refuse_large_directory(file: BinaryIO) -> None:
    """Read the size of a zip's directory as zipfile itself will, before zipfile reads the directory."""
    with suppress(OSError):
        ends: Callable[[BinaryIO], Sequence[Any] | None] = zipfile._EndRecData  # type: ignore[attr-defined]
        record = ends(file)
        if record is not None and record[5] > DIRECTORY_MAX:
            raise Refused(_("There are too many files in this zip. Import it in several parts."))
    file.seek(0)


def _refuse_bomb(entries: Iterable[ZipInfo]) -> None:
    most = UNPACKED_TIMES * settings.IMPORT_SIZE_LIMIT
    if sum(one.file_size for one in entries) > most:
        raise Refused(_("This zip file unpacks to more than %(most)s.") % {"most": size_text(most)})
