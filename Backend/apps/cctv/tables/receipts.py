"""Deletion receipts: the proof that stood behind each deletion of a local file."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from apps.cctv.tables.transfers import GCPVideoTransfer


class DeletionReceipt(models.Model):
    """What was compared before a local file was unlinked, when, by whom, and how it ended (P1)."""

    class Outcome(models.TextChoices):
        DELETING = "deleting", "Deleting"
        DELETED = "deleted", "Deleted"
        ALREADY_MISSING = "already_missing", "Already missing"
        PUT_BACK = "put_back", "Put back"

    class Compared(models.TextChoices):
        IDENTITY = "identity", "Device, inode, size, mtime and ctime"
        CRC32C = "crc32c", "A fresh CRC32C of the whole file"
        NOTHING = "nothing", "Nothing: the file was gone already"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    transfer = models.ForeignKey(GCPVideoTransfer, on_delete=models.PROTECT, related_name="receipts")
    outcome = models.CharField(max_length=16, choices=Outcome.choices, default=Outcome.DELETING)
    actor = models.CharField(max_length=150)  # as in `TransferEvent`
    forced = models.BooleanField(default=False)  # by `--force` or *Clean up now*: the waiting period was waived
    opened_at = models.DateTimeField()
    # Null while the file is in the trash, and until its deletion is recorded. A closed receipt never changes.
    closed_at = models.DateTimeField(null=True, blank=True)
    # Both below MEDIA_ROOT; the second is empty where the file was gone before it was renamed into the trash.
    local_path = models.TextField()
    trash_path = models.TextField(blank=True)
    # The object as it was recorded at the upload and read back before the deletion.
    size_bytes = models.PositiveBigIntegerField()
    gcp_bucket = models.CharField(max_length=222)
    gcp_storage_path = models.CharField(max_length=1024)
    object_generation = models.BigIntegerField()
    object_crc32c = models.CharField(max_length=8)
    proof_read_at = models.DateTimeField(help_text="When the bucket last showed that generation, size and CRC32C")
    compared = models.CharField(max_length=8, choices=Compared.choices)
    # Of the file in the trash, written as `GCPVideoTransfer.source_identity`; empty where it was gone already.
    source_identity = models.CharField(max_length=120, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ("-opened_at",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(outcome__in=["deleting", "deleted", "already_missing", "put_back"]),
                name="receipt_outcome_known",
            ),
            models.CheckConstraint(
                condition=Q(outcome="deleting", closed_at__isnull=True)
                | (~Q(outcome="deleting") & Q(closed_at__isnull=False)),
                name="receipt_open_or_closed",
            ),
            models.UniqueConstraint(
                fields=["transfer"], condition=Q(closed_at__isnull=True), name="receipt_one_open_per_transfer"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.local_path}: {self.get_outcome_display()}"

    @property
    def closes_cleanup(self) -> bool:
        """Whether it is closed and the file is gone, so that the transfer may be marked as cleaned up."""
        return self.closed_at is not None and self.outcome in {
            self.Outcome.DELETED,
            self.Outcome.ALREADY_MISSING,
        }
