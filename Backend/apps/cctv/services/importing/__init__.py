"""The import: finds recorded files below the media root and makes recordings of them.

| module | has |
|---|---|
| `run` | `recordings_import`: one import from its arguments to its report |
| `cameras` | sites and cameras by name, made where that is allowed |
| `path_template` | the camera and the start of a file, from its path |
| `local_time` | a recorder's wall-clock time as UTC |
| `report` | counts, and what was refused and why |
"""
