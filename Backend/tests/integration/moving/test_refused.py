"""A move that would lose or change anything does not begin, and says why."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from apps.cctv.services.database_move import DatabaseMoveRefused
from apps.cctv.services.database_move.plan import move_plan
from apps.cctv.services.database_move.source import Mark, Source
from apps.cctv.services.database_move.target import Target
from tests.integration.moving.conftest import Move

pytestmark = pytest.mark.postgres


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as database:
        return [name for (name,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", ["serve.lock", "owners/11111111-2222-4333-8444-555555555555.lock"])
def test_running_server_or_worker_prevents_the_move(move: Move, name: str) -> None:
    with locked(move.home / name):
        done = move.move()

    assert (done.status, "run" in done.err) == (1, True), done
    assert tables(move.new) == []
    assert Source(move.file).mark() is None


def test_open_database_prevents_the_move(move: Move) -> None:
    """A program that has it open and does nothing: a web server alone, for example."""
    with closing(sqlite3.connect(move.file)) as other:
        other.execute("PRAGMA journal_mode = WAL").fetchall()
        other.execute("SELECT count(*) FROM cctv_site").fetchall()
        done = move.move()

    assert (done.status, "Another process has" in done.err) == (1, True), done
    assert tables(move.new) == []


def test_lock_of_a_dead_worker_prevents_nothing(move: Move) -> None:
    owners = move.home / "owners"
    owners.mkdir(exist_ok=True)
    (owners / "11111111-2222-4333-8444-555555555555.lock").touch()

    assert move.move("--dry-run").err.count("still run") == 0


def test_dry_run_changes_nothing(move: Move) -> None:
    before = move.file.read_bytes()

    with locked(move.home / "serve.lock"):
        done = move.move("--dry-run")

    assert (done.status, "Before the move itself" in done.err, "Dry run" in done.out) == (0, True, True), done
    assert tables(move.new) == []
    assert move.file.read_bytes() == before
    assert list(move.home.glob("database-move-*")) == []


def test_database_with_a_table_is_not_filled(move: Move) -> None:
    with psycopg.connect(move.new) as database:
        database.execute("CREATE TABLE of_another_program (x int)")

    with Target(move.new) as target, pytest.raises(DatabaseMoveRefused, match="of_another_program"):
        target.token()


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/other.sqlite3", "mysql://a@b/c", "postgres://a@127.0.0.1:1/none", "words"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(DatabaseMoveRefused, match="--to"):
        Target(url)


def test_old_database_must_be_sqlite(move: Move) -> None:
    done = move.run("move_database", "--to", move.new, url=move.new)

    assert (done.status, "from SQLite to PostgreSQL and nothing else" in done.err) == (1, True)


def test_database_of_another_release_is_refused(move: Move) -> None:
    with closing(sqlite3.connect(move.file)) as old:
        old.execute("DELETE FROM django_migrations WHERE app = 'cctv' AND name LIKE '0010%'")
        old.commit()

    done = move.move()

    assert (done.status, "Migrations missing" in done.err) == (1, True), done


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE cctv_site SET name = printf('%.101c', 'x')", "cctv_site.name has more than 100 characters"),
        ("UPDATE cctv_recording SET name = 'a' || char(0)", "cctv_recording.name has a zero character"),
        ("UPDATE cctv_transferbatch SET batch_size = 70000", "cctv_transferbatch.batch_size has no whole number"),
        ("UPDATE cctv_recording SET hold_wanted = 2", "cctv_recording.hold_wanted has neither 0 nor 1"),
        ("UPDATE cctv_recording SET camera_id = 'x'", "points to a row of cctv_camera that is not there"),
        ("ALTER TABLE cctv_site ADD COLUMN own text", "cctv_site has other columns"),
    ],
)
def test_values_that_postgresql_refuses_are_named(move: Move, statement: str, told: str) -> None:
    with closing(sqlite3.connect(move.file)) as old:
        old.execute("PRAGMA ignore_check_constraints = ON")
        old.execute(statement)
        old.commit()

    with Source(move.file) as source:
        problems = list(source.problems(move_plan()))

    assert [problem for problem in problems if told in problem], problems


def test_damaged_database_is_not_moved(move: Move) -> None:
    with move.file.open("r+b") as file:
        file.seek(4096 * 12)
        file.write(b"\xff" * 4096 * 8)

    with Source(move.file) as source:
        (problem,) = source.problems(move_plan())

    assert "damaged" in problem


def test_table_of_no_model_is_named(move: Move) -> None:
    with closing(sqlite3.connect(move.file)) as old:
        old.execute("CREATE TABLE of_a_removed_app (x)")
        old.commit()

    with Source(move.file) as source:
        assert source.left_behind(move_plan()) == ["of_a_removed_app"]


def test_database_begun_from_another_one_is_refused(move: Move) -> None:
    with Target(move.new) as target:
        target.begin("of another old database")

    done = move.move()

    assert (done.status, "from another database" in done.err) == (1, True), done
    assert Source(move.file).mark() is None


def test_move_goes_to_one_database_only(move: Move, now) -> None:
    with Source(move.file) as source:
        source.mark_moving(Mark("token", "moving", "postgres://coldreel@db:5432/first"), now)

    done = move.move()

    assert (done.status, "being moved to postgres://coldreel@db:5432/first" in done.err) == (1, True), done
