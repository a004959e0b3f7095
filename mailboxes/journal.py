"""The journal of small contents: one sync makes durable what would need several for each file.

    add         the contents of a batch are written one behind the other into a file whose blocks are there
                already, and synced: nothing about that file changes but what is in it, so one write and one
                flush of the disk are all there is to wait for
    behind it   a thread files them: it writes each content to the file that is its own. Twice a minute, and
                when a file of the journal is full, all is synced at once (syncfs), and the file begins anew;
                meanwhile the other one is written to
    find        who looks for a content that is not filed yet finds it here, from any process
    recover     a file that no process holds is read when a door starts, and before a process reads its first
                content: what it has is filed where that is missing or torn, synced, and the file removed

Each process has a journal of its own, two files, held by a lock that ends with the process. A record is a
head (magic, length of the content, key, the run's number, CRC-32 of all that and of the content) and the
content. A run is what was written since the file began anew; it ends where a record has another number, or
is torn.
"""

import contextlib
import ctypes
import errno
import fcntl
import logging
import mmap
import os
import struct
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER = "journal"
# Octets of each of the two files: some 3,000 usual messages, seconds of mail at full speed.
SIZE = 16 * 1024 * 1024
# How long a content may wait for the sync of its file: as long as the kernel itself lets written data wait.
INTERVAL = 30.0
# How often contents are filed. Each at once, they would be in the way of the transactions beside them: making
# a file waits for the file system's journal, and has it wait.
PAUSE = 1.0

# A file that is being made, and how long that takes at the most.
NEW = ".new"
NEW_SECONDS = 60.0

# File systems of which syncfs says the truth, by their magic numbers (statfs(2)): ext2 to ext4, XFS, Btrfs,
# ZFS, F2FS, bcachefs, overlayfs, tmpfs. FUSE syncs nothing, and other machines of a network folder remember
# for seconds which files are not there.
TRUSTED = {0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1, 0xF2F52010, 0xCA451A4E, 0x794C7630, 0x01021994}

HEAD = struct.Struct(">4sI16sQI")
MAGIC = b"RJ01"

Entry = tuple[uuid.UUID, bytes]
# Writes a content to the file that is its own, where that is not what it should be: whether it was not.
File = Callable[[uuid.UUID, bytes], bool]


class Journal:
    """The journal of this process; `file` writes a content to its file, unsynced, and may do so again."""

    def __init__(self, root: Path, file: File) -> None:
        """OSError: there is no room, or no syncfs that can be relied upon."""
        root.mkdir(parents=True, exist_ok=True)
        # Whatever goes wrong behind what was written since this was opened, syncfs tells it.
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._files: list[_JournalFile] = []
        try:
            if kind_of_file_system(self._root) not in TRUSTED:
                raise OSError(errno.ENOTSUP, "no journal on a file system of this kind")
            for _ in range(2):
                self._files.append(_JournalFile(root / FOLDER))
            sync_file_system(self._root)
        except OSError:
            self._remove()
            raise
        self._file = file
        self._current = 0
        self._changed = threading.Condition()
        self._waiting: list[Entry] = []  # to be filed
        self._full = False  # the file that is not written to waits until all is filed and synced
        self._stuck = False  # something cannot be filed: no room, most of the time
        self._failed = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def add(self, entries: Sequence[Entry]) -> None:
        """Return when the contents are on the disk. OSError: they are not, and each needs a file at once."""
        with self._changed:
            if not self._files[self._current].has_room(entries):
                while self._full and not (self._failed or self._stuck):
                    self._changed.wait()
                if not self._full:
                    self._turn()
            if self._failed or self._stuck:
                raise OSError(errno.EIO, "the journal takes nothing now")
            try:
                self._files[self._current].write(entries)
            except OSError as error:
                # What lies behind a torn record would never be found again.
                self._fail(error)
                raise
            self._waiting += entries

    def close(self) -> None:
        """File and sync what there is, then remove the journal; what cannot be stays for the next start."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if not (self._waiting or self._stuck or self._failed) and self._synced():
            self._remove()

    def _remove(self) -> None:
        for file in self._files:
            file.remove()
        os.close(self._root)

    def _turn(self) -> None:
        """Go on with the other file."""
        self._current = 1 - self._current
        self._full = True
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._file_all()
        except BaseException as error:
            # Nobody files any more: who waits for that must not wait for ever.
            log.exception("journal thread_died")
            with self._changed:
                self._fail(error)
                self._changed.notify_all()

    def _file_all(self) -> None:
        synced_at = time.monotonic()
        while not (self._closing and not self._waiting):
            with self._changed:
                self._changed.wait_for(self._is_urgent, timeout=PAUSE)
                due = time.monotonic() - synced_at > INTERVAL and self._files[self._current].used > 0
                if due and not self._full:
                    self._turn()
                # Of the file that is full all are among these, or filed already.
                full, failed, entries, self._waiting = self._full, self._failed, self._waiting, []
            left = self._filed(entries)
            # Also after a write failed: it may have harmed the record before it, which has part of its block.
            done = (full or failed) and not left and self._synced()
            with self._changed:
                self._stuck = bool(left)
                self._waiting[:0] = left
                if done and full and not self._failed:
                    self._files[1 - self._current].begin_anew()
                    self._full, synced_at = False, time.monotonic()
                self._changed.notify_all()
                if (failed and not left) or (left and self._closing):
                    return

    def _is_urgent(self) -> bool:
        return self._closing or (self._full and not self._stuck)

    def _filed(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Write contents to their files; those that could not be."""
        for at, (key, data) in enumerate(entries):
            try:
                self._file(key, data)
            except OSError as error:
                if not self._stuck:
                    log.error("journal not_filed error=%s", error.strerror)
                return entries[at:]
        return []

    def _synced(self) -> bool:
        try:
            sync_file_system(self._root)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        """Take nothing any more. What was taken is there, and the next start files it again."""
        self._failed = True
        log.error("journal failed error=%s", getattr(error, "strerror", None) or type(error).__name__)


class _JournalFile:
    """One file of a journal, locked, of a fixed size, its blocks allocated and written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / uuid.uuid4().hex
        new = self._path.with_suffix(NEW)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(new, flags, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            write_all(self._descriptor, bytes(SIZE))
            os.fsync(self._descriptor)
            # It is locked before it has a name that `recover` looks for.
            os.rename(new, self._path)
            sync_folder(os.fspath(folder))
        except BaseException:
            os.close(self._descriptor)
            new.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
            raise
        self._run_number = _run_number()
        self.used = 0

    def has_room(self, entries: Sequence[Entry]) -> bool:
        return self.used + sum(HEAD.size + len(data) for _, data in entries) <= SIZE

    def write(self, entries: Sequence[Entry]) -> None:
        record = b"".join([part for key, data in entries for part in self._record(key, data)])
        if self.used + len(record) > SIZE:
            raise OSError(errno.EFBIG, "more than a journal holds")
        done = os.pwrite(self._descriptor, record, self.used)
        while done < len(record):
            done += os.pwrite(self._descriptor, memoryview(record)[done:], self.used + done)
        os.fdatasync(self._descriptor)
        self.used += len(record)

    def _record(self, key: uuid.UUID, data: bytes) -> tuple[bytes, bytes]:
        head = HEAD.pack(MAGIC, len(data), key.bytes, self._run_number, 0)
        return HEAD.pack(
            MAGIC, len(data), key.bytes, self._run_number, zlib.crc32(data, zlib.crc32(head))
        ), data

    def begin_anew(self) -> None:
        # Not synced: if it is lost, contents are written again that are there.
        os.pwrite(self._descriptor, bytes(HEAD.size), 0)
        self._run_number = _run_number()
        self.used = 0

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def open_in(root: Path, file: File) -> Journal | None:
    """A journal in a content folder, None when there is no room for one."""
    try:
        return Journal(root, file)
    except OSError as error:
        log.warning("journal not_opened error=%s", error.strerror)
        return None


def find(root: Path, key: uuid.UUID) -> bytes | None:
    """A content that is not filed yet, from whatever process has taken it."""
    for path in _paths(root):
        # One that is being made may be empty, and one that is given up is gone.
        with (
            contextlib.suppress(FileNotFoundError, ValueError),
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as octets,
        ):
            # Heads only are looked at: of 16 MiB some pages.
            for _, data in entries_of(octets, key):
                return data
    return None


def recover(root: Path, file: File) -> int:
    """File the contents of journals that nobody holds, and remove those: how many were not as they should be.

    When another process is at it, wait: until then there may be torn files. OSError: a journal stays until
    all that it holds could be written; the others are recovered all the same.
    """
    restored, failed = 0, None
    with _alone(root / FOLDER):
        for path in _paths(root):
            try:
                if _is_ours(path):
                    restored += _recover(path, file)
            except OSError as error:
                failed = error
    if restored:
        log.warning("journal contents_restored=%d", restored)
    if failed is not None:
        raise failed
    return restored


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield  # there was never a journal
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_ours(path: Path) -> bool:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return False  # it was given up meanwhile
    # One that is being made has no lock yet. And what root writes, the doors could not read.
    is_new = path.suffix == NEW and facts.st_mtime >= time.time() - NEW_SECONDS
    return facts.st_uid == os.geteuid() and not is_new


def _paths(root: Path) -> list[Path]:
    folder = root / FOLDER
    return sorted(folder.glob("*")) if folder.is_dir() else []


def _recover(path: Path, file: File) -> int:
    try:
        taken = open(path, "r+b")  # noqa: SIM115  # the next block closes it
    except FileNotFoundError:
        return 0  # its process has given it up
    with taken:
        try:
            fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # its process lives
        restored, failed = 0, None
        for key, data in entries_of(taken.read()):
            try:
                restored += file(key, data)
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed
        # Also what was as it should be: after a process died, only the kernel may have it.
        sync_file_system(taken.fileno())
        path.unlink(missing_ok=True)
    return restored


def entries_of(octets: bytes | mmap.mmap, wanted: uuid.UUID | None = None) -> Iterator[Entry]:
    """What the last run of a journal file has, as far as it is whole; with `wanted`, of that key only."""
    at, run = 0, 0
    while at + HEAD.size <= len(octets):
        magic, length, key, number, checksum = HEAD.unpack_from(octets, at)
        start, at = at + HEAD.size, at + HEAD.size + length
        if magic != MAGIC or at > len(octets) or number != (run or number):
            return
        run = number
        if wanted is None or key == wanted.bytes:
            data = octets[start:at]
            if zlib.crc32(data, zlib.crc32(HEAD.pack(magic, length, key, number, 0))) != checksum:
                return
            yield uuid.UUID(bytes=key), data


def _run_number() -> int:
    return int.from_bytes(os.urandom(8), "big") | 1


def sync_file_system(descriptor: int) -> None:
    """syncfs(2): everything on the file system of a file, names and folders included, by one commit."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        raise OSError(errno.ENOSYS, "this system has no syncfs")
    if libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def kind_of_file_system(descriptor: int) -> int:
    """f_type of fstatfs(2), which on Linux is the first word of what that fills in."""
    facts = ctypes.create_string_buffer(1024)
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, facts) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ctypes.c_long.from_buffer(facts).value & 0xFFFFFFFF


def write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
