"""The command is killed at random points and called again: it goes on, nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import time
from contextlib import closing

import psycopg
import pytest

from tests.integration.moving.conftest import Move

pytestmark = pytest.mark.postgres
KILLS = 10


def kill_somewhere(move: Move, rng: random.Random) -> int:
    """Start the command, and kill it a moment after one of its lines; its status, if it came to its end before."""
    process = move.popen("move_database", "--to", move.new, "--json")
    assert process.stderr is not None
    for _ in range(rng.choice((0, 1, 2, 5, 10, 15, 20, 30, 40))):
        if not process.stderr.readline():
            break
    time.sleep(rng.choice((0, 0, 0.005, 0.02, 0.1, 0.5)))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


def test_killed_at_random_points_it_loses_nothing(move: Move) -> None:
    rng = random.Random()
    before = move.rows(move.old)

    killed = [kill_somewhere(move, rng) for _ in range(KILLS)]
    done = move.move("--json")

    assert done.status == 0, (killed, done.err)
    assert killed.count(-signal.SIGKILL) > KILLS // 2
    report = json.loads(done.out)
    assert report["was_moved_before"] or {one["is_same"] for one in report["tables"]} == {True}
    assert move.rows(move.new) == before


def test_half_moved_databases_refuse_processes(move: Move) -> None:
    """Between a kill and the next call, both of them: the old one until the move is given up."""
    process = move.popen("move_database", "--to", move.new)
    assert process.stderr is not None
    while "copying cctv_camera" not in process.stderr.readline():
        pass
    process.kill()
    process.communicate()

    old, new = move.run("migrate"), move.run("migrate", url=move.new)
    assert (old.status, "is being moved to" in old.err) == (1, True), old
    assert (new.status, "is being filled" in new.err) == (1, True), new

    assert move.run("move_database", "--give-up").status == 0
    assert move.run("migrate").status == 0
    again = move.move()
    assert (again.status, "from another database" in again.err) == (1, True), again


def test_row_changed_on_the_way_is_found(move: Move) -> None:
    """A table that was copied before a kill is compared as well."""
    process = move.popen("move_database", "--to", move.new)
    assert process.stderr is not None
    while "copying cctv_transferevent" not in process.stderr.readline():
        pass
    process.kill()
    process.communicate()
    with psycopg.connect(move.new) as new:
        changed = "UPDATE cctv_gcpvideotransfer SET created_at = created_at + '1 microsecond' WHERE id ="
        new.execute(f"{changed} (SELECT id FROM cctv_gcpvideotransfer LIMIT 1)")

    done = move.move()

    assert (done.status, "differ in cctv_gcpvideotransfer" in done.err) == (1, True), done
    with closing(sqlite3.connect(move.file)) as old:
        assert old.execute("SELECT state FROM database_move").fetchall() == [("moving",)]
    assert "is being filled" in move.run("migrate", url=move.new).err
