"""Content in a folder of this machine: a message's bytes are on the disk before anything refers to them.

A small message goes into the journal, together with those that came at the same moment, and into its file a
moment later (mailboxes/journal.py). Without a journal, and for what is large, it goes into its file, which is
synced at once.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import BinaryIO

from django.core.files.storage import FileSystemStorage

from mailboxes import journal
from mailboxes.journal import Journal, sync_folder, write_all

# The first hex digits of a key name its folder: 2^20 ms, 17 minutes of mail, 30,000 folders a year.
FOLDER_DIGITS = 7
# Threads that wait for the disk, and do nothing else: as many files as are usually synced together.
WAITERS = 16
# Mail is its owner's alone: no group, no others.
FILE_MODE = 0o600
# What arrives, until it is whole; what a dead process left there goes with the sweep.
SPOOL = "spool"
# Beyond, writing a message twice costs more than a sync of its own.
JOURNALED_MAX = 64 * 1024
# How often a folder is made that a sweep removes again at that moment.
FOLDER_TRIES = 5


class ContentFolder(FileSystemStorage):
    """One folder, with a folder in it for each 17 minutes; `journal/` is the journals' own."""

    def __init__(self, location: str | Path) -> None:
        super().__init__(location=location)
        # Keys follow the clock, so the folder made last is the one that is written to.
        self._made = ""
        # Whether this process may read: what a dead machine left torn is whole again.
        self.is_recovered = False
        self._journal: Journal | None = None

    def path_of(self, key: uuid.UUID | str) -> str:
        digits = key if isinstance(key, str) else key.hex
        return f"{self.location}/{digits[:FOLDER_DIGITS]}/{digits}"

    def adopt(self, key: uuid.UUID, spooled: BinaryIO) -> None:
        """Take a spooled file in: rename, then sync the file and its folder."""
        path = self.path_of(key)
        folder = os.path.dirname(path)
        self._make(folder)
        os.rename(spooled.name, path)
        with _removed_on_error(path):
            os.fdatasync(spooled.fileno())
            sync_folder(folder)

    def write(self, contents: Sequence[tuple[uuid.UUID, bytes]]) -> list[OSError | None]:
        """Write small contents: None, or why not, for each, of which nothing then is left.

        Nothing refers to the keys yet, so a torn file is only an orphan.
        """
        entered = self._enter([(key, data) for key, data in contents if len(data) <= JOURNALED_MAX])
        files = [_File(self.path_of(key), data) for key, data in contents if key not in entered]
        try:
            for file in files:
                file.attempt(self._begin)
            _at_once(_File.sync, files)
        finally:
            for file in files:
                file.close()
        for folder in {file.folder for file in files}:
            try:
                sync_folder(folder)
            except OSError as error:
                for file in files:
                    if file.folder == folder:
                        file.fail(error)
        written = iter(files)
        return [None if key in entered else next(written).error for key, _ in contents]

    def _enter(self, contents: Sequence[tuple[uuid.UUID, bytes]]) -> set[uuid.UUID]:
        """Let the journal have contents: the keys of those that it has taken, all or none."""
        if self._journal is None or not contents:
            return set()
        try:
            self._journal.add(contents)
        except OSError:
            return set()
        return {key for key, _ in contents}

    def find_unfiled(self, key: uuid.UUID) -> bytes | None:
        """A content that a journal has and no file yet."""
        return journal.find(Path(self.location), key)

    def _begin(self, file: "_File") -> None:
        self._make(file.folder)
        file.write()

    def _make(self, folder: str) -> None:
        if folder == self._made:
            return
        os.makedirs(folder, exist_ok=True)
        sync_folder(os.fspath(self.location))
        if not self._made:
            sync_folder(os.path.dirname(os.fspath(self.location)))
        self._made = folder

    # The journal.

    def open_journal(self) -> None:
        """Keep a journal from now on; without room for one, each file is synced by itself."""
        self._journal = journal.open_in(Path(self.location), self._file)

    def close_journal(self) -> None:
        """Sync what the journal still holds, and remove it."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def recover(self) -> int:
        """File what journals hold that no living process keeps: how many contents had no file, or a torn one.
        After a process died those are its last ones; after the machine did, all that were not synced yet."""
        try:
            return journal.recover(Path(self.location), self._file)
        finally:
            self.is_recovered = True

    def _file(self, key: uuid.UUID, data: bytes) -> bool:
        """Make the file of a key what it should be; False when it is that already."""
        path = self.path_of(key)
        with contextlib.suppress(FileNotFoundError):
            with open(path, "rb") as file:
                # As the disk has it: after a failed sync the kernel goes on showing what it could not write.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                if file.read() == data:
                    return False
            # Until it can be written anew, whoever looks for it finds it in the journal.
            os.unlink(path)
        # Whole before it has its name: somebody may be looking for it.
        spooled = f"{self.location}/{SPOOL}/{key.hex}"
        try:
            descriptor = os.open(spooled, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(spooled), exist_ok=True)
            return self._file(key, data)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        for again in range(FOLDER_TRIES, 0, -1):
            try:
                self._make(os.path.dirname(path))
                os.rename(spooled, path)
                break
            except FileNotFoundError:
                self._made = ""  # the sweep has removed the folder, which was empty
                if again == 1:
                    raise
        return True


class _File:
    """A small content on its way to the disk; the first error ends it, and what was written of it goes."""

    __slots__ = ("_data", "_descriptor", "_made", "error", "folder", "path")

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.folder = os.path.dirname(path)
        self.error: OSError | None = None
        self._data = data
        self._descriptor = -1
        self._made = False

    def attempt(self, step: Callable[["_File"], None]) -> None:
        if self.error is None:
            try:
                step(self)
            except OSError as error:
                self.fail(error)

    def write(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, FILE_MODE)
        self._made = True
        write_all(self._descriptor, self._data)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def fail(self, error: OSError) -> None:
        self.error = self.error or error
        if self._made:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


@contextlib.contextmanager
def _removed_on_error(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _at_once(step: Callable[[_File], None], files: Sequence[_File]) -> None:
    """Take a step that waits for the disk with several files, in as many threads: one commit of the file
    system's journal serves them all, where one after the other takes ten times as long on a busy disk."""
    if len(files) == 1:
        files[0].attempt(step)
    elif files:
        list(_waiters().map(lambda file: file.attempt(step), files))


@cache
def _waiters() -> ThreadPoolExecutor:
    # Made at first use, when no process forks any more.
    return ThreadPoolExecutor(WAITERS, thread_name_prefix="disk")
