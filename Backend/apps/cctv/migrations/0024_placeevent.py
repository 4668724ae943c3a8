"""The history of changes to sites, cameras and grants."""


import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cctv', '0023_jobkind'),
    ]

    operations = [
        migrations.CreateModel(
            name='PlaceEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('actor', models.CharField(help_text="A user's name, or system", max_length=150)),
                ('what', models.CharField(choices=[('site_created', 'site created'), ('site_changed', 'site changed'), ('camera_created', 'camera created'), ('camera_changed', 'camera changed'), ('camera_archived', 'camera archived'), ('camera_unarchived', 'camera taken back into use'), ('camera_deleted', 'camera deleted'), ('grant_given', 'grant given'), ('grant_ended', 'grant ended')], max_length=20)),
                ('name', models.CharField(help_text='What the site or the camera was called after the change', max_length=100)),
                ('person', models.CharField(blank=True, default='', help_text='Whose grant it is', max_length=150)),
                ('detail', models.TextField(blank=True, default='')),
                ('camera', models.ForeignKey(blank=True, help_text='Empty once it is deleted', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cctv.camera')),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cctv.site')),
            ],
            options={
                'verbose_name': 'change to a site',
                'verbose_name_plural': 'changes to sites',
                'ordering': ('-id',),
            },
        ),
    ]
