"""`make scale`: the same reads, claims and cleanup looks at 10 thousand and at a million recordings.

| module | has |
|---|---|
| `rows` | fills a database with recordings, transfers, receipts and their history, by statements of the database |
| `questions` | what is asked: lists, filters, searches, counts, admin pages, claims, sweep, cleanup |
| `measured` | one database, filled and asked, in a process of its own |
| `figures` | what a run finds |
| `results` | the table of medians, 95th percentiles and ratios, with the targets |
| `__main__` | the command |
"""
