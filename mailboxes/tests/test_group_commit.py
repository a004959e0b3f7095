"""Deliveries that wait at the same moment share one transaction, and nothing else."""

import queue
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from mailboxes import group_commit
from mailboxes.addresses import resolve
from mailboxes.delivery import Arrival, deliver
from mailboxes.exceptions import OverQuota, StoreUnavailable, Unstorable
from mailboxes.group_commit import BATCH_MAX, GroupCommit
from mailboxes.models import Account, Mailbox, Message
from mailboxes.storage import new_key

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 180.0  # only a test that fails waits so long


def arrival(account: Account, **more: Any) -> Arrival:
    return Arrival(new_key(), 100, 100, [resolve(account.login)], **more)


class Gate:
    """Stands in the place of `deliver`: holds the first batch until the others wait, and counts all."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self.error: Exception | None = None

    def __call__(self, arrivals: list[Arrival]) -> Any:
        self.batches.append(len(arrivals))
        self.entered.set()
        assert self.open.wait(PATIENCE)
        if self.error:
            raise self.error
        return deliver(arrivals)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(group_commit, "deliver", gate)
    return gate


@pytest.fixture
def group(gate: Gate) -> Iterator[GroupCommit]:
    group = GroupCommit()
    yield group
    gate.open.set()
    group.close()


def gathered(group: GroupCommit, gate: Gate, arrivals: list[Arrival]) -> list[Any]:
    """Submit the first, and the others while its transaction lasts; then let them go."""
    futures = [group.submit(arrivals[0])]
    assert gate.entered.wait(PATIENCE)
    futures += [group.submit(one) for one in arrivals[1:]]
    gate.open.set()
    return futures


def test_what_arrives_during_a_commit_shares_the_next(ann: Account, group: GroupCommit, gate: Gate) -> None:
    futures = gathered(group, gate, [arrival(ann) for _ in range(41)])
    assert [future.result(PATIENCE) for future in futures] == [[None]] * 41
    assert gate.batches == [1, 40]
    assert Message.objects.count() == 41


def test_the_first_waits_for_as_many_as_came_together_last(
    ann: Account, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()

    class Queue(queue.SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            if timeout:
                waits.set()
            return super().get(block, timeout)

    monkeypatch.setattr(queue, "SimpleQueue", Queue)
    monkeypatch.setattr(group_commit, "COMPANY_SECONDS", PATIENCE)
    with closing(GroupCommit()) as group:
        for future in gathered(group, gate, [arrival(ann) for _ in range(4)]):
            future.result(PATIENCE)
        futures = [group.submit(arrival(ann))]
        assert waits.wait(PATIENCE)
        futures += [group.submit(arrival(ann)) for _ in range(2)]
        assert [future.result(PATIENCE) for future in futures] == [[None]] * 3
        assert gate.batches == [1, 3, 3]


def test_who_comes_alone_waits_for_nobody(
    ann: Account, group: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMPANY_SECONDS", 2 * PATIENCE)
    gate.open.set()
    for _ in range(3):
        assert group.submit(arrival(ann)).result(PATIENCE) == [None]
    assert gate.batches == [1, 1, 1]


def test_company_that_does_not_come_is_not_waited_for_again(
    ann: Account, group: GroupCommit, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for future in gathered(group, gate, [arrival(ann) for _ in range(4)]):
        future.result(PATIENCE)
    assert group.submit(arrival(ann)).result(PATIENCE) == [None]
    monkeypatch.setattr(group_commit, "COMPANY_SECONDS", 2 * PATIENCE)
    assert group.submit(arrival(ann)).result(PATIENCE) == [None]
    assert gate.batches == [1, 3, 1, 1]


def test_closing_ends_the_waiting_for_company(
    ann: Account, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "COMPANY_SECONDS", 2 * PATIENCE)
    group = GroupCommit()
    for future in gathered(group, gate, [arrival(ann) for _ in range(4)]):
        future.result(PATIENCE)
    future = group.submit(arrival(ann))
    group.close()
    assert future.result(0) == [None]
    assert gate.batches == [1, 3, 1]


def test_a_batch_has_a_bound(ann: Account, group: GroupCommit, gate: Gate) -> None:
    futures = gathered(group, gate, [arrival(ann) for _ in range(BATCH_MAX + 3)])
    assert [future.result(PATIENCE) for future in futures] == [[None]] * (BATCH_MAX + 3)
    assert gate.batches == [1, BATCH_MAX, 2]


def test_many_messages_are_one_transaction(ann: Account) -> None:
    statements: list[str] = []

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql.split()[0])
        return execute(sql, *rest)

    batch = [arrival(ann) for _ in range(8)]
    with connection.execute_wrapper(watch):
        deliver(batch)
    # One update of mailboxes, one of folders, one insert into each table, whatever the number of messages.
    # PostgreSQL inserts messages and goes on with them, as search's queue, in one.
    inserts = ["INSERT", "WITH", "INSERT"] if connection.vendor == "postgresql" else ["INSERT"] * 4
    assert [verb for verb in statements if verb != "BEGIN"] == ["WITH"] * 2 + inserts
    assert Mailbox.objects.get(account=ann).version == 2


def test_each_hears_of_its_own_recipients(ann: Account, bob: Account, group: GroupCommit, gate: Gate) -> None:
    Mailbox.objects.filter(account=bob).update(quota_bytes=0)
    futures = gathered(group, gate, [arrival(ann), arrival(bob), arrival(ann)])
    outcomes = [[type(outcome) for outcome in future.result(PATIENCE)] for future in futures]
    assert outcomes == [[type(None)], [OverQuota], [type(None)]]


def test_a_message_that_the_database_does_not_take_fails_alone(
    ann: Account, group: GroupCommit, gate: Gate
) -> None:
    deliver([arrival(ann, uidl="same")])
    poison = arrival(ann, uidl="same")
    futures = gathered(group, gate, [arrival(ann), arrival(ann), poison, arrival(ann)])
    with pytest.raises(Unstorable, match=r"^database: IntegrityError$"):
        futures[2].result(PATIENCE)
    assert [futures[n].result(PATIENCE) for n in (0, 1, 3)] == [[None]] * 3
    assert Message.objects.count() == 4
    assert Mailbox.objects.get(account=ann).message_count == 4


def test_a_database_that_is_away_is_unavailable_to_all(ann: Account, group: GroupCommit, gate: Gate) -> None:
    gate.error = StoreUnavailable("database: OperationalError")
    futures = gathered(group, gate, [arrival(ann) for _ in range(5)])
    assert [type(future.exception(PATIENCE)) for future in futures] == [StoreUnavailable] * 5
    assert gate.batches == [1, 4]


def test_the_group_goes_on_after_a_database_error(
    ann: Account, monkeypatch: pytest.MonkeyPatch, group: GroupCommit, gate: Gate
) -> None:
    gate.open.set()
    with monkeypatch.context() as patch:
        patch.setattr(
            "mailboxes.delivery._insert", lambda *_: (_ for _ in ()).throw(OperationalError("gone"))
        )
        error = group.submit(arrival(ann)).exception(PATIENCE)
        assert (type(error), str(error)) == (StoreUnavailable, "database: OperationalError")
    assert group.submit(arrival(ann)).result(PATIENCE) == [None]
    assert Mailbox.objects.get(account=ann).message_count == 1


def test_who_has_hung_up_meanwhile_gets_no_message_and_harms_nobody(
    ann: Account, group: GroupCommit, gate: Gate
) -> None:
    first = group.submit(arrival(ann))
    assert gate.entered.wait(PATIENCE)
    gone, still_there = group.submit(arrival(ann)), group.submit(arrival(ann))
    assert gone.cancel()
    gate.open.set()
    assert [first.result(PATIENCE), still_there.result(PATIENCE)] == [[None], [None]]
    assert group.submit(arrival(ann)).result(PATIENCE) == [None]
    assert Message.objects.count() == 3


def test_closing_finishes_what_waits_and_refuses_what_comes_after(ann: Account, gate: Gate) -> None:
    group = GroupCommit()
    futures = gathered(group, gate, [arrival(ann) for _ in range(5)])
    group.close()
    group.close()
    assert [future.result(0) for future in futures] == [[None]] * 5
    assert type(group.submit(arrival(ann)).exception(0)) is StoreUnavailable
    connections.close_all()
