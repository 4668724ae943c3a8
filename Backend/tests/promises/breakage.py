"""One change that breaks a promise, and whether its test notices."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SECONDS_A_TEST = 600


@dataclass(frozen=True, slots=True)
class Breakage:
    """`before`, found once in `path`, becomes `after`; then `test` must fail. Paths begin in `Backend/`."""

    promise: str
    path: str
    before: str
    after: str
    test: str

    def is_noticed(self, copy: Path) -> bool:
        """Break the product in `copy`, a copy of `Backend/`, run the test there, and mend the copy.

        True only where the test ran and failed; a test that does not exist, or an error of pytest itself, is False.
        """
        path = copy / self.path
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace(self.before, self.after, 1), encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", self.test],
                cwd=copy,
                capture_output=True,
                text=True,
                timeout=SECONDS_A_TEST,
                env={**os.environ, "COLDREEL_HOME": str(copy.parent / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
            )
        finally:
            path.write_text(whole, encoding="utf-8")
        # pytest's exit status: 1 is a failed test, 2 to 5 are errors of pytest, of its call or of the collection.
        noticed = done.returncode == 1
        if not noticed:
            sys.stderr.write(done.stdout[-1500:] + done.stderr[-500:])
        return noticed
