"""The Maildir: its messages, their flags, and the UIDLs that Dovecot's POP3 clients have seen.

`dovecot-uidlist`, version 3 (https://doc.dovecot.org/2.3/developer_manual/design/indexes/mailbox_formats/):

    3 V<uidvalidity> N<next uid> G<mailbox guid>
    <uid> [G<guid>] [P<pop3 uidl>] [O<pop3 order>] [W<virtual size>] ... :<file name>
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mailboxes.exceptions import Invalid
from mailboxes.models import FolderKind

UIDLIST = "dovecot-uidlist"
# Dovecot's default pop3_uidl_format; its X writes small letters: 0000000a4f5c1b3e.
UIDL_FORMAT = "%08Xu%08Xv"
# Names of folders that say what they are, as mail programs write them (IMAP's modified UTF-7, small letters).
KINDS = {
    FolderKind.SENT: (
        "sent,sent items,sent messages,sent mail,sent-mail,gesendet,gesendete objekte,gesendete elemente"
    ),
    FolderKind.DRAFTS: "drafts,draft,entw&apw-rfe",
    FolderKind.ARCHIVE: "archive,archives,archiv",
    FolderKind.JUNK: "junk,spam,junk mail,junk e-mail,junk email,bulk mail",
    FolderKind.TRASH: (
        "trash,deleted items,deleted messages,papierkorb,gel&apy-schte objekte,gel&apy-schte elemente"
    ),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split(",")}

# ':' as the Maildir has it; ';' and '!' stand for it on systems that forbid it in names.
_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)$")
_DELIVERED = re.compile(r"(\d{9,10})\.")
# 2.3: %u, %08Xv; 2.4: %{uid | hex(8)}.
_VARIABLE = re.compile(
    r"%(?:(?P<width>0\d{1,2})?(?P<hex>X?)(?P<short>[uvfg])"
    r"|\{\s*(?P<long>uidvalidity|uid|filename|guid)\s*(?:\|\s*hex\((?P<digits>\d{1,2})\)\s*)?\}|(?P<other>%?))"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the uidlist says of one file."""

    uid: int
    pop3_uidl: str = ""
    pop3_order: int = 0
    guid: str = ""


@dataclass(frozen=True, slots=True)
class UidList:
    """Uidvalidity and, by base file name, what is known of each message."""

    uidvalidity: int = 0
    files: dict[str, Listed] = field(default_factory=dict)

    def uidl_of(self, base: str, uidl_format: str) -> str:
        """The UIDL that POP3 clients saw of a file; "" when Dovecot had not seen it yet."""
        listed = self.files.get(base)
        if listed is None:
            return ""
        return listed.pop3_uidl or _formatted(uidl_format, listed, self.uidvalidity, base)

    def order_of(self, base: str) -> tuple[int, float, int]:
        """By POP3 order where there is one, then by UID; what Dovecot had not seen comes last."""
        listed = self.files.get(base)
        return (0, listed.pop3_order or float("inf"), listed.uid) if listed else (1, 0, 0)


@dataclass(frozen=True, slots=True)
class MaildirMessage:
    """One file of a Maildir."""

    path: Path
    base: str
    octets: int
    received_at: datetime
    flags: str


def is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() or (path / "new").is_dir()


def subfolders(path: Path) -> Iterator[tuple[str, Path]]:
    """Maildir++: folders lie beside cur and new; a dot begins their names and parts their levels."""
    for folder in sorted(path.iterdir()):
        if folder.name.startswith(".") and folder.name.strip(".") and is_maildir(folder):
            yield folder.name[1:], folder


def kind_of(name: str) -> FolderKind | None:
    """Which of our folders a Maildir++ folder obviously is; None when it is the subscriber's own."""
    return KIND_OF.get(name.lower().removeprefix("inbox."))


def messages_in(path: Path, uids: UidList) -> list[MaildirMessage]:
    """All messages of one Maildir, in the order in which POP3 clients saw them, then in that of arrival."""
    files = (file for folder in ("new", "cur") for file in (path / folder).glob("*"))
    found = [_message(file) for file in files if not file.name.startswith(".") and file.is_file()]
    return sorted(found, key=lambda message: (uids.order_of(message.base), message.received_at, message.base))


def _message(file: Path) -> MaildirMessage:
    flags = _FLAGS.search(file.name)
    base = file.name[: flags.start()] if flags else file.name
    stat = file.stat()
    delivered = _DELIVERED.match(base)
    seconds = int(delivered[1]) if delivered else stat.st_mtime
    return MaildirMessage(
        file, base, stat.st_size, datetime.fromtimestamp(seconds, UTC), flags[1] if flags else ""
    )


def read_uidlist(path: Path) -> UidList:
    """The dovecot-uidlist of a Maildir. Invalid: not one of version 3."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        header = re.fullmatch(r"3 (?:.* )?V(\d+)(?: .*)?", next(lines, "").rstrip("\n"))
        if header is None:
            raise Invalid(f"{path}: not a dovecot-uidlist of version 3; --uidl-from none imports without it")
        files = dict(filter(None, map(_record, lines)))
    return UidList(int(header[1]), files)


def _record(line: str) -> tuple[str, Listed] | None:
    """One line; None when it was torn by a crash."""
    fields, colon, name = line.rstrip("\n").partition(" :")
    uid, *extensions = fields.split(" ")
    if not colon or not name or not uid.isdecimal():
        return None
    values = {extension[:1]: extension[1:] for extension in extensions}
    order = values.get("O", "")
    listed = Listed(
        int(uid), values.get("P", ""), int(order) if order.isdecimal() else 0, values.get("G", "")
    )
    return _FLAGS.sub("", name), listed


def check_uidl_format(uidl_format: str) -> None:
    """Invalid: a variable that is not known here."""
    _formatted(uidl_format, Listed(1), 1, "x")


def _formatted(uidl_format: str, listed: Listed, uidvalidity: int, base: str) -> str:
    values: dict[str, int | str] = {
        "u": listed.uid,
        "uid": listed.uid,
        "v": uidvalidity,
        "uidvalidity": uidvalidity,
        "f": base,
        "filename": base,
        "g": listed.guid or base,
        "guid": listed.guid or base,
    }

    def value(match: re.Match[str]) -> str:
        if match["other"] == "%":
            return "%"
        name = match["short"] or match["long"]
        if name is None:
            raise Invalid(
                f"--uidl-format {uidl_format!r}: knows %u %v %f %g, with 08 and X before the letter, "
                "and %{uid | hex(8)}"
            )
        found = values[name]
        width = int(match["width"] or match["digits"] or 0)
        if isinstance(found, str):
            return found
        return f"{found:0{width}x}" if match["hex"] or match["digits"] else f"{found:0{width}d}"

    return _VARIABLE.sub(value, uidl_format)
