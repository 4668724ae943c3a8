"""Everything that is made from Django's settings. The only module that imports `offload.gcs`.

The functions read the settings at each call: a worker calls them once at its start, a page at each request.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from apps.cctv.services import NotConfigured
from apps.cctv.services.settings import ServiceSettings, Timings
from offload.retry import Backoff
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.uploader import UploadSettings

if TYPE_CHECKING:
    from apps.cctv.doctor import DoctorSettings

_lock = threading.Lock()
_stores: dict[tuple[object, ...], ObjectStore] = {}


def object_store() -> ObjectStore:
    """The store of the bucket, made once for all threads. Raises NotConfigured where no bucket is set."""
    if not service_settings().is_configured:
        raise NotConfigured("GCP storage is not configured")
    key = (
        settings.GCP_STORAGE_PROJECT_ID,
        settings.GCP_STORAGE_CREDENTIALS_PATH,
        settings.STORAGE_EMULATOR_HOST,
        settings.COLDREEL_CA_FILE,
        settings.COLDREEL_WORKER_UPLOADS,
        settings.COLDREEL_STALL_SECONDS,
    )
    with _lock:
        if key not in _stores:
            _stores[key] = _google_store()
        return _stores[key]


def _google_store() -> ObjectStore:
    # Imported on first use: commands that need no bucket start without Google's libraries.
    from offload.gcs import GoogleStore

    return GoogleStore(
        project=settings.GCP_STORAGE_PROJECT_ID or None,
        credentials_path=settings.GCP_STORAGE_CREDENTIALS_PATH or None,
        emulator_host=settings.STORAGE_EMULATOR_HOST or None,
        ca_file=settings.COLDREEL_CA_FILE or None,
        upload_handles=settings.COLDREEL_WORKER_UPLOADS,
        stall_seconds=settings.COLDREEL_STALL_SECONDS,
    )


def media_root() -> MediaRoot:
    """MEDIA_ROOT: the only folder that recordings are read from and deleted in."""
    return MediaRoot(Path(settings.MEDIA_ROOT))


def service_settings() -> ServiceSettings:
    """The settings of services and worker, as one value."""
    return ServiceSettings(
        timings=timings(),
        use_gcs=settings.GCP_STORAGE_USE_GCS,
        bucket=settings.GCP_STORAGE_BUCKET_NAME,
        former_buckets=tuple(settings.GCP_STORAGE_FORMER_BUCKETS),
        storage_class=settings.GCP_STORAGE_CLASS,
        cleanup_local=settings.GCP_STORAGE_CLEANUP_LOCAL,
        waiting_period=timedelta(hours=settings.GCP_CLEANUP_DELAY_HOURS),
        quarantine=timedelta(hours=settings.GCP_CLEANUP_QUARANTINE_HOURS),
        cleanup_batch_size=settings.GCP_CLEANUP_BATCH_SIZE,
        cleanup_max_retries=settings.GCP_CLEANUP_MAX_RETRIES,
        retry_limit=settings.COLDREEL_RETRY_LIMIT,
        retry_at_least=timedelta(hours=settings.COLDREEL_RETRY_HOURS),
    )


def doctor_settings() -> DoctorSettings:
    """What `doctor` looks at beside the machine, the database and the bucket."""
    # Imported here: every worker imports this module, and the checks of doctor are for one command.
    from apps.cctv.doctor.settings import DoctorSettings

    return DoctorSettings(
        services=service_settings(),
        credentials_path=settings.GCP_STORAGE_CREDENTIALS_PATH,
        emulator_host=settings.STORAGE_EMULATOR_HOST,
        debug=settings.DEBUG,
        https_only=settings.HTTPS_ONLY,
        allowed_hosts=tuple(settings.ALLOWED_HOSTS),
    )


def upload_settings() -> UploadSettings:
    """The settings of the engine's uploads."""
    return UploadSettings(
        settle_seconds=settings.COLDREEL_SETTLE_SECONDS,
        progress_seconds=settings.COLDREEL_PROGRESS_SECONDS,
        small_limit_bytes=settings.COLDREEL_SMALL_LIMIT_BYTES,
        chunk_min_bytes=settings.COLDREEL_CHUNK_MIN_BYTES,
        chunk_max_bytes=settings.COLDREEL_CHUNK_MAX_BYTES,
        reconnect_backoff=timings().backoff.between_reconnects(),
    )


def worker_uploads() -> int:
    """How many files a worker uploads at once."""
    return int(settings.COLDREEL_WORKER_UPLOADS)


def timings() -> Timings:
    """The intervals, leases and pauses of the work."""
    return Timings(
        poll_seconds=settings.COLDREEL_POLL_SECONDS,
        heartbeat_seconds=settings.COLDREEL_HEARTBEAT_SECONDS,
        lease_seconds=settings.COLDREEL_LEASE_SECONDS,
        margin_seconds=settings.COLDREEL_LEASE_MARGIN_SECONDS,
        sweep_seconds=settings.COLDREEL_SWEEP_SECONDS,
        cleanup_seconds=settings.COLDREEL_CLEANUP_SECONDS,
        backoff=Backoff(settings.COLDREEL_RETRY_BASE_SECONDS, settings.COLDREEL_RETRY_CAP_SECONDS),
        stuck_seconds=settings.COLDREEL_STUCK_SECONDS,
    )
