"""Alarms in words: what each is about, from the rows as they are now, for the admin, doctor and the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db.models import QuerySet

from apps.cctv.models import Alarm, GCPVideoTransfer, Site, WorkerProcess
from apps.cctv.tables.alarms import Subject, SubjectKind


@dataclass(frozen=True, slots=True)
class ShownAlarm:
    """An alarm, and its words for one person; both are empty where they may name a camera that is hidden from them."""

    alarm: Alarm
    subject: str
    detail: str


def open_alarms() -> QuerySet[Alarm]:
    return Alarm.objects.filter(cleared_at__isnull=True)


def alarms_shown(alarms: Collection[Alarm], *, sees_all: bool) -> list[ShownAlarm]:
    """The alarms in words. `sees_all` is False for a person from whom a camera is hidden (`sees_all_cameras`)."""
    if not sees_all:
        return [ShownAlarm(alarm, "", "") for alarm in alarms]
    words = subject_words([alarm.subject for alarm in alarms])
    return [ShownAlarm(alarm, words[alarm.subject], alarm.detail) for alarm in alarms]


def subject_words(subjects: Collection[Subject]) -> dict[Subject, str]:
    """What each subject is called now, in at most three queries. They name sites and cameras."""
    site_ids = {subject.site_id for subject in subjects if subject.site_id}
    transfer_ids = {subject.transfer_id for subject in subjects if subject.transfer_id}
    machine_ids = {subject.id for subject in subjects if subject.kind in _OF_A_MACHINE}
    # An empty list costs no query: Django knows that nothing is in it.
    sites = dict(Site.objects.filter(pk__in=site_ids).values_list("pk", "name"))
    transfers = GCPVideoTransfer.objects.filter(pk__in=transfer_ids)
    cameras = dict(transfers.values_list("pk", "recording__camera__name"))
    # The newest worker process comes last, so a machine has the name that it has now.
    processes = WorkerProcess.objects.filter(machine_id__in=machine_ids).order_by("started_at")
    hosts = dict(processes.values_list("machine_id", "host"))
    words = {}
    for subject in subjects:
        site = sites.get(subject.site_id, str(subject.site_id)) if subject.site_id else ""
        camera = cameras.get(subject.transfer_id) if subject.transfer_id else None
        words[subject] = _WORDS[subject.kind].format(
            id=subject.id,
            bucket=subject.bucket,
            at_site=f" at {site}" if site else "",
            from_site=f" from {site}" if site else "",
            of_camera=f" of {camera}" if camera else "",
            host=hosts.get(subject.id, subject.id),
        )
    return words


_OF_A_MACHINE = frozenset({SubjectKind.MACHINE, SubjectKind.LOCK_FILES})
_WORDS: Mapping[SubjectKind, str] = {
    SubjectKind.INSTALLATION: "",
    SubjectKind.BUCKET: "{bucket}",
    SubjectKind.LINE: "{bucket}{from_site}",
    SubjectKind.HOLDS: "holds in {bucket}",
    SubjectKind.MEDIA_ROOT: "media root{at_site}",
    SubjectKind.CLEANUP: "cleanup{at_site}",
    SubjectKind.CLEANUP_FILES: "cleanup of {bucket}{at_site}",
    SubjectKind.FAILING_FILES: "failing files{at_site}",
    SubjectKind.RIGHT_TO_DELETE: "right to delete{at_site}",
    SubjectKind.TRANSFER: "transfer {id}{of_camera}",
    SubjectKind.TRASH: "trash, transfer {id}{of_camera}",
    SubjectKind.LOCK_FILES: "lock files on {host}",
    SubjectKind.MACHINE: "{host}",
    SubjectKind.OTHER: "{id}",
    SubjectKind.UNKNOWN: "{id}",
}
