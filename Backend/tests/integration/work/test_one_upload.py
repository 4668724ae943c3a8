"""One recording's whole way through a worker: the trip that `tools/trace_trip.py` follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apps.cctv import wiring
from apps.cctv.models import GCPVideoTransfer
from apps.cctv.worker import run_worker
from offload.source import MediaRoot
from offload.states import State
from offload.testing import MemoryStore
from offload.uploader import UploadSettings
from tests.integration.work.conftest import MakeTransfer

MIB = 2**20


@pytest.mark.django_db(transaction=True)
def test_one_recording_is_uploaded_and_verified(
    store: MemoryStore, media_root: Path, tmp_path: Path, make_transfer: MakeTransfer
) -> None:
    transfer = make_transfer("clip.ts", size_bytes=3 * MIB)
    timings = replace(wiring.timings(), poll_seconds=0.02, heartbeat_seconds=0.5, lease_seconds=10, margin_seconds=2)
    run_worker(
        store=store,
        root=MediaRoot(media_root),
        home=tmp_path,
        settings=replace(wiring.service_settings(), timings=timings),
        upload_settings=UploadSettings(settle_seconds=0, small_limit_bytes=0, chunk_min_bytes=MIB, chunk_max_bytes=MIB),
        uploads=1,
        until_idle=True,
        periodic=False,
    )
    assert GCPVideoTransfer.objects.get(pk=transfer.pk).transfer_status == State.CLEANUP_PENDING
    assert [info.size_bytes for info in store.objects()] == [3 * MIB]
