"""Counts the octets of the folders that are there: a thousand in one transaction, so nobody waits long.

What a door of the release before takes in later is missing, until `sweep --everything` counts anew.
"""

from django.db import connections, migrations, transaction
from django.db.models import OuterRef, Subquery, Sum, Value
from django.db.models.functions import Coalesce

AT_ONCE = 1_000  # folders


def count(apps, schema_editor):
    using = schema_editor.connection.alias
    Folder, Message = apps.get_model("mailboxes", "Folder"), apps.get_model("mailboxes", "Message")
    folders = Folder.objects.using(using).order_by("pk")
    lying = Message.objects.filter(folder=OuterRef("pk")).order_by().values("folder")
    octets = Coalesce(Subquery(lying.annotate(octets=Sum("size")).values("octets")), Value(0))
    last = 0
    while some := list(folders.filter(pk__gt=last).values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic(using):
            chosen = folders.filter(pk__gt=last, pk__lte=some[-1])
            # Locked by a statement of its own: the next one then sees what a delivery has brought meanwhile.
            if connections[using].features.has_select_for_update:
                list(chosen.select_for_update().values_list("pk"))
            chosen.order_by().update(octets=octets)
        last = some[-1]


class Migration(migrations.Migration):
    atomic = False  # each step is committed by itself
    dependencies = [("mailboxes", "0011_octets_of_folders")]
    operations = [migrations.RunPython(count, migrations.RunPython.noop)]
