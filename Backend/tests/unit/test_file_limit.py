"""The web server's limit of open files. Each case is a process of its own, since a limit cannot be raised again."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"),
    [(256, 600, 600), (600, 600, 600), (256, 4096, 1000), (2000, 4096, 1000)],
    ids=["raised_to_the_hard_limit", "at_the_hard_limit", "raised_as_asked", "enough_already"],
)
def test_file_limit_is_what_the_system_allows(soft: int, hard: int, allowed: int) -> None:
    code = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "from config.web_server import raise_file_limit\n"
        "print(raise_file_limit(1000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [int(word) for word in done.stdout.split()] == [allowed, max(allowed, soft)]
