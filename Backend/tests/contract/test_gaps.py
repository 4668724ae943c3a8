"""The list of known gaps that the store of the environment can be given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET
from tests.contract.gaps import READY, gaps_of, names_of_tests

BACKEND = Path(__file__).resolve().parents[2]


def test_only_the_store_of_the_environment_gets_a_list() -> None:
    assert gaps_of("memory", "storage-testbench") == {}
    assert gaps_of("emulator", "storage-testbench") == {}


def test_without_a_list_nothing_is_expected_to_fail() -> None:
    assert gaps_of("environment", "") == {}


@pytest.mark.parametrize("name", READY)
def test_ready_list_names_only_tests_that_exist(name: str) -> None:
    gaps = gaps_of("environment", name)
    assert gaps == READY[name]
    assert gaps.keys() <= names_of_tests()
    assert all(gaps.values())


def test_list_can_be_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "gaps.toml"
    path.write_text('test_hold_is_set_and_released = "stores no hold"\n')
    assert gaps_of("environment", str(path)) == {"test_hold_is_set_and_released": "stores no hold"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "COLDREEL_CONTRACT_GAPS is invalid"),
        ("no toml", "COLDREEL_CONTRACT_GAPS is invalid"),
        ('test_that_is_not_there = "why"', "there are no tests test_that_is_not_there"),
        ('test_hold_is_set_and_released = ""', "expected a reason"),
        ("test_hold_is_set_and_released = 7", "expected a reason"),
    ],
)
def test_list_that_cannot_be_right_is_refused(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "gaps.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=told):
        gaps_of("environment", str(path))


def test_gap_that_has_closed_turns_the_suite_red(tmp_path: Path, emulator: EmulatorProcess) -> None:
    path = tmp_path / "gaps.toml"
    closed, other = (
        "test_object_was_stored_by_the_clock_of_the_bucket",
        "test_session_without_bytes_has_committed_nothing",
    )
    path.write_text(f'{closed} = "it had no clock"\n')
    chosen = {
        "COLDREEL_CONTRACT_ENDPOINT": emulator.url,
        "COLDREEL_CONTRACT_BUCKET": BUCKET,
        "COLDREEL_CONTRACT_GAPS": str(path),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/contract/test_sessions.py",
    ]
    command += ["-k", f"environment and ({closed} or {other})"]
    done = subprocess.run(
        command, cwd=BACKEND, env={**os.environ, **chosen}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stdout
    assert "[XPASS(strict)] it had no clock" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
