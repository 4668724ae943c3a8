"""The figures that were measured, and medians and ratios of them. Pure functions: no process, no file."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 2**20
GIB = 2**30

FLOOR = "floor (C++)"
ENGINE = "coldreel engine"
APPLICATION = "coldreel application"
ON_SQLITE = f"{APPLICATION}, SQLite"
ON_POSTGRES = f"{APPLICATION}, PostgreSQL"
OBSTORE = "obstore"
RCLONE = "rclone"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one client. `problem` says why it does not count, empty where it does.

    `cpu_seconds` is user and system time of the process and of the children that it waited for, `peak_bytes` the
    resident size of the largest of them. `spoke` names each kind of connection (protocol, TLS version, cipher).
    `extra` holds the application's own figures.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    connections: int = 0
    spoke: tuple[str, ...] = ()
    problem: str = ""
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Race:
    """All runs of all clients with one data set over one line. `absent` says why a client does not run."""

    dataset: str
    title: str
    line: str
    files: int
    total_bytes: int
    runs: dict[str, list[Run]] = field(default_factory=dict)
    at_once: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def counted(self, name: str) -> list[Run]:
        return [run for run in self.runs.get(name, []) if not run.problem]

    def problems(self, name: str) -> list[str]:
        return [run.problem for run in self.runs.get(name, []) if run.problem]

    def names(self) -> list[str]:
        """The clients with a run that counts, in the order of their first run."""
        return [name for name in self.runs if self.counted(name)]

    def median(self, name: str, figure: str) -> float | None:
        """The median of that field of `Run`, over the runs that count; None where there are none."""
        runs = self.counted(name)
        return statistics.median(getattr(run, figure) for run in runs) if runs else None

    def extra(self, name: str, figure: str) -> float | None:
        found = [run.extra[figure] for run in self.counted(name) if figure in run.extra]
        return statistics.median(found) if found else None

    def best_of(self, peer: str, figure: str) -> str | None:
        """The client whose name begins with `peer` and whose median of this figure is the lowest."""
        medians = {name: self.median(name, figure) for name in self.names() if name.startswith(peer)}
        return min(medians, key=lambda name: medians[name] or 0.0) if medians else None

    def ratio(self, name: str, other: str | None, figure: str) -> float | None:
        mine = self.median(name, figure)
        theirs = self.median(other, figure) if other else None
        return mine / theirs if mine is not None and theirs else None

    def spoke(self, name: str) -> str:
        """The kinds of its connections, the most frequent first."""
        kinds = Counter(kind for run in self.counted(name) for kind in run.spoke)
        return "; ".join(kind for kind, _ in kinds.most_common())


@dataclass(frozen=True, slots=True)
class Memory:
    """The engine with many uploads at once."""

    title: str
    line: str
    at_once: int
    runs: tuple[Run, ...]

    @property
    def peak_bytes(self) -> int:
        """The greatest of all runs that count; 0 where there are none."""
        return max((run.peak_bytes for run in self.runs if not run.problem), default=0)


@dataclass(frozen=True, slots=True)
class Cut:
    """A client whose connections were cut once.

    `arrived_bytes` are all bytes of the file that reached the bucket, `again_bytes` those of them that it had already.
    """

    client: str
    file_bytes: int
    arrived_bytes: int
    again_bytes: int
    wall_seconds: float
    problem: str = ""

    @property
    def twice_bytes(self) -> int:
        return max(0, self.arrived_bytes - self.file_bytes)
