"""The few statements of which each message and each poll needs one, run as each database likes them best.

Django writes the values into a statement, so PostgreSQL reads and plans every one anew. Here they travel
beside it, and it is the same for any number of rows: each connection prepares it once.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.backends.utils import CursorWrapper

# For so many rows PostgreSQL takes an array whose length it does not know.
ASSUMED = 10

Row = Sequence[Any]


def run(statement: str, values: Row) -> CursorWrapper:
    """Run a statement; PostgreSQL prepares it, unless the connection's `prepare_threshold` is None.

    Each place in a statement has values of one type only, else it is prepared for each of them.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.vendor == "sqlite":
        cursor, statement = _sqlite(database, statement)
    elif database.vendor != "postgresql":
        cursor = database.cursor()
    else:
        # As Django makes a cursor, but one that leaves the values beside the statement.
        database.close_if_health_check_failed()
        database.ensure_connection()
        own: Any = psycopg.Cursor(database.connection)
        cursor = database.make_debug_cursor(own) if database.queries_logged else database.make_cursor(own)
    cursor.execute(statement, values)
    return cursor


def run_many(statement: str, rows: Sequence[Row]) -> None:
    """Run a statement for each row; SQLite only."""
    cursor, statement = _sqlite(connections[DEFAULT_DB_ALIAS], statement)
    with cursor:
        cursor.executemany(statement, rows)


def _sqlite(database: Any, statement: str) -> tuple[CursorWrapper, str]:
    """A cursor as Django makes it, but one that takes statements as SQLite reads them: Django's own looks for
    the places of the values in every statement anew. What logs statements wants them as they were written."""
    if database.queries_logged:
        return database.cursor(), statement
    database.ensure_connection()
    return database.make_cursor(database.connection.cursor(sqlite3.Cursor)), _with_question_marks(statement)


@lru_cache(maxsize=512)
def _with_question_marks(statement: str) -> str:
    """No statement here has a per cent sign but those of the places."""
    return statement.replace("%s", "?")


@contextmanager
def together() -> Iterator[None]:
    """Statements that do not wait for one another's results: where they travel, they travel together (libpq's
    pipeline).

    What goes wrong with one of them is raised when a result is fetched, or at the end.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


def table(rows: Sequence[Row], *types: str) -> tuple[str, list[Any]]:
    """Rows as a table in a statement, and the values that go with it; its columns are of these types."""
    if connection.vendor == "postgresql":
        arrays = ", ".join([f"%s::{type_}[]" for type_ in types])
        # No value is in it, but types of our own columns.
        return f"SELECT * FROM unnest({arrays})", [_array(column) for column in zip(*rows, strict=True)]  # noqa: S608
    row = f"({', '.join(['%s'] * len(types))})"
    return f"VALUES {', '.join([row] * len(rows))}", [value for row in rows for value in row]


def sought(rows: Sequence[Row], *types: str) -> tuple[str, list[Any]]:
    """`table`, of what is to be found by keys.

    PostgreSQL keeps a plan for all values if it looks no dearer than one for these; LIMIT tells it that there
    are fewer than it assumes.
    """
    sql, values = table(rows, *types)
    if connection.vendor == "postgresql" and len(rows) < ASSUMED:
        sql += f" LIMIT {len(rows)}"
    return sql, values


def _array(values: Row) -> str:
    """Values as PostgreSQL writes an array: as text, so that the statement alone says their type."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def places(values: Sequence[str]) -> tuple[str, Sequence[str]]:
    """What stands between the brackets of IN, and the values that go with it.

    For PostgreSQL of a few lengths only, filled up with the last value: each is a statement of its own.
    """
    length = len(values)
    if connection.vendor == "postgresql":
        length = 1 << (length - 1).bit_length()
        values = [*values, *[values[-1]] * (length - len(values))]
    return ", ".join(["%s"] * length), values
