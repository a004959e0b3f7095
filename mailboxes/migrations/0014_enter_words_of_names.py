"""Enters the names that are there: of a thousand accounts in one transaction, so nobody waits long."""

from django.db import connections, migrations, transaction

from mailboxes.words import words

AT_ONCE = 1_000  # accounts


def enter(apps, schema_editor):
    using = schema_editor.connection.alias
    Account, NameWord = apps.get_model("mailboxes", "Account"), apps.get_model("mailboxes", "NameWord")
    accounts = Account.objects.using(using).order_by("pk")
    last = 0
    while some := list(accounts.filter(pk__gt=last).values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic(using):
            chosen = accounts.filter(pk__gt=last, pk__lte=some[-1])
            if connections[using].features.has_select_for_update:
                chosen = chosen.select_for_update()
            named = list(chosen.values_list("pk", "domain_id", "name"))
            NameWord.objects.using(using).filter(account__in=[pk for pk, *_ in named]).delete()
            NameWord.objects.using(using).bulk_create(
                [
                    NameWord(account_id=pk, domain_id=domain, word=word)
                    for pk, domain, name in named
                    for word in dict.fromkeys(words(name))
                ]
            )
        last = some[-1]


class Migration(migrations.Migration):
    atomic = False  # each step is committed by itself
    dependencies = [("mailboxes", "0013_words_of_names")]
    operations = [migrations.RunPython(enter, migrations.RunPython.noop)]
