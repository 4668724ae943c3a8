"""Alarms, and doubts about a right, are about something by its key, no longer by a sentence that names it.

Workers of the previous release go on beside this schema: what they write has no kind, and is left to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import migrations, models

MACHINE_CODE, FAILING_CODE, RIGHT_CODE = "home_disk_low", "cleanup_failed", "no_right_to_delete"
LINE_CODE, MEDIA_ROOT_CODE = "line_down", "media_root_not_mounted"
STOP_CODES = {"credentials_refused", "permission_denied", "bucket_not_found", "bucket_refused", "quota_exceeded"}


def read(code: str, subject: str, site_of: Callable[[str], str | None]) -> tuple[str, str]:
    """The kind and the id that an old subject stands for; `other` and the words themselves where it stands for none.

    The code comes first, as in the release that wrote it: a site may have any name, and a name is a whole subject.
    """
    other = ("other", subject)
    if code == FAILING_CODE:
        site = site_of(subject)
        return ("failing_files", site) if site else other
    if code == MACHINE_CODE:
        return "machine", subject
    if subject.startswith("owners on "):
        return "lock_files", subject.removeprefix("owners on ")
    if subject.startswith("trash "):
        return "trash", subject.removeprefix("trash ")
    if subject.startswith("holds in "):
        return "holds", subject.removeprefix("holds in ")
    if subject.startswith("cleanup of "):
        bucket, _, name = subject.removeprefix("cleanup of ").partition(" at ")
        site = site_of(name)
        return ("cleanup_files", f"{bucket}/{site}") if site else other
    if subject == "cleanup":
        return "cleanup", ""
    if subject.startswith("cleanup at "):
        site = site_of(subject.removeprefix("cleanup at "))
        return ("cleanup", site) if site else other
    if not subject:
        return "installation", ""
    if is_uuid(subject):
        return ("media_root" if code == MEDIA_ROOT_CODE else "transfer"), subject
    if code == LINE_CODE:
        bucket, of_a_site, name = subject.partition(" from ")
        site = site_of(name)
        if of_a_site and not site:
            return other
        return "line", f"{bucket}/{site}" if of_a_site else bucket
    if code == RIGHT_CODE:
        site = site_of(subject)
        return ("right_to_delete", site) if site else other
    return ("bucket", subject) if code in STOP_CODES else other


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def sites_by_name(apps: Any) -> Callable[[str], str | None]:
    """A name that no site has any more is that of the only site, where there is one: it was renamed."""
    sites = {name: str(pk) for pk, name in apps.get_model("cctv", "Site").objects.values_list("pk", "name")}
    only = next(iter(sites.values())) if len(sites) == 1 else None
    return lambda name: sites.get(name, only)


def type_the_subjects(apps: Any, schema_editor: Any) -> None:
    """Where two open alarms turn out to be about the same, the one that was met last stays open."""
    site_of = sites_by_name(apps)
    alarm, seen = apps.get_model("cctv", "Alarm"), set()
    for row in alarm.objects.order_by("-last_seen_at", "-pk").iterator():
        row.subject_kind, row.subject_id = read(row.code, row.subject, site_of)
        key = (row.code, row.subject_kind, row.subject_id)
        if row.cleared_at is None and key in seen:
            row.cleared_at = row.last_seen_at
        elif row.cleared_at is None:
            seen.add(key)
        row.save(update_fields=["subject_kind", "subject_id", "cleared_at"])
    doubt = apps.get_model("cctv", "RightInDoubt")
    for row in doubt.objects.all():
        is_of_holds = row.subject.startswith("holds in ")
        row.subject_kind = "holds" if is_of_holds else "bucket"
        row.subject_id = row.subject.removeprefix("holds in ")
        row.save(update_fields=["subject_kind", "subject_id"])


def write(kind: str, subject_id: str, site_named: Callable[[str], str]) -> str:
    """The sentence of the release before for a subject."""
    bucket, _, site = subject_id.partition("/")
    return {
        "line": f"{bucket} from {site_named(site)}" if site else bucket,
        "holds": f"holds in {subject_id}",
        "cleanup": f"cleanup at {site_named(subject_id)}" if subject_id else "cleanup",
        "cleanup_files": f"cleanup of {bucket} at {site_named(site)}",
        "failing_files": site_named(subject_id),
        "right_to_delete": site_named(subject_id),
        "trash": f"trash {subject_id}",
        "lock_files": f"owners on {subject_id}",
    }.get(kind, subject_id)


def write_the_subjects(apps: Any, schema_editor: Any) -> None:
    names = {str(pk): name for pk, name in apps.get_model("cctv", "Site").objects.values_list("pk", "name")}
    for model in ("Alarm", "RightInDoubt"):
        for row in apps.get_model("cctv", model).objects.iterator():
            row.subject = write(row.subject_kind, row.subject_id, lambda site: names.get(site, site))
            row.save(update_fields=["subject"])


class LeaveColumnToThePreviousRelease(migrations.RemoveField):
    """Forget a field, but keep its column on PostgreSQL: workers of the previous release still write it there.

    SQLite serves one machine, whose processes are all of one release; a table that is remade there loses such a column.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    dependencies = [("cctv", "0021_name_version")]

    operations = [
        migrations.AddField("alarm", "subject_kind", models.CharField(db_default="", max_length=20)),
        migrations.AddField("alarm", "subject_id", models.CharField(blank=True, db_default="", max_length=255)),
        migrations.AddField("rightindoubt", "subject_kind", models.CharField(db_default="", max_length=20)),
        migrations.AddField("rightindoubt", "subject_id", models.CharField(db_default="", max_length=255)),
        migrations.RemoveConstraint("alarm", "alarm_open_once"),
        migrations.AlterField("alarm", "subject", models.CharField(db_default="", max_length=255)),
        migrations.AlterField("rightindoubt", "subject", models.CharField(db_default="", max_length=255)),
        migrations.RunPython(type_the_subjects, write_the_subjects),
        migrations.AddConstraint(
            "alarm",
            models.UniqueConstraint(
                condition=models.Q(("cleared_at__isnull", True)) & ~models.Q(("subject_kind", "")),
                fields=("code", "subject_kind", "subject_id"),
                name="alarm_open_once_a_subject",
            ),
        ),
        migrations.AddConstraint(
            "rightindoubt",
            models.UniqueConstraint(
                condition=~models.Q(("subject_kind", "")),
                fields=("subject_kind", "subject_id"),
                name="right_in_doubt_once_a_subject",
            ),
        ),
        LeaveColumnToThePreviousRelease("alarm", "subject"),
        LeaveColumnToThePreviousRelease("rightindoubt", "subject"),
    ]
