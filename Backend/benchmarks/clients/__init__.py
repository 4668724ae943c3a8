"""How each client is called. Settings of the peers: the best that were found for each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import Dataset
from benchmarks.sink import BUCKET, Sink

HERE = Path(__file__).parent
BACKEND = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Client:
    """`build` gives the command for a data set, a bucket and the peers' environment."""

    name: str
    build: Callable[[Dataset, Sink, Path], list[str]]
    lines: tuple[str, ...] = ("plain", "tls", "thin")

    def speaks(self, line: str) -> bool:
        return line in self.lines

    def command(self, dataset: Dataset, sink: Sink, venv: Path) -> list[str]:
        return self.build(dataset, sink, venv)

    def environment(self, sink: Sink) -> dict[str, str]:
        variables = dict(os.environ) | {"PYTHONPATH": str(BACKEND), "RCLONE_CONFIG": "/dev/null"}
        # gcsfs would ask Google's control service about the bucket, over gRPC, wherever the endpoint is.
        variables |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        if sink.ca_file is not None:
            variables |= {"SSL_CERT_FILE": str(sink.ca_file), "REQUESTS_CA_BUNDLE": str(sink.ca_file)}
        return variables


def _script(
    name: str, *, ours: bool = False, extra: tuple[str, ...] = ()
) -> Callable[[Dataset, Sink, Path], list[str]]:
    def build(dataset: Dataset, sink: Sink, venv: Path) -> list[str]:
        python = sys.executable if ours else str(venv / "bin/python")
        return [python, str(HERE / name), sink.url, BUCKET, str(dataset.folder), str(sink.ca_file or ""), *extra]

    return build


def _rclone(*tuning: str) -> Callable[[Dataset, Sink, Path], list[str]]:
    def build(dataset: Dataset, sink: Sink, venv: Path) -> list[str]:
        command = [str(venv / "bin/rclone"), "copy", str(dataset.folder), f":gcs:{BUCKET}/recordings"]
        command += ["--gcs-endpoint", f"{sink.url}/storage/v1/", "--gcs-anonymous", "--gcs-bucket-policy-only"]
        command += ["--ca-cert", str(sink.ca_file)] if sink.ca_file else []
        return [*command, *tuning]

    return build


_TUNED = (
    *("--transfers", "4", "--checkers", "4", "--no-traverse", "--no-check-dest", "--ignore-checksum"),
    *("--buffer-size", "0", "--metadata=false"),
)

CLIENTS = [
    Client("coldreel engine", _script("coldreel_engine.py", ours=True)),
    Client("obstore", _script("peer_obstore.py"), ("plain", "thin")),
    Client("rclone tuned", _rclone(*_TUNED)),
    Client("rclone default", _rclone()),
    Client("transfer_manager", _script("peer_transfer_manager.py")),
    Client("gcsfs", _script("peer_gcsfs.py"), ("plain", "thin")),
]
