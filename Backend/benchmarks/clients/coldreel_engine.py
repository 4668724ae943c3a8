"""Coldreel's engine with all its checks and no database. Arguments: url bucket folder ca-file uploads-at-once."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from offload.clock import SystemClock
from offload.gcs import GoogleStore
from offload.source import MediaRoot
from offload.store import META_INSTALLATION, META_TRANSFER, never_abort
from offload.uploader import UploadJob, UploadSettings, upload


class NoJournal:
    """Keeps nothing: the cost of the database is measured with the whole application."""

    def session_started(self, session: object) -> None: ...
    def session_dropped(self) -> None: ...
    def name_changed(self, name_version: int, name: str) -> None: ...
    def progress(self, bytes_confirmed: int) -> None: ...


def main() -> None:
    url, bucket, folder, ca_file = sys.argv[1:5]
    at_once = int(sys.argv[5])
    store = GoogleStore(
        project=None, credentials_path=None, emulator_host=url, ca_file=ca_file or None, upload_handles=at_once
    )
    root = MediaRoot(Path(folder))
    numbers = itertools.count()

    def send(path: Path) -> None:
        job = UploadJob(
            transfer_id=str(next(numbers)),
            bucket=bucket,
            relative_path=path.name,
            content_type="video/mp4",
            storage_class=None,
            metadata={META_INSTALLATION: "bench", META_TRANSFER: path.name},
            temporary_hold=False,
            object_name=lambda _version: f"recordings/{path.name}",
            name_version=0,
            session=None,
            expected_size_bytes=None,
            expected_mtime_ns=None,
        )
        settings = UploadSettings(settle_seconds=0)
        upload(
            job, root=root, store=store, journal=NoJournal(), clock=SystemClock(), settings=settings, abort=never_abort
        )

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(send, sorted(Path(folder).iterdir())))


main()
