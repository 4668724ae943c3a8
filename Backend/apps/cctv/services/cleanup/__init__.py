"""Cleanup: frees the disk of recordings that are proven in the bucket. See docs/design/cleanup.md.

| module | has |
|---|---|
| `run` | `cleanup_run`: the guards, the batches, the report |
| `run_state` | what every step of one run shares |
| `guards` | what stops a run before it touches anything |
| `odd_objects` | whether a bucket refuses as a whole, or one object is odd |
| `due_rows` | which rows a run looks at |
| `pressure` | how far a disk is above its high-water mark |
| `proof` | what the bucket says of an object, and for how long that is believed |
| `rules` | when a file is refused, and what becomes of its row then |
| `one_file` | one file, from the look at its row to its report |
| `attempt` | what the steps of one file share: the row, the lease, the receipt |
| `deletion` | compare, rename, receipt, unlink, close |
| `open_receipts` | receipts that an earlier run left open |
| `recovery` | files that a crash left in the trash without a receipt |
| `file_stays` | how a cleanup ends that does not delete |
| `report` | what happened, a file at a time and all in all |
| `run_alarms` | the alarms of a run |
"""

from apps.cctv.services.cleanup.recovery import trash_recover
from apps.cctv.services.cleanup.report import CleanupReport, FileReport, Outcome
from apps.cctv.services.cleanup.run import cleanup_run

__all__ = ["CleanupReport", "FileReport", "Outcome", "cleanup_run", "trash_recover"]
