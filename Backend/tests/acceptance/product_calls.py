"""What a test makes the product do, in a child of the fork server, before and between its own commands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

from apps.cctv import wiring
from apps.cctv.models import Camera, Recording, Site
from apps.cctv.services.holds import hold_set
from apps.cctv.services.transfers import transfer_request
from apps.users.models import User


def prepare() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    User.objects.create_superuser(username="operator", password="correct horse battery staple")
    Camera.objects.create(site=Site.objects.create(name="Depot"), name="Gate")


def request(names: list[str], batch_size: int) -> list[dict[str, Any]]:
    """Register those files of the media root and ask for their transfer: one dictionary each."""
    camera = Camera.objects.get()
    recordings = []
    for name in names:
        found = (Path(settings.MEDIA_ROOT) / name).stat()
        recordings.append(
            Recording.objects.create(
                camera=camera,
                name=name,
                started_at=datetime.now(tz=UTC),
                file_size_bytes=found.st_size,
                file_mtime_ns=found.st_mtime_ns,
                local_path=name,
                file_path=name,
            )
        )
    report = transfer_request(
        recording_ids=[str(recording.pk) for recording in recordings],
        batch_size=batch_size,
        user=User.objects.get(),
        now=datetime.now(tz=UTC),
        root=wiring.media_root(),
        settings=wiring.service_settings(),
    )
    assert not report.failures, report.failures
    return [
        {"name": recording.name, "recording": str(recording.pk), "transfer": str(recording.gcp_transfer.pk)}
        for recording in recordings
    ]


def hold(recording: str) -> None:
    hold_set(recording_id=recording, user=User.objects.get(), reason="case 7", now=datetime.now(tz=UTC))  # type: ignore[arg-type]


def limit(text: str) -> None:
    Site.objects.update(bandwidth_limit=text)
