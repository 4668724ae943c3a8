"""`make bench`: Coldreel and its peers upload to one fast bucket on loopback; the tables show medians and ratios.

Tables go to standard output, progress to standard error. `report.HOW_TO_READ` explains the figures.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from benchmarks.application import Application
from benchmarks.application.databases import PostgresDatabases, SqliteDatabases
from benchmarks.clients import CLIENTS, Contestant, client_named
from benchmarks.cut import cut_all, cut_clients
from benchmarks.data import DATASETS, THIN_LINE, Dataset, make_files
from benchmarks.figures import ENGINE, ON_POSTGRES, ON_SQLITE, Memory
from benchmarks.machine import machine, versions
from benchmarks.native import BenchError, Tools, build_tools, check_compiler
from benchmarks.options import CUT, MEMORY, Options, parse
from benchmarks.peers import peers_environment
from benchmarks.race import race
from benchmarks.report import DOCUMENT, Results
from benchmarks.sink import PLAIN, THIN, TLS
from tests.postgres import ServerMissing, ThrowawayPostgres

MANY_AT_ONCE = 8
CUT_RUNS = 3


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        _bench(options)
    except BenchError as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: stopped")
        return 130
    return 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(text: str) -> None:
    print(f"{datetime.now(tz=UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _bench(options: Options) -> None:
    check_compiler()
    home = Path(os.environ.get("COLDREEL_HOME", tempfile.gettempdir())) / "bench"
    home.mkdir(parents=True, exist_ok=True)
    # First of all, so that a missing compiler or registry is told before minutes of work.
    tools = build_tools(home, peers_environment(home, say))
    results = Results(datetime.now(tz=UTC), machine(), versions(tools), options.runs)
    print(f"# Coldreel bench\n\n{results.head()}", flush=True)
    with ExitStack() as stack:
        contestants = _contestants(stack, options, tools)
        for dataset, line in _races(options):
            results.races.append(
                race(
                    _made(dataset, options, home),
                    line=line,
                    runs=options.runs,
                    contestants=contestants,
                    tools=tools,
                    say=say,
                )
            )
            # Each table at once: a whole run takes half an hour and may be stopped.
            print(results.tables()[-1], flush=True)
    if options.wants(MEMORY) and options.wants_client(ENGINE):
        results.memory = _memory(options, tools)
    if options.wants(CUT):
        longest = _made(DATASETS[-1], options, home)
        clients = [client for client in cut_clients() if options.wants_in_cut(client.name)]
        results.cuts = cut_all(longest, runs=min(options.runs, CUT_RUNS), clients=clients, tools=tools, say=say)
    for table in results.tables()[len(results.races) :]:
        print(table, flush=True)
    if options.quick:
        print("With --quick most of a client's time is its start: do not compare its figures with the targets.\n")
    print(results.target_table())
    say(f"every single run: {results.keep_raw(home / 'results')}")
    if options.write:
        DOCUMENT.write_text(results.document(), encoding="utf-8")
        say(f"written: {DOCUMENT}")


def _races(options: Options) -> Iterator[tuple[Dataset, str]]:
    for dataset in DATASETS:
        for line in (PLAIN, TLS):
            if options.wants(line) and options.wants_data(dataset.name):
                yield dataset, line
    if options.wants(THIN):
        yield THIN_LINE, THIN


def _made(dataset: Dataset, options: Options, home: Path) -> Dataset:
    return make_files(home, dataset.quick() if options.quick else dataset, say)


def _contestants(stack: ExitStack, options: Options, tools: Tools) -> list[Contestant]:
    found: list[Contestant] = [client for client in CLIENTS if options.wants_client(client.name)]
    if options.wants_client(ON_SQLITE):
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=tools.home))
        found.append(Application(ON_SQLITE, SqliteDatabases(Path(folder))))
    if options.wants_client(ON_POSTGRES):
        found.append(_on_postgres(stack))
    return found


def _on_postgres(stack: ExitStack) -> Application:
    try:
        cluster = ThrowawayPostgres(durable=True)
    except ServerMissing as missing:
        return Application(ON_POSTGRES, None, str(missing))
    return Application(ON_POSTGRES, PostgresDatabases(stack.enter_context(cluster)))


def _memory(options: Options, tools: Tools) -> list[Memory]:
    """The engine's memory with many uploads at once, over each line."""
    engine = replace(client_named(ENGINE), files_at_once=MANY_AT_ONCE)
    dataset = _made(DATASETS[0], options, tools.home)
    found = []
    for line in (PLAIN, TLS):
        one = race(dataset, line=line, runs=options.runs, contestants=[engine], tools=tools, say=say)
        found.append(Memory(dataset.title, line, MANY_AT_ONCE, tuple(one.runs[ENGINE])))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
