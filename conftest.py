"""What every test has: settings of their own, the cast, and the rule that CI skips nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

# Before Django reads its settings, which is why they are named here: named in pyproject.toml, pytest-django
# would read them before this file. Nobody who runs the tests needs to export anything, and nothing that the
# tests make lies among what the house has made.
_var = tempfile.TemporaryDirectory(prefix="restante-tests-")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosting.settings")
os.environ["ENV_FILE"] = "/dev/null"  # what a developer has set is not what is tested
os.environ.pop("REDIS_URL", None)  # a cache that two runs share is cleared by each under the other's feet
os.environ.setdefault("SECRET_KEY", "tests-only-0123456789abcdefghijklmnopqrstuvwxyz-0123456789")
# Of this very process: a worker of xdist inherits what its master has named, and shares none of it. What one
# test puts into a folder another would else find there, or clear away.
os.environ["VAR_ROOT"] = _var.name
os.environ.setdefault("DATABASE_URL", f"sqlite:///{_var.name}/restante.sqlite3")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
from django.conf import settings as house  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.files.storage import storages  # noqa: E402
from django.db import connections  # noqa: E402
from django.utils import timezone, translation  # noqa: E402

CI = os.environ.get("CI") == "true"
PASSWORD = "correct horse battery"
BROWSER_PATIENCE = 180_000  # milliseconds, for the machine may be busy: only a test that fails waits so long
# What a module of tests in Chromium is marked with.
IN_CHROMIUM = [
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
LEAVING_SECONDS = 180.0
assert house.DATABASES, "reads them: pytest-django sets up what is configured by now"

# The same inputs in each run, and no time limit on any of them: a run fails by what was changed, not by
# chance or by what else the machine does. `--hypothesis-profile=others` looks for inputs nobody has tried.
_unhurried: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("same", derandomize=True, database=None, **_unhurried)
hypothesis.settings.register_profile("others", derandomize=False, **_unhurried)
hypothesis.settings.load_profile("same")

_skipped: list[str] = []


# -- in CI a skipped test is a failed run -------------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if CI and _skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if CI and _skipped:
        terminalreporter.section("skipped, and in CI nothing may be", red=True, bold=True)
        for nodeid in dict.fromkeys(_skipped):
            terminalreporter.line(nodeid)


# -- a database that is not there ---------------------------------------------------------------


def _why_no_database() -> str:
    """Empty when the database answers, or is a file; else what is missing."""
    settings = house.DATABASES["default"]
    if settings["ENGINE"].endswith("sqlite3"):
        return ""
    import psycopg

    try:
        _postgres().close()
    except psycopg.OperationalError:
        return f"PostgreSQL does not answer on {settings['HOST']}:{settings['PORT'] or 5432}"
    return ""


def _postgres() -> Any:
    """A connection to the server, and to no database of ours."""
    import psycopg

    settings = house.DATABASES["default"]
    return psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"] or 5432,
        user=settings["USER"],
        password=settings["PASSWORD"],
        dbname="postgres",
        connect_timeout=60,
        autocommit=True,
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out_what_is_of_another_database(config, items)
    if reason := _why_no_database():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def _leave_out_what_is_of_another_database(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Not skipped, but not there: what one database alone can do is tested in that database's run."""
    vendor = connections["default"].vendor
    others = [item for item in items if (only := item.get_closest_marker("only")) and only.args[0] != vendor]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


# -- where the tests keep what they store -------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A database of this run's own: for SQLite a file, since threads cannot share one in memory."""
    database = connections["default"].settings_dict
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    else:
        database["TEST"]["NAME"] = f"test_{database['NAME']}_{os.getpid()}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """PostgreSQL drops no database that somebody is connected to, and gives who is just leaving five seconds
    for it. On a busy machine that may take longer; who does not leave at all still fails the run."""
    yield
    if connections["default"].vendor != "postgresql":
        return
    connections.close_all()
    deadline = monotonic() + LEAVING_SECONDS
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    with closing(_postgres()) as postgres:
        name = connections["default"].settings_dict["NAME"]
        while postgres.execute(others, (name,)).fetchone() != (0,) and monotonic() < deadline:
            sleep(0.05)


@pytest.fixture(autouse=True, scope="session")
def flush_passes_triggers() -> Iterator[None]:
    """After a test with `transaction=True` Django empties every table, on SQLite by DELETE, which the audit's
    trigger refuses: the triggers step aside for that transaction, and only for the tests."""
    if connections["default"].vendor != "sqlite":
        yield
        return
    operations = type(connections["default"].ops)
    made = operations.sql_flush

    def sql_flush(self: Any, style: Any, tables: Any, **more: Any) -> list[str]:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
        asides = [f'DROP TRIGGER "{name}"' for name, _ in triggers]
        # The table of words is none of Django's, so it would keep those of the test before.
        words = "INSERT INTO mailboxes_searchwords (mailboxes_searchwords) VALUES ('delete-all')"
        return [*asides, *made(self, style, tables, **more), words, *(sql for _, sql in triggers)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "sql_flush", sql_flush)
        yield


@pytest.fixture(autouse=True)
def content_root(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """An empty content store and default storage; `storages` is told to forget what it made before."""
    root = tmp_path / "content"
    options = {"BACKEND": "mailboxes.storage.ContentFolder", "OPTIONS": {"location": root}}
    settings.CONTENT_ROOT = root
    settings.SPOOL_ROOT = tmp_path / "spool"
    # Files of people (exports, uploads) lie in the default storage: one that is empty, too.
    default = settings.STORAGES["default"]
    files = {**default, "OPTIONS": {**default["OPTIONS"], "location": tmp_path / "files"}}
    settings.STORAGES = settings.STORAGES | {"content": options, "default": files}
    _forget_storages()
    yield root
    _forget_storages()


def _forget_storages() -> None:
    vars(storages).update(_storages={}, _backends=None)
    vars(storages).pop("backends", None)


@pytest.fixture(autouse=True)
def forget_what_was_verified() -> None:
    from mailboxes import credentials

    credentials._remembered = credentials._Remembered()
    cache.clear()


@pytest.fixture(autouse=True)
def the_house_s_language() -> Iterator[None]:
    """A page in German leaves its language to the thread that made it, which here is that of every test."""
    translation.activate(house.LANGUAGE_CODE)
    yield
    translation.activate(house.LANGUAGE_CODE)


@pytest.fixture(autouse=True)
def time_for_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a health page asks has a second to answer; on a busy machine that says nothing of the house."""
    from hosting import probes

    monkeypatch.setattr(probes, "SECONDS", 60.0)


# -- the cast -----------------------------------------------------------------------------------


@pytest.fixture
def domain(db: None) -> Any:
    from mailboxes.accounts import create_domain

    return create_domain("example.test", default_quota=10_000_000)


@pytest.fixture(scope="session")
def encoded_password() -> str:
    """argon2id takes its time once, not for everybody in every test."""
    from django.contrib.auth.hashers import make_password

    return make_password(PASSWORD)


@pytest.fixture
def open_account(domain: Any, encoded_password: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Opens an account at example.test with the password that everybody here has."""
    from mailboxes import accounts

    def make(name: str, **options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(accounts, "make_password", lambda _: encoded_password)
            return accounts.open_account(f"{name}@example.test", PASSWORD, **options)

    return make


@pytest.fixture
def ann(open_account: Callable[..., Any]) -> Any:
    """A subscriber."""
    return open_account("ann")


@pytest.fixture
def bob(open_account: Callable[..., Any]) -> Any:
    """Another subscriber."""
    return open_account("bob")


@pytest.fixture
def operator(open_account: Callable[..., Any]) -> Any:
    return open_account("operator", role="operator")


@pytest.fixture
def support(open_account: Callable[..., Any]) -> Any:
    return open_account("support", role="support")


@pytest.fixture
def outsider() -> str:
    """Somebody whose address is not ours."""
    return "mallory@elsewhere.test"


@pytest.fixture
def post() -> Callable[..., Any]:
    """Delivers a message to accounts as a door does, and gives the Messages it became, in their order."""
    from mailboxes.addresses import resolve
    from mailboxes.content import facts_of
    from mailboxes.delivery import Arrival, deliver
    from mailboxes.models import Message
    from mailboxes.storage import Spool
    from mailboxes.wire import stuff

    numbers = count(1)

    def make(*accounts: Any, text: bytes = b"", sender: str = "mallory@elsewhere.test", **more: Any) -> Any:
        raw = text or b"Subject: letter %d\r\n\r\nHello\r\n" % next(numbers)
        spool = Spool()
        spool.add(stuff(raw))
        wire = spool.wire_octets
        routes = [resolve(account if isinstance(account, str) else account.login) for account in accounts]
        facts = facts_of(spool.head)
        arrival = Arrival(
            spool.keep(), len(raw), wire, routes, sender=sender, facts=facts, door="lmtp", **more
        )
        [outcomes] = deliver([arrival])
        assert [type(outcome) for outcome in outcomes] == [type(None)] * len(routes)
        return list(Message.objects.filter(content=arrival.key).order_by("pk"))

    return make


@pytest.fixture
def later() -> Callable[..., Any]:
    """A moment so many days from now."""
    from datetime import timedelta

    return lambda **delta: timezone.now() + timedelta(**delta)


# -- a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright; tests of it are skipped by name where there is none."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=BROWSER_PATIENCE)
    # Playwright's own loop runs in this thread, where the tests also read the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
            timeout=BROWSER_PATIENCE,
        )
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
