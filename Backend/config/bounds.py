"""The largest values that a setting and an option of a command both accept."""

from __future__ import annotations

WORKER_UPLOADS_MOST = 64
"""COLDREEL_WORKER_UPLOADS, and --uploads of run_worker."""

CLEANUP_BATCH_MOST = 1000
"""GCP_CLEANUP_BATCH_SIZE, and --batch-size of cleanup_gcp_transfers."""

SETTLE_SECONDS_MOST = 86_400
"""COLDREEL_SETTLE_SECONDS, and --settle-seconds of import_recordings."""
