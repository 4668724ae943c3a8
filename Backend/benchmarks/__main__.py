"""`make bench`: Coldreel and its peers against one fast bucket on loopback, as medians and ratios.

Every run is a whole process, the runs of all clients are interleaved, and a run counts only when the
bucket holds every object with the right size and CRC32C (computed there, from what arrived).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.clients import CLIENTS, Client
from benchmarks.data import DATASETS, THIN_LINE, Dataset, make_files
from benchmarks.measure import Run, measure
from benchmarks.peers import peers_environment
from benchmarks.sink import Sink, build_sink

BEST_OF_RCLONE = "rclone tuned"


def main() -> int:
    arguments = _arguments()
    home = Path(os.environ.get("COLDREEL_HOME", tempfile.gettempdir())) / "bench"
    home.mkdir(parents=True, exist_ok=True)
    peers = peers_environment(home)
    sink_binary = build_sink(home)
    print(f"# Coldreel bench, {datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC, {_machine()}\n")
    lines = ["plain"] if arguments.quick else ["plain", "tls"]
    for dataset in DATASETS:
        files = make_files(home, dataset.quick() if arguments.quick else dataset)
        for line in lines:
            _race(
                files, line=line, runs=arguments.runs, clients=_chosen(arguments.only), binary=sink_binary, venv=peers
            )
    files = make_files(home, THIN_LINE.quick() if arguments.quick else THIN_LINE)
    _race(files, line="thin", runs=arguments.runs, clients=_chosen(arguments.only), binary=sink_binary, venv=peers)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, plain HTTP: within two minutes")
    parser.add_argument("--runs", type=int, default=0, help="runs of each client (5; 2 with --quick)")
    parser.add_argument("--only", default="", help="clients whose names contain one of these words, comma separated")
    arguments = parser.parse_args()
    arguments.runs = arguments.runs or (2 if arguments.quick else 5)
    return arguments


def _chosen(only: str) -> list[Client]:
    words = [word for word in only.split(",") if word]
    return [client for client in CLIENTS if not words or any(word in client.name for word in words)]


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}"


def _race(dataset: Dataset, *, line: str, runs: int, clients: list[Client], binary: Path, venv: Path) -> None:
    found: dict[str, list[Run]] = defaultdict(list)
    failed: dict[str, str] = {}
    with Sink(binary, line=line) as sink:
        for _ in range(runs):
            for client in clients:
                if client.name in failed or not client.speaks(line):
                    continue
                sink.reset()
                run = measure(client.command(dataset, sink, venv), environment=client.environment(sink))
                wrong = sink.what_is_wrong(dataset)
                if run.status or wrong:
                    failed[client.name] = f"status {run.status}; {wrong or 'objects are right'}; {run.last_words}"
                else:
                    found[client.name].append(run)
    _table(dataset, line, found, failed)


def _table(dataset: Dataset, line: str, found: dict[str, list[Run]], failed: dict[str, str]) -> None:
    print(f"## {dataset.title}, {line}\n")
    print("| client | wall s | MiB/s | CPU s/GiB | peak MiB | wall to rclone | CPU to rclone |")
    print("|---|---|---|---|---|---|---|")
    best = found.get(BEST_OF_RCLONE)
    for name, runs in found.items():
        wall, cpu = _median(runs, "wall_seconds"), _median(runs, "cpu_seconds")
        to_wall = f"{wall / _median(best, 'wall_seconds'):.2f}" if best else "none"
        to_cpu = f"{cpu / _median(best, 'cpu_seconds'):.2f}" if best else "none"
        speed, per_gib = dataset.total_bytes / 2**20 / wall, cpu / (dataset.total_bytes / 2**30)
        peak = _median(runs, "peak_bytes") / 2**20
        print(f"| {name} | {wall:.2f} | {speed:.0f} | {per_gib:.2f} | {peak:.0f} | {to_wall} | {to_cpu} |")
    for name, why in failed.items():
        print(f"| {name} | did not count: {why} | | | | | |")
    print(flush=True)


def _median(runs: list[Run], figure: str) -> float:
    return statistics.median(getattr(run, figure) for run in runs)


if __name__ == "__main__":
    sys.exit(main())
