"""Writes: every change of state that a person or a worker makes goes through a service.

| module | has |
|---|---|
| `transfers` | request, retry, cancel |
| `uploads` | what an upload is made from, and how its end is recorded |
| `cleanup/` | frees the disk of what is proven |
| `importing/` | makes recordings of the files below the media root |
| `holds` | set and lift legal holds, here and in the bucket |
| `retention` | when the local file of a recording may go, and its schedule |
| `orphans` | objects that uploads left in the bucket, and their deletion by a person |
| `sites` | create and change sites; their time zones; the history of sites, cameras and grants |
| `cameras` | create, change, archive, delete; who may see a private one |
| `bandwidth` | a site's limit, and the one schedule of its uplink |
| `media_root` | the marker of a media root |
| `unimported_footage` | files below the media root that are no recording yet |
| `delete_rights` | the right to delete, checked when files of a folder are uploaded |
| `rights_in_doubt` | a 403 that the bucket's own answer contradicts |
| `bucket_check` | whether the bucket answers at all |
| `stalled_uploads` | transfers wait, nothing fails, and nothing arrives |
| `alarms` | raise and clear alarms |
| `alarm_review` | looks at the cause of each open alarm again, and ends the alarm with it |
| `disk_reserve` | a file that is given up when the disk of the home is full |
| `settings` | the settings of services and worker, as one frozen value |
| `sweep` | brings back what is stuck, expired or in disagreement |
"""

from __future__ import annotations


class ServiceError(Exception):
    """A request that cannot be carried out; `detail` is for the person who asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotConfigured(ServiceError):
    """A setting is missing."""


class NotPermitted(ServiceError):
    """The role of this caller does not allow it."""


class NotFound(ServiceError):
    """There is no such thing, or it is not this caller's to see."""


class Conflict(ServiceError):
    """The state of things forbids it."""
