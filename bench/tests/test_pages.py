"""The bench of the console fills tables by SQL of its own: that it still can, and still finds every page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import restante
from bench.pages import ROWS

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.once,
    pytest.mark.processes,
    pytest.mark.skipif(not restante.postgresql_runs(), reason="no PostgreSQL on 127.0.0.1:5432"),
]


def pages_of(bench: str, accounts: int) -> list[tuple[str, str]]:
    """Which pages a bench has timed, at which place."""
    environment = os.environ | {
        "BENCH_ROUNDS": "2",
        "BENCH_ACCOUNTS": str(accounts),
        "DATABASE_URL": f"{restante.POSTGRESQL}/postgres",
    }
    done = subprocess.run(
        [sys.executable, "-m", bench], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    lines = [line.removeprefix(ROWS) for line in done.stdout.splitlines() if line.startswith(ROWS)]
    assert lines, done.stderr[-2_000:]
    return [(row["place"], row["page"]) for row in json.loads(lines[0])]


def test_the_console_is_filled_and_every_page_answers() -> None:
    pages = pages_of("bench.console", accounts=2_000)
    assert {place for place, _ in pages} == {"console, 2,000 accounts"}
    assert len({page for _, page in pages}) == len(pages) == 20
