"""Insert or update a thousand rows for the price of their values.

Django's `bulk_create` compiles a statement for every thirty rows of a wide table on SQLite: 100,000 transfers
took three times as long. Here one prepared statement takes them all; columns that are the same in every
row are prepared once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from django.db import connection
from django.db.models import Field, Model
from django.db.models.constants import OnConflict

_VALUES_AT_ONCE = 900
"""Few rows go in one step. With `executemany` a worker's threads would take the interpreter after each of them."""


def insert_many(
    model: type[Model], rows: Sequence[Mapping[str, Any]], *, same: Mapping[str, Any], ignore_conflicts: bool = False
) -> None:
    """Insert `rows`; each has the same columns (`camera_id`, not `camera`), `same` holds those all rows share.

    What neither names gets the field's default. No signal is sent and no primary key is read back.
    """
    if not rows:
        return
    template = model(**same)
    fields = [field for field in model._meta.local_concrete_fields if field.attname in rows[0] or not field.primary_key]  # noqa: SLF001 - Django's documented Model._meta
    shared = [_prepared(field, getattr(template, field.attname)) for field in fields]
    varying = [(at, field) for at, field in enumerate(fields) if field.attname in rows[0]]
    conflict = OnConflict.IGNORE if ignore_conflicts else None
    values = [_values(row, shared, varying) for row in rows]
    with connection.cursor() as cursor:
        if len(rows) * len(fields) <= _VALUES_AT_ONCE:
            cursor.execute(_statement(model, fields, len(rows), on_conflict=conflict), list(chain(*values)))
        else:
            cursor.executemany(_statement(model, fields, 1, on_conflict=conflict), values)


def update_many(
    model: type[Model],
    rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    *,
    same: Mapping[str, Any],
    later: Mapping[str, Any] | None = None,
) -> int:
    """Update `rows`, each given as the columns it is found by and the columns to change; how many there were.

    All rows have the same columns. `same` holds changes that all share. A row is changed only where the
    columns of `later` are later than given there.
    """
    if not rows:
        return 0
    by, changes = (_fields(model, columns) for columns in rows[0])
    shared, least = _fields(model, same), _fields(model, later or {})
    sets = ", ".join(_compared(field, "=") for field in [*changes, *shared])
    guards = " AND ".join([_compared(field, "=") for field in by] + [_compared(field, ">") for field in least])
    table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - as above
    same_values, least_values = _all_prepared(shared, same), _all_prepared(least, later or {})
    values = [
        [*_all_prepared(changes, changed), *same_values, *_all_prepared(by, found_by), *least_values]
        for found_by, changed in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {sets} WHERE {guards}", values)  # noqa: S608 - names of our own columns
        return int(cursor.rowcount)


def _fields(model: type[Model], names: Iterable[str]) -> list[Field[Any, Any]]:
    of = {field.attname: field for field in model._meta.local_concrete_fields}  # noqa: SLF001 - as above
    return [of[name] for name in names]


def _compared(field: Field[Any, Any], operator: str) -> str:
    return f"{connection.ops.quote_name(str(field.column))} {operator} %s"


def _all_prepared(fields: Sequence[Field[Any, Any]], columns: Mapping[str, Any]) -> list[Any]:
    return [_prepared(field, columns[field.attname]) for field in fields]


def _statement(
    model: type[Model], fields: Sequence[Field[Any, Any]], rows: int, *, on_conflict: OnConflict | None
) -> str:
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in fields)
    places = ", ".join([f"({', '.join(['%s'] * len(fields))})"] * rows)
    table = quoted(model._meta.db_table)  # noqa: SLF001 - as above
    insert = connection.ops.insert_statement(on_conflict=on_conflict)
    suffix = connection.ops.on_conflict_suffix_sql(fields, on_conflict, [], [])
    return f"{insert} {table} ({columns}) VALUES {places} {suffix or ''}"


def _values(row: Mapping[str, Any], shared: list[Any], varying: Sequence[tuple[int, Field[Any, Any]]]) -> list[Any]:
    values = shared.copy()
    for at, field in varying:
        values[at] = _prepared(field, row[field.attname])
    return values


def _prepared(field: Field[Any, Any], value: Any) -> Any:
    return field.get_db_prep_save(value, connection)
