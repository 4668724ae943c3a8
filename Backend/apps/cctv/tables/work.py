"""Worker processes, periodic jobs, and doubts about a right that all processes share."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone

from apps.cctv.tables.places import Site


class WorkerProcess(models.Model):
    """A worker, which owns leases. While it lives it has the lock (`flock`) on its file under COLDREEL_HOME.

    A command that owns leases has such a file as well, but no row.
    """

    # Also the name of the lock file, and what `lease_owner` holds.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The site whose transfers it uploads; null for a worker of all sites.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    host = models.CharField(max_length=255)
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


class PeriodicJob(models.Model):
    """A job that runs at intervals, by one worker at a time: the worker that has its lease."""

    # The job, and `@` with the site's id where each site has a run of its own.
    name = models.CharField(max_length=64, primary_key=True)
    next_run_at = models.DateTimeField()
    lease_number = models.PositiveBigIntegerField(default=0)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_finished_at = models.DateTimeField(null=True, blank=True)
    # One line for people; `failed: …` after an error.
    last_result = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.name


class RightInDoubt(models.Model):
    """The first of the 403 answers beside which the bucket says "you may"; the first success removes the row.

    In the database, so that all processes together count from it. `subject` reads as that of the alarm does.
    """

    subject = models.CharField(max_length=255, unique=True)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return self.subject
