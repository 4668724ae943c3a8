"""Leases: who may work on a row and until when, who owns them, what is due next, and how workers are woken.

| module | has |
|---|---|
| `leases` | who may change a transfer and until when: claim, renew, release |
| `recovery` | what dead workers, lapsed leases and wrong clocks leave behind |
| `owners` | `Owner`: a process that has leases, alive while its lock file is locked |
| `claims` | `BatchQueue`: the next due transfers, several at once, no more of a batch than it allows |
| `journal` | `OrmJournal`: the engine's journal in the transfer's own row |
| `wakeup` | `wake_workers(site_id)`: wakes the workers of this machine after the commit |
"""
