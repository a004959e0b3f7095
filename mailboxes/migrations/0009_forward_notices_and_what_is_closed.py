"""What owners are told of forwards that others set, and an index of what is closed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mailboxes", "0008_errands_go_on")]

    operations = [
        migrations.CreateModel(
            name="ForwardNotice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("by", models.CharField(max_length=320)),
                ("to", models.CharField(blank=True, max_length=320)),
                ("at", models.DateTimeField()),
                ("noted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "mailbox",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="forward_notices",
                        to="mailboxes.mailbox",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["mailbox", "at"], name="forward_notice_of_mailbox")],
            },
        ),
        migrations.AddIndex(
            model_name="account",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", False)), fields=["closed_at"], name="account_closed"
            ),
        ),
        migrations.AddIndex(
            model_name="address",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", False)), fields=["closed_at"], name="address_closed"
            ),
        ),
    ]
