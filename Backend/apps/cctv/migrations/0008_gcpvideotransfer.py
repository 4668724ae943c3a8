"""The transfer table with its batches and its history."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0007_recording_storage_type"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.CreateModel(
            name="TransferBatch",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("request", "Request"), ("retry", "Retry"), ("policy", "Policy")],
                        default="request",
                        max_length=8,
                    ),
                ),
                ("batch_size", models.PositiveSmallIntegerField(default=5)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "transfer batches",
            },
        ),
        migrations.AddConstraint(
            model_name="transferbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("batch_size__gte", 1), ("batch_size__lte", 20)), name="batch_size_1_to_20"
            ),
        ),
        migrations.CreateModel(
            name="GCPVideoTransfer",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("installation_id", models.CharField(help_text="The installation that owns the object", max_length=36)),
                ("original_local_path", models.TextField(help_text="Below MEDIA_ROOT")),
                ("gcp_bucket", models.CharField(max_length=222)),
                ("gcp_storage_path", models.CharField(max_length=1024)),
                ("gcp_public_url", models.TextField(blank=True)),
                (
                    "name_take",
                    models.PositiveSmallIntegerField(default=0, help_text="Orphans lie under the earlier names"),
                ),
                ("file_size_bytes", models.PositiveBigIntegerField(default=0)),
                ("bytes_uploaded", models.PositiveBigIntegerField(default=0, help_text="What the bucket confirmed")),
                (
                    "source_identity",
                    models.CharField(
                        blank=True, help_text="device:inode:size:mtime:ctime, as uploaded", max_length=120
                    ),
                ),
                ("object_generation", models.BigIntegerField(blank=True, null=True)),
                (
                    "object_crc32c",
                    models.CharField(blank=True, help_text="Base64, as the bucket writes it", max_length=8),
                ),
                ("object_stored_at", models.DateTimeField(blank=True, help_text="By the bucket's clock", null=True)),
                (
                    "transfer_status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("uploading", "uploading"),
                            ("completed", "completed"),
                            ("cleanup_pending", "cleanup pending"),
                            ("cleanup_completed", "cleanup completed"),
                            ("failed", "failed"),
                        ],
                        default="pending",
                        max_length=17,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("upload_started_at", models.DateTimeField(blank=True, null=True)),
                ("upload_completed_at", models.DateTimeField(blank=True, null=True)),
                ("cleanup_scheduled_at", models.DateTimeField(blank=True, null=True)),
                ("cleanup_completed_at", models.DateTimeField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, max_length=40)),
                ("error_message", models.TextField(blank=True)),
                ("retry_count", models.PositiveIntegerField(default=0, help_text="Tries after the first, all in all")),
                (
                    "failures_in_row",
                    models.PositiveIntegerField(default=0, help_text="Since the last confirmed progress"),
                ),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("cleanup_failures", models.PositiveIntegerField(default=0)),
                ("needs_attention", models.BooleanField(default=False, help_text="A person has to look at it")),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("lease_number", models.PositiveBigIntegerField(default=0)),
                ("lease_owner", models.UUIDField(blank=True, null=True)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("session_uri", models.TextField(blank=True, editable=False)),
                ("session_started_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("session_identity", models.CharField(blank=True, editable=False, max_length=120)),
                (
                    "initiated_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "recording",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="gcp_transfer", to="cctv.recording"
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="cctv.site"),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="transfers", to="cctv.transferbatch"
                    ),
                ),
            ],
            options={
                "verbose_name": "GCP video transfer",
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.AddIndex(
            model_name="gcpvideotransfer",
            index=models.Index(fields=["transfer_status", "cleanup_scheduled_at"], name="transfer_status_cleanup"),
        ),
        migrations.AddIndex(
            model_name="gcpvideotransfer",
            index=models.Index(fields=["batch", "transfer_status", "next_attempt_at"], name="transfer_batch_due"),
        ),
        migrations.AddIndex(
            model_name="gcpvideotransfer",
            index=models.Index(fields=["-created_at", "-id"], name="transfer_newest_first"),
        ),
        migrations.AddIndex(
            model_name="gcpvideotransfer",
            index=models.Index(fields=["lease_expires_at"], name="transfer_lease_expiry"),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "transfer_status__in",
                        ["cleanup_completed", "cleanup_pending", "completed", "failed", "pending", "uploading"],
                    )
                ),
                name="transfer_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("transfer_status__in", ["cleanup_completed", "cleanup_pending", "completed"]), _negated=True
                    ),
                    models.Q(
                        models.Q(("gcp_bucket", ""), _negated=True),
                        models.Q(("object_crc32c", ""), _negated=True),
                        ("object_generation__isnull", False),
                        ("upload_completed_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="transfer_uploaded_has_proof",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transfer_status", "uploading"), _negated=True),
                    models.Q(("lease_expires_at__isnull", False), ("lease_owner__isnull", False)),
                    _connector="OR",
                ),
                name="transfer_uploading_has_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transfer_status", "pending"), _negated=True),
                    ("next_attempt_at__isnull", False),
                    _connector="OR",
                ),
                name="transfer_pending_has_next_attempt",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transfer_status", "cleanup_pending"), _negated=True),
                    ("cleanup_scheduled_at__isnull", False),
                    _connector="OR",
                ),
                name="transfer_cleanup_is_scheduled",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transfer_status", "cleanup_completed"), _negated=True),
                    ("cleanup_completed_at__isnull", False),
                    _connector="OR",
                ),
                name="transfer_cleaned_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transfer_status", "failed"), _negated=True),
                    models.Q(("error_code", ""), _negated=True),
                    _connector="OR",
                ),
                name="transfer_failed_has_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="gcpvideotransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("bytes_uploaded__lte", models.F("file_size_bytes"))),
                name="transfer_progress_within_size",
            ),
        ),
        migrations.CreateModel(
            name="TransferEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=150)),
                ("move", models.CharField(max_length=24)),
                ("from_status", models.CharField(blank=True, max_length=17)),
                ("to_status", models.CharField(max_length=17)),
                ("reason", models.CharField(max_length=40)),
                ("detail", models.TextField(blank=True)),
                (
                    "transfer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="events", to="cctv.gcpvideotransfer"
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
            },
        ),
        migrations.AddIndex(
            model_name="transferevent",
            index=models.Index(fields=["transfer", "id"], name="event_of_transfer"),
        ),
    ]
