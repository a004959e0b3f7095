"""What lies in a folder is counted in octets, too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0010_no_entry_replaced_and_expunging_sessions")]

    operations = [
        # A default of the database: a process of the release before makes folders without it.
        migrations.AddField(
            model_name="folder", name="octets", field=models.PositiveBigIntegerField(db_default=0, default=0)
        ),
        migrations.AddConstraint(
            model_name="folder",
            constraint=models.CheckConstraint(
                condition=models.Q(octets__gte=0), name="folder_octets_are_not_negative"
            ),
        ),
    ]
