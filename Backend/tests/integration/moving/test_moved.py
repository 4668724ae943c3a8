"""Everything arrives, is proven, and may be used; the old database refuses every process from then on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.moving.conftest import Done, Move, fresh_move
from tests.postgres import ThrowawayPostgres

pytestmark = pytest.mark.postgres
PASSWORD = "s3cret-word"


@dataclass(frozen=True)
class Moved:
    """A database that was moved, and what it had before."""

    by: Move
    before: list[dict[str, Any]]
    done: Done


@pytest.fixture(scope="module")
def moved(cluster: ThrowawayPostgres, filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    move = fresh_move(cluster, filled, tmp_path_factory.mktemp("moved"))
    before = move.rows(move.old)
    address = move.new.replace("postgres://coldreel@", f"postgres://coldreel:{PASSWORD}@")
    done = move.run("move_database", "--to", address, "--json")
    assert done.status == 0, done.err
    return Moved(move, before, done)


def test_every_row_arrives_and_is_proven(moved: Moved) -> None:
    report = json.loads(moved.done.out)
    assert json.loads(Path(report["path"]).read_text()) == report
    assert {one["is_same"] for one in report["tables"]} == {True}
    assert [one["table"] for one in report["tables"] if not one["rows"]] == []
    assert moved.by.rows(moved.by.new) == moved.before


def test_next_row_gets_a_number_never_used(moved: Moved) -> None:
    """Also not that of a row which was deleted in the old database."""
    with closing(sqlite3.connect(moved.by.file)) as old:
        given = dict(old.execute("SELECT name, seq FROM sqlite_sequence WHERE name <> 'django_migrations'"))
        (last,) = old.execute("SELECT max(id) FROM users_user").fetchone()
    assert given["users_user"] > last, "the newest user was deleted"
    with psycopg.connect(moved.by.new) as new:
        query = "SELECT nextval(pg_get_serial_sequence(%s, 'id'))"
        following = {table: new.execute(query, [table]).fetchone()[0] for table in given}
    assert following == {table: number + 1 for table, number in given.items()}


@pytest.mark.parametrize("command", ["run_worker --until-idle", "cleanup_gcp_transfers", "migrate", "doctor"])
def test_old_database_refuses_every_process(moved: Moved, command: str) -> None:
    done = moved.by.run(*command.split())

    assert done.status == 1
    assert "was moved to postgres://" in done.err + done.out


def test_second_call_says_that_it_was_moved(moved: Moved) -> None:
    done = moved.by.move()

    assert (done.status, "already" in done.out) == (0, True), done


def test_finished_move_is_not_given_up(moved: Moved) -> None:
    done = moved.by.run("move_database", "--give-up")

    assert (done.status, "was moved to" in done.err) == (1, True)


def test_password_of_the_address_is_written_nowhere(moved: Moved) -> None:
    texts = [moved.done.out, moved.done.err, *(path.read_text() for path in moved.by.home.glob("*.json"))]

    assert [text for text in texts if PASSWORD in text] == []
    assert PASSWORD.encode() not in moved.by.file.read_bytes()
