"""Workers, periodic jobs and alarms; how full a site's disk may become."""

import uuid

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0009_deletionreceipt")]

    operations = [
        migrations.CreateModel(
            name="WorkerProcess",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveIntegerField()),
                ("installation_id", models.CharField(max_length=36)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("heartbeat_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("stopped_at", models.DateTimeField(blank=True, null=True)),
                (
                    "site",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="cctv.site",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "worker processes",
                "ordering": ("-started_at",),
            },
        ),
        migrations.CreateModel(
            name="PeriodicJob",
            fields=[
                ("name", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("next_run_at", models.DateTimeField()),
                ("lease_number", models.PositiveBigIntegerField(default=0)),
                ("lease_owner", models.UUIDField(blank=True, null=True)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("last_started_at", models.DateTimeField(blank=True, null=True)),
                ("last_finished_at", models.DateTimeField(blank=True, null=True)),
                ("last_result", models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("code", models.CharField(max_length=40)),
                ("subject", models.CharField(blank=True, help_text="A bucket, a site or a transfer", max_length=255)),
                ("detail", models.TextField()),
                ("raised_at", models.DateTimeField()),
                ("last_seen_at", models.DateTimeField()),
                ("seen_count", models.PositiveIntegerField(default=1)),
                ("cleared_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-raised_at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("cleared_at__isnull", True)),
                        fields=("code", "subject"),
                        name="alarm_open_once",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="site",
            name="disk_high_water_percent",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Above this share of the disk, verified and unheld recordings go before their waiting period ends",
                null=True,
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(99)],
            ),
        ),
    ]
