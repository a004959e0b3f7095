"""The journal of small contents: what it has taken outlasts the machine, and it is never in the way."""

import errno
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from hypothesis import given, settings
from hypothesis import strategies as st

from mailboxes import journal, storage
from mailboxes.content_folder import FOLDER_DIGITS, JOURNALED_MAX, ContentFolder
from mailboxes.exceptions import ContentMissing
from mailboxes.journal import FOLDER, NEW, NEW_SECONDS, Entry, Journal, entries_of, write_all
from mailboxes.storage import Spool, keep_together, new_key, read_content

pytestmark = pytest.mark.once

PATIENCE = 180.0  # only a test that fails waits so long
SMALL = b"Subject: x\r\n\r\nHello\r\n"


def spooled(data: bytes) -> Spool:
    spool = Spool()
    spool.add(data)
    return spool


def kept(contents: Sequence[bytes]) -> list[uuid.UUID]:
    keys = keep_together([spooled(data) for data in contents])
    assert all(isinstance(key, uuid.UUID) for key in keys)
    return [key for key in keys if isinstance(key, uuid.UUID)]


def content(key: uuid.UUID) -> bytes:
    return b"".join(read_content(key))


def folder() -> ContentFolder:
    found = storages["content"]
    assert isinstance(found, ContentFolder)
    return found


def journal_files(root: Path) -> list[Path]:
    return sorted((root / FOLDER).glob("*"))


def died(work: Callable[[], object]) -> None:
    """Do something in a process that is killed when it is done."""
    if (child := os.fork()) == 0:
        try:
            work()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it failed before it was killed"


@pytest.fixture
def journaled(content_root: Path) -> Iterator[Path]:
    storage.open_journal()
    yield content_root
    storage.close_journal()


@pytest.fixture
def unfiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Nothing is filed until this is called."""
    may = threading.Event()
    real = ContentFolder._file

    def file(self: ContentFolder, key: uuid.UUID, data: bytes) -> bool:
        assert may.wait(PATIENCE)
        return real(self, key, data)

    monkeypatch.setattr(ContentFolder, "_file", file)
    return may.set


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def filed(data: bytes) -> uuid.UUID:
    [key] = kept([data])
    wait_for(lambda: has_file(key))
    return key


def has_file(key: uuid.UUID) -> bool:
    return Path(str(storage.local_path(key))).exists()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced from now on. All keys are of one folder, whatever the clock says meanwhile."""
    done: list[str] = []
    folder_name = new_key().hex[:FOLDER_DIGITS]
    monkeypatch.setattr(storage, "new_key", lambda: uuid.UUID(folder_name + new_key().hex[FOLDER_DIGITS:]))
    for call in ("fdatasync", "fsync"):
        real = getattr(os, call)

        def noted(descriptor: int, call: str = call, real: Any = real) -> None:
            done.append(f"{call} {Path(os.readlink(f'/proc/self/fd/{descriptor}')).parent.name}")
            real(descriptor)

        monkeypatch.setattr(os, call, noted)
    return done


def test_messages_that_come_together_share_one_sync(journaled: Path, synced: list[str]) -> None:
    contents = [SMALL + b"%d\r\n" % n for n in range(20)]
    assert [content(key) for key in kept(contents)] == contents
    assert synced[0] == f"fdatasync {FOLDER}"
    assert [name for name in synced if name.startswith("fdatasync")] == synced[:1]


def test_what_has_no_file_yet_is_found_by_every_process(unfiled: Callable[[], None], journaled: Path) -> None:
    contents = [SMALL + b"%d\r\n" % n for n in range(20)]
    keys = kept(contents)
    assert not any(map(has_file, keys))
    assert [content(key) for key in keys] == contents
    with pytest.raises(ContentMissing):
        content(new_key())
    unfiled()
    wait_for(lambda: all(map(has_file, keys)))
    assert [content(key) for key in keys] == contents


def test_a_reader_never_finds_half_a_file(journaled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = journal.write_all
    seen: list[bytes] = []

    def looked_at(descriptor: int, data: bytes) -> None:
        seen.extend(map(content, keys))
        real(descriptor, data[:5])
        seen.extend(map(content, keys))
        real(descriptor, data[5:])

    keys: list[uuid.UUID] = []
    monkeypatch.setattr("mailboxes.content_folder.write_all", looked_at)
    with folder()._journal._changed:  # type: ignore[union-attr]
        keys += kept([SMALL])
    wait_for(lambda: has_file(keys[0]))
    assert seen == [SMALL, SMALL]


def test_what_cannot_be_filed_is_tried_again_and_refuses_no_mail(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.05)
    real, tries = ContentFolder._file, []
    room = threading.Event()

    def file(self: ContentFolder, key: uuid.UUID, data: bytes) -> bool:
        tries.append(key)
        if not room.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, key, data)

    monkeypatch.setattr(ContentFolder, "_file", file)
    storage.open_journal()
    [first] = kept([SMALL])
    wait_for(lambda: len(tries) >= 2)
    # Meanwhile each has a file of its own, or an honest error.
    [second] = kept([SMALL])
    assert has_file(second)
    room.set()
    wait_for(lambda: has_file(first))
    wait_for(lambda: not folder()._journal._stuck)  # type: ignore[union-attr]
    [third] = kept([SMALL])
    assert content(first) == content(second) == content(third) == SMALL
    storage.close_journal()


def test_what_is_large_has_a_sync_of_its_own(journaled: Path, synced: list[str]) -> None:
    filed(SMALL)  # so that the folder is there
    synced.clear()
    large = b"x" * (JOURNALED_MAX + 1)
    small, great = kept([SMALL, large])
    assert [name.split()[0] for name in synced] == ["fdatasync", "fdatasync", "fsync"]
    assert (content(small), content(great)) == (SMALL, large)


@pytest.mark.parametrize("harm", ["gone", "empty", "torn", "zeros", "none"])
def test_what_a_dead_machine_had_not_synced_is_written_again(content_root: Path, harm: str) -> None:
    keys = content_root / "keys"

    def work() -> None:
        storage.open_journal()
        given = [kept([SMALL + b"%d.%d\r\n" % (turn, n) for n in range(5)]) for turn in range(4)]
        wait_for(lambda: all(has_file(key) for of_turn in given for key in of_turn))
        keys.write_text("\n".join(key.hex for of_turn in given for key in of_turn))

    died(work)
    files = {uuid.UUID(text): storage.local_path(uuid.UUID(text)) for text in keys.read_text().split()}
    for path in map(Path, filter(None, files.values())):
        if harm == "gone":
            path.unlink()
        elif harm != "none":
            octets = path.read_bytes()
            path.write_bytes({"empty": b"", "torn": octets[:9], "zeros": bytes(len(octets))}[harm])
    assert len(journal_files(content_root)) == 2
    assert folder().recover() == (0 if harm == "none" else 20)
    expected = [SMALL + b"%d.%d\r\n" % (turn, n) for turn in range(4) for n in range(5)]
    assert [content(key) for key in files] == expected
    assert all(os.stat(str(path)).st_mode & 0o777 == 0o600 for path in files.values())
    assert journal_files(content_root) == []
    assert folder().recover() == 0


def test_the_journal_of_a_living_process_is_left_alone(journaled: Path) -> None:
    [key] = kept([SMALL])
    before = journal_files(journaled)
    assert len(before) == 2
    assert folder().recover() == 0
    assert journal_files(journaled) == before
    assert content(key) == SMALL


def test_one_that_was_never_finished_is_removed_after_a_while(content_root: Path) -> None:
    (content_root / FOLDER).mkdir(parents=True)
    new = (content_root / FOLDER / "0").with_suffix(NEW)
    new.write_bytes(b"")
    folder().recover()
    assert journal_files(content_root) == [new]
    os.utime(new, (0, time.time() - NEW_SECONDS - 1))
    folder().recover()
    assert journal_files(content_root) == []


def test_a_full_journal_goes_on_in_the_other_file(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SIZE", 4_000)
    times = []
    real = journal.sync_file_system

    def noted(descriptor: int) -> None:
        times.append(1)
        real(descriptor)

    monkeypatch.setattr(journal, "sync_file_system", noted)
    storage.open_journal()
    contents = [bytes([65 + n % 26]) * 700 for n in range(60)]
    keys = [kept([data])[0] for data in contents]
    assert [content(key) for key in keys] == contents
    assert len(times) >= 10
    storage.close_journal()
    assert journal_files(content_root) == []


def test_what_has_waited_long_enough_is_synced_though_nothing_more_comes(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.05)
    monkeypatch.setattr(journal, "INTERVAL", 0.05)
    storage.open_journal()
    kept([SMALL])
    wait_for(lambda: not any(list(entries_of(path.read_bytes())) for path in journal_files(content_root)))
    storage.close_journal()


def test_a_journal_that_fails_refuses_no_mail(
    journaled: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filed(SMALL)
    with monkeypatch.context() as patch:

        def fails(*_: object) -> int:
            raise OSError(errno.EIO, "no")

        patch.setattr(os, "pwrite", fails)
        synced.clear()
        [key] = kept([SMALL])
    assert [name.split()[0] for name in synced] == ["fdatasync", "fsync"]
    # Nor does it take anything any more: behind a torn record it would not be found.
    [later] = kept([SMALL])
    assert [name.split()[0] for name in synced] == ["fdatasync", "fsync"] * 2
    assert content(key) == content(later) == SMALL


def test_files_that_cannot_be_synced_stay_in_the_journal(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.open_journal()
    [key] = kept([SMALL])

    def fails(descriptor: int) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "sync_file_system", fails)
        storage.close_journal()
    found = [entry for path in journal_files(content_root) for entry in entries_of(path.read_bytes())]
    assert found == [(key, SMALL)]


def test_without_room_for_a_journal_each_file_is_synced(
    content_root: Path, monkeypatch: pytest.MonkeyPatch, synced: list[str]
) -> None:
    def full(descriptor: int, data: bytes) -> None:
        if len(data) > 1_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, data)

    monkeypatch.setattr(journal, "write_all", full)
    storage.open_journal()
    assert journal_files(content_root) == []
    kept([SMALL])
    synced.clear()
    [key] = kept([SMALL])
    assert content(key) == SMALL
    assert [name.split()[0] for name in synced] == ["fdatasync", "fsync"]


# -- what a file of the journal says ------------------------------------------------------------


def written(root: Path, *batches: Sequence[Entry]) -> bytes:
    """The file that these batches are written to, one after the other."""
    root.mkdir(exist_ok=True)
    one = Journal(root, lambda key, data: True)
    for batch in batches:
        one.add(batch)
    found = max((path.read_bytes() for path in journal_files(root)), key=lambda octets: octets[:4])
    one.close()
    return found


entries = st.lists(st.tuples(st.uuids(), st.binary(max_size=200)), max_size=12)


@settings(deadline=None, max_examples=40)
@given(st.lists(entries, max_size=4), st.data())
def test_what_was_written_is_read_up_to_where_it_is_torn(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Entry]], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "SIZE", 20_000)
        octets = written(tmp_path_factory.mktemp("journal"), *batches)
    everything = [entry for batch in batches for entry in batch]
    assert list(entries_of(octets)) == everything
    used = sum(journal.HEAD.size + len(content) for _, content in everything)
    at = data.draw(st.integers(0, max(used - 1, 0)))
    torn = octets[:at] + bytes([octets[at] ^ 0xFF]) + octets[at + 1 :]
    ends, whole = 0, 0
    for _, content in everything:
        ends += journal.HEAD.size + len(content)
        whole += ends <= at
    assert list(entries_of(torn)) == everything[:whole]


def test_an_older_run_behind_a_new_one_is_not_read(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SIZE", 4_000)
    file = journal._JournalFile(content_root / FOLDER)
    old = [(new_key(), b"old" * 100) for _ in range(5)]
    file.write(old)
    [path] = journal_files(content_root)
    assert list(entries_of(path.read_bytes())) == old
    file.begin_anew()
    assert list(entries_of(path.read_bytes())) == []
    # As long as the old one that it replaces: the next old head stands where one would be read.
    new = [(new_key(), b"new" * 100)]
    file.write(new)
    assert list(entries_of(path.read_bytes())) == new
    file.remove()


# -- when something is wrong --------------------------------------------------------------------


def dead_with(root: Path, count: int = 3) -> list[uuid.UUID]:
    """What a process had taken, and filed, that is dead now."""
    keys = root / "keys"

    def work() -> None:
        storage.open_journal()
        given = kept([SMALL + b"%d\r\n" % n for n in range(count)])
        wait_for(lambda: all(map(has_file, given)))
        keys.write_text("\n".join(key.hex for key in given))

    died(work)
    return [uuid.UUID(text) for text in keys.read_text().split()]


def test_nobody_reads_what_a_dead_machine_left_torn(content_root: Path) -> None:
    """No door was started yet: the webmail and the worker read, too."""
    [key] = dead_with(content_root, 1)
    Path(str(storage.local_path(key))).write_bytes(b"")
    assert content(key) == SMALL + b"0\r\n"
    assert journal_files(content_root) == []


def test_who_starts_while_another_recovers_waits_for_it(content_root: Path) -> None:
    [key] = dead_with(content_root, 1)
    path = Path(str(storage.local_path(key)))
    path.write_bytes(b"")
    seen: list[bytes] = []
    with journal._alone(content_root / FOLDER):
        reader = threading.Thread(target=lambda: seen.append(content(key)))
        reader.start()
        reader.join(0.3)
        assert seen == []
        path.unlink()
    reader.join()
    assert seen == [SMALL + b"0\r\n"]


def test_one_torn_file_that_cannot_be_written_hides_nothing(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = dead_with(content_root)
    for key in keys[:2]:
        Path(str(storage.local_path(key))).write_bytes(b"torn")

    def full(descriptor: int, data: bytes) -> None:
        if data.endswith(b"0\r\n"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr("mailboxes.content_folder.write_all", full)
        with pytest.raises(OSError, match="No space"):
            folder().recover()
        assert [has_file(key) for key in keys] == [False, True, True]
        assert [content(key) for key in keys] == [SMALL + b"%d\r\n" % n for n in range(3)]
    assert folder().recover() == 1
    assert journal_files(content_root) == []


def test_root_leaves_the_journals_of_others_alone(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_with(content_root)
    real = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: real + 1)
        assert folder().recover() == 0
        assert len(journal_files(content_root)) == 2
    folder().recover()
    assert journal_files(content_root) == []


def test_where_syncfs_cannot_be_relied_upon_each_file_is_synced(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content_root.mkdir()
    nfs = 0x6969
    monkeypatch.setattr(journal, "kind_of_file_system", lambda descriptor: nfs)
    storage.open_journal()
    assert journal_files(content_root) == []
    [key] = kept([SMALL])
    assert has_file(key)


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError()])
def test_a_thread_that_dies_loses_nothing_and_keeps_nobody_waiting(
    content_root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.05)

    def fails(self: ContentFolder, key: uuid.UUID, data: bytes) -> bool:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ContentFolder, "_file", fails)
        storage.open_journal()
        living = folder()._journal
        assert living is not None
        [first] = kept([SMALL])
        living._thread.join(PATIENCE)
        [second] = kept([SMALL])
        assert has_file(second)
        storage.close_journal()
    assert content(first) == SMALL
    assert len(journal_files(content_root)) == 2


def test_without_room_for_the_second_file_the_first_goes(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = journal.write_all, []

    def full(descriptor: int, data: bytes) -> None:
        made.append(len(data))
        if len(made) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, data)

    monkeypatch.setattr(journal, "write_all", full)
    storage.open_journal()
    assert len(made) == 2
    assert journal_files(content_root) == []


def test_what_came_before_a_failed_write_is_filed_and_synced(
    content_root: Path, monkeypatch: pytest.MonkeyPatch, unfiled: Callable[[], None]
) -> None:
    storage.open_journal()
    [first] = kept([SMALL])
    with monkeypatch.context() as patch:

        def fails(*_: object) -> int:
            raise OSError(errno.EIO, "no")

        patch.setattr(os, "pwrite", fails)
        kept([SMALL])
    done: list[int] = []
    monkeypatch.setattr(journal, "sync_file_system", done.append)
    unfiled()
    living = folder()._journal
    assert living is not None
    living._thread.join(PATIENCE)
    assert has_file(first)
    assert done
    storage.close_journal()
    assert len(journal_files(content_root)) == 2


def test_a_sync_that_failed_once_is_not_made_good_by_the_next(
    content_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a write that failed once, and then takes it for done."""
    storage.open_journal()
    [key] = kept([SMALL])
    real, failures = journal.sync_file_system, [OSError(errno.EIO, "no")]

    def fails_once(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(journal, "sync_file_system", fails_once)
    monkeypatch.setattr(journal, "INTERVAL", 0.0)
    living = folder()._journal
    assert living is not None
    living._thread.join(PATIENCE)
    assert not living._thread.is_alive() and not failures
    storage.close_journal()
    found = [entry for path in journal_files(content_root) for entry in entries_of(path.read_bytes())]
    assert found == [(key, SMALL)]
