"""The benchmark's figures, tables and targets, from runs that were made up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.figures import ENGINE, FLOOR, MIB, OBSTORE, ON_SQLITE, Cut, Memory, Race, Run
from benchmarks.report import Results
from benchmarks.tables import cut_table, memory_table, race_table, target_table
from benchmarks.targets import Target, targets

GIB = 1024 * MIB


def run(wall: float, cpu: float = 1.0, problem: str = "", **extra: float) -> Run:
    return Run(wall, cpu, 50 * MIB, 2, ("HTTP/1.1",), problem, extra)


def race(runs: dict[str, list[Run]], *, line: str = "plain", files: int = 16, file_bytes: int = 64 * MIB) -> Race:
    title = f"{files} x {file_bytes // MIB} MiB"
    return Race("made up", title, line, files, files * file_bytes, runs, dict.fromkeys(runs, 2))


def row_of(table: str, name: str) -> list[str]:
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_median_is_of_the_runs_that_count():
    found = race({ENGINE: [run(1), run(9, problem="wrong"), run(3), run(2)]})

    assert found.median(ENGINE, "wall_seconds") == 2
    assert found.problems(ENGINE) == ["wrong"]


def test_client_without_counted_runs_shows_its_reason():
    table = race_table(race({FLOOR: [run(1)], ENGINE: [run(1, problem="status 1; 3 of 16 objects missing")]}))

    assert "| coldreel engine |" not in table
    assert "- coldreel engine: 1 of 1 runs did not count: status 1; 3 of 16 objects missing" in table


def test_client_that_cannot_use_a_line_shows_its_reason():
    found = race({FLOOR: [run(1)]})
    found.absent["gcsfs"] = "knows no such line"

    assert "- gcsfs: not over this line: knows no such line" in race_table(found)


def test_best_setting_is_chosen_for_each_figure_by_itself():
    found = race({"rclone quick": [run(1, cpu=5)], "rclone lean": [run(2, cpu=3)], FLOOR: [run(0.5, cpu=1)]})

    assert found.best_of("rclone", "wall_seconds") == "rclone quick"
    assert found.best_of("rclone", "cpu_seconds") == "rclone lean"
    assert found.best_of(OBSTORE, "wall_seconds") is None


def test_row_holds_speed_cpu_and_ratios():
    found = race(
        {
            ENGINE: [run(2, cpu=3)],
            "rclone tuned": [run(4, cpu=6)],
            "rclone default": [run(8, cpu=4)],
            FLOOR: [run(1, cpu=1)],
        }
    )

    assert row_of(race_table(found), ENGINE) == [
        *(ENGINE, "2", "2.00 (2.00, 2.00)", "512", "3.00", "50"),
        *("0.50 · none · 2.00", "0.75 · none · 3.00", "2", "HTTP/1.1"),
    ]


def test_commits_of_the_application_are_told_by_the_file():
    found = race({ON_SQLITE: [run(1, request_seconds=0.25, web_cpu_seconds=0.5, commits=40, transactions=80)]})

    table = race_table(found)

    assert "the request itself took 0.25 s" in table
    assert "2.5 database commits a file that wrote something; 5.0 transactions a file, reads included." in table


@pytest.mark.parametrize(
    ("data", "line", "engine", "what", "verdict"),
    [
        ((16, 64 * MIB), "plain", run(0.80, cpu=0.9), "wall to the best of rclone", "met"),
        ((16, 64 * MIB), "plain", run(0.81, cpu=0.1), "wall to the best of rclone", "**missed**"),
        ((16, 64 * MIB), "plain", run(0.1, cpu=0.65), "CPU to the best of rclone", "met"),
        ((16, 64 * MIB), "tls", run(0.1, cpu=0.66), "CPU to the best of rclone", "**missed**"),
        ((1, 2 * GIB), "plain", run(0.1, cpu=0.66), "CPU to the best of rclone", "**missed**"),
        ((1, 2 * GIB), "tls", run(0.1, cpu=0.85), "CPU to the best of rclone", "met"),
        ((1, 2 * GIB), "tls", run(0.1, cpu=0.86), "CPU to the best of rclone", "**missed**"),
        ((16, 64 * MIB), "plain", run(0.52), "wall to the best of obstore", "met"),
        ((16, 64 * MIB), "plain", run(0.53), "wall to the best of obstore", "**missed**"),
        ((16, 8 * MIB), "thin", run(0.44), "wall to the floor's", "met"),
        ((16, 8 * MIB), "thin", run(0.45), "wall to the floor's", "**missed**"),
    ],
)
def test_engine_is_held_to_its_targets(data, line, engine, what, verdict):
    files, file_bytes = data
    runs = {ENGINE: [engine], "rclone tuned": [run(1)], OBSTORE: [run(0.5)], FLOOR: [run(0.4)]}

    found = targets([race(runs, line=line, files=files, file_bytes=file_bytes)], [], [])

    assert [one.verdict for one in found if one.what == f"{ENGINE}, {what}"] == [verdict]


@pytest.mark.parametrize(
    ("file_bytes", "wall", "verdict"),
    [(64 * MIB, 0.9, "met"), (64 * MIB, 0.91, "**missed**"), (2 * MIB, 1.0, "met"), (2 * MIB, 1.01, "**missed**")],
)
def test_application_is_held_to_its_targets(file_bytes, wall, verdict):
    found = targets([race({ON_SQLITE: [run(wall)], "rclone tuned": [run(1)]}, file_bytes=file_bytes)], [], [])

    assert [one.verdict for one in found] == [verdict]


def test_target_without_its_peer_is_not_measured():
    assert {one.verdict for one in targets([race({ENGINE: [run(1)]})], [], [])} == {"not measured"}


@pytest.mark.parametrize(("peak", "verdict"), [(100 * MIB, "met"), (100 * MIB + 1, "**missed**")])
def test_most_memory_of_all_runs_decides(peak, verdict):
    runs = (Run(1, 1, 10 * MIB), Run(1, 1, peak), Run(1, 1, 900 * MIB, problem="did not count"))
    memory = [Memory("24 x 64 MiB", "plain", 8, runs)]

    assert [one.verdict for one in targets([], memory, [])] == [verdict]
    assert "| 24 x 64 MiB, plain | 8 | 100 |" in memory_table(memory)


@pytest.mark.parametrize(
    ("again", "problem", "verdict"), [(0, "", "met"), (1, "", "**missed**"), (0, "status 1", "not measured")]
)
def test_nothing_that_the_bucket_kept_may_be_sent_again(again, problem, verdict):
    cuts = [Cut(ENGINE, GIB, GIB + 5, again, 1.0, problem), Cut("gcsfs", GIB, 2 * GIB, GIB, 1.0)]

    assert [one.verdict for one in targets([], [], cuts)] == [verdict]


def test_client_that_gives_up_after_the_cut_is_shown():
    table = cut_table([Cut("x", 4 * MIB, 6 * MIB, MIB, 1.5), Cut("y", 4 * MIB, 2 * MIB, 0, 0.5, "status 1")])

    assert row_of(table, "x") == ["x", "6.00", "2.00", "1.00", "1.50", "object right"]
    assert row_of(table, "y") == ["y", "2.00", "none", "0.00", "0.50", "gave up: status 1"]


def test_whole_ratios_and_bytes_are_shown_without_decimals():
    table = target_table([Target("a", "here", 0.9, 0.876), Target("b", "here", 0, 0), Target("c", "here", 1, None)])

    assert [row_of(table, name)[3] for name in "abc"] == ["0.88", "0", "none"]


def test_document_says_when_where_and_holds_every_table():
    results = Results(datetime(2026, 5, 4, 3, 2, tzinfo=UTC), {"processor": "a fast one"}, {"rclone": "1.75"}, 5)
    results.races = [race({FLOOR: [run(1)]}), race({FLOOR: [run(1)]}, line="tls")]
    results.memory = [Memory("24 x 64 MiB", "plain", 8, (run(1),))]
    results.cuts = [Cut(ENGINE, GIB, GIB, 0, 1.0)]

    text = results.document()

    assert "Measured on 2026-05-04, 03:02 UTC, 5 run(s) of each client." in text
    assert "- processor: a fast one\n- rclone: 1.75\n" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Targets",
        "## 16 x 64 MiB, plain",
        "## 16 x 64 MiB, tls",
        "## coldreel engine: memory with many uploads at once",
        "## The cut: 1 x 1024 MiB, every connection reset once, in the middle",
    ]
