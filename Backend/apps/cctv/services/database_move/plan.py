"""Which tables are copied, in which order, and which are rebuilt instead: made from Django's registry of models.

A table of tomorrow is in it by itself. What cannot be copied is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any

from django.apps import apps
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Field, ForeignKey, Model

from apps.cctv.services.database_move import DatabaseMoveRefused

REBUILT = "kept_by_triggers"
"""A model whose class has this attribute set to True is not copied: triggers of the new database fill its table from
the rows that arrive, as they do afterwards."""

NO_MODEL = frozenset({"django_migrations", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"})
"""Tables of SQLite that belong to no model. `migrate` and PostgreSQL make their own of them."""


class Kind(StrEnum):
    """What a column has, as far as the two databases write it differently."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    FLOAT = "float"
    UUID = "uuid"
    TIME = "time"
    JSON = "json"
    BYTES = "bytes"


_KINDS = {
    **dict.fromkeys(("CharField", "TextField", "SlugField"), Kind.TEXT),
    **dict.fromkeys(BaseDatabaseOperations.integer_field_ranges, Kind.INTEGER),
    "BooleanField": Kind.BOOLEAN,
    "FloatField": Kind.FLOAT,
    "UUIDField": Kind.UUID,
    "DateTimeField": Kind.TIME,
    "JSONField": Kind.JSON,
    "BinaryField": Kind.BYTES,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what PostgreSQL takes in it: at most so many characters, a whole number within those bounds."""

    name: str
    kind: Kind
    most_characters: int | None
    bounds: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns in the order of the model, and the names of those of its primary key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def key_positions(self) -> tuple[int, ...]:
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)


@dataclass(frozen=True, slots=True)
class MovePlan:
    """`copied` is ordered: a table comes after those that its foreign keys point to."""

    copied: tuple[Table, ...]
    rebuilt: tuple[str, ...]


def move_plan(models: Iterable[type[Model]] | None = None) -> MovePlan:
    """The plan for the tables of all installed apps, Django's own among them.

    Raises DatabaseMoveRefused for a column of a kind that this command cannot compare, and for tables that point to
    each other in a circle.
    """
    chosen = apps.get_models(include_auto_created=True) if models is None else models
    stored = [model for model in chosen if model._meta.managed and not model._meta.proxy]  # noqa: SLF001 - Django's documented Model._meta
    copied = [model for model in stored if not getattr(model, REBUILT, False)]
    try:
        order = list(TopologicalSorter({model: _parents(model) for model in copied}).static_order())
    except CycleError as circle:
        names = " → ".join(model.__name__ for model in circle.args[1])
        raise DatabaseMoveRefused(
            f"The tables of {names} point to each other: they cannot be copied one after another."
        ) from (circle)
    return MovePlan(
        copied=tuple(_table(model) for model in order),
        rebuilt=tuple(sorted(model._meta.db_table for model in stored if model not in copied)),  # noqa: SLF001 - as above
    )


def _parents(model: type[Model]) -> Sequence[type[Model]]:
    fields = model._meta.local_concrete_fields  # noqa: SLF001 - as above
    return [field.remote_field.model for field in fields if isinstance(field, ForeignKey)]


def _table(model: type[Model]) -> Table:
    meta = model._meta  # noqa: SLF001 - as above
    return Table(
        name=meta.db_table,
        columns=tuple(_column(field) for field in meta.local_concrete_fields),
        key=tuple(str(field.column) for field in meta.pk_fields),
    )


def _column(field: Field[Any, Any]) -> Column:
    holds = field
    while isinstance(holds, ForeignKey):  # a foreign key holds what the key holds that it points to
        holds = holds.target_field
    internal = holds.get_internal_type()
    try:
        kind = _KINDS[internal]
    except KeyError as error:
        raise DatabaseMoveRefused(f"{field}: this command cannot compare a {internal} on the two databases.") from error
    return Column(
        name=str(field.column),
        kind=kind,
        most_characters=holds.max_length if kind is Kind.TEXT else None,
        bounds=BaseDatabaseOperations.integer_field_ranges.get(internal),
    )
