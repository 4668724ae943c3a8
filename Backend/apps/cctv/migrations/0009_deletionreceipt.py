"""What was compared before a local file went."""

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0008_gcpvideotransfer")]

    operations = [
        migrations.CreateModel(
            name="DeletionReceipt",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("deleting", "Deleting"),
                            ("deleted", "Deleted"),
                            ("already_missing", "Already missing"),
                            ("put_back", "Put back"),
                        ],
                        default="deleting",
                        max_length=16,
                    ),
                ),
                ("actor", models.CharField(max_length=150)),
                ("forced", models.BooleanField(default=False)),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("local_path", models.TextField()),
                ("trash_path", models.TextField(blank=True)),
                ("size_bytes", models.PositiveBigIntegerField()),
                ("gcp_bucket", models.CharField(max_length=222)),
                ("gcp_storage_path", models.CharField(max_length=1024)),
                ("object_generation", models.BigIntegerField()),
                ("object_crc32c", models.CharField(max_length=8)),
                (
                    "proof_read_at",
                    models.DateTimeField(help_text="When the bucket last showed that generation, size and CRC32C"),
                ),
                (
                    "compared",
                    models.CharField(
                        choices=[
                            ("identity", "Device, inode, size, mtime and ctime"),
                            ("crc32c", "A fresh CRC32C of the whole file"),
                            ("nothing", "Nothing: the file was gone already"),
                        ],
                        max_length=8,
                    ),
                ),
                ("source_identity", models.CharField(blank=True, max_length=120)),
                ("detail", models.TextField(blank=True)),
                (
                    "transfer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="receipts", to="cctv.gcpvideotransfer"
                    ),
                ),
            ],
            options={
                "ordering": ("-opened_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ["deleting", "deleted", "already_missing", "put_back"])),
                        name="receipt_outcome_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at__isnull", True), ("outcome", "deleting")),
                            models.Q(models.Q(("outcome", "deleting"), _negated=True), ("closed_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="receipt_open_or_closed",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("transfer",),
                        name="receipt_one_open_per_transfer",
                    ),
                ],
            },
        ),
    ]
