"""Reads for the API, the admin and the commands. Nothing here writes.

| module | has |
|---|---|
| `alarms` | the open alarms, and in words what each is about, from the rows as they are now |
| `visibility` | what a user may see, by role and by grants |
| `snapshots` | `one_snapshot()`: the rows and counts of one answer are of one moment |
| `paging` | pages cut by keyset |
| `transfers` | lists of transfers, one transfer, counts by status |
| `recordings` | lists of recordings, one recording, sums |
| `places` | sites and cameras |
| `overview` | the numbers, rows and worries behind every overview |
"""
