"""Pages of the webmail and the console, how long they take: `python -m bench.pages`, part of `make bench`.

Writes bench/pages.md, which bench/results.md takes in. The webmail is asked at 100,000 messages through a
real gunicorn, on SQLite and on PostgreSQL; the console at 1,000,000 accounts, on PostgreSQL.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGES = HERE / "pages.md"
WARMING = 5
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "40"))
# What a program prints before the rows that are for us.
ROWS = "rows: "


@dataclass(frozen=True)
class Row:
    """Milliseconds of one kind of page; `goal` is for the median."""

    place: str
    page: str
    median: float
    p95: float
    goal: float

    @property
    def kept(self) -> bool:
        return self.median <= self.goal

    def said(self) -> str:
        late = "" if self.kept else "   over the goal"
        return f"{self.place:24} {self.page:42} {self.median:7.1f} ms   p95 {self.p95:7.1f} ms{late}"


def timed(place: str, page: str, goal: float, ask: Callable[[int], object]) -> Row:
    """Ask a page many times; `ask` gets the number of the round."""
    taken = []
    for number in range(WARMING + ROUNDS):
        began = time.perf_counter()
        ask(number)
        taken.append((time.perf_counter() - began) * 1_000)
    taken = taken[WARMING:]
    row = Row(place, page, statistics.median(taken), statistics.quantiles(taken, n=20)[-1], goal)
    print(row.said(), flush=True)
    return row


def hand_over(rows: Sequence[Row]) -> None:
    """For the program that has started this one."""
    print(ROWS + json.dumps([asdict(row) for row in rows]), flush=True)


def gather(*command: str) -> list[Row]:
    """Run a part of the bench, show what it says, and take its rows; RuntimeError when it fails."""
    rows: list[Row] = []
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=HERE.parent, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith(ROWS):
                rows += [Row(**row) for row in json.loads(line.removeprefix(ROWS))]
            else:
                print(line, end="", flush=True)
    if not rows:
        raise RuntimeError(f"{' '.join(command)} gave no result")
    return rows


def section(rows: Sequence[Row]) -> str:
    lines = [
        "## Pages",
        "",
        f"What a browser waits for, in {ROUNDS} rounds, one request at a time: the webmail over the loopback",
        "through gunicorn, with 100,000 messages; the console in the process, with 1,000,000 accounts.",
        "",
        "| where | page | median, ms | 95th percentile, ms | goal, ms | reached |",
        "|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.place} | {row.page} | {row.median:.1f} | {row.p95:.1f} | {row.goal:.0f} |"
        f" {'yes' if row.kept else '**no**'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--no-console", action="store_true", help="its million accounts take minutes")
    options = parser.parse_args()
    rows = gather("bench.webmail", str(options.messages))
    if not options.no_console:
        rows += gather("bench.console")
    PAGES.write_text(section(rows))
    print(f"written: {PAGES.name}")
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
