"""`python -m tests.integration.cleanup.fill COUNT`: recordings that are uploaded and wait for their cleanup.

For tests that start real processes: runs with the product's own settings, prints one JSON line a recording.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402

from apps.cctv import wiring  # noqa: E402
from apps.cctv.installation import installation_id  # noqa: E402
from apps.cctv.models import Camera, GCPVideoTransfer, Recording, Site, TransferBatch  # noqa: E402
from offload.digest import crc32c_of, to_base64  # noqa: E402
from offload.request_body import SourceBody  # noqa: E402
from offload.states import State  # noqa: E402
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectSpec  # noqa: E402

SIZE_BYTES = 2000


def main(count: int) -> None:
    root = wiring.media_root()
    root.path.mkdir(exist_ok=True)
    root.write_marker("test\n")
    camera = Camera.objects.create(site=Site.objects.create(name="Depot"), name="Gate")
    for number in range(count):
        row = uploaded(camera, f"{number:03}.mp4")
        told = {"id": str(row.pk), "path": row.original_local_path}
        sys.stdout.write(json.dumps(told) + "\n")


def uploaded(camera: Camera, name: str) -> GCPVideoTransfer:
    root, now = wiring.media_root(), datetime.now(tz=UTC)
    path = Path(settings.MEDIA_ROOT) / name
    path.write_bytes(os.urandom(SIZE_BYTES))
    recording = Recording.objects.create(
        camera=camera, name=name, started_at=now, local_path=name, file_path=name, file_size_bytes=SIZE_BYTES
    )
    row = GCPVideoTransfer(
        recording=recording,
        batch=TransferBatch.objects.get_or_create()[0],
        site=camera.site,
        installation_id=installation_id(),
        original_local_path=name,
        gcp_bucket=settings.GCP_STORAGE_BUCKET_NAME,
        gcp_storage_path=f"recordings/{camera.pk}/{recording.pk}/{name}",
        file_size_bytes=SIZE_BYTES,
        bytes_uploaded=SIZE_BYTES,
        transfer_status=State.CLEANUP_PENDING,
        upload_completed_at=now,
        cleanup_scheduled_at=now,
    )
    with root.open(name) as source:
        row.source_identity = source.identity.encode()
        crc32c = crc32c_of(source, SIZE_BYTES)
        metadata = {META_INSTALLATION: row.installation_id, META_TRANSFER: str(row.pk)}
        spec = ObjectSpec(row.gcp_bucket, row.gcp_storage_path, SIZE_BYTES, "video/mp4", metadata)
        body = SourceBody(source, offset_bytes=0, length_bytes=SIZE_BYTES)
        info = wiring.object_store().put_small(spec, body, crc32c=crc32c)
    row.object_generation, row.object_crc32c, row.object_stored_at = info.generation, to_base64(crc32c), info.stored_at
    row.save()
    return row


if __name__ == "__main__":
    main(int(sys.argv[1]))
