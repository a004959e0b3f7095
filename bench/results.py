"""The results as a table and as a plot."""

import math
import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

import psycopg

from bench import dovecot, restante
from bench.measurements import Measurement, Result, Settings

Results = Mapping[str, Mapping[str, Sequence[Result]]]
BASIS = "Dovecot tuned"
COLOURS = {"Restante, SQLite": "#2a6f97", "Restante, PostgreSQL": "#61a5c2"}


def facts() -> list[str]:
    """What the machine is; no names, no paths."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    found = [
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        f"load average at the end {os.getloadavg()[0]:.1f}, the bench's own load and its servers included",
    ]
    if restante.postgresql_runs():
        with psycopg.connect(f"{restante.POSTGRESQL}/postgres") as connection:
            [version] = connection.execute("SHOW server_version").fetchone() or ("",)
        found.append(f"PostgreSQL {str(version).split()[0]}, synchronous_commit and fsync on")
    if dovecot.install():
        found.append(f"Dovecot {dovecot.version()}")
    return found


def _middle(results: Sequence[Result]) -> float | None:
    values = [result.value for result in results if not result.error]
    return median(values) if values else None


def ratios(measurement: Measurement, ours: Sequence[Result], theirs: Sequence[Result]) -> list[float]:
    """How many times better than Dovecot tuned, pair by pair."""
    pairs = [(a.value, b.value) for a, b in zip(ours, theirs, strict=False) if not (a.error or b.error)]
    if measurement.less_is_better:
        pairs = [(b, a) for a, b in pairs]
    return [a / b for a, b in pairs if b]


def reached(measurement: Measurement, of_it: Mapping[str, Sequence[Result]], name: str) -> bool | None:
    """None: there is no goal, or nothing to compare with."""
    if measurement.goal is None or name not in of_it:
        return None
    if measurement.absolute:
        middle = _middle(of_it[name])
        return None if middle is None else middle <= measurement.goal
    found = ratios(measurement, of_it[name], of_it.get(BASIS, ()))
    return median(found) >= measurement.goal if found else None


def goals(chosen: Sequence[Measurement], results: Results) -> list[str]:
    """A line for each goal, with what was reached: what `make bench` says at its end."""
    lines = []
    for measurement in chosen:
        of_it = results[measurement.name]
        for ours in COLOURS:
            if measurement.goal is None or ours not in of_it:
                continue
            found = ratios(measurement, of_it[ours], of_it.get(BASIS, ()))
            middle = _middle(of_it[ours])
            if measurement.absolute:
                said = f"{_shown(middle)} {measurement.unit}"
            else:
                said = f"{median(found):.2f}x" if found else "void"
            verdict = {True: "reached", False: "not reached", None: "void"}[reached(measurement, of_it, ours)]
            lines.append(f"{measurement.name}, {ours}: {said}, goal {_goal(measurement)}: {verdict}")
    return lines


def write(
    folder: Path,
    chosen: Sequence[Measurement],
    results: Results,
    settings: Settings,
    machine: Sequence[str],
    *,
    complete: bool,
) -> None:
    name = "results" if complete else "results-partial"
    (folder / f"{name}.md").write_text(_page(folder, chosen, results, settings, machine))
    (folder / f"{name}.svg").write_text(_plot(chosen, results))


def _page(
    folder: Path, chosen: Sequence[Measurement], results: Results, settings: Settings, machine: Sequence[str]
) -> str:
    lines = [
        "# Restante beside Dovecot",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}:",
        f"{settings.pairs} rounds of {settings.seconds:g} s each, everybody in turn. A ratio says how many",
        "times better than Dovecot tuned, in the middle and (least to most) of the rounds.",
        "",
        *(f"- {fact}" for fact in machine),
        "",
        "![ratios](results.svg)",
        "",
    ]
    for ours in COLOURS:
        if any(ours in of_it for of_it in results.values()):
            lines += _table(ours, chosen, results)
    lines += _failures(chosen, results) + _reasons(folder, chosen, results)
    pages = folder / "pages.md"  # written by bench.pages
    lines += ["", pages.read_text()] if pages.exists() else []
    return "\n".join(lines).rstrip() + "\n"


def _table(ours: str, chosen: Sequence[Measurement], results: Results) -> list[str]:
    lines = [
        f"## {ours}",
        "",
        "| measurement | Restante | Dovecot tuned | as shipped | ratio | goal | reached | load's CPU |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for measurement in chosen:
        of_it = results[measurement.name]
        found = ratios(measurement, of_it[ours], of_it.get(BASIS, ()))
        spread = f"{median(found):.2f} ({min(found):.2f}-{max(found):.2f})" if found else "—"
        cpu = median([result.cpu for result in of_it[ours]])
        cells = [
            f"{measurement.name}, {measurement.unit}",
            *(_shown(_middle(of_it.get(name, ()))) for name in (ours, BASIS, "Dovecot as shipped")),
            spread,
            _goal(measurement),
            {True: "yes", False: "**no**", None: ""}[reached(measurement, of_it, ours)],
            f"{cpu:.0%}" if cpu else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _shown(value: float | None) -> str:
    if value is None:
        return "void"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _goal(measurement: Measurement) -> str:
    if measurement.goal is None:
        return ""
    return f"≤ {measurement.goal:g} {measurement.unit}" if measurement.absolute else f"{measurement.goal:g}x"


def _failures(chosen: Sequence[Measurement], results: Results) -> list[str]:
    lines = [
        f"- {measurement.name}, {name}: {result.error}"
        for measurement in chosen
        for name, of_it in results[measurement.name].items()
        for result in of_it
        if result.error
    ]
    return ["## Void", "", "A wrong answer makes a result void.", "", *lines, ""] if lines else []


def _reasons(folder: Path, chosen: Sequence[Measurement], results: Results) -> list[str]:
    """What `reasons.md` knows of the goals that were not reached; its sections are named after them."""
    missed = [
        measurement.name
        for measurement in chosen
        if any(reached(measurement, results[measurement.name], ours) is False for ours in COLOURS)
    ]
    if not missed:
        return ["Every goal is reached.", ""]
    source = folder / "reasons.md"
    sections = source.read_text().split("\n## ")[1:] if source.exists() else []
    lines = ["## Goals that are not reached, and why", ""]
    for section in sections:
        title, _, text = section.partition("\n")
        hit = [name for name in missed if name.startswith(title.strip())]
        if hit:
            lines += [f"**{'; '.join(hit)}**", "", text.strip(), ""]
            missed = [name for name in missed if name not in hit]
    return lines + ([f"Not explained: {'; '.join(missed)}.", ""] if missed else [])


# The plot: bars on a logarithmic scale, a line for each goal.

LEFT, WIDTH, ROW, TOP = 290, 620, 34, 50
LOW, HIGH = -1.0, 2.0  # powers of ten
TICKS = (0.1, 0.5, 1, 2, 5, 10, 50, 100)


def _x(ratio: float) -> float:
    return LEFT + (min(max(math.log10(ratio), LOW), HIGH) - LOW) / (HIGH - LOW) * WIDTH


def _plot(chosen: Sequence[Measurement], results: Results) -> str:
    rows = [
        (measurement, found)
        for measurement in chosen
        if any((found := _middles(measurement, results[measurement.name])).values())
    ]
    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 70}" height="{bottom + 30}"',
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        _text(LEFT, 18, "Times better than tuned Dovecot (red line: the goal)"),
    ]
    for at, (name, colour) in enumerate(COLOURS.items()):
        parts += [_bar(LEFT + at * 170, 26, 10, colour), _text(LEFT + at * 170 + 15, 35, name)]
    for tick in TICKS:
        parts += [
            _line(_x(tick), TOP, bottom + 6, "#444" if tick == 1 else "#ddd"),
            _text(_x(tick), bottom + 20, f"{tick:g}x", "middle"),
        ]
    for number, (measurement, found) in enumerate(rows):
        parts += _row(TOP + number * ROW, measurement, found)
    return "\n".join([*parts, "</svg>", ""])


def _middles(measurement: Measurement, of_it: Mapping[str, Sequence[Result]]) -> dict[str, float]:
    found = {name: ratios(measurement, of_it.get(name, ()), of_it.get(BASIS, ())) for name in COLOURS}
    return {name: median(values) for name, values in found.items() if values and median(values) > 0}


def _row(y: int, measurement: Measurement, found: Mapping[str, float]) -> list[str]:
    parts = [_text(LEFT - 8, y + 20, measurement.name, "end")]
    for at, (name, colour) in enumerate(COLOURS.items()):
        if ratio := found.get(name):
            start, end = sorted((_x(1), _x(ratio)))
            parts.append(_bar(start, y + 4 + at * 12, end - start, colour))
            parts.append(_text(end + 4, y + 13 + at * 12, f"{ratio:.2f}"))
    if measurement.goal is not None and not measurement.absolute:
        parts.append(_line(_x(measurement.goal), y + 2, y + 30, "#c1121f"))
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="10" fill="{colour}"/>'


def _line(x: float, y1: float, y2: float, colour: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y1}" y2="{y2}" stroke="{colour}" stroke-width="2"/>'
