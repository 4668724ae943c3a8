"""A site of uploaded recordings: real rows, real files, a bucket in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from apps.cctv.models import Camera, DeletionReceipt, GCPVideoTransfer, Recording, Site, TransferBatch
from apps.cctv.services.cleanup import CleanupReport, FileReport, cleanup_run
from apps.cctv.services.cleanup.pressure import DiskUsage
from apps.cctv.wiring import service_settings
from apps.users.models import Role, User
from offload.digest import to_base64
from offload.source import MediaRoot
from offload.states import State
from offload.store import META_INSTALLATION, META_TRANSFER, ObjectInfo, ObjectSpec
from offload.testing import FakeClock, MemoryStore
from offload.trash import Trash
from tests.conftest import INSTALLATION_ID, MARKER
from tests.integration.db import rows

TRASH = ".coldreel-trash"


@dataclass
class Footage:
    """One recording: its bytes as uploaded, its path, its transfer."""

    transfer_id: UUID
    path: Path
    content: bytes

    @property
    def row(self) -> GCPVideoTransfer:
        return GCPVideoTransfer.objects.select_related("recording").get(pk=self.transfer_id)

    @property
    def status(self) -> str:
        return self.row.transfer_status

    @property
    def recording(self) -> Recording:
        return self.row.recording

    @property
    def receipts(self) -> list[DeletionReceipt]:
        return list(DeletionReceipt.objects.filter(transfer=self.transfer_id).order_by("opened_at"))

    @property
    def is_whole(self) -> bool:
        return self.path.is_file() and not self.path.is_symlink() and self.path.read_bytes() == self.content

    @property
    def events(self) -> list[tuple[str, str]]:
        return list(self.row.events.values_list("move", "reason"))

    def set(self, **columns: Any) -> None:
        GCPVideoTransfer.objects.filter(pk=self.transfer_id).update(**columns)

    def set_recording(self, **columns: Any) -> None:
        Recording.objects.filter(gcp_transfer=self.transfer_id).update(**columns)


@dataclass
class Run:
    """A report and what was told of each file."""

    report: CleanupReport
    files: list[FileReport] = field(default_factory=list)

    @property
    def only(self) -> FileReport:
        (file,) = self.files
        return file

    @property
    def reasons(self) -> list[str]:
        return [file.reason.value for file in self.files]


class UploadedSite:
    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder = folder
        self.bucket = bucket
        self.clock = FakeClock(datetime.now(tz=UTC).replace(microsecond=0))
        self.store = MemoryStore(buckets=[bucket], clock=self.clock)
        self.root = MediaRoot(folder)
        self.trash = Trash(self.root)
        self.camera = self.new_camera("Gate")
        self.batch = TransferBatch.objects.create()

    def new_camera(self, name: str, site: str = "Depot") -> Camera:
        return Camera.objects.create(site=Site.objects.get_or_create(name=site)[0], name=name)

    def user(self) -> User:
        found = User.objects.filter(username="keeper").first()
        return found or User.objects.create_user("keeper", role=Role.ADMIN)

    def add(
        self,
        name: str = "clip.mp4",
        *,
        content: bytes | None = None,
        hours_ago: float = 25,
        camera: Camera | None = None,
        uploaded: bool = True,
        **columns: Any,
    ) -> Footage:
        """A recording that was uploaded so many hours ago, and is due 24 hours after that."""
        camera = camera or self.camera
        content = os.urandom(3000) if content is None else content
        path = self.folder / camera.name / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        recording = self._recording(camera, path, content)
        at = self.clock.now() - timedelta(hours=hours_ago)
        row = GCPVideoTransfer(
            recording=recording,
            batch=self.batch,
            site=camera.site,
            installation_id=INSTALLATION_ID,
            original_local_path=recording.local_path,
            gcp_bucket=self.bucket,
            gcp_storage_path=f"recordings/{camera.pk}/{recording.pk}/{name}",
            file_size_bytes=len(content),
            next_attempt_at=at,
        )
        if uploaded:
            self._upload(row, content, at)
        for column, value in columns.items():
            setattr(row, column, value)
        row.save()
        return Footage(row.pk, path, content)

    def many(self, count: int, **columns: Any) -> list[Footage]:
        return [self.add(f"{number:03}.mp4", **columns) for number in range(count)]

    def _recording(self, camera: Camera, path: Path, content: bytes) -> Recording:
        local_path = path.relative_to(self.folder).as_posix()
        return Recording.objects.create(
            camera=camera,
            name=path.name,
            started_at=self.clock.now() - timedelta(hours=30),
            file_size_bytes=len(content),
            file_mtime_ns=path.stat().st_mtime_ns,
            local_path=local_path,
            file_path=local_path,
        )

    def _upload(self, row: GCPVideoTransfer, content: bytes, at: datetime) -> None:
        info = self.put(row, content)
        info = self.store.change(self.bucket, info.name, stored_at=at)
        row.transfer_status = State.CLEANUP_PENDING
        row.bytes_uploaded = len(content)
        row.source_identity = self.root.stat(row.original_local_path).encode()
        row.object_generation = info.generation
        row.object_crc32c = to_base64(info.crc32c)
        row.object_stored_at = at
        row.upload_started_at = row.upload_completed_at = at
        row.cleanup_scheduled_at = at + timedelta(hours=24)
        row.next_attempt_at = None
        recording = row.recording
        recording.storage_type, recording.file_path = Recording.StorageType.GCP, row.gcp_storage_path
        recording.save()

    def put(self, row: GCPVideoTransfer, content: bytes, **metadata: str) -> ObjectInfo:
        """Write an object under the row's name, over what is there."""
        ours = {META_INSTALLATION: INSTALLATION_ID, META_TRANSFER: str(row.pk)}
        spec = ObjectSpec(row.gcp_bucket, row.gcp_storage_path, len(content), "video/mp4", {**ours, **metadata})
        return self.store.put(spec, content)

    def tamper(self, footage: Footage, **changes: Any) -> None:
        self.store.change(self.bucket, footage.row.gcp_storage_path, **changes)

    def info(self, footage: Footage) -> ObjectInfo | None:
        return self.store.get(self.bucket, footage.row.gcp_storage_path)

    def clean(self, **options: Any) -> Run:
        files: list[FileReport] = []
        defaults: dict[str, Any] = {
            "store": self.store,
            "root": self.root,
            "clock": self.clock,
            "actor": "tester",
            "settings": service_settings(),
            "on_file": files.append,
            "disk": empty_disk,
            "random": lambda: 1.0,
        }
        return Run(cleanup_run(**{**defaults, **options}), files)

    def unmount(self) -> None:
        (self.folder / MARKER).unlink()

    def trash_files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / TRASH).glob("*"))

    def leases_run_out(self) -> None:
        """On both databases, whatever clock they measure leases by."""
        GCPVideoTransfer.objects.update(lease_owner=None, lease_expires_at=None)

    def alarms(self) -> set[tuple[str, str]]:
        return rows.told()


def empty_disk(path: Path) -> DiskUsage:
    return DiskUsage(used_bytes=0, free_bytes=10**12)


def disk_of(used_bytes: int, free_bytes: int) -> Callable[[Path], DiskUsage]:
    return lambda path: DiskUsage(used_bytes, free_bytes)
