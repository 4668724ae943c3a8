"""Insert, update and read many rows without Django's SQL compiler, for the statements that every upload needs.

Django compiles each SELECT and UPDATE anew, which takes five to ten times as long as SQLite needs to run it. Its
`bulk_create` compiles a statement for every thirty rows of a wide table on SQLite: 100,000 transfers took three times
as long. Here one prepared statement takes all rows, and columns that are the same in every row are prepared once.

Columns are named as Django's `attname`: `camera_id`, not `camera`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, TypeVar

from django.db import connection
from django.db.models import Field, Model, Q
from django.db.models.constants import OnConflict
from django.db.models.expressions import Col

_Model = TypeVar("_Model", bound=Model)

_VALUES_AT_ONCE = 900
"""Rows with at most so many values are inserted by one statement, more by `executemany`, which takes longer: it lets
other threads run after each row."""

Condition = tuple[str, Literal["=", "<>", "<=", ">", "IN", "NOT IN", "IS"], Any]
"""A column, and what it is compared with: after IN and NOT IN a collection, after IS None."""

Where = Sequence[Condition]
"""Conditions that are all true."""


class Lock(Enum):
    """How rows are locked until the transaction ends, where the database locks rows."""

    NONE = ""
    WAIT = " FOR UPDATE"
    SKIP_LOCKED = " FOR UPDATE SKIP LOCKED"


_LOOKUPS = {"=": "exact", "<>": "exact", "<=": "lte", ">": "gt", "IN": "in", "NOT IN": "in", "IS": "exact"}


def as_q(where: Where) -> Q:
    """The same conditions for Django's `filter`."""
    found = Q()
    for name, operator, value in where:
        one = Q(**{f"{name}__{_LOOKUPS[operator]}": value})
        found &= ~one if operator in {"<>", "NOT IN"} else one
    return found


def insert_many(
    model: type[Model], rows: Sequence[Mapping[str, Any]], *, same: Mapping[str, Any], ignore_conflicts: bool = False
) -> None:
    """Insert `rows`, which all name the same columns; `same` holds the columns that are the same in all of them.

    A column that neither names gets the field's default. No signal is sent and no primary key is read back.
    """
    if not rows:
        return
    # Django itself fills in the defaults of the columns that are not named.
    template = model(**same)
    fields = [field for field in model._meta.local_concrete_fields if field.attname in rows[0] or not field.primary_key]  # noqa: SLF001 - Django's documented Model._meta
    shared = [_prepared(field, getattr(template, field.attname)) for field in fields]
    varying = [(at, field) for at, field in enumerate(fields) if field.attname in rows[0]]
    conflict = OnConflict.IGNORE if ignore_conflicts else None
    values = []
    for row in rows:
        of_row = shared.copy()
        for at, field in varying:
            of_row[at] = _prepared(field, row[field.attname])
        values.append(of_row)
    with connection.cursor() as cursor:
        if len(rows) * len(fields) <= _VALUES_AT_ONCE:
            cursor.execute(_statement(model, fields, len(rows), on_conflict=conflict), list(chain(*values)))
        else:
            cursor.executemany(_statement(model, fields, 1, on_conflict=conflict), values)


def update_many(model: type[Model], rows: Sequence[tuple[Where, Mapping[str, Any]]], *, same: Mapping[str, Any]) -> int:
    """Change rows, each given as the conditions under which it is changed and its new columns; how many were changed.

    The conditions of all rows compare the same columns in the same order, each with one value, and all rows change the
    same columns, so that one prepared statement serves them. `same` holds further columns that get the same value in
    all of them.
    """
    if not rows:
        return 0
    where, columns = rows[0]
    tested, changing, shared = _tested(model, where), _fields(model, columns), _fields(model, same)
    sets = ", ".join(f"{connection.ops.quote_name(str(field.column))} = %s" for field in [*changing, *shared])
    table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - as above
    same_values = _all_prepared(shared, same)
    compared = _by_row(tested, [conditions for conditions, _ in rows])
    values = [
        [*_all_prepared(changing, changes), *same_values, *of_row]
        for (_, changes), of_row in zip(rows, compared, strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {sets} WHERE {_condition_text(tested, where)}", values)  # noqa: S608 - names of our own columns
        # Both drivers add up the rows of all runs of the statement.
        return int(cursor.rowcount)


def any_rows(questions: Sequence[tuple[type[Model], Where]]) -> bool:
    """Whether any of those models has a row for which all of its conditions are true; one statement."""
    parts: list[str] = []
    values: list[Any] = []
    for model, where in questions:
        tested = _tested(model, where)
        table = connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - as above
        parts.append(f"EXISTS (SELECT 1 FROM {table} WHERE {_condition_text(tested, where) or '1 = 1'})")  # noqa: S608 - names of our own columns
        values += _condition_values(tested, where)
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
    """The columns `names` of the rows for which all of `where` is true, as Python values; `most` rows at most."""
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in _fields(model, names))
    tested = _tested(model, where)
    text = f"SELECT {columns} FROM {quoted(model._meta.db_table)} WHERE {_condition_text(tested, where)}"  # noqa: S608, SLF001 - as above
    if order_by:
        text += f" ORDER BY {quoted(order_by)}"
    if most is not None:
        text += f" LIMIT {most:d}"
    if connection.features.has_select_for_update:
        text += lock.value
    with connection.cursor() as cursor:
        cursor.execute(text, _condition_values(tested, where))
        rows = [list(row) for row in cursor.fetchall()]
    for at, convert, column in _converters(connection.vendor, model, tuple(names)):
        for row in rows:
            row[at] = convert(row[at], column, connection)
    return [tuple(row) for row in rows]


def load_many(
    model: type[_Model],
    where: Sequence[Condition],
    *,
    order_by: str = "",
    most: int | None = None,
    lock: Lock = Lock.NONE,
) -> list[_Model]:
    """The rows for which all of `where` is true, with all of their columns; `most` rows at most."""
    names = list(_fields_of(model))
    rows = select_many(model, names, where, order_by=order_by, most=most, lock=lock)
    return [model.from_db(connection.alias, names, row) for row in rows]


def _tested(model: type[Model], where: Where) -> list[Field[Any, Any]]:
    return _fields(model, [name for name, _, _ in where])


def _condition_text(fields: Sequence[Field[Any, Any]], where: Where) -> str:
    parts: list[str] = []
    for field, (_, operator, value) in zip(fields, where, strict=True):
        name = connection.ops.quote_name(str(field.column))
        if operator == "IS":
            parts.append(f"{name} IS NULL")
        elif operator in {"IN", "NOT IN"} and not value:
            parts.append("1 = 0" if operator == "IN" else "1 = 1")  # PostgreSQL has no empty list
        elif operator in {"IN", "NOT IN"}:
            parts.append(f"{name} {operator} ({', '.join(['%s'] * len(value))})")
        else:
            parts.append(f"{name} {operator} %s")
    return " AND ".join(parts)


def _condition_values(fields: Sequence[Field[Any, Any]], where: Where) -> list[Any]:
    values: list[Any] = []
    for field, (_, operator, value) in zip(fields, where, strict=True):
        if operator in {"IN", "NOT IN"}:
            values += [_prepared(field, one) for one in value]
        elif operator != "IS":
            values.append(_prepared(field, value))
    return values


def _by_row(fields: Sequence[Field[Any, Any]], wheres: Sequence[Where]) -> Iterable[tuple[Any, ...]]:
    """The values of each row's conditions; one that all rows share, as the time of a guard, is prepared once."""
    columns: list[list[Any]] = []
    for field, conditions in zip(fields, zip(*wheres, strict=True), strict=True):
        first = conditions[0][2]
        # By identity, which costs nothing where the values differ from row to row.
        if all(value is first for _, _, value in conditions):
            columns.append([_prepared(field, first)] * len(wheres))
        else:
            columns.append([_prepared(field, value) for _, _, value in conditions])
    return zip(*columns, strict=True)


Converter = Callable[[Any, Col, Any], Any]
"""Makes Django's value of a column from the database's value, the column and the connection."""


@lru_cache
def _converters(vendor: str, model: type[Model], names: tuple[str, ...]) -> tuple[tuple[int, Converter, Col], ...]:
    """The converters of the columns that need one in this database, each with the column and its position."""
    del vendor  # a part of the cache's key
    found: list[tuple[int, Converter, Col]] = []
    for at, field in enumerate(_fields(model, names)):
        column = field.get_col(model._meta.db_table)  # noqa: SLF001 - as above
        converters = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        found += [(at, convert, column) for convert in converters]
    return tuple(found)


def _fields(model: type[Model], names: Iterable[str]) -> list[Field[Any, Any]]:
    of = _fields_of(model)
    return [of[name] for name in names]


@lru_cache
def _fields_of(model: type[Model]) -> Mapping[str, Field[Any, Any]]:
    return {field.attname: field for field in model._meta.local_concrete_fields}  # noqa: SLF001 - as above


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


def _prepared(field: Field[Any, Any], value: Any) -> Any:
    return field.get_db_prep_save(value, connection)
