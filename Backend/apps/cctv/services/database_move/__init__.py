"""Move everything from SQLite to an empty PostgreSQL database, and prove that it arrived.

| module | has |
|---|---|
| `plan` | which tables are copied, in which order, and which are rebuilt instead |
| `source` | the old database, SQLite, locked and marked |
| `target` | the new database, PostgreSQL |
| `proof` | counts, sums and checksums of a table, taken on each side from what that side has |
| `run` | `database_move(…)`: the whole procedure |
"""

from __future__ import annotations

from apps.cctv.services import ServiceError


class DatabaseMoveRefused(ServiceError):
    """The move cannot begin, go on or be called proven; `detail` says why, and what to do."""
