"""A recording names its site, which is its camera's, and its file is known by site, path and mtime.

1. Add the column, empty: on both databases this writes no row.
2. Fill it in one statement, by the cameras' primary key.
3. Demand it, and replace the constraint. SQLite remakes the table for that.
4. On PostgreSQL a trigger fills the column for workers of the previous release, which do not know it.
"""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

FILL = """
    UPDATE cctv_recording
    SET site_id = (SELECT site_id FROM cctv_camera WHERE id = cctv_recording.camera_id)
"""

TRIGGER = """
    CREATE FUNCTION cctv_recording_site() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.site_id := (SELECT site_id FROM cctv_camera WHERE id = NEW.camera_id);
        RETURN NEW;
    END $$;
    CREATE TRIGGER cctv_recording_site BEFORE INSERT ON cctv_recording
    FOR EACH ROW WHEN (NEW.site_id IS NULL) EXECUTE FUNCTION cctv_recording_site();
"""

NO_TRIGGER = """
    DROP TRIGGER cctv_recording_site ON cctv_recording;
    DROP FUNCTION cctv_recording_site();
"""


def site(**options: Any) -> models.ForeignKey:
    protect = django.db.models.deletion.PROTECT
    return models.ForeignKey(db_index=False, on_delete=protect, related_name="+", to="cctv.site", **options)


def on_postgresql(statements: str) -> Any:
    def run(apps: Any, schema_editor: Any) -> None:
        # SQLite serves one machine, whose processes are all of one release.
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(statements)

    return run


class Migration(migrations.Migration):
    dependencies = [("cctv", "0027_transfer_camera")]

    operations = [
        migrations.AddField("recording", "site", site(null=True)),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterField("recording", "site", site()),
        migrations.RemoveConstraint("recording", "recording_file_once"),
        migrations.AddConstraint(
            "recording",
            models.UniqueConstraint(
                fields=("site", "local_path", "file_mtime_ns"), name="recording_file_once_a_site"
            ),
        ),
        migrations.RunPython(on_postgresql(TRIGGER), on_postgresql(NO_TRIGGER)),
    ]
