"""A transfer names its camera, which is its recording's.

1. Add the column, empty: on both databases this writes no row.
2. Fill it in one statement, by the recordings' primary key.
3. Demand it. SQLite remakes the table for that.
"""

import django.db.models.deletion
from django.db import migrations, models

FILL = """
    UPDATE cctv_gcpvideotransfer
    SET camera_id = (SELECT camera_id FROM cctv_recording WHERE id = cctv_gcpvideotransfer.recording_id)
"""


def camera(**options: object) -> models.ForeignKey:
    protect = django.db.models.deletion.PROTECT
    return models.ForeignKey(db_index=False, on_delete=protect, related_name="+", to="cctv.camera", **options)


class Migration(migrations.Migration):
    dependencies = [("cctv", "0026_orphan_constraint")]

    operations = [
        migrations.AddField("gcpvideotransfer", "camera", camera(null=True)),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AlterField("gcpvideotransfer", "camera", camera()),
    ]
