"""The worker: the process that uploads and runs periodic jobs (docs/design/worker.md).

Correctness lies in the rows, by leases and guarded updates: a worker may be killed at any instruction.

| module | has |
|---|---|
| `run` | `run_worker`: a process from its start to its end |
| `dispatch` | the worker's loop: group commit, claims, and a thread for each claim |
| `pool` | `ThreadPool`: the threads that upload |
| `upload_attempt` | `UploadAttempt`: one upload under one lease; what the engine gets for it |
| `group_commit` | `GroupCommit`: one thread writes for all uploads, everything queued in one transaction |
| `breaker` | `CircuitBreaker`: while no upload gets through, one at a time is a trial |
| `heartbeat` | renews the leases of this process, or tells that one is lost |
| `bandwidth` | the limits of this worker's sites |
| `periodic` | jobs that run once across all workers |
| `disk` | watches the disk of the home |
| `signals` | wake-ups and stops, from threads and from signals |
| `crashes` | logs unforeseen exceptions, without a secret |
"""

from __future__ import annotations

from apps.cctv.leasing.wakeup import wake_workers
from apps.cctv.worker.periodic import PERIODIC
from apps.cctv.worker.run import run_worker

__all__ = ["PERIODIC", "run_worker", "wake_workers"]
