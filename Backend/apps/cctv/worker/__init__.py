"""The worker: what runs uploads and periodic jobs. Correctness lives in the rows; this only does the work.

On SQLite its threads take work from the tables themselves. Where another job queue does the waking,
it stands behind the same names.

| module | has |
|---|---|
| `run` | `run_worker`: a process from its start to its end |
| `dispatch` | writes what uploads tell, claims where there is room, hands each claim to a thread |
| `pool` | the threads that upload |
| `upload_attempt` | one upload under one lease, from claim to record |
| `group_commit` | one thread writes what all uploads tell, everything queued in one transaction |
| `breaker` | while nothing gets through, one upload at a time tries |
| `heartbeat` | renews the leases of this process, or tells that one is lost |
| `bandwidth` | the limits of this worker's sites |
| `periodic` | jobs that run once across all workers |
| `disk` | watches the disk of the home |
| `signals` | wake-ups and stops, from threads and from signals |
| `crashes` | an unforeseen exception, told without a secret |
"""

from __future__ import annotations

from apps.cctv.leasing.wakeup import wake_workers
from apps.cctv.worker.periodic import PERIODIC
from apps.cctv.worker.run import run_worker

__all__ = ["PERIODIC", "run_worker", "wake_workers"]
