"""Transfers: the way of a recording into the bucket, with its batch and its history."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from apps.cctv.tables.moves import SYSTEM, Lease, TransferQuerySet, VerifiedUpload
from apps.cctv.tables.places import Site
from apps.cctv.tables.recordings import Recording
from offload.errors import LeaseLost, Reason
from offload.states import UPLOADED, Move, State

if TYPE_CHECKING:
    from apps.cctv.tables.receipts import DeletionReceipt


class TransferBatch(models.Model):
    """Transfers asked for together. At most `batch_size` of them upload at the same time, on all machines together."""

    class Kind(models.TextChoices):
        REQUEST = "request", "Request"
        RETRY = "retry", "Retry"
        POLICY = "policy", "Policy"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.REQUEST)
    batch_size = models.PositiveSmallIntegerField(default=5)
    # Null where no person asked for it, and where the person was removed since.
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    # Claims go by it: the oldest batch first.
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "transfer batches"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(batch_size__gte=1, batch_size__lte=20), name="batch_size_1_to_20"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.created_at:%Y-%m-%d %H:%M}"


class GCPVideoTransfer(models.Model):
    """The way of one recording into the bucket, and of its local file off the disk.

    Statuses change by the moves of `offload.states.MOVES` only, through the guarded updates of `tables.moves`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    recording = models.OneToOneField(Recording, on_delete=models.PROTECT, related_name="gcp_transfer")
    batch = models.ForeignKey(TransferBatch, on_delete=models.PROTECT, related_name="transfers")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    # As `TransferBatch.created_by`.
    initiated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    installation_id = models.CharField(max_length=36, help_text="The installation that owns the object")

    original_local_path = models.TextField(help_text="Below MEDIA_ROOT")
    # Where the object is, or will be: until the upload is recorded these may still change, from then on every later
    # operation uses them and not the settings. The lengths are Google's limits. The address carries no signature.
    gcp_bucket = models.CharField(max_length=222)
    gcp_storage_path = models.CharField(max_length=1024)
    gcp_public_url = models.TextField(blank=True)
    # 0 for the first name. In a further one the file's name begins with the version: nothing is overwritten (P2).
    name_version = models.PositiveSmallIntegerField(
        default=0, db_column="name_take", help_text="Orphans lie under the earlier names"
    )
    passes_conflict = models.BooleanField(
        default=False, db_default=False, help_text="Asked for again by a person who knew of another object there"
    )

    # Of the file as it was opened for the upload; progress is measured against it.
    file_size_bytes = models.PositiveBigIntegerField(default=0)
    bytes_uploaded = models.PositiveBigIntegerField(default=0, help_text="What the bucket confirmed")
    source_identity = models.CharField(
        max_length=120, blank=True, help_text="device:inode:size:mtime:ctime, as uploaded"
    )
    # With the size, what every later read of the object is compared with (P1). Null and empty until it is verified.
    object_generation = models.BigIntegerField(null=True, blank=True)
    object_crc32c = models.CharField(max_length=8, blank=True, help_text="Base64, as the bucket writes it")
    object_stored_at = models.DateTimeField(null=True, blank=True, help_text="By the bucket's clock")

    transfer_status = models.CharField(
        max_length=17, choices=[(s.value, s.value.replace("_", " ")) for s in State], default=State.PENDING
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # When the first byte of the present session, or of the one request of a small file, was sent.
    upload_started_at = models.DateTimeField(null=True, blank=True)
    # When the verified upload was recorded; the waiting period begins then.
    upload_completed_at = models.DateTimeField(null=True, blank=True)
    # The end of the waiting period. Null while the local file is to stay.
    cleanup_scheduled_at = models.DateTimeField(null=True, blank=True)
    cleanup_completed_at = models.DateTimeField(null=True, blank=True)

    # A reason code (`offload.errors.Reason`) and its detail, of the last attempt that failed; a success empties both.
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    retry_count = models.PositiveIntegerField(default=0, help_text="Tries after the first, all in all")
    failures_in_row = models.PositiveIntegerField(default=0, help_text="Since the last confirmed progress")
    # When the first of the failures in a row was. An upload fails for good by their number and this time together.
    failing_since = models.DateTimeField(null=True, blank=True)
    cleanup_failures = models.PositiveIntegerField(default=0)  # in a row; they set the pause until the next try
    needs_attention = models.BooleanField(default=False, help_text="A person has to look at it")
    # `pending`: when it is due. `cleanup_pending`: when a cleanup that failed is tried again, else null.
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    # `tables.moves.Lease`. The number only grows; owner and expiry are null while there is no lease. The owner is a
    # `WorkerProcess`, or a command, which has no row: so it is no foreign key.
    lease_number = models.PositiveBigIntegerField(default=0)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)

    # The session URI authorises writes (P10): it appears in no list, page, log or repr. The identity is that of the
    # file for which the session was started, written as `source_identity`; another file never continues it.
    session_uri = models.TextField(blank=True, editable=False)
    session_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    session_identity = models.CharField(max_length=120, blank=True, editable=False)

    objects = TransferQuerySet.as_manager()

    class Meta:
        verbose_name = "GCP video transfer"
        ordering = ("-created_at", "-id")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["transfer_status", "cleanup_scheduled_at"], name="transfer_status_cleanup"),
            models.Index(fields=["batch", "transfer_status", "next_attempt_at"], name="transfer_batch_due"),
            models.Index(fields=["-created_at", "-id"], name="transfer_newest_first"),
            models.Index(fields=["lease_expires_at"], name="transfer_lease_expiry"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(transfer_status__in=sorted(state.value for state in State)),
                name="transfer_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status__in=sorted(state.value for state in UPLOADED))
                | (
                    ~Q(gcp_bucket="")
                    & ~Q(object_crc32c="")
                    & Q(object_generation__isnull=False, upload_completed_at__isnull=False)
                ),
                name="transfer_uploaded_has_proof",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status="uploading")
                | Q(lease_owner__isnull=False, lease_expires_at__isnull=False),
                name="transfer_uploading_has_lease",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status="pending") | Q(next_attempt_at__isnull=False),
                name="transfer_pending_has_next_attempt",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status="cleanup_pending") | Q(cleanup_scheduled_at__isnull=False),
                name="transfer_cleanup_is_scheduled",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status="cleanup_completed") | Q(cleanup_completed_at__isnull=False),
                name="transfer_cleaned_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(transfer_status="failed") | ~Q(error_code=""), name="transfer_failed_has_reason"
            ),
            models.CheckConstraint(
                condition=Q(bytes_uploaded__lte=models.F("file_size_bytes")),
                name="transfer_progress_within_size",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.gcp_storage_path.rpartition('/')[2]} ({self.transfer_status})"

    @property
    def file_size_mb(self) -> float:
        """In MiB, rounded to two decimals."""
        return round(self.file_size_bytes / 1024**2, 2)

    @property
    def progress_percent(self) -> float:
        """The share of the bytes that the bucket confirmed, with one decimal; 100 only when uploaded and verified."""
        if self.transfer_status in UPLOADED:
            return 100.0
        if not self.file_size_bytes:
            return 0.0
        return min(99.9, round(100 * self.bytes_uploaded / self.file_size_bytes, 1))

    @property
    def is_cleanup_due(self) -> bool:
        return self.reason_to_keep(timezone.now()) is None

    def reason_to_keep(self, now: datetime, *, waived: bool = False) -> Reason | None:
        """Why the local file has to stay at `now`, as far as this row tells; None where it may go.

        `waived`: the waiting period does not count. All the rules are in `services/retention.py`.
        """
        if self.recording.hold_wanted:
            return Reason.HELD
        if self.transfer_status != State.CLEANUP_PENDING:
            return Reason.WRONG_STATE
        if not waived and (self.cleanup_scheduled_at is None or self.cleanup_scheduled_at > now):
            return Reason.NOT_DUE
        return None

    def mark_upload_started(self, *, lease: Lease | None = None, now: datetime | None = None) -> None:
        """Note the first byte's time. Raises LeaseLost without the current lease."""
        if lease is None or lease.transfer_id != self.pk:
            raise LeaseLost(f"transfer {self.pk} can be marked by the holder of its lease only")
        moment = now or timezone.now()
        type(self).objects.note(lease, moment, {"upload_started_at": moment})
        self.refresh_from_db()

    def mark_upload_completed(
        self,
        *,
        lease: Lease | None = None,
        generation: int | None = None,
        crc32c: str = "",
        cleanup_at: datetime | None = None,
        now: datetime | None = None,
        actor: str = SYSTEM,
        reason: Reason = Reason.UPLOADED,
    ) -> None:
        """Record a verified upload of the whole file; `crc32c` is base64. The recording is in the bucket from now on.

        Scheduled for cleanup where `cleanup_at` is given and the recording is not held. Raises LeaseLost without
        the current lease, ValueError without generation or CRC32C.
        """
        if lease is None or lease.transfer_id != self.pk:
            raise LeaseLost(f"transfer {self.pk} can be completed by the holder of its lease only")
        columns = {"object_generation": generation, "object_crc32c": crc32c, "bytes_uploaded": self.file_size_bytes}
        upload = VerifiedUpload(
            lease, self.recording_id, self.gcp_storage_path, columns, actor=actor, reason=reason, cleanup_at=cleanup_at
        )
        moment = now or timezone.now()
        with transaction.atomic():
            if self.pk not in type(self).objects.lock_leased([lease], moment):
                raise LeaseLost(f"the lease of transfer {self.pk} is another's now")
            type(self).objects.complete_uploads([upload], now=moment)
        self.refresh_from_db()

    def mark_upload_failed(
        self,
        *,
        lease: Lease | None = None,
        reason: Reason = Reason.INTERNAL_ERROR,
        detail: str = "",
        now: datetime | None = None,
        actor: str = SYSTEM,
        **changes: object,
    ) -> None:
        """End the attempt for good: `failed`, with its reason. Raises LeaseLost without the current lease."""
        if lease is None or lease.transfer_id != self.pk:
            raise LeaseLost(f"transfer {self.pk} can be failed by the holder of its lease only")
        type(self).objects.move(
            self.pk,
            Move.FAIL,
            actor=actor,
            now=now or timezone.now(),
            reason=reason,
            detail=detail,
            lease=lease,
            changes={"error_code": reason, "error_message": detail, "next_attempt_at": None, **changes},
        )
        self.refresh_from_db()

    def mark_cleanup_completed(
        self,
        *,
        lease: Lease | None = None,
        receipt: DeletionReceipt | None = None,
        now: datetime | None = None,
        actor: str = SYSTEM,
        reason: Reason = Reason.CLEANED,
        detail: str = "",
    ) -> None:
        """The local file is gone. Raises LeaseLost without the lease, ValueError without a closed receipt."""
        if lease is None or lease.transfer_id != self.pk:
            raise LeaseLost(f"transfer {self.pk} can be cleaned up by the holder of its lease only")
        if receipt is None or receipt.transfer_id != self.pk or not receipt.closes_cleanup:
            raise ValueError("a cleanup is complete only with its closed deletion receipt")
        moment = now or timezone.now()
        type(self).objects.move(
            self.pk,
            Move.FINISH_CLEANUP,
            actor=actor,
            now=moment,
            reason=reason,
            detail=detail,
            lease=lease,
            changes={
                "cleanup_completed_at": moment,
                "next_attempt_at": None,
                "error_code": "",
                "error_message": "",
                "needs_attention": False,
            },
        )
        self.refresh_from_db()


class TransferEvent(models.Model):
    """One move of one transfer: the audit log and the history that people see. Rows are only added."""

    id = models.BigAutoField(primary_key=True)
    transfer = models.ForeignKey(GCPVideoTransfer, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    # A user's name, a worker's `host:pid`, or `system`.
    actor = models.CharField(max_length=150)
    move = models.CharField(max_length=24)  # `offload.states.Move`
    from_status = models.CharField(max_length=17, blank=True)  # empty for the request, which makes the row
    to_status = models.CharField(max_length=17)
    reason = models.CharField(max_length=40)  # `offload.errors.Reason`
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ("id",)
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["transfer", "id"], name="event_of_transfer")]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.from_status} → {self.to_status}: {self.reason}"
