"""Counts, sums and checksums of a table. Each side reads what it has by its own driver, without Django.

The two databases write the same value differently. Both are brought to one form here, by functions of their own, so
that an error in one of them does not hide in the other:

| column | form |
|---|---|
| NULL | none |
| text | itself |
| whole number | its decimal digits |
| boolean | `t` or `f` |
| float | the shortest digits that give this float again |
| UUID | 32 hexadecimal digits |
| time | UTC, with six digits of the second |
| JSON | sorted by key, without blanks |
| bytes | hexadecimal digits |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from apps.cctv.services.database_move.plan import Column, Kind

Form = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class TableProof:
    """What one side has of a table: its rows, the sum of all whole numbers in it, the checksum over all rows by key."""

    rows: int
    total: int
    checksum: str


def checksum(rows: Iterable[Sequence[Any]], columns: Sequence[Column], forms: dict[Kind, Form]) -> str:
    """SHA-256 over all values of the rows, as `forms` write them; the rows come in the order of their keys."""
    digest = hashlib.sha256()
    by_column = [forms[column.kind] for column in columns]
    for row in rows:
        values = [None if value is None else form(value) for form, value in zip(by_column, row, strict=True)]
        # The list as Python writes it: no two lists look alike.
        digest.update(repr(values).encode())
    return digest.hexdigest()


def _time_of_sqlite(value: str) -> str:
    # Django writes UTC without a zone, and leaves out a fraction of zero.
    if len(value) == len("2026-11-20 12:00:00.000001") and value[10] == " ":
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(" ", "microseconds")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


SQLITE_FORMS: dict[Kind, Form] = {
    Kind.TEXT: str,
    Kind.INTEGER: str,
    Kind.BOOLEAN: {0: "f", 1: "t"}.__getitem__,
    Kind.FLOAT: repr,
    Kind.UUID: lambda value: value.replace("-", "").lower(),
    Kind.TIME: _time_of_sqlite,
    Kind.JSON: lambda value: _json(json.loads(value)),
    Kind.BYTES: bytes.hex,
}
"""Of the values that Python's `sqlite3` gives where it is told to convert nothing."""

POSTGRESQL_FORMS: dict[Kind, Form] = {
    Kind.TEXT: str,
    Kind.INTEGER: str,
    Kind.BOOLEAN: {False: "f", True: "t"}.__getitem__,
    Kind.FLOAT: repr,
    Kind.UUID: lambda value: value.hex,
    Kind.TIME: lambda value: value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds"),
    Kind.JSON: _json,
    Kind.BYTES: bytes.hex,
}
"""Of the values that psycopg gives."""
