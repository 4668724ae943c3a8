"""Recordings: one recorded file of one camera each."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.cctv.tables.places import Camera


class Recording(models.Model):
    """One recorded file of one camera.

    `file_path` is where it is read now: below MEDIA_ROOT while `storage_type` is local, afterwards the name of its
    object in the bucket. `local_path` keeps where it is or was below MEDIA_ROOT, with the size and mtime that it was
    registered with: another file of that name is another recording.
    """

    class Status(models.TextChoices):
        RECORDING = "recording", "Recording"
        READY = "ready", "Ready"
        DAMAGED = "damaged", "Damaged"

    class StorageType(models.TextChoices):
        LOCAL = "local", "Local disk"
        GCP = "gcp", "Google Cloud Storage"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="recordings")
    name = models.CharField(max_length=255)  # the file's name, without folders
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.READY)
    # When it was recorded, in UTC; the end and what follows it are as the container tells, null or empty where it does
    # not. An open end is no sign of a recording that still runs: that is `status`.
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_seconds = models.FloatField(null=True, blank=True)
    codec = models.CharField(max_length=32, blank=True)
    width_pixels = models.PositiveIntegerField(null=True, blank=True)
    height_pixels = models.PositiveIntegerField(null=True, blank=True)
    # Of the file when it was registered; the mtime is null where the recording was made without looking at its file.
    file_size_bytes = models.PositiveBigIntegerField(default=0)
    file_mtime_ns = models.BigIntegerField(null=True, blank=True)
    local_path = models.TextField()
    file_path = models.TextField()
    storage_type = models.CharField(max_length=8, choices=StorageType.choices, default=StorageType.LOCAL)
    hold_wanted = models.BooleanField(default=False, help_text="Legal hold, as the operator wants it")
    hold_confirmed = models.BooleanField(default=False, help_text="Legal hold, as the bucket has it")
    # Why, by whom and since when it is held; kept empty while it is not.
    hold_reason = models.CharField(max_length=500, blank=True)
    held_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    held_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-started_at", "id")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["camera", "started_at"], name="recording_camera_started"),
            models.Index(fields=["storage_type", "status", "id"], name="recording_storage_status"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(status__in=["recording", "ready", "damaged"]), name="recording_status_known"
            ),
            models.CheckConstraint(condition=Q(storage_type__in=["local", "gcp"]), name="recording_storage_known"),
            models.UniqueConstraint(fields=["local_path", "file_mtime_ns"], name="recording_file_once"),
        ]

    def __str__(self) -> str:
        return self.name
