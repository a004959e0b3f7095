"""Settings as people write them; a wrong one stops the start with one line that names it."""

import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from hosting.environment import Environment

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[2]
Reader = Callable[[Environment], Any]

READERS: dict[str, Reader] = {
    "text": lambda env: env.text("SETTING", "default"),
    "needed": lambda env: env.text("SETTING"),
    "choice": lambda env: env.choice("SETTING", "one", ("one", "two")),
    "switch": lambda env: env.switch("SETTING", default=True),
    "number": lambda env: env.number("SETTING", 5, least=2, most=9),
    "size": lambda env: env.size("SETTING", "50M", least=1024),
    "path": lambda env: env.path("SETTING", "var"),
    "optional_path": lambda env: env.optional_path("SETTING"),
    "names": lambda env: env.names("SETTING", "a, b"),
    "networks": lambda env: env.networks("SETTING"),
    "database": lambda env: env.database("SETTING", "sqlite:////tmp/x.sqlite3")["ENGINE"],
}


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.delenv("SETTING", raising=False)
    return Environment(tmp_path)


@pytest.mark.parametrize(
    ("reader", "written", "read"),
    [
        ("text", " x ", "x"),
        ("needed", "x", "x"),
        ("choice", "TWO", "two"),
        *[("switch", text, True) for text in ("1", "true", "Yes", "ON")],
        *[("switch", text, False) for text in ("0", "false", "No", "off")],
        *[("number", text, int(text)) for text in ("2", "9")],
        *[("size", text, octets) for text, octets in (("1024", 1024), ("2G", 2**31), ("64 KiB", 65_536))],
        ("names", "x, ,y,", ["x", "y"]),
        ("networks", "10.0.0.0/8, 2001:db8::1", [ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")]),
        ("database", "postgres://user:secret@host:5432/name", "django.db.backends.postgresql"),
        ("database", "sqlite:///x.sqlite3", "django.db.backends.sqlite3"),
        ("path", "/absolute", Path("/absolute")),
    ],
)
def test_a_good_value_is_read(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str, written: str, read: Any
) -> None:
    monkeypatch.setenv("SETTING", written)
    assert READERS[reader](env) == read


@pytest.mark.parametrize(("written", "read"), [("None", None), ("5", 5)])
def test_the_url_of_a_database_says_options(
    env: Environment, monkeypatch: pytest.MonkeyPatch, written: str, read: int | None
) -> None:
    url = f"postgres://user@host/name?prepare_threshold={written}&DISABLE_SERVER_SIDE_CURSORS=True"
    monkeypatch.setenv("SETTING", url)
    database = env.database("SETTING", "")
    assert database["OPTIONS"] == {"prepare_threshold": read}
    assert database["DISABLE_SERVER_SIDE_CURSORS"] is True


@pytest.mark.parametrize("written", [None, "", "  "])
@pytest.mark.parametrize(
    ("reader", "default"),
    [
        ("text", "default"),
        ("choice", "one"),
        ("switch", True),
        ("number", 5),
        ("size", 50 * 1024 * 1024),
        ("optional_path", None),
        ("names", ["a", "b"]),
        ("networks", []),
        ("database", "django.db.backends.sqlite3"),
    ],
)
def test_what_is_not_set_or_set_to_nothing_has_its_default(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str, default: Any, written: str | None
) -> None:
    if written is not None:
        monkeypatch.setenv("SETTING", written)
    assert READERS[reader](env) == default


@pytest.mark.parametrize("reader", ["path", "optional_path"])
def test_a_path_counts_from_the_project(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reader: str
) -> None:
    monkeypatch.setenv("SETTING", "some/where")
    assert READERS[reader](env) == tmp_path / "some" / "where"
    assert env.path("UNSET_SETTING", "var") == tmp_path / "var"


@pytest.mark.parametrize(
    ("reader", "written", "why"),
    [
        ("needed", "", "SETTING is not set: put it into the environment or into .env"),
        ("choice", "three", "SETTING='three': choose one of one, two"),
        ("switch", "maybe", "SETTING='maybe': say 1 or 0"),
        ("number", "many", "SETTING='many': invalid literal for int() with base 10: 'many'"),
        ("number", "1", "SETTING='1': must lie between 2 and 9"),
        ("number", "10", "SETTING='10': must lie between 2 and 9"),
        ("size", "big", "SETTING='big': 'big' is not a size: say it in octets or as 512K, 50M, 2G"),
        (
            "size",
            "1K\n2K",
            "SETTING='1K\\n2K': '1K\\n2K' is not a size: say it in octets or as 512K, 50M, 2G",
        ),
        ("size", "1", f"SETTING='1': must lie between 1024 and {2**53}"),
        ("networks", "x", "SETTING='x': 'x' does not appear to be an IPv4 or IPv6 network"),
        ("networks", "10.0.0.1/8", "SETTING='10.0.0.1/8': 10.0.0.1/8 has host bits set"),
        (
            *("database", "mysql://root:secret@host/name"),
            "SETTING: say sqlite:///var/restante.sqlite3 or postgres://user:password@host:5432/name",
        ),
        (
            *("database", "postgres://user:secret@host:port/name"),
            "SETTING: say sqlite:///var/restante.sqlite3 or postgres://user:password@host:5432/name",
        ),
    ],
)
def test_a_wrong_value_is_named_in_one_line(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str, written: str, why: str
) -> None:
    monkeypatch.setenv("SETTING", written)
    with pytest.raises(ImproperlyConfigured) as raised:
        READERS[reader](env)
    assert str(raised.value) == why


def test_the_file_stands_below_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["SETTING_OF_FILE", "SETTING_OF_BOTH"]
    for name in names:
        monkeypatch.setenv(name, "environment")
    monkeypatch.delenv("SETTING_OF_FILE")
    monkeypatch.delenv("ENV_FILE", raising=False)
    (tmp_path / ".env").write_text("".join(f"{name}=file\n" for name in names))
    env = Environment(tmp_path)
    assert [env.text(name) for name in names] == ["file", "environment"]


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set: put it into the environment or into .env"),
        ({"TRASH_DAYS": "soon"}, "TRASH_DAYS='soon': invalid literal for int() with base 10: 'soon'"),
        ({"CONTENT_GRACE_HOURS": "12"}, "CONTENT_GRACE_HOURS='12': must lie between 13 and 8760"),
        ({"TLS_CERT": "x.pem"}, "TLS_KEY is not set: a certificate and its key come together"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, wrong: dict[str, str], line: str
) -> None:
    run = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env=os.environ | {"VAR_ROOT": str(tmp_path)} | wrong,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert (run.returncode, run.stdout, run.stderr) == (os.EX_CONFIG, "", f"restante: {line}\n")
