"""Periodic jobs say what they do and at which site; a look says in numbers what it found."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django.db.models.deletion
from django.db import migrations, models

CUT_SHORT = "not all of the disk was looked at"


def read_the_names(apps: Any, schema_editor: Any) -> None:
    """A job of a site that went is dropped: no worker takes it, and its row would be shown to everyone."""
    sites = set(apps.get_model("cctv", "Site").objects.values_list("pk", flat=True))
    for job in apps.get_model("cctv", "PeriodicJob").objects.all():
        job.kind, of_a_site, site = job.name.partition("@")
        job.site_id = uuid_or_none(site) if of_a_site else None
        if of_a_site and job.site_id not in sites:
            job.delete()
            continue
        if job.kind == "bucket" and job.last_result:
            job.last_ok = job.last_result == "answers"
        first = job.last_result.partition(" ")[0]
        if job.kind == "look" and first.isdecimal():
            job.last_ok, job.unknown_files = not job.last_result.endswith(CUT_SHORT), int(first)
        job.save(update_fields=["kind", "site", "last_ok", "unknown_files"])


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Migration(migrations.Migration):
    dependencies = [("cctv", "0022_alarmsubject")]

    operations = [
        migrations.AddField("periodicjob", "kind", models.CharField(db_default="", max_length=20)),
        migrations.AddField(
            "periodicjob",
            "site",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="cctv.site",
            ),
        ),
        migrations.AddField(
            "periodicjob",
            "last_ok",
            models.BooleanField(
                blank=True, help_text="Whether the bucket answered, or all of the disk was looked at", null=True
            ),
        ),
        migrations.AddField(
            "periodicjob",
            "unknown_files",
            models.PositiveIntegerField(
                blank=True, help_text="Files on the disk that are no recording, at the last look", null=True
            ),
        ),
        migrations.AddField("workerprocess", "machine_id", models.CharField(blank=True, db_default="", max_length=255)),
        migrations.RunPython(read_the_names, migrations.RunPython.noop),
    ]
