"""A constraint of orphaned objects gets a name that says what it asks. What it asks stays the same."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cctv', '0025_place_texts'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='orphanedobject',
            name='orphan_deleted_by_somebody',
        ),
        migrations.AddConstraint(
            model_name='orphanedobject',
            constraint=models.CheckConstraint(condition=models.Q(('deleted_at__isnull', True), models.Q(models.Q(('deleted_by', ''), _negated=True), ('deletion_asked_at__isnull', False)), _connector='OR'), name='orphan_deletion_was_asked_for'),
        ),
    ]
