"""Legal hold: as the operator wants it, and as the bucket has it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0005_recording_media_facts"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.AddField(
            model_name="recording",
            name="hold_wanted",
            field=models.BooleanField(default=False, help_text="Legal hold, as the operator wants it"),
        ),
        migrations.AddField(
            model_name="recording",
            name="hold_confirmed",
            field=models.BooleanField(default=False, help_text="Legal hold, as the bucket has it"),
        ),
        migrations.AddField(
            model_name="recording", name="hold_reason", field=models.CharField(blank=True, max_length=500)
        ),
        migrations.AddField(model_name="recording", name="held_at", field=models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            model_name="recording",
            name="held_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
    ]
