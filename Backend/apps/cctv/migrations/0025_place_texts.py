"""Texts beside the fields of sites. No column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cctv', '0024_placeevent'),
    ]

    operations = [
        migrations.AlterField(
            model_name='site',
            name='bandwidth_limit',
            field=models.TextField(blank=True, default='', help_text="What all uploads of the site share, by the site's clock; blank is no limit. Examples: 08:00-18:00 2 MB/s, else unlimited; mon-fri 07:00-19:00 20 Mbit/s, sat sun 5 MB/s, else unlimited"),
        ),
        migrations.AlterField(
            model_name='site',
            name='time_zone',
            field=models.CharField(default='UTC', help_text='An IANA name, for example Europe/Berlin', max_length=64),
        ),
        migrations.AlterField(
            model_name='siteline',
            name='free_at',
            field=models.DateTimeField(help_text='The first moment of the schedule that is not given to a worker'),
        ),
    ]
