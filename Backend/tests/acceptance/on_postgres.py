"""An installation on PostgreSQL whose server, sessions and line a test may end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.acceptance.installation import PATIENCE_SECONDS, Clip, Installation

DEFAULT_TIMINGS = {"COLDREEL_SETTLE_SECONDS": "0", "COLDREEL_RESERVE_BYTES": "0"}


class PostgresInstallation(Installation):
    """Its processes reach the database by `database_url`; the test looks by `test_url`, which no fault touches."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        test_url: str,
        settings: Mapping[str, str] = DEFAULT_TIMINGS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        super().__init__(folder, settings={**settings, "DATABASE_URL": database_url}, patience_seconds=patience_seconds)
        self._test_url = test_url

    def select(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with psycopg.connect(self._test_url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(query, values or None).fetchall()

    def change(self, query: str, *values: Any) -> None:
        with psycopg.connect(self._test_url, autocommit=True) as connection:
            connection.execute(query, values or None)

    # --- work that begins when the test says so ---

    def add_for_later(self, sizes: Sequence[int], *, batch_size: int = 20) -> list[Clip]:
        """As `add`, but none is due for half an hour."""
        return self.add(sizes, batch_size=batch_size, how="request_for_later")

    def make_due(self, clip: Clip, *, wake: bool = True) -> None:
        """In one transaction as a request does: the row is due, and its site's workers are told."""
        told = (
            "SELECT site_id FROM changed" if not wake else "SELECT pg_notify('coldreel_' || site_id, '') FROM changed"
        )
        self.change(
            "WITH changed AS (UPDATE cctv_gcpvideotransfer SET next_attempt_at = clock_timestamp() WHERE id = %s::uuid"
            f" RETURNING site_id) {told}",
            clip.transfer,
        )

    def is_uploaded(self, clip: Clip) -> bool:
        return self.status_of(clip) == "cleanup_pending"

    def history(self, clip: Clip) -> list[str]:
        query = "SELECT reason FROM cctv_transferevent WHERE transfer_id = %s::uuid ORDER BY id"
        return [row["reason"] for row in self.select(query, clip.transfer)]

    def status_of(self, clip: Clip) -> str:
        (row,) = self.select("SELECT transfer_status FROM cctv_gcpvideotransfer WHERE id = %s::uuid", clip.transfer)
        return str(row["transfer_status"])

    def upload(self, clip: Clip, *, wake: bool = True) -> None:
        """Make it due and wait until it is uploaded and verified."""
        self.make_due(clip, wake=wake)
        self.until(lambda: self.is_uploaded(clip), f"the upload of {clip.name}")

    # --- sessions of the processes ---

    def sessions(self) -> list[int]:
        """The backends of the sessions that processes of the product have now."""
        rows = self.select("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'coldreel%'")
        return [row["pid"] for row in rows]
