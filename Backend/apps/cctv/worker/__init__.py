"""The worker: what runs uploads and periodic jobs. Correctness lives in the rows; this only does the work.

On SQLite its threads take work from the tables themselves. Where another job queue does the waking,
it stands behind the same three names.
"""

from __future__ import annotations

from uuid import UUID

from apps.cctv.worker.periodic import PERIODIC
from apps.cctv.worker.run import run_worker
from apps.cctv.worker.timings import Timings

__all__ = ["PERIODIC", "Timings", "kick", "run_worker"]


def kick(site_id: UUID | None) -> None:
    """Tell the workers of a site that something is due.

    Workers look once a second by themselves, so on one machine there is nobody to tell, and a call that
    is lost costs seconds anywhere.
    """
    del site_id
