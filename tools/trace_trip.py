"""`python tools/trace_trip.py [--list]`: the files that one upload and one cleanup pass through, in order.

Runs one test of the worker and one of the cleanup (use `.venv/bin/python`) and follows every call and return
in `apps/` and `offload/`, thread by thread. For each trip it prints how many files it passed and how often the running
code changed file: what a reader who follows a recording with a debugger has to open, and to jump to.
`--list` names the files with the number of visits.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import pytest

BACKEND = Path(__file__).resolve().parents[1] / "Backend"
TESTS = "tests/integration"
TRIPS = {
    "upload": f"{TESTS}/work/test_one_upload.py::test_one_recording_is_uploaded_and_verified",
    "cleanup": f"{TESTS}/cleanup/test_deletion.py::test_due_file_is_deleted_and_its_receipt_says_what_was_compared",
}


class Trip:
    """A pytest plugin that follows the body of each test. `visits` counts how often each file was entered."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
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
        if name != getattr(self._here, "file", None):
            self._here.file = name
            self.visits[name] += 1


def main(arguments: list[str]) -> int:
    os.chdir(BACKEND)
    for name, test in TRIPS.items():
        trip = Trip()
        status = pytest.main(["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", test], plugins=[trip])
        if status != 0:
            sys.stderr.write(f"{name}: {test} did not pass\n")
            return 1
        sys.stdout.write(f"{name}: {len(trip.visits)} files, file changed {trip.changes} times\n")
        if "--list" in arguments:
            for file, visits in trip.visits.most_common():
                sys.stdout.write(f"  {visits:5}  {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
