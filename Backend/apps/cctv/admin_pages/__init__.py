"""The pages of the Django admin. `apps.cctv.admin` registers them.

| module | has |
|---|---|
| `site` | which roles may enter, the menu, the front page |
| `config` | the admin site, made known to Django |
| `front_page` | what the front page shows, in words |
| `base` | what all pages share: permissions that come from the role |
| `actions` | the pages that ask before an action of `apps.cctv.actions` is carried out |
| `places` | sites, cameras, grants |
| `people` | users and their roles |
| `orphans` | what uploads left in the bucket |
| `records` | history, receipts, alarms, workers, jobs, batches: only read |
| `filters` | filters of the lists |
| `display` | how sizes, times, progress and reasons are shown |
"""
