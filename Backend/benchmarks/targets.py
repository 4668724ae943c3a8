"""The targets that Coldreel set itself, compared with what was measured. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import (
    ENGINE,
    FLOOR,
    MIB,
    OBSTORE,
    ON_SQLITE,
    RCLONE,
    Cut,
    Memory,
    Race,
)
from benchmarks.sink import THIN, TLS

WALL, CPU = "wall_seconds", "cpu_seconds"
ENGINE_WALL_TO_RCLONE = 0.80
ENGINE_WALL_TO_OBSTORE = 1.05
ENGINE_CPU_TO_RCLONE = 0.65
ENGINE_CPU_TO_RCLONE_LONG_TLS = 0.85
APPLICATION_WALL_TO_RCLONE = 0.90
APPLICATION_WALL_TO_RCLONE_SMALL = 1.00
THIN_WALL_TO_FLOOR = 1.10
MOST_PEAK_MIB = 100


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must be no more than `limit`. `found` is None where it was not measured."""

    what: str
    where: str
    limit: float
    found: float | None

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        return "met" if self.found <= self.limit else "**missed**"


def targets(races: Sequence[Race], memory: Sequence[Memory], cuts: Sequence[Cut]) -> list[Target]:
    found = [target for race in races for target in _of_race(race)]
    found += [
        Target(
            f"engine, peak MiB at {one.at_once} uploads",
            f"{one.title}, {one.line}",
            MOST_PEAK_MIB,
            one.peak_bytes / MIB if one.peak_bytes else None,
        )
        for one in memory
    ]
    found += [
        Target(
            "engine, bytes sent again that the bucket had kept",
            f"1 x {cut.file_bytes // MIB} MiB, cut once",
            0,
            None if cut.problem else cut.again_bytes,
        )
        for cut in cuts
        if cut.client == ENGINE
    ]
    return found


def _of_race(race: Race) -> Iterator[Target]:
    where = f"{race.title}, {race.line}"
    if race.line == THIN:
        for name in (ENGINE, ON_SQLITE):
            if name in race.runs:
                yield Target(f"{name}, wall to the floor's", where, THIN_WALL_TO_FLOOR, race.ratio(name, FLOOR, WALL))
        return
    if ENGINE in race.runs:
        yield _to(race, ENGINE, RCLONE, WALL, ENGINE_WALL_TO_RCLONE)
        yield _to(race, ENGINE, OBSTORE, WALL, ENGINE_WALL_TO_OBSTORE)
        long_over_tls = race.files == 1 and race.line == TLS
        yield _to(race, ENGINE, RCLONE, CPU, ENGINE_CPU_TO_RCLONE_LONG_TLS if long_over_tls else ENGINE_CPU_TO_RCLONE)
    if ON_SQLITE in race.runs:
        small = race.total_bytes // race.files <= 2 * MIB
        limit = APPLICATION_WALL_TO_RCLONE_SMALL if small else APPLICATION_WALL_TO_RCLONE
        yield _to(race, ON_SQLITE, RCLONE, WALL, limit)


def _to(race: Race, name: str, peer: str, figure: str, limit: float) -> Target:
    what = f"{name}, {'wall' if figure == WALL else 'CPU'} to the best of {peer}"
    return Target(what, f"{race.title}, {race.line}", limit, race.ratio(name, race.best_of(peer, figure), figure))
