"""What an upload left in the bucket, and whether a person who asks again knew of another object there."""

import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cctv", "0018_seenmediaroot"),
    ]

    operations = [
        migrations.AddField(
            model_name="gcpvideotransfer",
            name="passes_conflict",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Asked for again by a person who knew of another object there",
            ),
        ),
        migrations.CreateModel(
            name="OrphanedObject",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("gcp_bucket", models.CharField(max_length=222)),
                ("gcp_storage_path", models.CharField(max_length=1024)),
                ("object_generation", models.BigIntegerField()),
                ("size_bytes", models.PositiveBigIntegerField()),
                ("object_crc32c", models.CharField(help_text="Base64, as the bucket writes it", max_length=8)),
                (
                    "why",
                    models.CharField(
                        choices=[
                            ("file_changed", "Whole; the file changed after its last byte was sent"),
                            ("earlier_content", "An earlier content of the file"),
                            ("wrong_bytes", "Not what was sent, and it could not be deleted"),
                        ],
                        max_length=15,
                    ),
                ),
                ("orphaned_at", models.DateTimeField()),
                ("deleted_by", models.CharField(blank=True, max_length=150)),
                ("deletion_asked_at", models.DateTimeField(blank=True, null=True)),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                ("detail", models.TextField(blank=True)),
                (
                    "transfer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="orphans", to="cctv.gcpvideotransfer"
                    ),
                ),
            ],
            options={
                "ordering": ("-orphaned_at", "id"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("why__in", ["file_changed", "earlier_content", "wrong_bytes"])),
                        name="orphan_why_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("deleted_at__isnull", True),
                            models.Q(models.Q(("deleted_by", ""), _negated=True), ("deletion_asked_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="orphan_deleted_by_somebody",
                    ),
                    models.UniqueConstraint(
                        fields=("transfer", "gcp_bucket", "gcp_storage_path", "object_generation"), name="orphan_once"
                    ),
                ],
            },
        ),
    ]
