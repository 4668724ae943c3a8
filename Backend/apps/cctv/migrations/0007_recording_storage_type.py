"""Where a recording is to be read now, beside where it lies or lay on the local disk."""

from django.db import migrations, models
from django.db.models import F


def keep_local_path(apps, schema_editor):
    """Until now `file_path` was the local path of every recording."""
    apps.get_model("cctv", "Recording").objects.using(schema_editor.connection.alias).update(local_path=F("file_path"))


def put_local_path_back(apps, schema_editor):
    """Before this step `file_path` had no other meaning than the local path."""
    apps.get_model("cctv", "Recording").objects.using(schema_editor.connection.alias).update(file_path=F("local_path"))


class Migration(migrations.Migration):
    dependencies = [("cctv", "0006_recording_hold")]

    operations = [
        migrations.AddField(
            model_name="recording",
            name="storage_type",
            field=models.CharField(
                choices=[("local", "Local disk"), ("gcp", "Google Cloud Storage")], default="local", max_length=8
            ),
        ),
        migrations.AddField(
            model_name="recording", name="local_path", field=models.TextField(default=""), preserve_default=False
        ),
        migrations.RunPython(keep_local_path, put_local_path_back),
        migrations.AddIndex(
            model_name="recording",
            index=models.Index(fields=["storage_type", "status", "id"], name="recording_storage_status"),
        ),
        migrations.AddConstraint(
            model_name="recording",
            constraint=models.CheckConstraint(
                condition=models.Q(("storage_type__in", ["local", "gcp"])), name="recording_storage_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="recording",
            constraint=models.UniqueConstraint(fields=("local_path", "file_mtime_ns"), name="recording_file_once"),
        ),
    ]
