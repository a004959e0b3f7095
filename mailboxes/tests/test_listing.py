"""A folder page by page: complete, in order, never another's, and as cheap at its end as at its beginning."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from mailboxes.listing import (
    Cursor,
    all_in,
    folders_of,
    message_of,
    neighbours_of,
    newest_in,
    page_of,
    removers_of,
    sessions_of,
)
from mailboxes.messages import discard
from mailboxes.models import Account, Folder, FolderKind, Message
from mailboxes.tests.test_messages import pop3_session

Post = Callable[..., list[Message]]


@pytest.fixture
def inbox(ann: Account) -> Folder:
    return Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.INBOX)


@pytest.fixture
def seven(ann: Account, post: Post) -> list[int]:
    """Seven messages, newest first; three of them came at the same moment, and they came in no order."""
    now = timezone.now()
    ages = [3, 1, 2, 2, 2, 0, 5]
    came = [(age, post(ann, received_at=now - timedelta(days=age))[0].pk) for age in ages]
    return [pk for _, pk in sorted(came, key=lambda one: (one[0], -one[1]))]


def keys(messages: list[Message]) -> list[int]:
    return [message.pk for message in messages]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
def test_pages_to_the_end_and_back_hold_every_message_once(
    inbox: Folder, seven: list[int], size: int
) -> None:
    pages = [page_of(inbox, size=size)]
    while pages[-1].older:
        pages.append(page_of(inbox, before=pages[-1].older, size=size))
    assert [pk for page in pages for pk in keys(page.messages)] == seven
    back = [pages[-1]]
    while back[-1].newer:
        back.append(page_of(inbox, after=back[-1].newer, size=size))
    assert [keys(page.messages) for page in back] == [keys(page.messages) for page in reversed(pages)]


def test_a_cursor_is_read_as_it_was_written(inbox: Folder, seven: list[int]) -> None:
    for message in Message.objects.all():
        cursor = Cursor.of(message)
        assert Cursor.read(str(cursor)) == cursor


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_grouped_pages_hold_every_conversation_once_at_its_newest(
    ann: Account, inbox: Folder, seven: list[int], size: int
) -> None:
    """Two conversations of which letters came at one moment, one of them with a letter elsewhere."""
    archive = Folder.objects.get(mailbox=ann.mailbox, kind=FolderKind.ARCHIVE)
    Message.objects.filter(pk__in=[seven[0], seven[2], seven[3]]).update(thread=7)
    Message.objects.filter(pk__in=[seven[4], seven[6]]).update(thread=8)
    Message.objects.filter(pk=seven[0]).update(folder=archive)
    expected = [seven[1], seven[2], seven[4], seven[5]]
    pages = [page_of(inbox, size=size, grouped=True)]
    while pages[-1].older:
        pages.append(page_of(inbox, before=pages[-1].older, size=size, grouped=True))
    assert [pk for page in pages for pk in keys(page.messages)] == expected
    back = [pages[-1]]
    while back[-1].newer:
        back.append(page_of(inbox, after=back[-1].newer, size=size, grouped=True))
    assert [keys(page.messages) for page in back] == [keys(page.messages) for page in reversed(pages)]
    found = [neighbours_of(Message.objects.get(pk=pk), grouped=True) for pk in expected]
    around = [None, *expected, None]
    assert found == [(around[n], around[n + 2]) for n in range(len(expected))]


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "a-1", "1-b", "٣-١", "9" * 19 + "-1", "9" * 18 + "-1"]
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert Cursor.read(text) is None


def test_neighbours_are_those_in_the_list(inbox: Folder, seven: list[int]) -> None:
    found = {message.pk: neighbours_of(message) for message in Message.objects.all()}
    around = [None, *seven, None]
    assert found == {pk: (around[n], around[n + 2]) for n, pk in enumerate(seven)}


def test_all_is_all_up_to_what_the_reader_had_seen(
    ann: Account, inbox: Folder, seven: list[int], post: Post
) -> None:
    newest = newest_in(inbox)
    post(ann)
    assert sorted(all_in(inbox, newest)) == sorted(seven)


@pytest.mark.once  # PostgreSQL's planner sorts seven rows rather than open an index
def test_a_page_reads_the_index_in_its_order(inbox: Folder, seven: list[int]) -> None:
    """No sorting: else a page of a large folder would read all of it."""
    place = Cursor.of(Message.objects.get(pk=seven[3]))
    with connection.cursor() as cursor:
        for query in _queries(inbox, place):
            cursor.execute(f"EXPLAIN QUERY PLAN {query[0]}", query[1])
            plan = " ".join(str(row[-1]) for row in cursor.fetchall())
            assert "message_in_folder_by_time" in plan
            assert ("message_of_thread_in_folder" in plan) is ("EXISTS" in query[0])
            assert "TEMP B-TREE" not in plan


def _queries(inbox: Folder, place: Cursor) -> list[tuple[str, tuple[Any, ...]]]:
    from mailboxes.listing import _listed, _newer_than, _older_than

    querysets = []
    for found in (_listed(inbox.pk, False), _listed(inbox.pk, True)):
        querysets += [
            found.order_by("-received_at", "-pk")[:51],
            _older_than(found, place).order_by("-received_at", "-pk")[:51],
            _newer_than(found, place)[:51],
        ]
    return [one.query.sql_with_params() for one in querysets]


def test_folders_stand_in_the_order_in_which_they_are_looked_for(ann: Account) -> None:
    for name in ("Zoo", "ärger", "Bills"):
        Folder.objects.create(mailbox=ann.mailbox, kind=FolderKind.OWN, name=name)
    names = [folder.name for folder in folders_of(ann.mailbox)]
    assert names == ["Inbox", "Drafts", "Sent", "Archive", "Bills", "Zoo", "ärger", "Junk", "Trash"]


def test_another_has_nothing_here(ann: Account, bob: Account, post: Post) -> None:
    [of_ann] = post(ann)
    discard(ann.mailbox.pk, [of_ann.pk], pop3_session(ann))
    of_ann.refresh_from_db()
    assert message_of(bob.mailbox, of_ann.pk) is None
    assert removers_of(bob.mailbox, [of_ann]) == {}
    assert sessions_of(bob.mailbox) == []
    assert list(removers_of(ann.mailbox, [of_ann])) == ["s1"]
    assert [session.session for session in sessions_of(ann.mailbox)] == ["s1"]
