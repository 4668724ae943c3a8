"""What the command makes of its arguments and settings, without a process of its own."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.cctv.management.commands.cleanup_gcp_transfers import Command, Output
from apps.cctv.services.cleanup import CleanupReport, FileReport, Outcome
from offload.errors import Reason

NAME = "cleanup_gcp_transfers"


@pytest.mark.parametrize(
    "options",
    [
        ["--batch-size", "0"],
        ["--batch-size", "abc"],
        ["--batch-size", "1001"],
        ["--batch-size", "-1"],
        ["--transfer-id", "7"],
        ["--transfer-id"],
        ["--unknown"],
        ["word"],
    ],
    ids=" ".join,
)
def test_invalid_arguments_end_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", NAME, *options])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert options[0] in told.err


@pytest.mark.parametrize(
    "options",
    [{"transfer_id": "00000000-0000-4000-8000-000000000000"}, {"site": "Nowhere"}],
    ids=["unknown_transfer", "unknown_site"],
)
def test_what_does_not_exist_ends_with_2(db: None, bucket: str, media_root: Any, options: dict[str, str]) -> None:
    with pytest.raises(CommandError) as ended:
        call_command(NAME, *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()))
    assert ended.value.returncode == 2


def test_storage_that_is_not_configured_ends_with_1(db: None, media_root: Any) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match="GCP storage is not configured") as ended:
        call_command(NAME, "--json", stdout=out)
    assert ended.value.returncode == 1
    assert json.loads(out.getvalue())["stopped"] == "not_configured"


def test_name_with_control_characters_cannot_write_on_the_terminal() -> None:
    lines: list[str] = []
    path = "Gate/\x1b[2J\nFiles cleaned: 999.mp4"
    file = FileReport(uuid4(), uuid4(), "name", "Gate", path, 1, Outcome.SKIPPED, Reason.HELD, "case\n7")
    Output(lines.append).file(file)
    assert lines == ["skipped (held)  Gate/\\x1b[2J\\nFiles cleaned: 999.mp4  1 byte: case\\n7"]


def test_summary_names_every_reason_with_its_count(now: Any) -> None:
    lines: list[str] = []
    report = CleanupReport(dry_run=False, forced=False, started_at=now, due=7, cleaned=2, freed_bytes=3_000_000)
    report.skipped.update({Reason.HELD: 2, Reason.BUSY: 1})
    report.failed, report.failures = 2, report.failures + type(report.failures)({Reason.OBJECT_MISSING: 2})
    Output(lines.append).summary(report)
    assert lines == [
        "Files cleaned:   2 of 7",
        "Space freed:     3.0 MB (3000000 bytes)",
        "Already missing: 0",
        "Skipped:         3 (busy 1, held 2)",
        "Failures:        2 (object_missing 2)",
    ]
