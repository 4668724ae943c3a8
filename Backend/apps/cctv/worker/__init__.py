"""The worker: what runs uploads and periodic jobs. Correctness lives in the rows; this only does the work.

On SQLite its threads take work from the tables themselves. Where another job queue does the waking,
it stands behind the same three names.
"""

from __future__ import annotations

from apps.cctv.leasing.wakeup import wake_workers
from apps.cctv.worker.periodic import PERIODIC
from apps.cctv.worker.run import run_worker
from apps.cctv.worker.timings import Timings

__all__ = ["PERIODIC", "Timings", "run_worker", "wake_workers"]
