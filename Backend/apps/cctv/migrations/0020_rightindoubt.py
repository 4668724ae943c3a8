"""The first 403 beside which a bucket says "you may", for all processes to count from."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cctv', '0019_orphanedobject'),
    ]

    operations = [
        migrations.CreateModel(
            name='RightInDoubt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('subject', models.CharField(max_length=255, unique=True)),
                ('since', models.DateTimeField()),
            ],
        ),
    ]
