"""SQLite refuses to replace an entry of the audit, too; and a POP3 session says that it deleted for good.

SQLite's REPLACE removes the row that is in its way without asking the trigger of DELETE. PostgreSQL's INSERT
that updates in a conflict is an UPDATE, which its trigger refuses.
"""

from django.db import migrations, models

TRIGGER = "audit_refuses_replacement"
REFUSAL = "audit entries are append-only"


def make(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(
            f"CREATE TRIGGER {TRIGGER} BEFORE INSERT ON mailboxes_auditentry"
            " WHEN EXISTS (SELECT 1 FROM mailboxes_auditentry WHERE id = NEW.id)"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute(f"DROP TRIGGER {TRIGGER}")


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0009_forward_notices_and_what_is_closed")]

    operations = [
        migrations.AddField(
            model_name="pop3session", name="expunged", field=models.BooleanField(default=False)
        ),
        migrations.RunPython(make, remove),
    ]
