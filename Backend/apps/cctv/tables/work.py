"""Worker processes, periodic jobs, and doubts about a right that all processes share."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.tables.places import Site


class WorkerProcess(models.Model):
    """A worker, which owns leases. While it lives it has the lock (`flock`) on its file under COLDREEL_HOME.

    A command that owns leases has such a file as well, but no row.
    """

    # Also the name of the lock file, and what `lease_owner` holds.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The site whose transfers it uploads; null for a worker of all sites.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    host = models.CharField(max_length=255)  # the machine's name when the process started
    # Stays when the machine gets another name; empty for a worker of an earlier release.
    machine_id = models.CharField(max_length=255, blank=True, db_default="")
    pid = models.PositiveIntegerField()
    installation_id = models.CharField(max_length=36)
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    # When it gave its leases back, or when another process found it dead.
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "worker processes"
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class JobKind(StrEnum):
    """What a periodic job does."""

    SWEEP = "sweep"
    CLEANUP = "cleanup"
    LOOK = "look"  # at the disk, for footage that was never imported; after each cleanup
    BUCKET = "bucket"  # asks the bucket whether it answers; within a sweep


class PeriodicJobQuerySet(models.QuerySet["PeriodicJob"]):
    def of(self, kind: str, site_id: UUID | None) -> PeriodicJobQuerySet:
        """The row of that job: of a site, or of a worker of all sites."""
        return self.filter(name=job_name(kind, site_id))

    def ensure(
        self, kind: str, site_id: UUID | None, *, next_run_at: datetime, **columns: object
    ) -> tuple[PeriodicJob, bool]:
        """The row of that job, and whether it was made by this call, with those columns."""
        defaults = {"kind": kind, "site_id": site_id, "next_run_at": next_run_at, **columns}
        return self.get_or_create(name=job_name(kind, site_id), defaults=defaults)


class PeriodicJob(models.Model):
    """A job that runs at intervals, by one worker at a time: the worker that has its lease."""

    # The key of its leases, made by `job_name`. `kind` and `site` are columns, so that no name is taken apart.
    name = models.CharField(max_length=64, primary_key=True)
    kind = models.CharField(max_length=20, db_default="")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    next_run_at = models.DateTimeField()
    lease_number = models.PositiveBigIntegerField(default=0)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_finished_at = models.DateTimeField(null=True, blank=True)
    # One line for people; `failed: …` after an error. Programs read the two columns after it.
    last_result = models.TextField(blank=True)
    last_ok = models.BooleanField(
        null=True, blank=True, help_text="Whether the bucket answered, or all of the disk was looked at"
    )
    unknown_files = models.PositiveIntegerField(
        null=True, blank=True, help_text="Files on the disk that are no recording, at the last look"
    )

    objects: ClassVar[models.Manager[PeriodicJob]] = PeriodicJobQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


def job_name(kind: str, site_id: UUID | None) -> str:
    """The key of a job: each site has its own row, because a worker of one site reaches that site's disk only."""
    return kind if site_id is None else f"{kind}@{site_id}"


class RightInDoubt(models.Model):
    """When the bucket first answered 403 for a right that it says we have; the first success removes the row.

    In the database, so that all processes together count from it. Its subject is that of the alarm that it may become.
    """

    subject_kind = models.CharField(max_length=20, db_default="")
    subject_id = models.CharField(max_length=255, db_default="")
    since = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["subject_kind", "subject_id"],
                condition=~Q(subject_kind=""),
                name="right_in_doubt_once_a_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject_kind} {self.subject_id}"

    @property
    def subject(self) -> Subject:
        return Subject(SubjectKind(self.subject_kind), self.subject_id)
