"""Cleanup: frees the disk of recordings that are proven in the bucket. See docs/design/cleanup.md.

| module | has |
|---|---|
| `run` | `cleanup_run`: the order of the steps, from the guards to the report |
| `run_state` | what one run knows: what it works with, what it has found |
| `guards` | what stops a run, or keeps it from one bucket |
| `due_rows` | which rows a run takes |
| `pressure` | how far a site's disk is above its high-water mark |
| `proof` | what the bucket says of an object, and for how long that is believed |
| `one_file` | the steps for one file: claim, read back, compare, rename, receipt, unlink |
| `comparison` | whether object and file are the ones that were uploaded |
| `attempt` | what the steps for one file share: row, lease, receipt, proof |
| `file_stays` | how it ends for a file that is not deleted |
| `recovery` | puts back what a crash left in the trash |
| `report` | what became of each file, and of the whole run |
| `run_alarms` | the alarms of a run, and its note in the overview |
"""

from apps.cctv.services.cleanup.recovery import trash_recover
from apps.cctv.services.cleanup.report import CleanupReport, FileReport, Outcome
from apps.cctv.services.cleanup.run import cleanup_run

__all__ = ["CleanupReport", "FileReport", "Outcome", "cleanup_run", "trash_recover"]
