"""Houses for the tests, as few processes as will do: most tests share one and have accounts of their own.

Models are imported late: this file is read before Django is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hosting.tests.house import Databases, House

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "mail"


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[Databases]:
    from hosting.tests.house import Databases

    with django_db_blocker.unblock():
        databases = Databases(tmp_path_factory.mktemp("houses"))
    yield databases
    databases.close()


_numbers = count(1)


def _build(databases: Databases, root: Path) -> House:
    from hosting.tests.house import House

    return House(root, databases, f"house{next(_numbers)}")


@pytest.fixture(scope="session")
def _shared_house(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = _build(databases, tmp_path_factory.mktemp("house")).start()
    yield house
    house.close()


def _live_in(house: House, settings: Any) -> None:
    """Let verbs of this process find the house's content."""
    settings.CONTENT_ROOT = house.content
    content = {"BACKEND": "mailboxes.storage.ContentFolder", "OPTIONS": {"location": house.content}}
    settings.STORAGES = settings.STORAGES | {"content": content}


@pytest.fixture
def house(_shared_house: House, content_root: Path, settings: Any, django_db_blocker: Any) -> Iterator[House]:
    """A house with both doors open, which other tests live in, too."""
    from hosting.tests.mail_clients import close_all

    house = _shared_house
    marks = house.marks()
    house.faults_expected = False
    _live_in(house, settings)
    with django_db_blocker.unblock(), house.databases.pointing_at(house.database):
        yield house
        close_all()
    house.show_logs()
    house.check_logs(marks)
    house.faults_expected = True  # each test has looked at its own part of the logs


@pytest.fixture
def own_house(
    databases: Databases, content_root: Path, tmp_path: Path, settings: Any, django_db_blocker: Any
) -> Iterator[House]:
    """A house of this test alone, with no door started yet."""
    from hosting.tests.mail_clients import close_all

    house = _build(databases, tmp_path)
    _live_in(house, settings)
    with django_db_blocker.unblock(), databases.pointing_at(house.database):
        yield house
        close_all()
    house.show_logs()
    house.close()


@pytest.fixture
def post_lmtp(house: House) -> Callable[..., None]:
    """Delivers messages to somebody over the shared house's LMTP door."""

    def post(account: Any, *raws: bytes) -> None:
        with house.lmtp() as client:
            for raw in raws:
                [reply] = client.deliver(raw, account.login)
                assert reply.status == "250 2.0.0", reply

    return post


@pytest.fixture(scope="session")
def corpus() -> dict[str, bytes]:
    """The sample mail by file name."""
    if not CORPUS.is_dir():
        pytest.skip(f"the sample mail is not there: {CORPUS}")
    files = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    assert len(files) > 100
    return {str(path.relative_to(CORPUS)): path.read_bytes() for path in files}
