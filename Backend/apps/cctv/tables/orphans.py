"""Objects of ours that stay in the bucket though no transfer counts them as its own."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from offload.journal import WhyOrphaned


class OrphanQuerySet(models.QuerySet["OrphanedObject"]):
    def left_in_bucket(self) -> OrphanQuerySet:
        """Orphans that were not deleted, and that no transfer found again as its own object."""
        own = Q(
            gcp_bucket=F("transfer__gcp_bucket"),
            gcp_storage_path=F("transfer__gcp_storage_path"),
            object_generation=F("transfer__object_generation"),
        )
        return self.filter(deleted_at__isnull=True).exclude(own)


class OrphanedObject(models.Model):
    """An object that an upload left under its name when the transfer took the next one (P2).

    It may be the last copy of a recording whose file changed: only a person deletes it, by its generation. The row
    stays: `deleted_by` and `deletion_asked_at` are committed before the bucket is asked to delete it, `deleted_at`
    afterwards.
    """

    class Why(models.TextChoices):
        FILE_CHANGED = WhyOrphaned.FILE_CHANGED.value, "Whole; the file changed after its last byte was sent"
        EARLIER_CONTENT = WhyOrphaned.EARLIER_CONTENT.value, "An earlier content of the file"
        WRONG_BYTES = WhyOrphaned.WRONG_BYTES.value, "Not what was sent, and it could not be deleted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    transfer = models.ForeignKey("cctv.GCPVideoTransfer", on_delete=models.PROTECT, related_name="orphans")
    gcp_bucket = models.CharField(max_length=222)
    gcp_storage_path = models.CharField(max_length=1024)
    object_generation = models.BigIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    object_crc32c = models.CharField(max_length=8, help_text="Base64, as the bucket writes it")
    why = models.CharField(max_length=15, choices=Why.choices)
    orphaned_at = models.DateTimeField()
    # Who asked for the deletion, kept also where the bucket did not answer.
    deleted_by = models.CharField(max_length=150, blank=True)
    deletion_asked_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True)

    objects = OrphanQuerySet.as_manager()

    class Meta:
        ordering = ("-orphaned_at", "id")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(why__in=[why.value for why in WhyOrphaned]), name="orphan_why_known"),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | (~Q(deleted_by="") & Q(deletion_asked_at__isnull=False)),
                name="orphan_deletion_was_asked_for",
            ),
            models.UniqueConstraint(
                fields=["transfer", "gcp_bucket", "gcp_storage_path", "object_generation"], name="orphan_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.gcp_storage_path}#{self.object_generation}"

    @property
    def is_found_again(self) -> bool:
        """Whether it is the transfer's own object: the file is gone, and this was found to be the recording."""
        row = self.transfer
        own = (row.gcp_bucket, row.gcp_storage_path, row.object_generation)
        return own == (self.gcp_bucket, self.gcp_storage_path, self.object_generation)
