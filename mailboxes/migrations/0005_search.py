"""What search is made of: entries, the queue of what is to be indexed, and each database's own full text.

All mail that is there already is queued: the worker indexes it by itself, newest first, after mail that comes.
"""

from django.db import migrations, models

MAKE = {
    "postgresql": [
        "ALTER TABLE mailboxes_searchentry ADD COLUMN vector tsvector NOT NULL",
        # What was added last is searched one by one: kept short (KiB).
        "CREATE INDEX searchentry_vector ON mailboxes_searchentry USING gin (vector)"
        " WITH (gin_pending_list_limit = 256)",
    ],
    # 'ascii' keeps together all that is not ASCII, letters and digits: words come ready made.
    "sqlite": [
        "CREATE VIRTUAL TABLE mailboxes_searchwords USING fts5"
        "(words, content='', tokenize=\"ascii tokenchars '.'\")",
    ],
}
REMOVE = {"postgresql": ["DROP INDEX searchentry_vector"], "sqlite": ["DROP TABLE mailboxes_searchwords"]}
QUEUE = (
    "INSERT INTO mailboxes_indexjob (message, mailbox, attempts) SELECT id, mailbox_id, 0 FROM mailboxes_message"
)


def make(apps, schema_editor):
    for statement in MAKE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def remove(apps, schema_editor):
    for statement in REMOVE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0004_append_only_audit_and_prefixes")]
    operations = [
        migrations.CreateModel(
            name="SearchEntry",
            fields=[
                ("message", models.BigIntegerField(primary_key=True, serialize=False)),
                ("mailbox", models.BigIntegerField()),
                ("place", models.BigIntegerField()),
                ("words", models.BinaryField(default=b"")),
            ],
            options={
                "verbose_name_plural": "search entries",
                "indexes": [models.Index(fields=["mailbox", "place"], name="searchentry_by_time")],
            },
        ),
        migrations.CreateModel(
            name="IndexJob",
            fields=[
                ("message", models.BigIntegerField(primary_key=True, serialize=False)),
                ("mailbox", models.BigIntegerField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={"indexes": [models.Index(fields=["mailbox", "message"], name="indexjob_in_mailbox")]},
        ),
        migrations.RunPython(make, remove),
        migrations.RunSQL(QUEUE, migrations.RunSQL.noop),
    ]
