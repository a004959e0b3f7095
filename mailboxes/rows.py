"""Rows inserted fast: what messages that came together bring with them, and records of what happened."""

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import (
    AutoField,
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    ForeignKey,
    IntegerField,
    JSONField,
    Model,
    UUIDField,
)

from mailboxes import statements

Row = tuple[Any, ...]


def insert(rows: Sequence[Model], *, ignore_conflicts: bool = False, within: str = "{}") -> None:
    """Insert rows of one model, without reading back the keys that the database gives them.

    What `bulk_create` does, with statements that are written once and values that are converted only where
    their kind needs it: bulk_create writes its SQL anew each time and asks every field about every value,
    which for the tables of a message took longer than all the rest of its delivery.
    `within`: a statement that goes on with what is inserted (PostgreSQL).
    """
    if rows:
        values = list(map(row_of, rows))
        insert_values(type(rows[0]), values, ignore_conflicts=ignore_conflicts, within=within)


def row_of(made: Model) -> Row:
    """An object as a row for `insert_values`."""
    return _reader(type(made))(made)


def row(model: type[Model], **values: Any) -> Row:
    """One row for `insert_values`: what is not said has its default. An object of the model costs ten times
    as much. TypeError: it has no such column."""
    columns = _defaults(model) | values
    if len(columns) != len(_defaults(model)):
        raise TypeError(f"{model.__name__} has no {', '.join(values.keys() - _defaults(model).keys())}")
    return tuple(columns.values())


def insert_values(
    model: type[Model], values: Sequence[Row], *, ignore_conflicts: bool = False, within: str = "{}"
) -> None:
    """`insert`, of rows that nobody needs as objects (made by `row`)."""
    if not values:
        return
    values = _converted(model, values)
    statement = _statement(model, ignore_conflicts)
    if connections[DEFAULT_DB_ALIAS].vendor == "sqlite":
        # A row at a time costs SQLite nothing, for nothing travels; a statement of many rows makes it keep
        # aside what each page was, in case that a later row is refused.
        one, _ = statements.table(values[:1], *_types(model))
        statements.run_many(statement.format(rows=one), values)
        return
    table, columns = statements.table(values, *_types(model))
    statements.run(within.format(statement.format(rows=table)), columns)


def _converted(model: type[Model], values: Sequence[Row]) -> Sequence[Row]:
    """The rows as the database takes them."""
    conversions = _conversions(model)
    if not conversions:
        return values
    converted = []
    for row in values:
        columns = list(row)
        for at, convert in conversions:
            if columns[at] is not None:
                columns[at] = convert(columns[at])
        converted.append(tuple(columns))
    return converted


@lru_cache
def _inserted(model: type[Model]) -> list["Field[Any, Any]"]:
    return [field for field in model._meta.concrete_fields if not isinstance(field, AutoField)]


@lru_cache
def _defaults(model: type[Model]) -> dict[str, Any]:
    """The columns in their order; what each row has one of its own of must be said, else NULL is refused."""
    fields = _inserted(model)
    own = [f.attname for f in fields if f.has_default() and callable(f.default)]
    return {f.attname: None if f.attname in own else f.get_default() for f in fields}


@lru_cache
def _reader(model: type[Model]) -> Callable[[Model], Row]:
    return cast("Callable[[Model], Row]", attrgetter(*(field.attname for field in _inserted(model))))


@lru_cache
def _conversions(model: type[Model]) -> Sequence[tuple[int, Callable[[Any], Any]]]:
    """Which values are to be converted: (position, conversion)."""
    fields = _inserted(model)
    return [(at, _conversion(field)) for at, field in enumerate(fields) if not _is_plain(field)]


def _is_plain(field: "Field[Any, Any]") -> bool:
    """Whether the database takes the values as they are."""
    if isinstance(field, ForeignKey):
        return _is_plain(field.target_field)
    if connection.vendor == "postgresql" and isinstance(field, DateTimeField | UUIDField):
        return True
    return isinstance(field, CharField | IntegerField | BooleanField)


def _conversion(field: "Field[Any, Any]") -> Callable[[Any], Any]:
    if isinstance(field, JSONField):  # as text; Django has an object of psycopg's for PostgreSQL
        return lambda value: json.dumps(value, cls=field.encoder)
    kind = field.target_field if isinstance(field, ForeignKey) else field
    if isinstance(kind, DateTimeField) and connection.vendor == "sqlite" and connection.timezone is not None:
        return _moment_in(connection.timezone)
    if isinstance(kind, UUIDField):
        return lambda key: key.hex if isinstance(key, uuid.UUID) else field.get_db_prep_save(key, connection)
    return lambda value: field.get_db_prep_save(value, connection)


def _moment_in(zone: tzinfo) -> Callable[[datetime], str]:
    """As Django writes a moment for SQLite, without asking all that it asks about each."""
    return lambda value: str(value.astimezone(zone).replace(tzinfo=None))


@lru_cache
def _statement(model: type[Model], ignore_conflicts: bool) -> str:
    columns = ", ".join(f'"{field.column}"' for field in _inserted(model))
    end = " ON CONFLICT DO NOTHING" if ignore_conflicts else ""
    # The names are those of our own models.
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) {{rows}}{end}'


@lru_cache
def _types(model: type[Model]) -> Sequence[str]:
    """The types of the columns. Without lengths: what is too long is refused by the table, not cut."""
    return [str(field.db_type(connection)).partition("(")[0] for field in _inserted(model)]
