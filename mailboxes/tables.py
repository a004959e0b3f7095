"""Lists as CSV: read line by line from whoever sends them, and written so that no spreadsheet runs them."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from io import StringIO

from django.utils.translation import gettext as _

# A spreadsheet would run what begins so as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
GUARD = "'"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line (1 is the heading) cannot be."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line by the names of its columns. `width`: how many it has, and `wanted`: should have."""

    number: int
    cells: dict[str, str]
    width: int
    wanted: int


def read(
    text: str, columns: Collection[str], needed: Collection[str], passed_over: Collection[str], most: int
) -> tuple[list[Row], list[Problem]]:
    """The lines of a table whose first line names its columns, or what is wrong with it as a whole.

    `passed_over`: columns that an export of ours has and an import does not need. Commas or semicolons.
    """
    text = text.lstrip("\ufeff")
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(StringIO(text), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    begun = 1  # the line on which a row begins: what a quote is missing from goes on to the end of the text
    try:
        for row in reader:
            if row:
                rows.append((begun, row))
            begun = reader.line_num + 1
            if len(rows) > most + 1:
                text = _("a list may have %(most)s lines: cut it in parts") % {"most": most}
                return [], [Problem(reader.line_num, text)]
    except csv.Error as error:
        return [], [Problem(begun, _("this is no CSV: %(error)s") % {"error": error})]
    if not rows:
        return [], [Problem(1, _("the list is empty"))]
    heading = [column.strip().lower() for column in rows[0][1]]
    if (
        not set(needed) <= set(heading)
        or set(heading) - set(columns) - set(passed_over)
        or len(set(heading)) < len(heading)
    ):
        text = _("the first line must name the columns: %(columns)s") % {"columns": ", ".join(columns)}
        return [], [Problem(1, text)]
    return [
        Row(
            number,
            {name: _unguarded(cell) for name, cell in zip(heading, cells, strict=False)},
            len(cells),
            len(heading),
        )
        for number, cells in rows[1:]
    ], []


def _unguarded(cell: str) -> str:
    """What `csv_line` has put before a formula, or a spreadsheet after it, is no part of a name."""
    return cell[1:] if cell.startswith(GUARD) and cell[1:].startswith(FORMULA) else cell


def csv_line(row: Sequence[object]) -> str:
    """One line of CSV in which no spreadsheet finds a formula."""
    out = StringIO()
    csv.writer(out).writerow([f"{GUARD}{cell}" if str(cell).startswith(FORMULA) else cell for cell in row])
    return out.getvalue()
