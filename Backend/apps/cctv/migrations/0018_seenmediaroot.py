"""Which media roots were seen with their marker file."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0011_bandwidth")]

    operations = [
        migrations.CreateModel(
            name="SeenMediaRoot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("path", models.TextField(unique=True)),
                ("first_seen_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
        ),
    ]
