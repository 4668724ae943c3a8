"""Tables, each in a module of its own. `apps.cctv.models` is the page of contents.

| module | has |
|---|---|
| `places` | sites, their media roots and uplinks, cameras, grants |
| `recordings` | recordings |
| `transfers` | transfers, their batches and events |
| `receipts` | deletion receipts |
| `orphans` | objects that no transfer counts as its own |
| `alarms` | alarms |
| `work` | worker processes, periodic jobs, and doubts about a right |
| `moves` | `RowGuard` and `TransferQuerySet`: the guarded updates, of one row and of many; `Lease` |
| `sql` | many rows in one statement, without Django's compiler |
"""
