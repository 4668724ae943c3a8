"""The emulator's manual names every option, action, kind and call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gcs_emulator.faults import ACTIONS, KINDS
from gcs_emulator.routes import API

BACKEND = Path(__file__).resolve().parents[2]
MANUAL = (BACKEND / "docs" / "guide" / "emulator.md").read_text(encoding="utf-8")


def test_manual_names_every_action_and_kind() -> None:
    assert [word for word in (*ACTIONS, *KINDS) if f"`{word}`" not in MANUAL] == []


def test_manual_names_every_call_of_its_own() -> None:
    paths = {"/" + "/".join(parts) for _method, parts in API if parts[0] == "_emulator"}
    written = {path.replace("{bucket}", "BUCKET").replace("{name}", "NAME") for path in paths}
    assert [path for path in sorted(written) if path not in MANUAL] == []


def test_manual_names_every_option() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "gcs_emulator", "--help"], cwd=BACKEND, capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"(--[a-z-]+)", told.stdout)) - {"--help"}
    assert [option for option in sorted(options) if f"`{option}" not in MANUAL] == []
