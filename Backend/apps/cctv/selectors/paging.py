"""Keyset paging: a cursor names the last row of a page, and the next page begins behind it.

So rows that are added between two pages neither repeat nor hide others. A cursor is signed, and one that this
installation did not make is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)

_CURSOR_SALT = "coldreel.cursor"


class CursorRefused(Exception):
    """The cursor was not made by this installation, or it was made for another list."""


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in order, and where the next page begins; `next_cursor` is None on the last page."""

    rows: list[M]
    next_cursor: str | None


def given(**conditions: object) -> Q:
    """Those conditions whose value is not None: an empty filter asks nothing."""
    return Q(**{name: value for name, value in conditions.items() if value is not None})


def page_of(rows: QuerySet[M], *, column: str, limit: int, cursor: str | None) -> Page[M]:
    """The page behind `cursor`, the latest `column` first, in one query. Raises CursorRefused."""
    if cursor is not None:
        try:
            of, moment, pk = signing.loads(cursor, salt=_CURSOR_SALT)
        except (signing.BadSignature, ValueError) as error:
            raise CursorRefused("the cursor was not made by this list") from error
        if of != column:
            raise CursorRefused("the cursor belongs to another list")
        moment, pk = datetime.fromisoformat(moment), UUID(pk)
        # Written so that an index on (column, id) serves the range; an OR of both alone would not.
        rows = rows.filter(Q(**{f"{column}__lte": moment}), Q(**{f"{column}__lt": moment}) | Q(pk__lt=pk))
    found = list(rows.order_by(f"-{column}", "-pk")[: limit + 1])  # one more tells whether there is a next page
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    text = signing.dumps([column, getattr(last, column).isoformat(), str(last.pk)], salt=_CURSOR_SALT)
    return Page(found[:limit], text)
