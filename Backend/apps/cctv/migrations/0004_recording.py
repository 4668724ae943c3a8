"""Recordings: one file of one camera."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0003_cameragrant")]

    operations = [
        migrations.CreateModel(
            name="Recording",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                (
                    "status",
                    models.CharField(
                        choices=[("recording", "Recording"), ("ready", "Ready"), ("damaged", "Damaged")],
                        default="ready",
                        max_length=16,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("file_path", models.TextField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "camera",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="recordings", to="cctv.camera"
                    ),
                ),
            ],
            options={
                "ordering": ("-started_at", "id"),
            },
        ),
        migrations.AddIndex(
            model_name="recording",
            index=models.Index(fields=["camera", "started_at"], name="recording_camera_started"),
        ),
        migrations.AddConstraint(
            model_name="recording",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["recording", "ready", "damaged"])), name="recording_status_known"
            ),
        ),
    ]
