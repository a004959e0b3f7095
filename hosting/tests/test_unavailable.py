"""A web process whose database is away says so, in a page; and the other pages of faults."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.db import InterfaceError
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from hosting.csp import PAGE_POLICY
from hosting.tests.ports import reserved_port
from hosting.urls import handler400, handler500  # noqa: F401  # as the house has them
from hosting.urls import urlpatterns as of_the_house

PATIENCE = 500.0  # only a test that fails waits so long


def fail(request: HttpRequest, how: str) -> HttpResponse:
    raise {
        "away": InterfaceError("connection already closed\nsecret-inside"),
        "bad": BadRequest("secret-inside"),
        "large": RequestDataTooBig("secret-inside"),
        "fault": ZeroDivisionError("secret-inside"),
        "denied": PermissionDenied(),
    }[how]


urlpatterns = [*of_the_house, path("fail/<str:how>/", fail)]


@pytest.mark.once
@pytest.mark.urls("hosting.tests.test_unavailable")
@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/fail/away/", 503, "Back in a moment"),
        ("/fail/bad/", 400, "This makes no sense"),
        ("/fail/large/", 413, "This is too large"),
        ("/fail/fault/", 500, "Something went wrong"),
        ("/fail/denied/", 403, "This door is not yours"),
        ("/nowhere/", 404, "Nothing lies here"),
    ],
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_each_fault_has_a_page_of_the_house(path: str, status: int, said: str, language: str) -> None:
    client = Client(raise_request_exception=False, headers={"Accept-Language": language})
    answer = client.get(path)
    text = answer.content.decode()
    assert answer.status_code == status
    assert f'<html lang="{language}">' in text
    assert 'class="card"' in text
    assert said in text or language == "de"
    assert "secret-inside" not in text
    assert answer["Content-Security-Policy"] == PAGE_POLICY
    assert answer.get("Retry-After") == ("30" if status == 503 else None)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A web process whose PostgreSQL refuses connections: its port, and the file of its log."""
    folder = tmp_path_factory.mktemp("web")
    with reserved_port() as port, reserved_port() as nobody:  # where nobody will listen
        database = f"postgres://somebody@127.0.0.1:{nobody}/nothing"
        environment = os.environ | {"DATABASE_URL": database, "VAR_ROOT": str(folder), "REDIS_URL": ""}
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "hosting.wsgi", "--bind", f"127.0.0.1:{port}"),
                    # A worker that needs longer than this to come up is killed, and begins anew.
                    *("--threads", "4", "--timeout", f"{PATIENCE:.0f}"),
                ],
                cwd=settings.BASE_DIR,
                env=environment,
                stderr=log,
            )
        try:
            _wait_for(port, process)
            yield port, folder / "log"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = monotonic() + PATIENCE
    while True:
        try:
            assert _ask(port, "GET", "/healthz")[0] == 200
            return
        except OSError:
            assert process.poll() is None
            assert monotonic() < deadline, "the web process does not answer"
            sleep(0.05)


def _ask(port: int, method: str, path: str, body: str = "", **headers: str) -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {"Host": "localhost", **headers})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


TOKEN = "a" * 32
POSTED = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={TOKEN}; sessionid={TOKEN}",
}


@pytest.mark.once
@pytest.mark.processes
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/mail/inbox/"), ("GET", "/console/"), ("GET", "/mail/inbox/1/image/"), ("POST", "/login/")],
)
def test_while_the_database_is_away_a_page_says_so(web: tuple[int, Path], method: str, path: str) -> None:
    port, log = web
    body = (
        f"csrfmiddlewaretoken={TOKEN}&login=ann@example.test&password=secret-inside"
        if method == "POST"
        else ""
    )
    status, headers, text = _ask(port, method, path, body, **POSTED)
    assert (status, headers["Retry-After"]) == (503, "30")
    assert "Back in a moment" in text
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    for inside in ("Traceback", "127.0.0.1", "somebody", "refused"):
        assert inside not in text
    logged = log.read_text()
    assert "unavailable path=" in logged
    assert "secret-inside" not in logged


@pytest.mark.once
@pytest.mark.processes
def test_what_needs_no_database_is_there_all_the_same(web: tuple[int, Path]) -> None:
    port, _ = web
    assert _ask(port, "GET", "/login/")[0] == 200
    assert _ask(port, "GET", "/static/tokens.css")[0] == 200
    assert _ask(port, "GET", "/nowhere/")[0] == 404
    assert _ask(port, "GET", "/readyz")[0] == 503
