"""`.venv/bin/python tools/trace_trip.py [--list] [upload] [cleanup]`: the files through which a recording passes.

Runs one test of the worker (an upload) and one of the cleanup and follows every call and return in `apps/` and
`offload/`, thread by thread. For each trip it prints how many files it passed, how many different steps from one file
to another there were, and how often the running code changed file: what a reader who follows a recording with a
debugger has to open, and to jump to. `--list` names the files with the number of visits.

The last figure grows where the machine is busy, since what waits looks more often; the two before it hardly do.
It needs the environment that `make setup-dev` makes. Exit status: 0, or 1 where a test did not pass.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from types import FrameType

try:
    import pytest
except ImportError:
    sys.exit("trace_trip.py: pytest is missing: run `make setup-dev`, then `.venv/bin/python tools/trace_trip.py`")

BACKEND = Path(__file__).resolve().parents[1] / "Backend"
TESTS = "tests/integration"
TRIPS = {
    "upload": f"{TESTS}/work/test_one_upload.py::test_one_recording_is_uploaded_and_verified",
    "cleanup": f"{TESTS}/cleanup/test_deletion.py::test_due_file_is_deleted_and_its_receipt_complete",
}


class Trip:
    """A pytest plugin that follows the body of each test.

    `visits` counts how often each file was entered, `steps` holds each change from one file to another once.
    """

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
        self.steps: set[tuple[str, str]] = set()
        self._here = threading.local()

    @property
    def changes(self) -> int:
        return sum(self.visits.values())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: object) -> Generator[None]:
        del item
        threading.setprofile(self._follow)
        sys.setprofile(self._follow)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _follow(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        running = frame if event == "call" else frame.f_back if event == "return" else None
        if running is None:
            return
        path = Path(running.f_code.co_filename)
        if not path.is_relative_to(BACKEND) or path.relative_to(BACKEND).parts[0] not in {"apps", "offload"}:
            return
        name = str(path.relative_to(BACKEND))
        before = getattr(self._here, "file", None)
        if name != before:
            if before is not None:
                self.steps.add((before, name))
            self._here.file = name
            self.visits[name] += 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="trace_trip.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trip", nargs="*", metavar="TRIP", help=f"{' or '.join(TRIPS)} (default: both)")
    parser.add_argument("--list", action="store_true", help="name the files with the number of visits")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.trip if name not in TRIPS]:
        parser.error(f"no such trip: {', '.join(unknown)}; choose from {', '.join(TRIPS)}")
    os.chdir(BACKEND)
    for name in asked.trip or TRIPS:
        trip = Trip()
        # One process: the profile hook sees no calls of pytest-xdist's workers.
        options = ["-q", "-n", "0", "--no-header", "--no-summary", "-p", "no:cacheprovider"]
        status = pytest.main([*options, TRIPS[name]], plugins=[trip])
        if status != 0:
            sys.stderr.write(f"{name}: {TRIPS[name]} did not pass: run it with pytest to see why\n")
            return 1
        figures = f"{len(trip.visits)} files, {len(trip.steps)} steps between them, file changed {trip.changes} times"
        sys.stdout.write(f"{name}: {figures}\n")
        if asked.list:
            for file, visits in trip.visits.most_common():
                sys.stdout.write(f"  {visits:5}  {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
