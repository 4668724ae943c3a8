"""What a cleanup did: one report a file, one for the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from apps.cctv.models import GCPVideoTransfer
from offload.errors import Reason

NEEDS_A_PERSON = frozenset(
    {Reason.LOCAL_CHANGED, Reason.BUCKET_SETTING_CHANGED, Reason.OTHER_INSTALLATION, Reason.HOLD_UNKNOWN}
)
"""Reasons for which a file stays until a person acts: no later run deletes it before that."""

WITH_ALARM = NEEDS_A_PERSON - {Reason.LOCAL_CHANGED}
"""One alarm for each bucket and site. A file that is another one now is marked in its own row instead."""


class Outcome(StrEnum):
    CLEANED = "cleaned"
    ALREADY_MISSING = "already_missing"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileReport:
    """How it ended for one file. In a dry run: how it would have ended."""

    transfer_id: UUID
    recording_id: UUID
    recording_name: str
    camera_name: str
    path: str
    size_bytes: int
    outcome: Outcome
    reason: Reason
    detail: str = ""

    @classmethod
    def of(cls, row: GCPVideoTransfer, outcome: Outcome, reason: Reason, detail: str = "") -> FileReport:
        """`path` is the one below the media root."""
        recording = row.recording
        return cls(
            transfer_id=row.pk,
            recording_id=recording.pk,
            recording_name=recording.name,
            camera_name=recording.camera.name,
            path=row.original_local_path,
            size_bytes=row.file_size_bytes,
            outcome=outcome,
            reason=reason,
            detail=detail,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "transfer_id": str(self.transfer_id),
            "recording_id": str(self.recording_id),
            "recording_name": self.recording_name,
            "camera_name": self.camera_name,
            "path": self.path,
            "size_bytes": self.size_bytes,
            "outcome": self.outcome.value,
            "reason": self.reason.value,
            "detail": self.detail,
        }


@dataclass(slots=True)
class CleanupReport:
    """The whole run. `stopped` says why it ended before its work was done."""

    dry_run: bool
    forced: bool
    started_at: datetime
    finished_at: datetime | None = None
    due: int = 0
    cleaned: int = 0
    freed_bytes: int = 0
    already_missing: int = 0
    failed: int = 0
    skipped: Counter[Reason] = field(default_factory=Counter)
    failures: Counter[Reason] = field(default_factory=Counter)
    stopped: Reason | None = None
    stopped_detail: str = ""
    interrupted: bool = False

    def add(self, file: FileReport) -> None:
        if file.outcome is Outcome.CLEANED:
            self.cleaned += 1
            self.freed_bytes += file.size_bytes
        elif file.outcome is Outcome.ALREADY_MISSING:
            self.already_missing += 1
        elif file.outcome is Outcome.FAILED:
            self.failed += 1
            self.failures[file.reason] += 1
        else:
            self.skipped[file.reason] += 1

    @property
    def left_for_a_person(self) -> Counter[Reason]:
        """Files left, by the reasons that only a person can end."""
        return Counter({reason: count for reason, count in self.skipped.items() if reason in NEEDS_A_PERSON})

    @property
    def files(self) -> int:
        """Files looked at."""
        return self.cleaned + self.already_missing + self.failed + self.skipped.total()

    def __str__(self) -> str:
        words = [f"{self.cleaned} cleaned, {self.freed_bytes} bytes freed"]
        words += [f"{self.already_missing} already missing"] if self.already_missing else []
        words += [f"{self.skipped.total()} skipped"] if self.skipped else []
        left = self.left_for_a_person.total()
        words += [f"{left} of them left for a person"] if left else []
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"stopped: {self.stopped.value}"] if self.stopped else []
        return ", ".join(words)

    def as_json(self) -> dict[str, Any]:
        return {
            "dry_run": self.dry_run,
            "forced": self.forced,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "due": self.due,
            "cleaned": self.cleaned,
            "freed_bytes": self.freed_bytes,
            "already_missing": self.already_missing,
            "failed": self.failed,
            "skipped": {reason.value: count for reason, count in sorted(self.skipped.items())},
            "failures": {reason.value: count for reason, count in sorted(self.failures.items())},
            "left_for_a_person": self.left_for_a_person.total(),
            "stopped": self.stopped.value if self.stopped else None,
            "stopped_detail": self.stopped_detail,
            "interrupted": self.interrupted,
        }
