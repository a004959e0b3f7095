"""Errands that give way and go on, imports that know what they brought, and changes of any size in parts."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def keep_groups(apps: Any, schema_editor: Any) -> None:
    """What can be undone at this moment stays so."""
    part = apps.get_model("mailboxes", "ChangePart")
    for change in apps.get_model("mailboxes", "Change").objects.all():
        part.objects.create(change=change, groups=change.groups)


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0007_thread_old_mail")]

    operations = [
        migrations.AlterField(
            model_name="errand",
            name="kind",
            field=models.CharField(
                choices=[
                    ("export", "Export"),
                    ("import", "Import"),
                    ("fetch", "Fetch"),
                    ("accounts", "Accounts"),
                    ("aliases", "Aliases"),
                    ("change", "Change"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="errand",
            name="forgiven",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="importedmessage",
            name="errand",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.CreateModel(
            name="ChangePart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("groups", models.JSONField()),
                (
                    "change",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="mailboxes.change",
                    ),
                ),
            ],
        ),
        migrations.RunPython(keep_groups, migrations.RunPython.noop),
        migrations.RemoveField(model_name="change", name="groups"),
    ]
