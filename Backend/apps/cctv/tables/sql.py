"""Insert, update or read rows for the price of their values.

Django's `bulk_create` compiles a statement for every thirty rows of a wide table on SQLite: 100,000 transfers
took three times as long. Here one prepared statement takes them all; columns that are the same in every
row are prepared once. And Django compiles each SELECT and UPDATE anew, which takes five to ten times as long as
SQLite needs to run it: what is asked for every group of uploads is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache, partial
from itertools import chain
from typing import Any, Literal, TypeVar

from django.db import connection
from django.db.models import Field, Model
from django.db.models.constants import OnConflict
from django.db.models.expressions import Col

_Model = TypeVar("_Model", bound=Model)

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


Condition = tuple[str, Literal["=", "<>", "<=", ">", "IN", "NOT IN", "IS"], Any]
"""A column, and what it is compared with: after IN and NOT IN a collection, after IS None."""


class Lock(Enum):
    """How rows are locked until the transaction ends, where the database locks rows."""

    NONE = ""
    WAIT = " FOR UPDATE"
    SKIP_LOCKED = " FOR UPDATE SKIP LOCKED"


Where = Sequence[Condition]


def any_rows(questions: Sequence[tuple[type[Model], Where]]) -> bool:
    """Whether any of those models has a row for which all of its conditions are true; one statement."""
    parts: list[str] = []
    values: list[Any] = []
    for model, where in questions:
        guards, wanted = _conditions(model, where)
        table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - as above
        parts.append(f"EXISTS (SELECT 1 FROM {table} WHERE {guards or '1 = 1'})")  # noqa: S608 - names of our own columns
        values += wanted
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {' OR '.join(parts)}", values)
        return bool(cursor.fetchone()[0])


def select_many(
    model: type[Model],
    names: Sequence[str],
    where: Sequence[Condition],
    *,
    order_by: str = "",
    most: int | None = None,
    lock: Lock = Lock.NONE,
) -> list[tuple[Any, ...]]:
    """The columns `names` of the rows for which all of `where` is true, as Python values."""
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in _fields(model, names))
    guards, values = _conditions(model, where)
    text = f"SELECT {columns} FROM {quoted(model._meta.db_table)} WHERE {guards}"  # noqa: S608, SLF001 - as above
    if order_by:
        text += f" ORDER BY {quoted(order_by)}"
    if most is not None:
        text += f" LIMIT {most:d}"
    if connection.features.has_select_for_update:
        text += lock.value
    with connection.cursor() as cursor:
        cursor.execute(text, values)
        rows = cursor.fetchall()
    return _converted(rows, _converters(connection.vendor, model, tuple(names)))


def load_many(
    model: type[_Model],
    where: Sequence[Condition],
    *,
    order_by: str = "",
    most: int | None = None,
    lock: Lock = Lock.NONE,
) -> list[_Model]:
    """The rows for which all of `where` is true."""
    names = list(_fields_of(model))
    rows = select_many(model, names, where, order_by=order_by, most=most, lock=lock)
    return [model.from_db(connection.alias, names, row) for row in rows]


def _conditions(model: type[Model], where: Sequence[Condition]) -> tuple[str, list[Any]]:
    guards: list[str] = []
    values: list[Any] = []
    for field, (_, operator, value) in zip(_fields(model, [name for name, _, _ in where]), where, strict=True):
        name = connection.ops.quote_name(str(field.column))
        if operator == "IS":
            guards.append(f"{name} IS NULL")
        elif operator in {"IN", "NOT IN"} and not value:
            guards.append("1 = 0" if operator == "IN" else "1 = 1")  # PostgreSQL has no empty list
        elif operator in {"IN", "NOT IN"}:
            guards.append(f"{name} {operator} ({', '.join(['%s'] * len(value))})")
            values += [_prepared(field, one) for one in value]
        else:
            guards.append(f"{name} {operator} %s")
            values.append(_prepared(field, value))
    return " AND ".join(guards), values


Converter = Callable[[Any], Any]


@lru_cache
def _converters(vendor: str, model: type[Model], names: tuple[str, ...]) -> tuple[tuple[int, Converter], ...]:
    """By position, what Django makes of a column's value in this database; most need nothing."""
    del vendor  # a part of the cache's key
    found: list[tuple[int, Converter]] = []
    for at, field in enumerate(_fields(model, names)):
        column = field.get_col(model._meta.db_table)  # noqa: SLF001 - as above
        converters = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        found += [(at, partial(_convert, convert, column)) for convert in converters]
    return tuple(found)


def _convert(convert: Callable[[Any, Col, Any], Any], column: Col, value: Any) -> Any:
    return convert(value, column, connection)


def _converted(rows: Iterable[Sequence[Any]], converters: Collection[tuple[int, Converter]]) -> list[tuple[Any, ...]]:
    found = []
    for row in rows:
        values = list(row)
        for at, convert in converters:
            values[at] = convert(values[at])
        found.append(tuple(values))
    return found


def _fields(model: type[Model], names: Iterable[str]) -> list[Field[Any, Any]]:
    of = _fields_of(model)
    return [of[name] for name in names]


@lru_cache
def _fields_of(model: type[Model]) -> Mapping[str, Field[Any, Any]]:
    return {field.attname: field for field in model._meta.local_concrete_fields}  # noqa: SLF001 - as above


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
