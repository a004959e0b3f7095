"""The audit is append-only in the database itself, and holds no secret."""

import pytest
from django.db import IntegrityError, connection, transaction

from mailboxes import accounts, audit
from mailboxes.audit import Actor
from mailboxes.models import Account, AuditEntry

TABLE = AuditEntry._meta.db_table


@pytest.mark.parametrize(
    "statement",
    [f"UPDATE {TABLE} SET actor = 'nobody'", f"DELETE FROM {TABLE}", f"UPDATE {TABLE} SET reason = reason"],
)
def test_the_database_refuses_to_change_or_forget_an_entry(ann: Account, statement: str) -> None:
    before = list(AuditEntry.objects.order_by("pk").values())
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert list(AuditEntry.objects.order_by("pk").values()) == before


COLUMNS = "id, at, actor, peer, verb, subject, domain, before, after, reason"


@pytest.mark.parametrize("when", [pytest.param("sqlite", marks=pytest.mark.only("sqlite")), "both"])
def test_the_database_refuses_to_put_another_entry_in_the_place_of_one(ann: Account, when: str) -> None:
    before = list(AuditEntry.objects.order_by("pk").values())
    another = f"INTO {TABLE} ({COLUMNS}) SELECT {COLUMNS.replace('actor', quoted('nobody'), 1)} FROM {TABLE}"
    statement = {
        "sqlite": f"REPLACE {another}",
        "both": f"INSERT {another} WHERE true ON CONFLICT (id) DO UPDATE SET actor = 'nobody'",
    }[when]
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert list(AuditEntry.objects.order_by("pk").values()) == before


def quoted(text: str) -> str:
    return f"'{text}'"


def test_a_command_says_who_ran_it_and_on_which_machine(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailboxes.audit.socket.gethostname", lambda: "mail1" + "x" * 100)
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.setenv("SUDO_USER", "olga")
    audit.write("one", "a", "command")
    monkeypatch.delenv("SUDO_USER")
    audit.write("two", "a", "command")
    audit.write("three", "a", "job")
    audit.write("four", "a", Actor("olga@example.test"))
    found = dict(AuditEntry.objects.values_list("verb", "peer"))
    assert {verb: peer[:11] for verb, peer in found.items()} == {
        "one": "olga@mail1x",
        "two": "root@mail1x",
        "three": "",
        "four": "",
    }
    assert len(found["one"]) == 64


def test_the_orm_is_refused_too(ann: Account) -> None:
    entry = AuditEntry.objects.first()
    assert entry is not None
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry.objects.all().delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        entry.save()


@pytest.mark.django_db(transaction=True)
def test_tests_may_begin_anew_and_the_triggers_are_back_after_it() -> None:
    audit.write("x", "example.test", "test")
    with pytest.raises(IntegrityError, match="append-only"):
        AuditEntry.objects.all().delete()


def test_an_entry_says_who_from_where_and_whose_domain(db: None) -> None:
    audit.write("x", "ann@example.test", Actor("olga@example.test", "192.0.2.1"), reason="why")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.peer, entry.domain) == ("olga@example.test", "192.0.2.1", "example.test")


def test_secrets_are_left_out_whatever_a_verb_hands_over(db: None) -> None:
    audit.write("x", "a", "b", before={"password": "p", "quota": 1}, after={"token": "t", "content": "c"})
    entry = AuditEntry.objects.get()
    assert (entry.before, entry.after) == ({"quota": 1}, {})


def test_a_change_whose_entry_cannot_be_written_is_not_made(
    ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = AuditEntry.objects.count()
    accounts.suspend(ann, "x")
    monkeypatch.setattr(audit, "write", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        accounts.restore(ann)
    ann.refresh_from_db()
    assert (ann.status, AuditEntry.objects.count()) == ("suspended", before + 1)
