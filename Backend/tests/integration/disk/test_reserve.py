"""The reserve: really on the disk, given up a quarter at a time, made again with room to spare."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat

import pytest
from django.db import OperationalError

from apps.cctv.services.disk_reserve import OncePer, Reserve, is_disk_full_error, make_room, retry_making_room

MIB = 2**20
SIZE = 8 * MIB


@pytest.fixture
def reserve(disk):
    return Reserve(disk.path, SIZE)


def test_reserve_takes_its_whole_size_for_its_owner_alone(disk, reserve):
    before = disk.free_bytes()

    assert reserve.refill()

    assert before - disk.free_bytes() == SIZE == reserve.kept_bytes()
    assert stat.S_IMODE((disk.path / "reserve").stat().st_mode) == 0o600


def test_each_quarter_makes_room_and_the_last_for_cleanup(disk):
    time = [0.0]
    reserve = Reserve(disk.path, SIZE, now=lambda: time[0])
    reserve.refill()
    disk.fill()
    free = []
    for _ in range(4):
        time[0] = (disk.path / "reserve").stat().st_mtime + 31
        reserve.give_up(for_cleanup=False)
        free.append(disk.free_bytes())

    assert free == [2 * MIB, 4 * MIB, 6 * MIB, 6 * MIB]
    assert reserve.give_up(for_cleanup=True) == 2 * MIB
    assert not (disk.path / "reserve").exists()
    assert reserve.give_up(for_cleanup=True) == 0


def test_other_work_gets_no_second_quarter_at_once(disk, reserve):
    reserve.refill()
    disk.fill()

    assert reserve.give_up(for_cleanup=False) == 2 * MIB
    assert reserve.give_up(for_cleanup=False) == 0
    assert reserve.give_up(for_cleanup=True) == 2 * MIB


def test_reserve_is_made_again_where_as_much_stays_free(disk, reserve):
    reserve.refill()
    filler = disk.fill()
    while reserve.give_up(for_cleanup=True):
        pass
    filled = filler.stat().st_size

    assert not reserve.refill()  # exactly its size is free, and it would be given up in the next second
    os.truncate(filler, filled - 7 * MIB)
    assert not reserve.refill()
    os.truncate(filler, filled - 8 * MIB)
    assert reserve.refill()
    assert reserve.kept_bytes() == SIZE


def test_reserve_that_failed_takes_nothing_of_the_disk(disk):
    reserve = Reserve(disk.path, SIZE)
    reserve.refill()
    os.truncate(disk.path / "reserve", MIB)
    disk.fill()

    assert not Reserve(disk.path, SIZE).refill()
    assert (disk.path / "reserve").stat().st_size == MIB


def test_file_that_only_claims_its_size_is_written_out(disk, reserve):
    with (disk.path / "reserve").open("wb") as sparse:
        sparse.truncate(SIZE)
    assert reserve.kept_bytes() == 0

    assert reserve.refill()

    assert reserve.kept_bytes() == SIZE


def test_size_nought_removes_it(disk, reserve):
    reserve.refill()

    assert Reserve(disk.path, 0).refill()

    assert not (disk.path / "reserve").exists()


def test_a_smaller_size_gives_the_rest_back(disk, reserve):
    reserve.refill()

    assert Reserve(disk.path, SIZE // 2).refill()

    assert (disk.path / "reserve").stat().st_size == SIZE // 2


# --- errors -------------------------------------------------------------------------------------------


def sqlite_says(disk, statement: str) -> sqlite3.Error:
    connection = sqlite3.connect(disk.path / "tables.sqlite3")
    try:
        connection.execute("CREATE TABLE one (text)")
        connection.commit()
        disk.fill()
        with pytest.raises(sqlite3.OperationalError) as caught, connection:
            connection.execute(statement)
    finally:
        connection.close()
    return caught.value


def test_what_sqlite_says_on_a_full_disk_is_known(disk):
    error = sqlite_says(disk, "INSERT INTO one VALUES (randomblob(1000000))")

    assert is_disk_full_error(error)


def test_what_django_makes_of_it_is_known_too(disk):
    wrapped = OperationalError("database or disk is full")
    wrapped.__cause__ = sqlite_says(disk, "INSERT INTO one VALUES (randomblob(1000000))")

    assert is_disk_full_error(wrapped)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_operating_systems_error_is_known(number):
    assert is_disk_full_error(OSError(number, "no"))


@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), OperationalError("database is locked"), ValueError()])
def test_other_errors_are_not_taken_for_it(error):
    assert not is_disk_full_error(error)
    assert not make_room(error)


def test_a_disk_with_room_again_keeps_its_reserve(disk, reserve, settings):
    settings.COLDREEL_HOME, settings.COLDREEL_RESERVE_BYTES = disk.path, SIZE
    reserve.refill()

    assert make_room(OSError(errno.ENOSPC, "of a moment ago"))

    assert reserve.kept_bytes() == SIZE


def test_work_on_a_full_disk_is_repeated_with_the_reserve(disk, reserve, settings):
    settings.COLDREEL_HOME, settings.COLDREEL_RESERVE_BYTES = disk.path, SIZE
    reserve.refill()
    disk.fill()
    done_again = []

    def work() -> int:
        return (disk.path / "result").write_bytes(b"x" * 3 * MIB)

    assert retry_making_room(work, before_again=lambda: done_again.append(1)) == 3 * MIB
    assert len(done_again) == 2
    assert reserve.kept_bytes() == SIZE // 2


def test_work_without_room_says_so_in_the_end(disk, settings):
    settings.COLDREEL_HOME, settings.COLDREEL_RESERVE_BYTES = disk.path, SIZE
    disk.fill()

    with pytest.raises(OSError, match="No space left"):
        retry_making_room(lambda: (disk.path / "result").write_bytes(b"x" * MIB))


def test_a_subject_is_told_once_in_its_time():
    clock = [100.0]
    once_per = OncePer(60, monotonic=lambda: clock[0])

    first = [once_per("claim"), once_per("claim"), once_per("heartbeat")]
    clock[0] += 60

    assert (first, once_per("claim")) == ([True, False, True], True)
