"""The one way mail gets in: what is shared, what is counted, who is refused, and what happens at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection, connections

from mailboxes import delivery, retention
from mailboxes.addresses import Route, add_address, resolve
from mailboxes.content import Facts
from mailboxes.delivery import Arrival, deliver, preamble, record_refusals
from mailboxes.exceptions import OverQuota, RecipientUnavailable, StoreFull, StoreUnavailable, Unstorable
from mailboxes.models import (
    Account,
    AddressKind,
    Content,
    DeliveryRecord,
    Folder,
    FolderKind,
    Forwarding,
    Mailbox,
    Message,
)
from mailboxes.storage import new_key

Post = Callable[..., list[Message]]


def arrival(*routes: Route, octets: int = 1_000, **more: Any) -> Arrival:
    return Arrival(new_key(), octets, octets, list(routes), **more)


def to(*accounts: Account) -> list[Route]:
    return [resolve(account.login) for account in accounts]


def kinds(outcomes: list[list[delivery.Outcome]]) -> list[list[type]]:
    return [[type(outcome) for outcome in of_routes] for of_routes in outcomes]


DELIVERED = type(None)


def counters(account: Account) -> tuple[int, int, int, int]:
    box = Mailbox.objects.get(account=account)
    return box.used_bytes, box.message_count, box.version, box.rearranged_version


def fill(account: Account, leaving: int) -> None:
    """Lower the quota so that so many octets are left."""
    box = Mailbox.objects.get(account=account)
    Mailbox.objects.filter(pk=box.pk).update(quota_bytes=box.used_bytes + leaving)


def size(account: Account, octets: int = 1_000) -> int:
    return octets + len(preamble(account.login))


# -- what a delivery makes ----------------------------------------------------------------------


def test_one_content_is_shared_by_several_recipients(ann: Account, bob: Account) -> None:
    one = arrival(*to(ann, bob))
    assert deliver([one]) == [[None, None]]
    assert list(Content.objects.values_list("pk", "octets")) == [(one.key, 1_000)]
    got = Message.objects.order_by("pk").values_list("mailbox__account__login", "content_id", "size")
    assert list(got) == [(a.login, one.key, size(a)) for a in (ann, bob)]
    assert len(set(Message.objects.values_list("uidl"))) == 2


def test_the_size_counts_the_line_that_names_the_recipient(ann: Account) -> None:
    assert preamble("ann@example.test") == b"Delivered-To: ann@example.test\r\n"
    assert preamble("") == b""
    deliver([arrival(*to(ann)), arrival(*to(ann), delivered_to=False)])
    assert list(Message.objects.order_by("pk").values_list("size", "envelope_recipient")) == [
        (1_000 + 32, "ann@example.test"),
        (1_000, ""),
    ]


def test_an_address_in_other_letters_costs_its_own_octets(ann: Account, domain: Any) -> None:
    add_address("jürgen@example.test", AddressKind.ALIAS, [ann.mailbox])
    deliver([arrival(resolve("jürgen@example.test"))])
    assert Message.objects.get().size == 1_000 + len("Delivered-To: jürgen@example.test\r\n".encode())


def test_an_alias_to_several_mailboxes_reaches_each(ann: Account, bob: Account) -> None:
    add_address("both@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox])
    assert deliver([arrival(resolve("both@example.test"))]) == [[None]]
    assert [counters(account)[1] for account in (ann, bob)] == [1, 1]
    recorded = DeliveryRecord.objects.order_by("mailbox").values_list("mailbox__account__login", "recipient")
    assert list(recorded) == [(ann.login, "both@example.test"), (bob.login, "both@example.test")]


def test_a_mailbox_that_two_recipients_reach_gets_one_copy(ann: Account) -> None:
    routes = [resolve("ann@example.test"), resolve("ann+shop@example.test")]
    assert deliver([arrival(*routes)]) == [[None, None]]
    assert list(Message.objects.values_list("envelope_recipient")) == [("ann@example.test",)]
    assert counters(ann)[:2] == (size(ann), 1)
    uidl = Message.objects.get().uidl
    records = DeliveryRecord.objects.order_by("pk").values_list("recipient", "uidl", "code")
    assert list(records) == [
        ("ann@example.test", uidl, "250 2.0.0"),
        ("ann+shop@example.test", uidl, "250 2.0.0"),
    ]


def test_new_mail_raises_the_version_and_rearranges_nothing(ann: Account) -> None:
    before = counters(ann)
    deliver([arrival(*to(ann))])
    assert counters(ann) == (size(ann), 1, before[2] + 1, before[3])
    inbox = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX)
    assert (inbox.message_count, inbox.unread_count) == (1, 1)


def test_mail_with_a_history_keeps_it(ann: Account, later: Callable[..., Any]) -> None:
    then = later(days=-400)
    deliver([arrival(*to(ann), received_at=then, uidl="0001", seen=True, folder=FolderKind.ARCHIVE)])
    message = Message.objects.get()
    assert (message.received_at, message.uidl, message.seen) == (then, "0001", True)
    assert message.folder.kind == FolderKind.ARCHIVE
    assert retention.recount(ann.mailbox.pk)


def test_mail_imported_into_the_trash_lies_there_from_now_on(ann: Account, later: Callable[..., Any]) -> None:
    deliver([arrival(*to(ann), received_at=later(days=-400), folder=FolderKind.TRASH)])
    assert retention.empty_old_trash() == 0
    assert retention.empty_old_trash(later(days=31)) == 1


def test_a_forward_waits_to_be_sent_on(ann: Account, outsider: str) -> None:
    forward = add_address("away@example.test", AddressKind.FORWARD, [ann.mailbox], [outsider])
    one = arrival(resolve("away@example.test"), sender="x@y.test")
    assert deliver([one]) == [[None]]
    waiting = Forwarding.objects.values_list("address", "content", "envelope_sender", "forward_to", "sent_at")
    assert list(waiting) == [(forward.pk, one.key, "x@y.test", outsider, None)]
    assert counters(ann)[1] == 1


def test_what_a_peer_says_is_stored_whatever_it_says(ann: Account) -> None:
    one = arrival(*to(ann), sender="a\0b\udc80" + "c" * 400, helo="h\0" * 300, peer="p" * 99)
    assert deliver([one]) == [[None]]
    assert Message.objects.get().envelope_sender == "a\ufffdb\ufffd" + "c" * 316


def test_refusals_are_written_down(ann: Account, later: Callable[..., Any]) -> None:
    record_refusals([DeliveryRecord(at=later(), recipient="x@example.test", code="550 5.1.1", door="smtp")])
    assert list(DeliveryRecord.objects.values_list("recipient", "code")) == [("x@example.test", "550 5.1.1")]


# -- quota (invariant 5) ------------------------------------------------------------------------


def test_a_message_that_just_fits_is_taken_and_one_octet_more_is_not(ann: Account) -> None:
    fill(ann, size(ann) - 1)
    assert kinds(deliver([arrival(*to(ann))])) == [[OverQuota]]
    assert (Message.objects.count(), Content.objects.count(), DeliveryRecord.objects.count()) == (0, 0, 0)
    fill(ann, size(ann))
    assert deliver([arrival(*to(ann))]) == [[None]]


def test_an_over_quota_recipient_is_refused_and_the_others_get_the_message(
    ann: Account, bob: Account
) -> None:
    fill(ann, 10)
    assert kinds(deliver([arrival(*to(ann, bob))])) == [[OverQuota, DELIVERED]]
    assert [counters(account)[:2] for account in (ann, bob)] == [(0, 0), (size(bob), 1)]
    assert retention.recount(ann.mailbox.pk) and retention.recount(bob.mailbox.pk)


def test_whole_means_all_recipients_or_none(ann: Account, bob: Account) -> None:
    fill(ann, 10)
    assert kinds(deliver([arrival(*to(ann, bob), whole=True)])) == [[OverQuota, OverQuota]]
    assert (Message.objects.count(), Content.objects.count()) == (0, 0)
    fill(ann, 5_000)
    assert deliver([arrival(*to(ann, bob), whole=True)]) == [[None, None]]


def test_an_alias_of_which_one_mailbox_is_full_is_refused_as_one(ann: Account, bob: Account) -> None:
    add_address("both@example.test", AddressKind.ALIAS, [ann.mailbox, bob.mailbox])
    fill(ann, 10)
    routes = [resolve("both@example.test"), *to(bob)]
    assert kinds(deliver([arrival(*routes)])) == [[OverQuota, DELIVERED]]
    assert list(Message.objects.values_list("envelope_recipient")) == [("bob@example.test",)]


def test_a_full_mailbox_does_not_hold_up_its_neighbours_in_the_batch(ann: Account, bob: Account) -> None:
    fill(ann, size(ann) + 10)
    batch = [arrival(*to(ann)), arrival(*to(bob)), arrival(*to(ann)), arrival(*to(bob, ann))]
    assert kinds(deliver(batch)) == [[DELIVERED], [DELIVERED], [OverQuota], [DELIVERED, OverQuota]]
    assert [counters(account)[1] for account in (ann, bob)] == [1, 2]


def test_a_mailbox_that_is_gone_is_unavailable(ann: Account, bob: Account) -> None:
    gone = Route("gone@example.test", (987_654,))
    assert kinds(deliver([arrival(*to(ann), gone)])) == [[DELIVERED, RecipientUnavailable]]


def test_trash_gives_way_to_new_mail_the_oldest_first(ann: Account, post: Post) -> None:
    [[first], [second], [kept]] = [post(ann, text=b"%d\r\n" % n * 100) for n in range(3)]
    trash = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.TRASH)
    from mailboxes import messages

    messages.move(ann.mailbox.pk, [first.pk], trash)
    messages.move(ann.mailbox.pk, [second.pk], trash)
    fill(ann, 0)
    assert deliver([arrival(*to(ann), octets=100)]) == [[None]]
    assert set(Message.objects.values_list("pk", flat=True)) >= {second.pk, kept.pk}
    assert not Message.objects.filter(pk=first.pk).exists()
    assert retention.recount(ann.mailbox.pk)


def test_trash_stays_where_the_message_is_refused_all_the_same(
    ann: Account, bob: Account, post: Post
) -> None:
    [old] = post(ann, text=b"x" * 2_000)
    from mailboxes import messages

    messages.move(ann.mailbox.pk, [old.pk], Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.TRASH))
    fill(ann, 0)
    assert kinds(deliver([arrival(*to(ann), octets=9_000)])) == [[OverQuota]]
    fill(bob, 0)
    assert kinds(deliver([arrival(*to(ann, bob), whole=True)])) == [[OverQuota, OverQuota]]
    assert list(Message.objects.values_list("pk", flat=True)) == [old.pk]


@pytest.mark.django_db(transaction=True)
def test_concurrent_deliveries_never_overshoot_the_quota(ann: Account) -> None:
    room_for = 7
    fill(ann, size(ann) * room_for + 5)
    [route] = to(ann)
    start = threading.Barrier(8)

    def one(_: int) -> list[type]:
        start.wait()
        try:
            return [kinds(deliver([arrival(route)]))[0][0] for _ in range(3)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(chain.from_iterable(pool.map(one, range(8))))
    assert sorted(kind.__name__ for kind in outcomes) == ["NoneType"] * room_for + ["OverQuota"] * 17
    assert counters(ann)[:2] == (size(ann) * room_for, room_for)
    assert retention.recount(ann.mailbox.pk)


@pytest.mark.django_db(transaction=True)
def test_concurrent_deliveries_to_the_same_mailboxes_in_any_order_do_not_wait_for_each_other(
    ann: Account, bob: Account
) -> None:
    def one(backwards: int) -> list[list[type]]:
        try:
            routes = to(ann, bob)[:: -1 if backwards else 1]
            return [kinds(deliver([arrival(*routes)]))[0] for _ in range(10)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(chain.from_iterable(pool.map(one, [0, 1, 0, 1])))
    assert outcomes == [[DELIVERED, DELIVERED]] * 40
    assert [counters(account)[1] for account in (ann, bob)] == [40, 40]


# -- what goes wrong ----------------------------------------------------------------------------


def test_a_message_that_the_database_does_not_take_leaves_nothing(ann: Account) -> None:
    deliver([arrival(*to(ann), uidl="same")])
    with pytest.raises(Unstorable, match=r"^database: IntegrityError$"):
        deliver([arrival(*to(ann)), arrival(*to(ann), uidl="same")])
    assert counters(ann)[1] == Message.objects.count() == 1


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (OperationalError("database or disk is full"), StoreFull),
        (OperationalError("server closed the connection unexpectedly"), StoreUnavailable),
        (DatabaseError("what ever"), Unstorable),
    ],
)
def test_a_database_error_is_named_for_the_door(
    ann: Account, monkeypatch: pytest.MonkeyPatch, error: Exception, means: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(delivery, "_insert", fail)
    with pytest.raises(means) as raised:
        deliver([arrival(*to(ann))])
    assert type(raised.value) is means
    assert counters(ann)[:2] == (0, 0)


# -- what it costs ------------------------------------------------------------------------------


def queries() -> int:
    """BEGIN or SAVEPOINT, reserve, folders, contents, messages, search's queue, records, COMMIT or RELEASE;
    PostgreSQL takes messages and search's queue together."""
    return 7 if connection.vendor == "postgresql" else 8


def test_a_delivery_makes_as_many_queries_for_three_messages_as_for_one(
    ann: Account, django_assert_num_queries: Callable[..., Any]
) -> None:
    for messages in (1, 3):
        batch = [arrival(*to(ann)) for _ in range(messages)]
        with django_assert_num_queries(queries()):
            deliver(batch)


def test_a_delivery_to_several_mailboxes_makes_no_more_queries(
    ann: Account, bob: Account, django_assert_num_queries: Callable[..., Any]
) -> None:
    batch = [arrival(*to(ann, bob), facts=Facts(subject="x"))]
    with django_assert_num_queries(queries()):
        deliver(batch)
