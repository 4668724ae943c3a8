"""How each client is called. Settings of the peers: the best that were found for each."""

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
"""On a line where each connection is slow, as many as there are files help everybody."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where a race is run: one data set over one line."""

    dataset: Dataset
    line: str
    sink: Sink
    tools: Tools


class Contestant(Protocol):
    @property
    def name(self) -> str: ...

    def at_once(self, dataset: Dataset, line: str) -> int:
        """How many files it sends at the same time."""
        ...

    def why_not(self, line: str) -> str:
        """Why it cannot run over that line; empty where it can."""
        ...

    def run(self, place: Field) -> Run: ...


Builder = Callable[[Field, int], list[str]]


def _nothing(_sink: Sink) -> None: ...


@dataclass(frozen=True, slots=True)
class Client:
    """A whole process. `build` gives the command for a field and a number of files at once.

    `not_over` tells why it does not run over a line, `variables` are its own of the environment.
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

    def run(self, place: Field, *, before: Callable[[Sink], None] = _nothing) -> Run:
        """`before` may do something to the emptied bucket."""
        place.sink.reset()
        before(place.sink)
        command = self.build(place, self.at_once(place.dataset, place.line))
        cost = measure(place.tools.timed, command, environment=_environment(place.sink) | self.variables)
        wrong = place.sink.what_is_wrong(place.dataset)
        problem = f"status {cost.status}; {wrong or 'objects are right'}; {cost.last_words}"
        stats = place.sink.stats()
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
    # gcsfs would ask Google's control service about the bucket, over gRPC, wherever the endpoint is.
    variables |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    if sink.ca_file is not None:
        variables |= {"SSL_CERT_FILE": str(sink.ca_file), "REQUESTS_CA_BUNDLE": str(sink.ca_file)}
    return variables


def _floor(place: Field, at_once: int) -> list[str]:
    return [str(place.tools.floor), *_arguments(place, at_once)]


def _engine(place: Field, at_once: int) -> list[str]:
    return [sys.executable, str(HERE / "coldreel_engine.py"), *_arguments(place, at_once)]


def _peer(script: str, *extra: str) -> Builder:
    def build(place: Field, at_once: int) -> list[str]:
        return [str(place.tools.peers / "bin/python"), str(HERE / script), *_arguments(place, at_once), *extra]

    return build


def _arguments(place: Field, at_once: int) -> list[str]:
    return [place.sink.url, BUCKET, str(place.dataset.folder), str(place.sink.ca_file or ""), str(at_once)]


def _rclone(*settings: str, transfers: bool = True) -> Builder:
    def build(place: Field, at_once: int) -> list[str]:
        sink = place.sink
        command = [str(place.tools.peers / "bin/rclone"), "copy"]
        command += [str(place.dataset.folder), f":gcs:{BUCKET}/recordings"]
        command += ["--gcs-endpoint", f"{sink.url}/storage/v1/", "--gcs-anonymous", "--gcs-bucket-policy-only"]
        command += ["--ca-cert", str(sink.ca_file)] if sink.ca_file else []
        return [*command, *settings, *(("--transfers", str(at_once)) if transfers else ())]

    return build


_LEAN = (
    "--no-traverse",  # do not list the bucket first
    "--no-check-dest",  # do not ask whether an object is there already
    "--gcs-no-check-bucket",  # do not ask for the bucket
    *("--checkers", "4"),
    *("--buffer-size", "0"),  # no read-ahead of its own: less copying, less memory
    "--metadata=false",
)
_UNSUMMED = ("--ignore-checksum",)  # no MD5 of the file to compare with the bucket's: most of its CPU

_SMALL_PARTS = ("8", "2")  # MiB a part, and parts of a file at once: its own choice is 5 and 12

RCLONE_DEFAULT = Client("rclone default", _rclone(transfers=False), 4, 4)
RCLONE_TUNED = Client("rclone tuned", _rclone(*_LEAN, *_UNSUMMED), 4)

CLIENTS: tuple[Client, ...] = (
    Client(FLOOR, _floor, 2),
    Client(ENGINE, _engine, 2),
    Client(OBSTORE, _peer("peer_obstore.py"), 4),
    Client(f"{OBSTORE} tuned", _peer("peer_obstore.py", *_SMALL_PARTS), 2),
    RCLONE_TUNED,
    Client("rclone tuned, 2 at once", _rclone(*_LEAN, *_UNSUMMED), 2, not_over={THIN: "two at once help nobody there"}),
    # Its memory collected a quarter as often: a little less CPU on small files, up to twice the memory.
    Client("rclone tuned, GOGC=400", _rclone(*_LEAN, *_UNSUMMED), 4, variables={"GOGC": "400"}),
    Client("rclone tuned, checksum on", _rclone(*_LEAN), 4),
    RCLONE_DEFAULT,
    Client("transfer_manager", _peer("peer_transfer_manager.py"), 2),
    Client("gcsfs", _peer("peer_gcsfs.py"), 4),
)


def client_named(name: str) -> Client:
    return next(client for client in CLIENTS if client.name == name)
