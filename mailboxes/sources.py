"""Where imported mail comes from: mbox, Maildir, message or folder of messages, found out by itself."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from mailboxes import maildir
from mailboxes.exceptions import Invalid
from mailboxes.mbox import CHUNK, MboxReader
from mailboxes.models import FolderKind

HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:")


class Unreadable(Invalid):
    """The bytes of a message cannot be had; those of the next one perhaps can."""


class UidlFrom(StrEnum):
    """Where the UIDLs stand that POP3 clients have seen. AUTO: the dovecot-uidlist if there is one, else
    X-UIDL."""

    AUTO = "auto"
    DOVECOT = "dovecot"
    XUIDL = "xuidl"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of a source, to be read (once, before the next is asked for).

    `place` says where it is, for people; `uidl` is the one that POP3 clients have seen, "" when none is
    known, and None when an X-UIDL header is to be asked; `flags` are a Maildir's letters, None when the
    Status headers are to be asked; `received_at` None: the source does not know. `fingerprint`: under which
    name the ledger remembers it beside its bytes, for a source that names its messages. `told`: says better
    than `place` which it is, once some of it has been read.
    """

    place: str
    chunks: Iterator[bytes]
    folder: FolderKind
    received_at: datetime | None = None
    sender: str = ""
    uidl: str | None = ""
    flags: str | None = ""
    fingerprint: str = ""
    told: Callable[[], str] | None = None

    @property
    def name(self) -> str:
        """Which message it is, for people."""
        return self.told() if self.told else self.place


@dataclass(frozen=True, slots=True)
class Source:
    """All messages of a source, in the order of their old numbers. `left_out`: folders nobody asked for."""

    what: str
    octets: int
    letters: Iterator[Letter]
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the importer asks for: the folder of what has no folder of its own, where UIDLs come from, and
    whether Maildir++ folders that are none of ours go to that folder too."""

    folder: FolderKind = FolderKind.INBOX
    uidl_from: UidlFrom = UidlFrom.AUTO
    uidl_format: str = maildir.UIDL_FORMAT
    other_folders: bool = False


def find_source(path: Path, wish: Wish) -> Source:
    """What lies at a path. Invalid: nothing that can be imported; OSError: it cannot be read."""
    if path.is_dir():
        if maildir.is_maildir(path):
            return _maildir(path, wish)
        return _folder_of_messages(path, wish)
    if not path.exists():
        raise Invalid(f"{path}: there is no such file or folder")
    if wish.uidl_from is UidlFrom.DOVECOT:
        raise Invalid(f"{path}: a dovecot-uidlist belongs to a Maildir, and this is a file")
    with path.open("rb") as file:
        beginning = file.read(1024).lstrip(b"\r\n")
    if beginning.startswith(b"From ") or not beginning:
        return Source("mbox", path.stat().st_size, _mbox_letters(path, wish))
    if HEADER_LINE.match(beginning):
        return _messages("message", [path], wish)
    raise Invalid(f"{path}: neither an mbox (it would begin with 'From ') nor a message (with a header)")


def _mbox_letters(path: Path, wish: Wish) -> Iterator[Letter]:
    uidl = None if wish.uidl_from is not UidlFrom.NONE else ""
    with path.open("rb") as file:
        for found in MboxReader(file):
            yield Letter(
                f"message at octet {found.offset}",
                found.chunks,
                wish.folder,
                found.received_at,
                found.sender,
                uidl,
                flags=None,
            )


def _folder_of_messages(path: Path, wish: Wish) -> Source:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".eml" and file.is_file())
    if not files:
        raise Invalid(f"{path}: neither a Maildir (it has no cur and no new) nor a folder of .eml files")
    if wish.uidl_from is UidlFrom.DOVECOT:
        raise Invalid(f"{path}: a dovecot-uidlist belongs to a Maildir, and this is a folder of .eml files")
    return _messages("folder of messages", files, wish)


def _messages(what: str, files: list[Path], wish: Wish) -> Source:
    uidl = None if wish.uidl_from is not UidlFrom.NONE else ""
    letters = (Letter(file.name, _chunks(file), wish.folder, uidl=uidl) for file in files)
    return Source(what, sum(file.stat().st_size for file in files), letters)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as raw:
        while chunk := raw.read(CHUNK):
            yield chunk


def _maildir(path: Path, wish: Wish) -> Source:
    uids = _uidlist(path, wish)
    if uids is None and wish.uidl_from is UidlFrom.DOVECOT:
        raise Invalid(f"{path / maildir.UIDLIST}: there is no such file")
    maildir.check_uidl_format(wish.uidl_format)
    use_uids = uids is not None and wish.uidl_from is not UidlFrom.XUIDL

    def uidl_of(message: maildir.MaildirMessage) -> str | None:
        if uids is not None and use_uids:
            return uids.uidl_of(message.base, wish.uidl_format)
        return None if wish.uidl_from is not UidlFrom.NONE else ""

    found = [(m, wish.folder, uidl_of(m)) for m in maildir.messages_in(path, uids or maildir.UidList())]
    left_out = []
    for name, folder in maildir.subfolders(path):
        kind = maildir.kind_of(name) or (wish.folder if wish.other_folders else None)
        if kind is None:
            left_out.append(name)
            continue
        # POP3 showed the inbox only, so what lies elsewhere has no UIDL to keep; its order is that of UIDs.
        order = _uidlist(folder, wish) or maildir.UidList()
        found += [(m, kind, "") for m in maildir.messages_in(folder, order)]
    letters = (_maildir_letter(path, message, folder, uidl) for message, folder, uidl in found)
    return Source("Maildir", sum(message.octets for message, *_ in found), letters, left_out)


def _uidlist(path: Path, wish: Wish) -> maildir.UidList | None:
    file = path / maildir.UIDLIST
    if wish.uidl_from is UidlFrom.NONE or not file.exists():
        return None
    return maildir.read_uidlist(file)


def _maildir_letter(
    root: Path, message: maildir.MaildirMessage, folder: FolderKind, uidl: str | None
) -> Letter:
    return Letter(
        str(message.path.relative_to(root)),
        _chunks(message.path),
        folder,
        message.received_at,
        uidl=uidl,
        flags=message.flags,
    )
