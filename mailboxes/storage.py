"""Where message bytes lie: written once by a spool, kept under a key, read until the sweep removes them.

A key is a UUID of version 7 (RFC 9562 section 5.7): it begins with the time, so that what arrived together
lies together and a backup finds what is new in a few folders.
"""

import contextlib
import errno
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, cast

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages

from mailboxes.content_folder import FOLDER_DIGITS as FOLDER_DIGITS
from mailboxes.content_folder import SPOOL, ContentFolder
from mailboxes.exceptions import ContentMissing, StoreFull, StoreUnavailable
from mailboxes.journal import write_all

# Below this a message waits in memory and reaches the disk in one write; above it, it streams to a file.
IN_MEMORY = 256 * 1024
# Facts (subject, sender, ...) are read from the first octets of a message only, however large it is.
HEAD = 64 * 1024
READ_CHUNK = 256 * 1024
FULL = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)

_FOLDER_NAME = re.compile(rf"[0-9a-f]{{{FOLDER_DIGITS}}}")
_KEY_NAME = re.compile(r"[0-9a-f]{32}")


def new_key() -> uuid.UUID:
    """A key that sorts by time and is never given twice (48 bits of milliseconds, 74 random bits)."""
    value = (time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def key_of_moment(moment: datetime) -> uuid.UUID:
    """The least key of a moment: keys of later content are greater."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def name_of(key: uuid.UUID) -> str:
    digits = key.hex
    return f"{digits[:FOLDER_DIGITS]}/{digits}"


def _storage() -> Storage:
    return storages["content"]


class Spool:
    """The wire form of one message while it arrives: memory at first, a file when it grows.

    `wire_octets` counts what was written; `head` is the beginning, for the facts that a list needs.
    """

    def __init__(self) -> None:
        self.wire_octets = 0
        self._parts: list[bytes] = []
        self._file: BinaryIO | None = None
        self._head = b""

    @property
    def head(self) -> bytes:
        return self._head or b"".join(self._parts)[:HEAD]

    @property
    def waiting(self) -> int:
        """Octets in memory; when they pass `IN_MEMORY`, call `flush` where waiting for the disk is right."""
        return self.wire_octets if self._file is None else sum(map(len, self._parts))

    def add(self, data: bytes) -> None:
        """Take more bytes, in memory."""
        self._parts.append(data)
        self.wire_octets += len(data)

    def flush(self) -> None:
        """Move what waits in memory to the file. StoreFull, StoreUnavailable."""
        with storage_errors():
            if self._file is None:
                self._head = self.head
                self._file = _new_spool_file()
            write_all(self._file.fileno(), b"".join(self._parts))
            self._parts.clear()

    @property
    def in_memory(self) -> bool:
        """Nothing of the message is in a file."""
        return self._file is None

    def keep(self) -> uuid.UUID:
        """Make the message durable and say its key. StoreFull, StoreUnavailable; then nothing is kept."""
        [kept] = keep_together([self])
        if isinstance(kept, uuid.UUID):
            return kept
        raise kept

    def keep_alone(self, storage: Storage) -> uuid.UUID:
        key = new_key()
        self._head = self.head
        try:
            with storage_errors():
                if isinstance(storage, ContentFolder):
                    self.flush()
                    assert self._file is not None
                    storage.adopt(key, self._file)
                else:
                    self._upload(storage, key)
        finally:
            self.discard()
        return key

    def take(self) -> bytes:
        """All of a message that is in memory, which is then empty but for its head."""
        self._head = self.head
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    def discard(self) -> None:
        """Forget the message; whatever was spooled of it goes."""
        self._parts.clear()
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)
            self._file = None

    def _upload(self, storage: Storage, key: uuid.UUID) -> None:
        if self._file is None:
            self.flush()
        assert self._file is not None
        self._file.seek(0)
        storage.save(name_of(key), File(cast("IO[bytes]", self._file)))


def keep_together(spools: Sequence[Spool]) -> list[uuid.UUID | StoreFull | StoreUnavailable]:
    """Make messages durable: the key of each, or why it was not kept. Small ones share what they can."""
    storage = _storage()
    together = [isinstance(storage, ContentFolder) and spool.in_memory for spool in spools]
    small = [(new_key(), spool.take()) for spool, one in zip(spools, together, strict=True) if one]
    errors = storage.write(small) if isinstance(storage, ContentFolder) and small else []
    written = (_fault(error) if error else key for (key, _), error in zip(small, errors, strict=True))
    return [
        next(written) if one else _kept_alone(spool, storage)
        for spool, one in zip(spools, together, strict=True)
    ]


def _kept_alone(spool: Spool, storage: Storage) -> uuid.UUID | StoreFull | StoreUnavailable:
    try:
        return spool.keep_alone(storage)
    except (StoreFull, StoreUnavailable) as error:
        return error


def _new_spool_file() -> BinaryIO:
    folder = _spool_folder()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    # Without a buffer, so that closing it has nothing to write and cannot fail on a full disk.
    return cast("BinaryIO", open(name, "r+b", buffering=0))


def _spool_folder() -> Path:
    """Beside the content where that is a folder, so that keeping a message is a rename."""
    storage = _storage()
    return Path(storage.location) / SPOOL if isinstance(storage, ContentFolder) else settings.SPOOL_ROOT


class storage_errors:  # reads as a phrase: with storage_errors():
    """Turns what the storage raises into StoreFull or StoreUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreFull | StoreUnavailable | ContentMissing) or not isinstance(
            error, Exception
        ):
            return
        raise _fault(error) from error


def _fault(error: Exception) -> StoreFull | StoreUnavailable:
    if isinstance(error, OSError) and error.errno in FULL:
        return StoreFull("no room for content")
    return StoreUnavailable(f"content storage: {type(error).__name__}")


def open_content(key: uuid.UUID | str) -> int:
    """A file descriptor at the beginning of a content, whose key may be given as its 32 digits; the caller
    closes it.

    ContentMissing, StoreUnavailable. From storage that has no files the content is fetched into a nameless
    temporary file first, so that a reader that is slow holds disk, not memory, and what is missing is known
    before anything is promised.
    """
    storage = _storage()
    if isinstance(storage, ContentFolder):
        if not storage.is_recovered:
            recover()
        try:
            return os.open(storage.path_of(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreUnavailable(f"content storage: {type(error).__name__}") from error
    return _open_elsewhere(storage, key if isinstance(key, uuid.UUID) else uuid.UUID(hex=key))


def _open_elsewhere(storage: Storage, key: uuid.UUID) -> int:
    try:
        if isinstance(storage, ContentFolder):
            return _open_unfiled(storage, key)
        with storage.open(name_of(key)) as remote, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(remote, copy, READ_CHUNK)
            copy.seek(0)
            return os.dup(copy.fileno())
    except FileNotFoundError as error:
        if not isinstance(storage, ContentFolder):
            # S3 says the same of a bucket that is not there, and that is a wrong setting, not lost mail.
            with storage_errors(), contextlib.suppress(FileNotFoundError):
                storage.listdir(name_of(key).partition("/")[0])
        raise ContentMissing(key.hex) from error
    except Exception as error:
        raise StoreUnavailable(f"content storage: {type(error).__name__}") from error


def _open_unfiled(folder: ContentFolder, key: uuid.UUID) -> int:
    """What came a moment ago, and has no file yet."""
    if (data := folder.find_unfiled(key)) is None:
        return os.open(folder.path_of(key), os.O_RDONLY | os.O_CLOEXEC)  # it has one by now, or is missing
    with tempfile.TemporaryFile() as copy:
        copy.write(data)
        copy.seek(0)
        return os.dup(copy.fileno())


def open_journal() -> None:
    """This process takes mail in, in numbers: what is small shares a journal, where content is a folder."""
    storage = _storage()
    if isinstance(storage, ContentFolder):
        storage.open_journal()


def close_journal() -> None:
    """The end of that: what the journal holds is synced."""
    storage = _storage()
    if isinstance(storage, ContentFolder):
        storage.close_journal()


def recover() -> None:
    """Write anew what a machine that died had taken and not synced yet. For the start of a door; any other
    process does it before it opens its first content."""
    storage = _storage()
    if isinstance(storage, ContentFolder):
        try:
            storage.recover()
        except OSError as error:
            log.error("content not_recovered error=%s", error.strerror)


def is_local() -> bool:
    """Whether content lies in a folder of this machine: then opening it waits for nobody."""
    return isinstance(_storage(), ContentFolder)


def local_path(key: uuid.UUID) -> str | None:
    """The path of a content where content lies in a folder, else None."""
    storage = _storage()
    return storage.path_of(key) if isinstance(storage, ContentFolder) else None


def read_content(key: uuid.UUID) -> Iterator[bytes]:
    """The wire form of a content, chunk by chunk. ContentMissing, StoreUnavailable."""
    with open(open_content(key), "rb") as file:
        while chunk := file.read(READ_CHUNK):
            yield chunk


def remove_content(key: uuid.UUID) -> None:
    """Remove the bytes; that they are gone already is no error. StoreUnavailable."""
    with storage_errors():
        _storage().delete(name_of(key))


def folders() -> list[str]:
    """The names of the folders that content lies in, oldest first; none before the first mail came."""
    with storage_errors():
        try:
            names, _ = _storage().listdir("")
        except FileNotFoundError:
            return []
    return sorted(name for name in names if _FOLDER_NAME.fullmatch(name))


def keys_in(folder: str) -> list[uuid.UUID]:
    """The keys of the contents in one folder; files that are none of ours are passed over."""
    with storage_errors():
        _, names = _storage().listdir(folder)
    return [uuid.UUID(hex=name) for name in names if _KEY_NAME.fullmatch(name)]


def remove_folder(folder: str) -> None:
    """Remove a content folder that has become empty; one that has not stays."""
    storage = _storage()
    if isinstance(storage, ContentFolder):
        with contextlib.suppress(OSError):
            os.rmdir(f"{storage.location}/{folder}")


def remove_stale_spool(before: float) -> int:
    """Remove spooled files that a dead process left, last written before a time (seconds of the epoch)."""
    folder = _spool_folder()
    removed = 0
    for path in folder.glob("*") if folder.is_dir() else ():
        # One that has arrived meanwhile was renamed away.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def answers() -> bool:
    """Whether content can be kept and read now, as far as asking shows it."""
    storage = _storage()
    try:
        if isinstance(storage, ContentFolder):
            os.makedirs(storage.location, exist_ok=True)
            return os.access(storage.location, os.R_OK | os.W_OK | os.X_OK)
        storage.listdir("0" * FOLDER_DIGITS)
    except Exception:  # noqa: BLE001  # each storage has errors of its own; all mean that it does not answer
        return False
    return True
