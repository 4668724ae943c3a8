from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.cctv.models import GCPVideoTransfer, Recording
from gcs_emulator.process import EmulatorProcess
from offload.source import MediaRoot
from offload.states import State
from offload.store import META_INSTALLATION, META_TRANSFER
from tests.conftest import INSTALLATION_ID, MakeRecording
from tests.integration.db import rows

BUCKET = "coldreel-test"


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("gcs"), buckets=[BUCKET]) as running:
        yield running


@pytest.fixture
def uploaded(
    make_recording: MakeRecording, media_root: Path, bucket: str, emulator: EmulatorProcess, settings: Any
) -> Callable[..., GCPVideoTransfer]:
    """A recording whose file is on the disk and whose object is in the bucket, waiting for its cleanup."""
    settings.STORAGE_EMULATOR_HOST = emulator.url

    def make(name: str = "clip.mp4", **fields: Any) -> GCPVideoTransfer:
        recording: Recording = make_recording(name, storage_type=Recording.StorageType.GCP, **fields)
        path = media_root / name
        row = rows.transfer(
            State.CLEANUP_PENDING,
            of=recording,
            bytes_uploaded=recording.file_size_bytes,
            source_identity=MediaRoot(media_root).stat(name).encode(),
            cleanup_scheduled_at=timezone.now() + timedelta(hours=24),
        )
        stored = emulator.put_object(bucket, row.gcp_storage_path, path.read_bytes())
        ours = {META_INSTALLATION: INSTALLATION_ID, META_TRANSFER: str(row.pk)}
        emulator.patch_object(bucket, row.gcp_storage_path, metadata=ours)
        proof = {"object_generation": int(stored["generation"]), "object_crc32c": stored["crc32c"]}
        GCPVideoTransfer.objects.filter(pk=row.pk).update(
            gcp_bucket=bucket, installation_id=INSTALLATION_ID, object_stored_at=timezone.now(), **proof
        )
        row.refresh_from_db()
        return row

    return make
