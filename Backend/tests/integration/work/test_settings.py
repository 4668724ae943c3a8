"""Invalid settings of the work are refused at start, by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def refusal(home: Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        env={**os.environ, "COLDREEL_ENV_FILE": os.devnull, "COLDREEL_HOME": str(home), **variables},
        capture_output=True,
        text=True,
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@pytest.mark.parametrize(
    "variables",
    [
        {"COLDREEL_CHUNK_MIN_BYTES": "300000"},
        {"COLDREEL_CHUNK_MAX_BYTES": "8388609"},
        {"COLDREEL_CHUNK_MAX_BYTES": "262144"},
        {"COLDREEL_SMALL_LIMIT_BYTES": "-1"},
        {"COLDREEL_LEASE_SECONDS": "20"},
        {"COLDREEL_WORKER_UPLOADS": "0"},
    ],
    ids=lambda variables: "-".join(f"{name}={value}" for name, value in variables.items()),
)
def test_invalid_setting_is_refused_with_its_name_and_value(tmp_path: Path, variables: dict[str, str]) -> None:
    told = refusal(tmp_path, **variables)
    ((name, value),) = variables.items()
    assert "ImproperlyConfigured" in told
    assert name in told
    assert value in told
    assert "is invalid: expected" in told


def test_chunks_of_one_size_are_valid(tmp_path: Path) -> None:
    assert refusal(tmp_path, COLDREEL_CHUNK_MIN_BYTES="1048576", COLDREEL_CHUNK_MAX_BYTES="1048576") == ""
