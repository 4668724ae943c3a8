"""What a probe of the file tells."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0004_recording")]

    operations = [
        migrations.AddField(
            model_name="recording", name="duration_seconds", field=models.FloatField(blank=True, null=True)
        ),
        migrations.AddField(model_name="recording", name="codec", field=models.CharField(blank=True, max_length=32)),
        migrations.AddField(
            model_name="recording", name="width_pixels", field=models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="recording", name="height_pixels", field=models.PositiveIntegerField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="recording", name="file_size_bytes", field=models.PositiveBigIntegerField(default=0)
        ),
        migrations.AddField(
            model_name="recording", name="file_mtime_ns", field=models.BigIntegerField(blank=True, null=True)
        ),
    ]
