"""What a load balancer asks: does the process run, and does what it needs answer."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from hosting import probes
from hosting.probes import State
from hosting.tests.house import PATIENCE, until
from mailboxes import storage


@pytest.mark.once
def test_healthz_asks_nobody(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz_is_ok_when_database_and_content_answer(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": True, "content": True})


@pytest.mark.django_db
def test_readyz_names_a_content_storage_that_cannot_be_reached(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder can be made here")
    monkeypatch.setattr(storage._storage(), "location", str(tmp_path / "file" / "content"))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "unavailable", "database": True, "content": False},
    )


@pytest.mark.django_db
def test_readyz_names_a_database_that_does_not_answer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "/there/is/no/such/database")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "unavailable", "database": False, "content": True},
    )


# -- asking -------------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opened at the end, so that no question hangs for longer than its test."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.mark.once
def test_what_hangs_does_not_hold_what_answers(gate: threading.Event) -> None:
    questions: dict[str, Callable[[], Any]] = {"slow": gate.wait, "quick": lambda: 7, "broken": lambda: 1 / 0}

    def known() -> dict[str, probes.Answer] | None:
        found = probes.ask(questions, seconds=0.2)
        # On a busy machine a thread may not even have begun by then.
        return None if State.HANGS in {found["quick"].state, found["broken"].state} else found

    found = until(known, "what answers to answer")
    assert found is not None
    assert {name: one.state for name, one in found.items()} == {
        "slow": State.HANGS,
        "quick": State.ANSWERS,
        "broken": State.AWAY,
    }
    assert found["quick"].value == 7


@pytest.mark.once
def test_nobody_asks_again_while_a_question_hangs(gate: threading.Event) -> None:
    asked: list[Any] = []

    def question() -> None:
        asked.append(1)
        gate.wait()

    for _ in range(3):
        assert probes.ask({"once": question}, seconds=0.05)["once"].state is State.HANGS
    until(lambda: asked, "the question to be asked")
    assert len(asked) == 1
    gate.set()
    assert probes.ask({"once": lambda: 8}, seconds=PATIENCE)["once"].good
    assert probes.ask({"once": lambda: 9}, seconds=PATIENCE)["once"].value == 9


@pytest.mark.once
def test_what_hangs_for_ever_is_asked_anew_for_it_may_be_back(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probes.ask({"forever": gate.wait}, seconds=0.05)["forever"].state is State.HANGS
    monkeypatch.setattr(probes, "GIVEN_UP_SECONDS", 0.0)
    assert probes.ask({"forever": lambda: 7}, seconds=PATIENCE)["forever"].value == 7
