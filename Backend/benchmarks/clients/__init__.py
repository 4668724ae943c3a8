"""How each client is called. Each peer has the best settings that were found for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.data import Dataset
from benchmarks.figures import ENGINE, FLOOR, OBSTORE, Run
from benchmarks.measure import measure
from benchmarks.native import Tools
from benchmarks.sink import BUCKET, THIN, Sink

HERE = Path(__file__).parent
BACKEND = HERE.parents[1]
THIN_AT_ONCE = 16
"""Files at once on the thin line: each connection is slow there, so that every client gains from more of them."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a client runs with: one data set, one line, the bucket behind it and the programs."""

    dataset: Dataset
    line: str
    sink: Sink
    tools: Tools


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    def at_once(self, dataset: Dataset, line: str) -> int:
        """How many files the client sends at the same time."""
        ...

    def why_not(self, line: str) -> str:
        """Why the client cannot run over that line; empty where it can."""
        ...

    def run(self, course: Course) -> Run: ...


Builder = Callable[[Course, int], list[str]]


def _nothing(_sink: Sink) -> None: ...


@dataclass(frozen=True, slots=True)
class Client:
    """A contestant that is one process. `build` returns its command for a course and a number of files at once.

    `not_over` says by line why it does not run there, `variables` are added to its environment.
    """

    name: str
    build: Builder
    files_at_once: int
    thin_at_once: int = THIN_AT_ONCE
    not_over: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def at_once(self, dataset: Dataset, line: str) -> int:
        del dataset
        return self.thin_at_once if line == THIN else self.files_at_once

    def why_not(self, line: str) -> str:
        return self.not_over.get(line, "")

    def run(self, course: Course, *, before: Callable[[Sink], None] = _nothing) -> Run:
        """Empty the bucket, let `before` prepare it, and run the client once."""
        # Emptied before each run: objects of the run before must not help a client.
        course.sink.reset()
        before(course.sink)
        command = self.build(course, self.at_once(course.dataset, course.line))
        cost = measure(course.tools.timed, command, environment=_environment(course.sink) | self.variables)
        wrong = course.sink.what_is_wrong(course.dataset)
        problem = f"status {cost.status}; {wrong or 'objects are right'}; {cost.last_words}"
        stats = course.sink.stats()
        return Run(
            wall_seconds=cost.wall_seconds,
            cpu_seconds=cost.cpu_seconds,
            peak_bytes=cost.peak_bytes,
            connections=stats["conns"],
            spoke=tuple(stats["spoke"]),
            problem=problem if cost.status or wrong else "",
        )


def _environment(sink: Sink) -> dict[str, str]:
    variables = dict(os.environ) | {"PYTHONPATH": str(BACKEND), "RCLONE_CONFIG": "/dev/null"}
    # Without this gcsfs asks Google's control service about the bucket, over gRPC, whatever the endpoint is.
    variables |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    if sink.ca_file is not None:
        variables |= {"SSL_CERT_FILE": str(sink.ca_file), "REQUESTS_CA_BUNDLE": str(sink.ca_file)}
    return variables


def _floor(course: Course, at_once: int) -> list[str]:
    return [str(course.tools.floor), *_arguments(course, at_once)]


def _engine(course: Course, at_once: int) -> list[str]:
    return [sys.executable, str(HERE / "coldreel_engine.py"), *_arguments(course, at_once)]


def _peer(script: str, *extra: str) -> Builder:
    def build(course: Course, at_once: int) -> list[str]:
        return [str(course.tools.peers / "bin/python"), str(HERE / script), *_arguments(course, at_once), *extra]

    return build


def _arguments(course: Course, at_once: int) -> list[str]:
    return [course.sink.url, BUCKET, str(course.dataset.folder), str(course.sink.ca_file or ""), str(at_once)]


def _rclone(*settings: str, transfers: bool = True) -> Builder:
    def build(course: Course, at_once: int) -> list[str]:
        sink = course.sink
        command = [str(course.tools.peers / "bin/rclone"), "copy"]
        command += [str(course.dataset.folder), f":gcs:{BUCKET}/recordings"]
        command += ["--gcs-endpoint", f"{sink.url}/storage/v1/", "--gcs-anonymous", "--gcs-bucket-policy-only"]
        command += ["--ca-cert", str(sink.ca_file)] if sink.ca_file else []
        return [*command, *settings, *(("--transfers", str(at_once)) if transfers else ())]

    return build


_FEWEST_REQUESTS = (
    "--no-traverse",  # do not list the bucket first
    "--no-check-dest",  # do not ask whether an object is there already
    "--gcs-no-check-bucket",  # do not ask for the bucket
    *("--checkers", "4"),
    *("--buffer-size", "0"),  # no read-ahead: less copying, less memory
    "--metadata=false",
)
_NO_CHECKSUM = (
    "--ignore-checksum",
)  # computes no MD5 of the file to compare with the bucket's, which is most of its CPU

_SMALL_PARTS = ("8", "2")  # MiB a part, and parts of a file at once; obstore's defaults are 5 and 12

RCLONE_DEFAULT = Client("rclone default", _rclone(transfers=False), 4, 4)
RCLONE_TUNED = Client("rclone tuned", _rclone(*_FEWEST_REQUESTS, *_NO_CHECKSUM), 4)

CLIENTS: tuple[Client, ...] = (
    Client(FLOOR, _floor, 2),
    Client(ENGINE, _engine, 2),
    Client(OBSTORE, _peer("peer_obstore.py"), 4),
    Client(f"{OBSTORE} tuned", _peer("peer_obstore.py", *_SMALL_PARTS), 2),
    RCLONE_TUNED,
    Client(
        "rclone tuned, 2 at once",
        _rclone(*_FEWEST_REQUESTS, *_NO_CHECKSUM),
        2,
        not_over={THIN: "two files at once are too few on the thin line"},
    ),
    # Garbage is collected a quarter as often: a little less CPU on small files, up to twice the memory.
    Client("rclone tuned, GOGC=400", _rclone(*_FEWEST_REQUESTS, *_NO_CHECKSUM), 4, variables={"GOGC": "400"}),
    Client("rclone tuned, checksum on", _rclone(*_FEWEST_REQUESTS), 4),
    RCLONE_DEFAULT,
    Client("transfer_manager", _peer("peer_transfer_manager.py"), 2),
    Client("gcsfs", _peer("peer_gcsfs.py"), 4),
)


def client_named(name: str) -> Client:
    return next(client for client in CLIENTS if client.name == name)
