"""The proof of a table sees every difference of one value, whatever its kind, and no difference where there is none."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from apps.cctv.services.database_move.plan import Column, Kind, Table
from apps.cctv.services.database_move.source import Source
from apps.cctv.services.database_move.target import Target
from tests.postgres import ThrowawayPostgres

pytestmark = pytest.mark.postgres
KINDS = {kind.value: kind for kind in Kind}
SQLITE = {
    "uuid": "char(32)",
    "time": "datetime",
    "boolean": "bool",
    "float": "real",
    "integer": "bigint",
    "bytes": "BLOB",
}
POSTGRESQL = {
    "time": "timestamptz",
    "float": "double precision",
    "integer": "bigint",
    "bytes": "bytea",
    "json": "jsonb",
}
ROW: dict[str, Any] = {
    "text": "Grüße\t\\N",
    "integer": -(2**63),
    "boolean": 1,
    "float": 0.1 + 0.2,
    "uuid": "0123456789abcdef0123456789abcdef",
    "time": "2026-03-29 00:59:59.999999",
    "json": '{"b": [1.5, null], "a": "東京"}',
    "bytes": b"\x00\xff",
}
OTHER: dict[str, Any] = {
    "text": "Grüße\t\\n",
    "integer": 2**63 - 1,
    "boolean": 0,
    "float": 0.3,
    "uuid": "0123456789abcdef0123456789abcdee",
    "time": "2026-03-29 00:59:59.999998",
    "json": '{"b": [1.5, 0], "a": "東京"}',
    "bytes": b"\x00\xfe",
}
TABLE = Table("things", tuple(Column(name, kind, None, None) for name, kind in KINDS.items()), ("text", "integer"))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite3"
    columns = ", ".join(f'"{name}" {SQLITE.get(name, "text")}' for name in KINDS)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE things ({columns})")
        database.commit()
    return path


@pytest.fixture
def new(cluster: ThrowawayPostgres) -> str:
    name = f"proof_{uuid4().hex[:12]}"
    with psycopg.connect(cluster.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    url = cluster.url.removesuffix("/postgres") + f"/{name}"
    columns = ", ".join(f'"{name}" {POSTGRESQL.get(name, name)}' for name in KINDS)
    with Target(url) as target:
        target.begin("token")
    with psycopg.connect(url) as database:
        database.execute(f"CREATE TABLE things ({columns})")
    return url


def put(old: Path, *rows: dict[str, Any]) -> None:
    with closing(sqlite3.connect(old)) as database:
        for row in rows:
            database.execute("INSERT INTO things VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row[name] for name in KINDS])
        database.commit()


def copy(old: Path, new: str) -> None:
    with Source(old) as source, Target(new) as target:
        target.copy(TABLE, source.rows_after(TABLE, None, 1000))


def is_same(old: Path, new: str) -> bool:
    with Source(old) as source, Target(new) as target:
        return source.proof(TABLE) == target.proof(TABLE)


def test_copied_values_of_every_kind_are_the_same(old: Path, new: str) -> None:
    """Text is ordered by bytes on both sides: `B` before `a` before `ä`."""
    empty = {**dict.fromkeys(KINDS), "text": "", "integer": 0}
    whole_second = {**ROW, "text": "B", "time": "2026-12-31 23:59:59", "float": 5.0, "boolean": 0}
    with_zone = {**ROW, "text": "ä", "time": "2026-12-31T23:59:59+02:00"}
    put(old, {**ROW, "text": "a"}, ROW, OTHER, empty, whole_second, with_zone)

    copy(old, new)

    assert is_same(old, new)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_value_that_differs_is_found(old: Path, new: str, kind: str) -> None:
    put(old, ROW)
    copy(old, new)
    value = OTHER[kind] if kind != "boolean" else False

    with psycopg.connect(new) as database:
        database.execute(f'UPDATE things SET "{kind}" = %s', [value])

    assert not is_same(old, new)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"text", "integer"}))
def test_value_that_became_null_is_found(old: Path, new: str, kind: str) -> None:
    put(old, ROW)
    copy(old, new)

    with psycopg.connect(new) as database:
        database.execute(f'UPDATE things SET "{kind}" = NULL')

    assert not is_same(old, new)


@pytest.mark.parametrize("statement", ["DELETE FROM things", "INSERT INTO things SELECT * FROM things"])
def test_missing_and_doubled_rows_are_found(old: Path, new: str, statement: str) -> None:
    put(old, ROW)
    copy(old, new)

    with psycopg.connect(new) as database:
        database.execute(statement)

    assert not is_same(old, new)


def test_sum_of_large_numbers_is_exact(old: Path, new: str) -> None:
    """SQLite's own sum ends with an error here."""
    put(old, *({**ROW, "text": str(n), "integer": 2**62 + n} for n in range(9)), {**ROW, "integer": -5})
    copy(old, new)

    with Source(old) as source, Target(new) as target:
        totals = {source.proof(TABLE).total, target.proof(TABLE).total}

    assert totals == {9 * 2**62 + sum(range(9)) - 5}


def test_form_of_json_ignores_the_order_of_keys(old: Path, new: str) -> None:
    put(old, {**ROW, "json": json.dumps({"z": 1, "a": {"y": 2, "b": 3}})})
    copy(old, new)

    assert is_same(old, new)
