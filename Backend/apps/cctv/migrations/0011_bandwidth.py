"""How fast a site may send, and the schedule of its line that its workers share."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("cctv", "0010_work")]

    operations = [
        migrations.AddField(
            model_name="site",
            name="bandwidth_limit",
            field=models.TextField(
                blank=True,
                default="",
                help_text="What all uploads of the site share, by its own clock; blank is no limit. 08:00-18:00 2 MB/s, else unlimited. Or: mon-fri 07:00-19:00 20 Mbit/s, sat sun 5 MB/s, else unlimited",
            ),
        ),
        migrations.CreateModel(
            name="SiteLine",
            fields=[
                (
                    "site",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="cctv.site",
                    ),
                ),
                ("bytes_per_second", models.PositiveBigIntegerField()),
                ("free_at", models.DateTimeField(help_text="The first moment of the schedule that nobody has")),
            ],
        ),
    ]
