"""Cameras are archived or made private; a name once per site."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="camera",
            name="is_private",
            field=models.BooleanField(default=False, help_text="The role dev sees it with a grant only"),
        ),
        migrations.AddField(model_name="camera", name="archived_at", field=models.DateTimeField(blank=True, null=True)),
        migrations.AddConstraint(
            model_name="camera",
            constraint=models.UniqueConstraint(fields=("site", "name"), name="camera_name_once_per_site"),
        ),
    ]
