"""Pages are cut by keyset: a cursor names the last row of a page.

Rows that arrive meanwhile neither repeat nor hide others. A cursor is signed: one that was not made here is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)

_CURSOR_SALT = "coldreel.cursor"


class CursorRefused(Exception):
    """The cursor was not made here, or for another list."""


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in order, and where the next page begins; `next_cursor` is None on the last page."""

    rows: list[M]
    next_cursor: str | None


def given(**conditions: object) -> Q:
    return Q(**{name: value for name, value in conditions.items() if value is not None})


def page_of(rows: QuerySet[M], *, column: str, limit: int, cursor: str | None) -> Page[M]:
    if cursor is not None:
        moment, pk = _read_cursor(cursor, column)
        # Written so that an index on (column, id) serves the range; an OR of both alone would not.
        rows = rows.filter(Q(**{f"{column}__lte": moment}), Q(**{f"{column}__lt": moment}) | Q(pk__lt=pk))
    found = list(rows.order_by(f"-{column}", "-pk")[: limit + 1])
    return Page(found[:limit], _next_cursor(found[:limit], column) if len(found) > limit else None)


def _next_cursor(rows: Iterable[M], column: str) -> str:
    *_, last = rows
    return signing.dumps([column, getattr(last, column).isoformat(), str(last.pk)], salt=_CURSOR_SALT)


def _read_cursor(cursor: str, column: str) -> tuple[datetime, UUID]:
    try:
        of, moment, pk = signing.loads(cursor, salt=_CURSOR_SALT)
    except (signing.BadSignature, ValueError) as error:
        raise CursorRefused("the cursor was not made by this list") from error
    if of != column:
        raise CursorRefused("the cursor belongs to another list")
    return datetime.fromisoformat(moment), UUID(pk)
