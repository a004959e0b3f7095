"""Mail that was there before conversations were is read once more by the indexer, newest first, and threaded.

What its rows say by now is a name made of the first reference alone.
"""

from django.db import migrations

FORGET = "UPDATE mailboxes_message SET thread = 0 WHERE thread <> 0"
# SQLite reads 'WHERE true' to know that the ON which follows belongs to INSERT.
REQUEUE = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts)"
    " SELECT id, mailbox_id, 0 FROM mailboxes_message WHERE true"
    " ON CONFLICT (message) DO NOTHING"
)


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0006_people_and_errands")]

    operations = [migrations.RunSQL([FORGET, REQUEUE], migrations.RunSQL.noop)]
