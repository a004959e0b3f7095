"""The audit takes no UPDATE and no DELETE, on either database, and what is searched by prefix has its index.

TRUNCATE passes on PostgreSQL (it is the database owner's act, and what a flush of tests does there).
"""

from django.db import migrations
from django.db.models import Count

REFUSAL = "audit entries are append-only"
TRIGGERS = {
    "sqlite": (
        [
            f"CREATE TRIGGER audit_refuses_{verb.lower()} BEFORE {verb} ON mailboxes_auditentry"
            f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            for verb in ("UPDATE", "DELETE")
        ],
        ["DROP TRIGGER audit_refuses_update", "DROP TRIGGER audit_refuses_delete"],
    ),
    "postgresql": (
        [
            "CREATE FUNCTION mailboxes_audit_refuses() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
            "CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR DELETE ON mailboxes_auditentry"
            " FOR EACH ROW EXECUTE FUNCTION mailboxes_audit_refuses()",
        ],
        [
            "DROP TRIGGER audit_refuses_change ON mailboxes_auditentry",
            "DROP FUNCTION mailboxes_audit_refuses()",
        ],
    ),
}
# (name, table, columns). A prefix is a range of octets, so on PostgreSQL the index is one of octets, whatever
# the database's own collation is; SQLite's indexes always are.
PREFIXES = [
    ("account_login_prefix", "mailboxes_account", ["login"]),
    ("account_in_domain_prefix", "mailboxes_account", ["domain_id", "login"]),
    ("account_name_prefix", "mailboxes_account", ["lower(name)"]),
    ("address_name_prefix", "mailboxes_address", ["name"]),
    ("address_in_domain_prefix", "mailboxes_address", ["domain_id", "name"]),
    ("domain_name_prefix", "mailboxes_domain", ["name"]),
]


def fill(apps, schema_editor):
    """What has been there before gets its domain and its counter."""
    AuditEntry, Domain = apps.get_model("mailboxes", "AuditEntry"), apps.get_model("mailboxes", "Domain")
    for entry in AuditEntry.objects.filter(domain="").only("subject").iterator(chunk_size=1_000):
        AuditEntry.objects.filter(pk=entry.pk).update(domain=entry.subject.rpartition("@")[2][:255])
    for domain, count in Domain.objects.annotate(n=Count("accounts")).values_list("pk", "n"):
        Domain.objects.filter(pk=domain).update(account_count=count)


def make(apps, schema_editor):
    vendor = schema_editor.connection.vendor
    for statement in TRIGGERS[vendor][0]:
        schema_editor.execute(statement)
    for name, table, columns in PREFIXES:
        if vendor == "postgresql":
            columns = [column if column.endswith("_id") else f'({column}) COLLATE "C"' for column in columns]
        schema_editor.execute(f"CREATE INDEX {name} ON {table} ({', '.join(columns)})")


def remove(apps, schema_editor):
    for name, *_ in PREFIXES:
        schema_editor.execute(f"DROP INDEX {name}")
    for statement in TRIGGERS[schema_editor.connection.vendor][1]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0003_console")]
    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(make, remove),
    ]
