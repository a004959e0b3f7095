"""What every message asks: no value is changed on its way, and PostgreSQL keeps what it has planned."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailboxes import audit, rows
from mailboxes.addresses import Route, resolve, resolve_all
from mailboxes.credentials import Attempt, Service, recall_all
from mailboxes.delivery import Arrival, deliver
from mailboxes.exceptions import OverQuota
from mailboxes.models import Account, AuditEntry, Content, DeliveryRecord, Folder, FolderKind, Message
from mailboxes.storage import new_key

pytestmark = pytest.mark.django_db

TEXTS = [
    "",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "{a,b}",
    "a,b",
    " a ",
    "\n\t",
    "%s %(x)s",
    "'",
    "ö\U0001f4ee",
    "()",
]


def record(**more: Any) -> DeliveryRecord:
    return DeliveryRecord(at=datetime.now(UTC), octets=1, code="250", **more)


@settings(
    # To suppress one is to suppress no other: the machine may be busy.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=30,
)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)))
def test_every_text_comes_to_the_table_as_it_was(ann: Account, texts: list[str]) -> None:
    DeliveryRecord.objects.all().delete()
    rows.insert([record(helo=text, mailbox=ann.mailbox) for text in [*TEXTS, *texts]])
    assert list(DeliveryRecord.objects.order_by("pk").values_list("helo", flat=True)) == [*TEXTS, *texts]


def test_every_kind_of_value_comes_to_the_table_as_it_was(ann: Account) -> None:
    made = record(mailbox_id=None), record(mailbox=ann.mailbox)
    rows.insert(made)
    found = DeliveryRecord.objects.order_by("pk").values_list("at", "mailbox", "octets")
    assert list(found) == [(one.at, one.mailbox_id, 1) for one in made]
    after = {"text": '"\\', "number": 1, "none": None, "list": [True]}
    audit.write_all([audit.entry("verb", "subject", "command", before={}, after=after)])
    assert AuditEntry.objects.filter(verb="verb").values_list("before", "after").get() == ({}, after)
    key = new_key()
    deliver([Arrival(key, 1, 1, [resolve(ann.login)], seen=True)])
    assert Message.objects.values_list("content_id", "seen", "sent_at").get() == (key, True, None)


@pytest.mark.only("postgresql")  # SQLite has no lengths
def test_what_is_too_long_is_refused_and_not_cut() -> None:
    with pytest.raises(DataError):
        rows.insert([record(helo="x" * 256)])


def test_a_row_is_what_an_object_of_its_model_would_be(ann: Account) -> None:
    inbox = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX)
    zone = timezone(timedelta(hours=-3, minutes=-30))
    at = datetime(2026, 11, 23, 8, 30, 5, 123, zone), datetime(2026, 11, 23, 8, 30, 5, 0, zone)
    contents = [Content.objects.create(octets=1, wire_octets=1, created_at=at[0]).pk for _ in "ab"]
    said = {"mailbox_id": ann.mailbox.pk, "folder_id": inbox.pk, "size": 7, "received_at": at[0]}
    said |= {"sent_at": at[1], "subject": "ö", "seen": True}
    rows.insert([Message(uidl="object", content_id=contents[0], **said)])
    rows.insert_values(Message, [rows.row(Message, uidl="row", content_id=contents[1], **said)])
    made, other = (dict[str, Any](found) for found in Message.objects.order_by("pk").values())
    assert (made.pop("uidl"), other.pop("uidl")) == ("object", "row")
    assert [made.pop("content_id"), other.pop("content_id")] == contents
    made.pop("id"), other.pop("id")
    assert made == other
    assert (other["received_at"], other["sent_at"], other["moved_at"]) == (*at, None)


def test_a_row_has_no_column_that_its_table_has_not() -> None:
    with pytest.raises(TypeError, match="Message has no colour"):
        rows.row(Message, colour="red")


def test_what_each_row_has_of_its_own_must_be_said() -> None:
    # The key's default makes a new one each time; one that was kept would be given twice.
    row = rows.row(Content, octets=1, wire_octets=1, created_at=datetime.now(UTC))
    with pytest.raises(IntegrityError):
        rows.insert_values(Content, [row])


def test_nothing_is_inserted_of_nothing() -> None:
    rows.insert([])


# -- what PostgreSQL keeps ----------------------------------------------------------------------


@pytest.fixture
def postgresql() -> Iterator[Any]:
    """psycopg's connection, with nothing prepared as yet."""
    raw = connection.connection
    threshold = raw.prepare_threshold
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
        # As in a large house, where rows are found by indexes.
        cursor.execute("SET LOCAL enable_seqscan TO off")
        cursor.execute("SET LOCAL enable_hashjoin TO off")
        cursor.execute("SET LOCAL enable_mergejoin TO off")
    yield raw
    raw.prepare_threshold = threshold


def prepared() -> list[tuple[str, int, int]]:
    """Statements, and how often each was run by the plan that is kept and by one of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, generic_plans, custom_plans FROM pg_prepared_statements")
        return list(cursor.fetchall())


def a_round(account: Account, messages: int) -> None:
    """What mail for an account and its poll ask of the database."""
    [route] = resolve_all([account.login])
    assert isinstance(route, Route)
    assert deliver([Arrival(new_key(), 1, 1, [route]) for _ in range(messages)]) == [[None]] * messages
    recall_all([Attempt(account.login, "wrong", "192.0.2.1")], Service.POP3)


@pytest.mark.only("postgresql")
def test_every_statement_is_planned_once(ann: Account, postgresql: Any) -> None:
    # PostgreSQL makes five plans before it compares them with one for all.
    for _ in range(8):
        a_round(ann, 1)
    [*plans] = prepared()
    assert len(plans) == 7, [statement for statement, *_ in plans]
    assert {(generic, custom) for _, generic, custom in plans} == {(3, 5)}


@pytest.mark.only("postgresql")
def test_a_statement_is_the_same_for_any_number_of_messages(ann: Account, postgresql: Any) -> None:
    a_round(ann, 1)
    before = len(prepared())
    for messages in (2, 3, 20):
        a_round(ann, messages)
    assert len(prepared()) == before


@pytest.mark.only("postgresql")
def test_recipients_and_logins_are_looked_up_by_statements_of_few_lengths(
    ann: Account, bob: Account, postgresql: Any
) -> None:
    names = [ann.login, bob.login, *(f"nobody{number}@example.test" for number in range(30))]
    for length in range(1, 33):
        found = resolve_all(names[:length])
        assert [isinstance(one, Route) for one in found] == ([True, True] + [False] * 30)[:length]
        recall_all([Attempt(name, "wrong", "192.0.2.1") for name in names[:length]], Service.POP3)
    assert len(prepared()) == 2 * len((1, 2, 4, 8, 16, 32))


@pytest.mark.only("postgresql")
def test_nothing_is_prepared_where_it_must_not_be(ann: Account, postgresql: Any) -> None:
    postgresql.prepare_threshold = None  # as DATABASE_URL's ?prepare_threshold=None does
    for messages in (1, 3):
        a_round(ann, messages)
    assert prepared() == []


@pytest.mark.only("postgresql")
def test_what_is_prepared_is_prepared_again_after_a_rollback(ann: Account, postgresql: Any) -> None:
    a_round(ann, 1)
    [route] = resolve_all([ann.login])
    assert isinstance(route, Route)
    [[why]] = deliver([Arrival(new_key(), 1 << 60, 1, [route])])
    assert isinstance(why, OverQuota)
    a_round(ann, 1)
