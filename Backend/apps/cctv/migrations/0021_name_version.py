"""`name_take` is `name_version` in the code. The column keeps its name: the previous release still writes it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cctv', '0020_rightindoubt'),
    ]

    operations = [
        migrations.AlterField(
            model_name='gcpvideotransfer',
            name='name_take',
            field=models.PositiveSmallIntegerField(
                db_column='name_take', default=0, help_text='Orphans lie under the earlier names'
            ),
        ),
        migrations.RenameField(
            model_name='gcpvideotransfer',
            old_name='name_take',
            new_name='name_version',
        ),
    ]
