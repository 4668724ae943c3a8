"""`python -m tests.torture.mutants`: small mechanical changes of the guards, each of which a test should notice.

cosmic-ray makes the mutants: a comparison turned round, a condition negated, a number off by one. Of those in
the guard functions of P1, P2, P5 and P6 (`GUARDS`) a random sample is tried, each in a copy of the checkout. A mutant that no
test notices survives: it is printed with its change, and either gets a test, or is
explained in `docs/MUTANTS.md`. The exit status is 0 where every mutant was noticed or is explained there.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from venv import EnvBuilder

BACKEND = Path(__file__).resolve().parents[2]
COSMIC_RAY = "cosmic-ray==8.7.0"
MOST_MUTANTS = 300
SECONDS_A_MUTANT = 600

_UNIT = "tests/unit"
_CLEANUP = "tests/integration/cleanup"
_WORK = "tests/integration/work"
_DB = "tests/integration/db"


@dataclass(frozen=True, slots=True)
class Guard:
    """A module whose functions keep a promise, and the tests that should notice when one is broken."""

    module: str
    tests: tuple[str, ...]


GUARDS = (
    Guard("offload/uploader.py", (_UNIT,)),
    Guard("offload/upload_job.py", (_UNIT,)),
    Guard("offload/trash.py", (f"{_UNIT}/test_trash.py", _CLEANUP)),
    Guard("apps/cctv/services/cleanup", (_CLEANUP,)),
    Guard("apps/cctv/services/retention.py", (_CLEANUP, f"{_WORK}/test_sweep.py")),
    Guard("apps/cctv/services/holds.py", ("tests/integration/api/test_holds.py", _CLEANUP, f"{_WORK}/test_sweep.py")),
    Guard("apps/cctv/leasing/leases.py", (_WORK, _CLEANUP)),
    Guard("apps/cctv/leasing/owners.py", (_WORK,)),
    Guard("apps/cctv/leasing/recovery.py", (_WORK,)),
    Guard("apps/cctv/leasing/journal.py", (_WORK,)),
    Guard("apps/cctv/tables/moves.py", (_DB, _WORK)),
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. `place` is `file:line function`."""

    job: str
    guard: Guard
    place: str
    operator: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a mutant: `noticed` by a failed test or a time-out; `change` is its diff."""

    mutant: Mutant
    noticed: bool
    change: str


def mutants(guard: Guard, session: Path, cosmic_ray: Path) -> Iterator[Mutant]:
    """Every mutant of a guard's modules, told by cosmic-ray's own session file."""
    _write_session(guard, session, cosmic_ray)
    with sqlite3.connect(session) as database:
        found = database.execute(
            "SELECT job_id, module_path, start_pos_row, definition_name, operator_name FROM mutation_specs"
        )
        for job, path, row, definition, operator in found:
            line = (BACKEND / path).read_text(encoding="utf-8").splitlines()[row - 1]
            if definition and _is_a_change(operator, line):
                yield Mutant(job, guard, f"{path}:{row} {definition}", operator.removeprefix("core/"))


def _is_a_change(operator: str, line: str) -> bool:
    """Not the star of a signature, which gives no program, nor the bar of a type, which nothing evaluates."""
    return not ("_BitOr_" in operator or ("Operator_Mul" in operator and "*," in line))


def _write_session(guard: Guard, session: Path, cosmic_ray: Path) -> None:
    tests = " ".join(guard.tests)
    session.with_suffix(".toml").write_text(
        "[cosmic-ray]\n"
        f'module-path = ["{guard.module}"]\n'
        f"timeout = {SECONDS_A_MUTANT}.0\n"
        "excluded-modules = []\n"
        f'test-command = "{sys.executable} -m pytest -q -x -n 0 -p no:cacheprovider {tests}"\n'
        '[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    subprocess.run([cosmic_ray, "init", session.with_suffix(".toml"), session], cwd=BACKEND, check=True)


def endings(chosen: list[Mutant], sessions: dict[Guard, Path], cosmic_ray: Path, at_once: int) -> Iterator[Ending]:
    """Try the mutants, `at_once` at a time, each process in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="coldreel-mutants-") as folder:
        parts = [chosen[start::at_once] for start in range(at_once)]
        with ThreadPoolExecutor(at_once) as pool:
            for part in pool.map(
                lambda numbered: list(_tried(numbered[1], sessions, cosmic_ray, Path(folder) / str(numbered[0]))),
                enumerate(parts),
            ):
                yield from part


def _tried(chosen: list[Mutant], sessions: dict[Guard, Path], cosmic_ray: Path, folder: Path) -> Iterator[Ending]:
    copy = folder / "Backend"
    shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("__pycache__", ".*cache", ".hypothesis"))
    environment = {**os.environ, "COLDREEL_HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    for number, mutant in enumerate(chosen):
        session = folder / f"{number}.sqlite"
        shutil.copy(sessions[mutant.guard], session)
        _keep_only(session, mutant.job)
        config = sessions[mutant.guard].with_suffix(".toml")
        subprocess.run([cosmic_ray, "exec", config, session], cwd=copy, check=True, env=environment)
        with sqlite3.connect(session) as database:
            outcome, change = database.execute("SELECT test_outcome, diff FROM work_results").fetchone()
        # The stored outcome is an enumeration's name. A mutant that hangs until its time is over is noticed as well.
        noticed = str(outcome).upper() != "SURVIVED"
        sys.stdout.write(f"{'noticed ' if noticed else 'SURVIVED'} {mutant.place} {mutant.operator}\n")
        if not noticed:
            sys.stdout.write(f"{change}\n")
        sys.stdout.flush()
        session.unlink()
        yield Ending(mutant, noticed, change)


def _keep_only(session: Path, job: str) -> None:
    with sqlite3.connect(session) as database:
        database.execute("DELETE FROM mutation_specs WHERE job_id != ?", (job,))
        database.execute("DELETE FROM work_items WHERE job_id != ?", (job,))


def cosmic_ray_installed(home: Path) -> Path:
    """The tool in an environment of its own: its libraries are not the product's."""
    folder = home / "mutants-venv"
    tool = folder / "bin" / "cosmic-ray"
    if not tool.exists():
        EnvBuilder(with_pip=True).create(folder)
        subprocess.run([folder / "bin" / "pip", "install", "-q", COSMIC_RAY], check=True)
    return tool


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.mutants", description=__doc__)
    parser.add_argument("--most", type=int, default=MOST_MUTANTS, help="how many are tried (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    asked = parser.parse_args(arguments)
    home = Path(os.environ.get("COLDREEL_HOME", tempfile.gettempdir()))
    home.mkdir(parents=True, exist_ok=True)
    cosmic_ray = cosmic_ray_installed(home)
    with tempfile.TemporaryDirectory(prefix="coldreel-sessions-") as folder:
        sessions = {guard: Path(folder) / f"{number}.sqlite" for number, guard in enumerate(GUARDS)}
        all_of_them = [mutant for guard in GUARDS for mutant in mutants(guard, sessions[guard], cosmic_ray)]
        chosen = random.Random(asked.seed).sample(all_of_them, min(asked.most, len(all_of_them)))
        sys.stdout.write(f"{len(chosen)} of {len(all_of_them)} mutants\n")
        ended = list(endings(chosen, sessions, cosmic_ray, asked.at_once))
    survivors = [ending for ending in ended if not ending.noticed]
    explained = (BACKEND / "docs" / "MUTANTS.md").read_text(encoding="utf-8")
    unexplained = [ending for ending in survivors if ending.mutant.place.split(" ")[1] not in explained]
    sys.stdout.write(f"{len(ended) - len(survivors)} of {len(ended)} mutants were noticed, ")
    sys.stdout.write(f"{len(unexplained)} of the survivors are not explained in docs/MUTANTS.md\n")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
