"""Where message bytes lie: kept as they came, or an honest error and nothing left behind."""

import errno
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import _forget_storages
from mailboxes import storage
from mailboxes.exceptions import ContentMissing, StoreFull, StoreUnavailable
from mailboxes.storage import HEAD, IN_MEMORY, Spool, open_content, read_content

pytestmark = pytest.mark.once

SMALL = b"Subject: x\r\n\r\nHello\r\n"
LARGE = b"".join(b"line %d\r\n" % n for n in range(100_000))


@pytest.fixture(params=["folder", "memory"])
def any_storage(request: pytest.FixtureRequest, settings: Any, content_root: Path) -> str:
    """A folder, and storage that has no files (as S3 has none)."""
    if request.param == "memory":
        memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        settings.STORAGES = settings.STORAGES | {"content": memory}
        _forget_storages()
    return str(request.param)


def spooled(data: bytes, piece: int = 60_000) -> Spool:
    spool = Spool()
    for start in range(0, len(data), piece):
        spool.add(data[start : start + piece])
        if spool.waiting > IN_MEMORY:
            spool.flush()
    return spool


def content(key: uuid.UUID) -> bytes:
    return b"".join(read_content(key))


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_is_kept_is_what_came(any_storage: str, data: bytes) -> None:
    spool = spooled(data)
    assert spool.wire_octets == len(data)
    key = spool.keep()
    assert content(key) == data
    assert spool.head == data[:HEAD]


def test_a_large_message_waits_on_the_disk_and_not_in_memory(content_root: Path) -> None:
    spool = spooled(LARGE)
    assert spool.waiting <= IN_MEMORY
    assert [path.parent.name for path in files(content_root)] == ["spool"]
    key = spool.keep()
    assert files(content_root) == [Path(str(storage.local_path(key)))]


def test_a_kept_file_is_its_owners_alone(content_root: Path) -> None:
    for data in (SMALL, LARGE):
        assert os.stat(str(storage.local_path(spooled(data).keep()))).st_mode & 0o777 == 0o600


def test_a_content_that_is_open_is_read_to_its_end_though_it_is_removed(any_storage: str) -> None:
    key = spooled(SMALL).keep()
    descriptor = open_content(key)
    storage.remove_content(key)
    with open(descriptor, "rb") as file:
        assert file.read() == SMALL
    with pytest.raises(ContentMissing):
        open_content(key)


def test_what_is_missing_is_said_to_be_missing(any_storage: str) -> None:
    key = storage.new_key()
    with pytest.raises(ContentMissing, match=rf"^{key.hex}$"):
        open_content(key)
    storage.remove_content(key)


def test_only_a_folder_has_paths(any_storage: str) -> None:
    key = spooled(SMALL).keep()
    path = storage.local_path(key)
    assert (path is not None) == (any_storage == "folder")


def test_the_folders_and_keys_are_found_again(any_storage: str) -> None:
    assert storage.folders() == []
    keys = [spooled(SMALL).keep() for _ in range(3)]
    assert sorted(key for folder in storage.folders() for key in storage.keys_in(folder)) == sorted(keys)


def test_a_discarded_message_leaves_nothing(content_root: Path) -> None:
    for data in (SMALL, LARGE):
        spooled(data).discard()
    assert files(content_root) == []


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EDQUOT, StoreFull), (errno.EIO, StoreUnavailable)],
)
@pytest.mark.parametrize("call", ["write", "fdatasync", "rename", "fsync"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_disk_that_fails_is_named_and_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    content_root: Path,
    data: bytes,
    call: str,
    number: int,
    error: type[Exception],
) -> None:
    if call == "rename" and data is SMALL:
        call = "open"
    spooled(SMALL).keep()  # so that the folder is there
    before = files(content_root)
    spool = Spool()
    spool.add(data)
    if data is LARGE:
        spool.flush()
        spool.add(b"more\r\n")

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(error) as raised:
            spool.keep()
    assert type(raised.value) is error
    assert files(content_root) == before


def test_an_error_of_the_storage_tells_nothing_of_the_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/secret/place")

    key = spooled(SMALL).keep()
    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(StoreUnavailable, match=r"^content storage: PermissionError$"):
        open_content(key)


def test_a_short_write_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:7]))
    key = spooled(SMALL).keep()
    monkeypatch.undo()
    assert content(key) == SMALL


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_content_is_on_the_disk_before_its_key_is_said(
    monkeypatch: pytest.MonkeyPatch, content_root: Path, data: bytes
) -> None:
    """Invariant 1: the octets, then the name of the file."""
    spooled(SMALL).keep()
    done: list[str] = []
    for call in ("fdatasync", "fsync"):
        real = getattr(os, call)

        def noted(descriptor: int, call: str = call, real: Any = real) -> None:
            name = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            done.append(f"{call} {'file' if name.is_file() else 'folder'} {name.parent.name == 'spool'}")
            real(descriptor)

        monkeypatch.setattr(os, call, noted)
    spooled(data).keep()
    assert done == ["fdatasync file False", "fsync folder False"]


def test_keys_sort_by_time_and_are_of_version_7(later: Any) -> None:
    before, key, after = storage.key_of_moment(later(seconds=-1)), storage.new_key(), later(seconds=1)
    assert before < key < storage.key_of_moment(after)
    assert (key.version, key.variant) == (7, uuid.RFC_4122)
    assert len({storage.new_key() for _ in range(10_000)}) == 10_000
    began = time.time_ns() // 1_000_000
    milliseconds = storage.new_key().int >> 80
    assert began <= milliseconds <= time.time_ns() // 1_000_000


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 20))
def test_any_pieces_are_kept_as_they_came(pieces: list[bytes], flushed_at: int) -> None:
    spool = Spool()
    for number, piece in enumerate(pieces):
        spool.add(piece)
        if number == flushed_at:
            spool.flush()
    assert content(spool.keep()) == b"".join(pieces)
