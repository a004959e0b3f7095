"""Search shows where in a text it found something: mail that is indexed already is read once more by the
indexer, newest first.
"""

from django.db import migrations, models

# SQLite reads 'WHERE true' to know that the ON which follows belongs to INSERT.
REQUEUE = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message WHERE true"
    " ON CONFLICT (message) DO NOTHING"
)


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0014_enter_words_of_names")]

    operations = [
        migrations.CreateModel(
            name="SearchText",
            fields=[
                ("message", models.BigIntegerField(primary_key=True, serialize=False)),
                ("text", models.BinaryField(default=b"")),
            ],
        ),
        migrations.RunSQL(REQUEUE, migrations.RunSQL.noop),
    ]
