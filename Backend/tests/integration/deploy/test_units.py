"""The systemd units: accepted by systemd itself, hardened, and with the limits that a worker needs to stop in peace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[4]
UNITS = sorted((REPOSITORY / "deploy" / "systemd").glob("*.service"))
MOST_EXPOSED = 20
"""Ten times systemd's own figure: 2.0 of 10, from where it says OK; a unit without any hardening has 9.6."""

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing (systemd)")


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


@pytest.fixture(params=UNITS, ids=lambda unit: unit.name)
def unit(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def installed(unit: Path, tmp_path: Path) -> Path:
    """The unit with the paths of this checkout: systemd looks whether the program is there."""
    text = unit.read_text().replace("/opt/coldreel/.venv/bin/python", sys.executable)
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/coldreel/Backend", str(REPOSITORY / "Backend")))
    return copy


def test_there_are_units_for_each_place() -> None:
    assert {unit.stem for unit in UNITS} == {"coldreel", "coldreel-depot", "coldreel-office"}


@needs_systemd
def test_systemd_accepts_the_unit(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--generators=no", installed], capture_output=True, text=True
    )

    assert (done.returncode, [line for line in done.stderr.splitlines() if installed.name in line]) == (0, [])


@needs_systemd
def test_systemd_calls_the_unit_hardened(installed: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", installed],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_unit_gives_a_worker_time_to_stop(unit: Path) -> None:
    found = settings(unit)

    assert found["KillMode"] == ["mixed"]
    assert float(found["TimeoutStopSec"][0]) > Supervisor([], say=print)._grace_seconds
    assert (found["Restart"], found["UMask"], found["NoNewPrivileges"]) == (["always"], ["0077"], ["yes"])
    assert found["ProtectSystem"] == ["strict"]


def test_unit_with_recordings_needs_their_disk(unit: Path) -> None:
    found = settings(unit)
    sees_disk = unit.stem != "coldreel-office"

    assert ("RequiresMountsFor" in found) is sees_disk
    assert found["ReadWritePaths"] == (found["RequiresMountsFor"] if sees_disk else ["/var/lib/coldreel"])


def test_unit_starts_a_command_that_exists(unit: Path) -> None:
    (command,) = settings(unit)["ExecStart"]
    name, *options = command.split(" manage.py ")[1].split()
    reference = (REPOSITORY / "Backend/docs/ref/commands.md").read_text()
    part = reference.split(f"\n## {name}\n")[1].split("\n## ")[0]

    assert [option for option in options if option.startswith("--") and f"`{option}" not in part] == []
