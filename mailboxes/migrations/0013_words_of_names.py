"""The words of people's names, found by how they begin; and accounts that are suspended or closed, by login.

Where SQLite adds a column, Django makes the table anew, and only the indexes that it knows: those of migration
0004 were lost to 0006, and are made again.
"""

import django.db.models.deletion
from django.db import migrations, models

# (name, table, columns, condition), as in migration 0004: on PostgreSQL of octets, as SQLite's always are.
PREFIXES = [
    ("name_word_prefix", "mailboxes_nameword", ["word", "account_id"], ""),
    ("name_word_in_domain_prefix", "mailboxes_nameword", ["domain_id", "word", "account_id"], ""),
    ("account_suspended_prefix", "mailboxes_account", ["login"], " WHERE status = 'suspended'"),
    ("account_closed_prefix", "mailboxes_account", ["login"], " WHERE status = 'closed'"),
]
LOST = [
    ("account_login_prefix", "mailboxes_account", ["login"], ""),
    ("account_in_domain_prefix", "mailboxes_account", ["domain_id", "login"], ""),
    ("account_name_prefix", "mailboxes_account", ["lower(name)"], ""),
    ("address_name_prefix", "mailboxes_address", ["name"], ""),
    ("address_in_domain_prefix", "mailboxes_address", ["domain_id", "name"], ""),
    ("domain_name_prefix", "mailboxes_domain", ["name"], ""),
]


def make(apps, schema_editor):
    octets = schema_editor.connection.vendor == "postgresql"
    for name, table, columns, condition in PREFIXES + ([] if octets else LOST):
        if octets:
            columns = [column if column.endswith("_id") else f'{column} COLLATE "C"' for column in columns]
        schema_editor.execute(
            f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({', '.join(columns)}){condition}"
        )


def remove(apps, schema_editor):
    for name, *_ in PREFIXES:
        schema_editor.execute(f"DROP INDEX {name}")


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0012_count_octets_of_folders")]

    operations = [
        migrations.CreateModel(
            name="NameWord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("word", models.CharField(max_length=40)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="name_words",
                        to="mailboxes.account",
                    ),
                ),
                (
                    "domain",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="mailboxes.domain",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "word"), name="name_word_is_named_once")
                ],
            },
        ),
        migrations.RunPython(make, remove),
    ]
