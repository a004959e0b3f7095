"""Content on S3-compatible storage, over real HTTP: a server of that protocol runs in a thread of the tests.

What is true of any storage stands in test_storage.py. Here stands what only a server can do: hold objects in
a bucket, be asked by several threads, and be away.
"""

import os
import runpy
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from conftest import _forget_storages
from mailboxes import messages, retention, storage
from mailboxes.exceptions import ContentMissing, StoreUnavailable
from mailboxes.models import Account, Content, Message
from mailboxes.storage import IN_MEMORY, Spool, open_content, read_content

Post = Callable[..., list[Message]]

SETTINGS = Path(__file__).resolve().parents[2] / "hosting" / "settings.py"
BUCKET = "restante-content"
SMALL = b"Subject: x\r\n\r\nHello\r\n"
# Beyond what S3 takes in one piece (8 MiB in boto3's transfers), so that it comes in several.
LARGE = b"".join(b"line %d\r\n" % n for n in range(1_000_000))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def use(settings: Any, monkeypatch: pytest.MonkeyPatch, content_root: Path) -> Callable[..., None]:
    """Has content lie where these settings say, as an operator writes them into `.env`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "restante")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of this test only")

    def use(endpoint: str, bucket: str = BUCKET, **options: Any) -> None:
        monkeypatch.setenv("CONTENT_S3_ENDPOINT", endpoint)
        monkeypatch.setenv("CONTENT_S3_BUCKET", bucket)
        content = runpy.run_path(str(SETTINGS))["STORAGES"]["content"]
        content["OPTIONS"].update(options)
        settings.STORAGES = settings.STORAGES | {"content": content}
        _forget_storages()

    return use


@pytest.fixture
def bucket(endpoint: str, use: Callable[..., None]) -> Iterator[Any]:
    """An empty bucket, in which content lies."""
    use(endpoint)
    bucket = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1").Bucket(BUCKET)
    bucket.create()
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


def kept(data: bytes = SMALL) -> uuid.UUID:
    spool = Spool()
    for start in range(0, len(data), 100_000):
        spool.add(data[start : start + 100_000])
        if spool.waiting > IN_MEMORY:
            spool.flush()
    return spool.keep()


def content(key: uuid.UUID) -> bytes:
    return b"".join(read_content(key))


def names(bucket: Any) -> list[str]:
    return sorted(entry.key for entry in bucket.objects.all())


@pytest.mark.once
@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_what_is_kept_is_an_object_with_the_name_that_a_folder_would_give(bucket: Any, data: bytes) -> None:
    key = kept(data)
    assert names(bucket) == [f"{key.hex[:7]}/{key.hex}"]
    assert bucket.Object(storage.name_of(key)).get()["Body"].read() == data
    assert content(key) == data
    assert storage.local_path(key) is None


@pytest.mark.once
def test_nothing_of_a_message_stays_on_this_machine(bucket: Any, tmp_path: Path) -> None:
    content(kept(LARGE))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.once
def test_what_is_opened_is_a_file_that_a_session_can_read_anywhere(bucket: Any) -> None:
    key = kept(LARGE)
    descriptor = open_content(key)
    storage.remove_content(key)
    try:
        assert os.fstat(descriptor).st_size == len(LARGE)
        assert os.pread(descriptor, 10, 0) == LARGE[:10]
        assert os.pread(descriptor, 10, len(LARGE) - 10) == LARGE[-10:]
    finally:
        os.close(descriptor)


@pytest.mark.once
def test_a_content_that_is_missing_is_said_to_be_missing(bucket: Any) -> None:
    key = kept()
    storage.remove_content(key)
    storage.remove_content(key)
    assert names(bucket) == []
    with pytest.raises(ContentMissing, match=rf"^{key.hex}$"):
        open_content(key)


@pytest.mark.once
def test_folders_and_keys_are_found_again_and_what_is_not_ours_is_passed_over(bucket: Any) -> None:
    assert storage.folders() == []
    key = kept()
    folder = key.hex[:7]
    for name in ("README", "backups/of-somebody", f"{folder}/not-a-key"):
        bucket.put_object(Key=name, Body=b"x")
    assert storage.folders() == [folder]
    assert storage.keys_in(folder) == [key]
    storage.remove_folder(folder)
    assert storage.keys_in(folder) == [key]


@pytest.mark.once
def test_many_threads_keep_and_read_at_once(bucket: Any) -> None:
    def there_and_back(number: int) -> bool:
        data = b"Subject: %d\r\n\r\n" % number + b"x" * number
        return content(kept(data)) == data

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there_and_back, range(50))) == [True] * 50
    assert len(names(bucket)) == 50


@pytest.mark.once
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_bucket_that_is_away_is_a_fault_of_ours_and_leaves_nothing(
    bucket: Any, use: Callable[..., None], tmp_path: Path, data: bytes
) -> None:
    there = kept()
    use("http://127.0.0.1:1", client_config=Config(retries={"max_attempts": 0}, connect_timeout=1))
    for fails in (
        lambda: kept(data),
        lambda: open_content(there),
        lambda: storage.remove_content(there),
        storage.folders,
    ):
        with pytest.raises(StoreUnavailable, match=r"^content storage: \w+$"):
            fails()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert names(bucket) == [storage.name_of(there)]


@pytest.mark.once
def test_a_bucket_that_is_not_there_is_a_fault_of_ours(
    bucket: Any, endpoint: str, use: Callable[..., None]
) -> None:
    key = kept()
    use(endpoint, "nobodys-bucket")
    with pytest.raises(StoreUnavailable):
        kept()
    with pytest.raises(StoreUnavailable):
        storage.folders()
    with pytest.raises(StoreUnavailable):  # not ContentMissing: the mail is not lost
        open_content(key)
    use(endpoint)
    assert content(key) == SMALL


def test_mail_is_delivered_read_and_swept(
    bucket: Any, ann: Account, bob: Account, post: Post, later: Any
) -> None:
    for_both = post(ann, bob)
    [for_ann] = post(ann)
    assert len(names(bucket)) == 2
    assert b"".join(read_content(for_both[0].content_id)).endswith(b"Hello\r\n")

    messages.expunge(ann.mailbox.pk, [for_ann.pk, for_both[0].pk])
    assert retention.sweep(later(hours=23)) == 0
    assert retention.sweep(later(hours=25)) == 1
    assert names(bucket) == [storage.name_of(for_both[1].content_id)]
    assert list(Content.objects.values_list("pk", flat=True)) == [for_both[1].content_id]


@pytest.mark.django_db
def test_an_object_that_no_message_needs_is_swept_after_its_grace_time(bucket: Any, later: Any) -> None:
    kept()
    assert retention.sweep(later(hours=23)) == 0
    assert retention.sweep(later(hours=25)) == 1
    assert names(bucket) == []
