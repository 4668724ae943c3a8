"""A small depot at three in the morning: four cameras, transfers in every state, one worker, one alarm."""

from __future__ import annotations

from datetime import timedelta
from itertools import cycle
from typing import Any

from django.utils import timezone

from apps.cctv.models import (
    Alarm,
    Camera,
    GCPVideoTransfer,
    PeriodicJob,
    PlaceEvent,
    Recording,
    Site,
    TransferBatch,
    WorkerProcess,
)
from apps.users.models import Role, User
from offload.states import UPLOADED, State
from tests.integration.db import rows

CAMERAS = ("Gate north", "Loading dock 2", "Office stairs", "Yard")
SESSION_URI = "https://storage.example/upload?upload_id=A-SESSION-URI-IS-A-KEY"
MEBIBYTE = 1024**2


def depot() -> list[Camera]:
    site = Site.objects.create(name="Depot Hamburg", time_zone="Europe/Berlin", disk_high_water_percent=90)
    return [Camera.objects.create(site=site, name=name, is_private=name == "Office stairs") for name in CAMERAS]


def transfers(count: int, *, cameras: list[Camera] | None = None, by: User | None = None) -> list[GCPVideoTransfer]:
    """`count` recordings and their transfers, the states in turn."""
    found = []
    batch = TransferBatch.objects.create(created_by=by)
    where, states = cycle(cameras or depot()), cycle(State)
    for number in range(count):
        camera, state, now = next(where), next(states), timezone.now()
        began = now - timedelta(hours=3 * number + 4)
        name = f"{began:%Y-%m-%d_%H-%M-%S}.mp4"
        of = Recording.objects.create(
            camera=camera,
            name=name,
            started_at=began,
            ended_at=began + timedelta(hours=1),
            duration_seconds=3600.0,
            codec="h264",
            width_pixels=1920,
            height_pixels=1080,
            file_size_bytes=(37 + 61 * number % 400) * MEBIBYTE,
            file_mtime_ns=number,
            local_path=f"{camera.name}/{name}",
            file_path=f"{camera.name}/{name}",
            storage_type="gcp" if state in UPLOADED else "local",
            hold_wanted=state is State.COMPLETED,
            hold_confirmed=state is State.COMPLETED,
        )
        found.append(transfer(of, state, batch=batch, initiated_by=by, created_at=now - timedelta(minutes=7 * number)))
    return found


def transfer(of: Recording, state: State, **columns: Any) -> GCPVideoTransfer:
    now = timezone.now()
    extra: dict[str, Any] = {"session_uri": SESSION_URI, "source_identity": "2049:131:38797312:1795:1795"}
    if state is State.UPLOADING:
        percent = 5 + of.file_size_bytes // MEBIBYTE * 7 % 90
        extra |= {
            "bytes_uploaded": of.file_size_bytes * percent // 100,
            "lease_expires_at": now + timedelta(seconds=40),
        }
    if state in UPLOADED:
        extra |= {"bytes_uploaded": of.file_size_bytes, "upload_completed_at": now - timedelta(hours=2)}
        extra |= {"upload_started_at": now - timedelta(hours=2, minutes=4), "object_generation": 1795341600123456}
        extra |= {"object_stored_at": now - timedelta(hours=2), "object_crc32c": "yZRlqg=="}
    if state is State.CLEANUP_PENDING:
        extra |= {"cleanup_scheduled_at": now + timedelta(hours=22)}
    if state is State.CLEANUP_COMPLETED:
        extra |= {"cleanup_scheduled_at": now - timedelta(hours=1), "cleanup_completed_at": now - timedelta(hours=1)}
    row = rows.transfer(state, of=of, **{**extra, **columns})
    told(row, state)
    return row


def told(row: GCPVideoTransfer, state: State) -> None:
    """The history that leads to the state."""
    at = row.created_at
    row.events.create(at=at, actor="ada", move="request", to_status="pending", reason="requested")
    if state is not State.PENDING:
        row.events.create(at=at, actor="system", move="claim", from_status="pending", to_status="uploading", reason="claimed")  # fmt: skip
    if state is State.FAILED:
        row.events.create(at=at, actor="system", move="fail", from_status="uploading", to_status="failed", reason="file_missing", detail="The file is not there.")  # fmt: skip
    if state in UPLOADED:
        row.events.create(at=at, actor="system", move="complete_scheduled", from_status="uploading", to_status="cleanup_pending", reason="uploaded")  # fmt: skip
    if state is State.CLEANUP_COMPLETED:
        rows.receipt(row, opened_at=at, closed_at=at, proof_read_at=at, object_crc32c=row.object_crc32c)
        row.events.create(at=at, actor="system", move="finish_cleanup", from_status="cleanup_pending", to_status="cleanup_completed", reason="cleaned")  # fmt: skip


def machinery() -> None:
    now = timezone.now()
    site = Site.objects.get()
    PlaceEvent.objects.create(
        at=now - timedelta(days=2),
        actor="ada",
        what=PlaceEvent.What.SITE_CHANGED,
        site=site,
        name=site.name,
        detail="time zone: UTC → Europe/Berlin; disk high water percent: none → 90",
    )
    worker = {"site": site, "host": "nvr-1", "installation_id": "11111111-2222-4333-8444-555555555555"}
    WorkerProcess.objects.create(**worker, pid=4711, started_at=now - timedelta(days=2), heartbeat_at=now)
    WorkerProcess.objects.create(**worker, pid=4002, heartbeat_at=now - timedelta(days=3), stopped_at=now)
    hourly = {"last_started_at": now - timedelta(minutes=12), "last_finished_at": now - timedelta(minutes=12)}
    PeriodicJob.objects.create(
        name="cleanup",
        kind="cleanup",
        next_run_at=now + timedelta(minutes=48),
        last_result="8 files cleaned, 1.4 GiB freed",
        **hourly,
    )
    PeriodicJob.objects.create(
        name="sweep", kind="sweep", next_run_at=now + timedelta(seconds=9), last_finished_at=now - timedelta(seconds=6)
    )


def alarm() -> Alarm:
    now = timezone.now()
    return Alarm.objects.create(
        code="permission_denied",
        subject_kind="bucket",
        subject_id="footage",
        detail="storage.objects.create is missing",
        raised_at=now - timedelta(minutes=42),
        last_seen_at=now - timedelta(seconds=20),
        seen_count=84,
    )


def person(role: Role, name: str | None = None) -> User:
    return rows.user(role, username=name or role.value)
