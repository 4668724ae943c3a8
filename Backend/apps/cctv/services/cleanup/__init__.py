"""Cleanup: frees the disk of recordings that are proven in the bucket. See docs/design/cleanup.md.

| module | has |
|---|---|
| `run` | `cleanup_run`: the guards, the batches, the report |
| `guards` | what stops a run before it touches anything |
| `second_look` | whether a bucket refuses as a whole, or one object is odd |
| `proof` | what the bucket says of an object, and for how long that is believed |
| `rules` | when a file is refused, and what becomes of its row then |
| `steps` | one file: compare, rename, receipt, unlink, close |
| `trash` | files that a crash left in the trash without a receipt |
| `report` | what happened, a file at a time and all in all |
"""

from apps.cctv.services.cleanup.report import CleanupReport, FileReport, Outcome
from apps.cctv.services.cleanup.run import cleanup_run
from apps.cctv.services.cleanup.trash import trash_recover

__all__ = ["CleanupReport", "FileReport", "Outcome", "cleanup_run", "trash_recover"]
