"""Each check finds what it is for, and nothing where all is well."""

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from hosting.settings import env

pytestmark = pytest.mark.once


def found() -> list[tuple[str | None, str]]:
    """What our own checks say, as `manage.py check` runs them."""
    messages = [message for message in run_checks() if str(message.id).startswith("hosting.")]
    return [(message.id, message.msg) for message in messages]


def test_all_is_well_by_default() -> None:
    assert found() == []


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY"])
@pytest.mark.parametrize("there_is", ["nothing", "folder"])
def test_e001_a_certificate_or_key_that_cannot_be_read(
    settings: Any, tmp_path: Path, name: str, there_is: str
) -> None:
    path = tmp_path / "tls.pem"
    if there_is == "folder":
        path.mkdir()
    setattr(settings, name, path)
    assert found() == [("hosting.E001", f"{name}: {path} cannot be read")]


def test_e001_a_certificate_that_this_user_may_not_read(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TLS_KEY = tmp_path / "key.pem"
    settings.TLS_KEY.write_text("")
    assert found() == []
    monkeypatch.setattr(os, "access", lambda path, mode: path != settings.TLS_KEY)
    assert found() == [("hosting.E001", f"TLS_KEY: {settings.TLS_KEY} cannot be read")]


def test_e002_a_content_root_that_is_no_folder(content_root: Path) -> None:
    content_root.write_text("")
    assert found() == [("hosting.E002", f"CONTENT_ROOT: {content_root} cannot be written to")]


def test_e002_a_content_root_that_cannot_be_made(content_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != content_root.parent)
    assert found() == [("hosting.E002", f"CONTENT_ROOT: {content_root} cannot be written to")]


@pytest.mark.parametrize(("hours", "ids"), [(12, ["hosting.E003"]), (13, [])])
def test_e003_content_that_goes_before_a_session_ends(settings: Any, hours: int, ids: list[str]) -> None:
    settings.CONTENT_GRACE_HOURS = hours
    assert [id_ for id_, _ in found()] == ids


@pytest.mark.parametrize(("characters", "ids"), [(31, ["hosting.E004"]), (32, [])])
def test_e004_a_secret_that_is_short(settings: Any, characters: int, ids: list[str]) -> None:
    settings.SECRET_KEY = "abcdefgh" * 3 + "x" * (characters - 24)
    assert [id_ for id_, _ in found()] == ids
    assert settings.SECRET_KEY not in str(found())


@pytest.mark.parametrize(("choice", "ids"), [("always", ["hosting.W001"]), ("loopback", []), ("never", [])])
def test_w001_passwords_in_the_clear(settings: Any, choice: str, ids: list[str]) -> None:
    settings.POP3_PLAINTEXT_LOGIN = choice
    assert [id_ for id_, _ in found()] == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("HOSTNAME=mail.example.test\n", ["hosting.W002"]),
        ("export HOSTNAME=mail.example.test\n", ["hosting.W002"]),
        ("HOSTNAME=old.example.test\nMAIL_HOSTNAME=mail.example.test\n", []),
        ("#HOSTNAME=localhost\nPOP3_PUBLIC_HOSTNAME=x\n", []),
    ],
)
def test_w002_a_name_that_is_no_longer_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, ids: list[str]
) -> None:
    (tmp_path / ".env").write_text(text)
    monkeypatch.setattr(env, "file", tmp_path / ".env")
    # What a container engine sets is none of our business.
    monkeypatch.setenv("HOSTNAME", "4f1c")
    assert [id for id, _ in found()] == ids


def test_w003_a_server_without_a_name_in_production(settings: Any) -> None:
    def ids() -> list[str | None]:
        return [message.id for message in run_checks(include_deployment_checks=True)]

    assert "hosting.W003" in ids()
    settings.HOSTNAME = "mail.example.test"
    assert "hosting.W003" not in ids()
