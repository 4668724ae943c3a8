"""`make scale`: reads, claims and cleanup looks at several sizes, on SQLite and PostgreSQL, with their ratios.

Tables go to standard output, progress to standard error. Exit status 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.scale.figures import FEWEST, INSTALLATION, Answer, Measured
from benchmarks.scale.results import DOCUMENT, document, misses, tables
from tests.postgres import ServerMissing, ThrowawayPostgres

SIZES = (10_000, 1_000_000)
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
BACKEND = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _stop)
    found: dict[str, list[Measured]] = {}
    try:
        for name in options.database:
            found[name] = [_measured(name, size, options.only) for size in sorted(options.sizes)]
    except ServerMissing as missing:
        print(f"scale: {missing}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"scale: measuring ended with status {error.returncode}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n".join(tables(found)))
    if options.write:
        DOCUMENT.write_text(document(found, machine=machine(), now=datetime.now(tz=UTC)))
    if missed := misses(found):
        print(f"scale: {missed} answers miss a target (bold)", file=sys.stderr)
    return 1 if missed else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make scale", description=__doc__)
    parser.add_argument("--sizes", type=_size, nargs="+", default=SIZES, help="recordings (10000 1000000)")
    parser.add_argument("--database", nargs="+", choices=(SQLITE, POSTGRES), default=(SQLITE, POSTGRES))
    parser.add_argument("--only", default="", help="questions whose names contain this")
    parser.add_argument("--write", action="store_true", help=f"write the results to {DOCUMENT.name}")
    return parser.parse_args(arguments)


def _size(text: str) -> int:
    if not text.isdigit() or int(text) < FEWEST:
        raise argparse.ArgumentTypeError(f"expected a number of recordings, at least {FEWEST}")
    return int(text)


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _measured(database: str, recordings: int, only: str) -> Measured:
    with tempfile.TemporaryDirectory(prefix="coldreel-scale-") as folder, _url(database, Path(folder)) as url:
        file = Path(folder) / "measured.json"
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": folder,
            "DATABASE_URL": url,
            "COLDREEL_LOG_LEVEL": "ERROR",
            "GCP_STORAGE_USE_GCS": "True",
            "GCP_STORAGE_BUCKET_NAME": "footage",
            "GCP_STORAGE_PROJECT_ID": "scale",
            "COLDREEL_INSTALLATION_ID": INSTALLATION,
        }
        environment.pop("MEDIA_ROOT", None)
        command = [sys.executable, "-m", "benchmarks.scale.measured", str(file), "--recordings", str(recordings)]
        subprocess.run([*command, "--only", only], env=environment, cwd=BACKEND, check=True)
        read = json.loads(file.read_text())
        return Measured(**{**read, "answers": [Answer(**answer) for answer in read["answers"]]})


@contextmanager
def _url(database: str, folder: Path) -> Iterator[str]:
    if database == SQLITE:
        yield f"sqlite:///{folder / 'scale.sqlite3'}"
        return
    with ThrowawayPostgres() as cluster:
        yield cluster.url


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
