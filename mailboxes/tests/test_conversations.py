"""Conversations: letters that name one another, in whatever order they come, and never those of another."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest
from django.db import connection, connections

from mailboxes import accounts, conversations, indexing, messages
from mailboxes.conversations import (
    KEYS_MAX,
    digest_of,
    join,
    letter_of,
    letters_of,
    newest_in_folder,
    summaries_of,
)
from mailboxes.models import Account, Folder, IndexJob, Mailbox, Message, ThreadKey
from mailboxes.reading import parse

Post = Callable[..., list[Message]]
pytestmark = pytest.mark.django_db


def letter(own: str, *references: str, reply_to: str = "", sender: str = "bob@week.test") -> bytes:
    head = f"From: {sender}\r\nSubject: one subject\r\nMessage-ID: <{own}>\r\n"
    if references:
        head += "References: " + " ".join(f"<{one}>" for one in references) + "\r\n"
    if reply_to:
        head += f"In-Reply-To: <{reply_to}>\r\n"
    return f"{head}\r\nHello\r\n".encode()


def together(*groups: list[Message]) -> bool:
    """Whether the messages of each group are one conversation, and those of two groups never are."""
    of = dict(Message.objects.values_list("pk", "thread"))
    names = [{of[message.pk] or -message.pk for message in group} for group in groups]
    return all(len(name) == 1 for name in names) and len(set.union(*names)) == len(groups)


THREE = {
    "root": letter("1@x.test"),
    "answer": letter("2@x.test", "1@x.test"),
    "last": letter("3@x.test", "1@x.test", "2@x.test"),
}


@pytest.mark.parametrize("order", list(itertools.permutations(THREE)))
@pytest.mark.parametrize("at_once", [True, False])
def test_letters_find_each_other_in_whatever_order_they_come(
    ann: Account, post: Post, order: tuple[str, ...], at_once: bool
) -> None:
    came = []
    for name in order:
        came += post(ann, text=THREE[name])
        if not at_once:
            indexing.drain()
    indexing.drain()
    assert together(came)
    assert Message.objects.filter(thread=0).count() == 0


def test_a_letter_that_knows_both_joins_two_conversations(ann: Account, post: Post) -> None:
    left = [post(ann, text=letter("1@x.test"))[0], post(ann, text=letter("2@x.test", "1@x.test"))[0]]
    right = [
        post(ann, text=letter("8@x.test"))[0],
        post(ann, text=letter("9@x.test", reply_to="8@x.test"))[0],
    ]
    indexing.drain()
    assert together(left, right)
    version = Mailbox.objects.get(account=ann).version
    bridge = post(ann, text=letter("10@x.test", "2@x.test", reply_to="9@x.test"))
    indexing.drain()
    assert together([*left, *right, *bridge])
    assert ThreadKey.objects.values("thread").distinct().count() == 1
    assert Mailbox.objects.get(account=ann).version > version + 1, "lists learn of it"


def test_the_same_subject_joins_nothing(ann: Account, post: Post) -> None:
    came = [post(ann, text=letter(f"{n}@x.test"))[0] for n in range(3)]
    indexing.drain()
    assert set(Message.objects.values_list("thread", flat=True)) == {0}
    assert together(*[[one] for one in came])


@pytest.mark.parametrize("name", ["", "unknown", "@", "a@", "@b", "x" * 1000 + "@y"])
def test_what_is_no_message_id_joins_nothing(ann: Account, post: Post, name: str) -> None:
    came = [post(ann, text=letter(name, name, reply_to=name))[0] for _ in range(2)]
    indexing.drain()
    assert digest_of(f"<{name}>") == 0
    assert together(*[[one] for one in came])


def test_another_mailbox_has_conversations_of_its_own(ann: Account, bob: Account, post: Post) -> None:
    first = post(ann, bob, text=letter("1@x.test"))
    second = post(ann, bob, text=letter("2@x.test", "1@x.test"))
    indexing.drain()
    assert together([first[0], second[0]], [first[1], second[1]])
    ThreadKey.objects.filter(mailbox=ann.mailbox).delete()
    Message.objects.update(thread=0)
    [late] = post(ann, text=letter("3@x.test", "2@x.test"))
    indexing.drain()
    assert Message.objects.get(pk=late.pk).thread == 0, "what it names lies in bob's mailbox only"


def test_joining_again_changes_nothing(ann: Account, post: Post) -> None:
    for text in (*THREE.values(), letter("7@x.test")):
        post(ann, text=text)
    indexing.drain()

    def state() -> list[Any]:
        version = Mailbox.objects.values_list("version", flat=True).get(account=ann)
        threads = Message.objects.order_by("pk").values_list("pk", "thread")
        return [version, *threads, *ThreadKey.objects.order_by("pk").values_list()]

    before = state()
    for message in Message.objects.order_by("-pk"):
        assert indexing.index_message(message.pk)
    assert state() == before


def test_so_many_references_are_taken_and_no_more() -> None:
    names = [f"{n}@x.test" for n in range(190)]
    mail = parse(letter("own@x.test", *names, reply_to="189@x.test"))
    digests = letter_of(Message(pk=1, mailbox_id=1), mail).digests
    assert len(digests) <= conversations.REFERENCES_MAX + 1
    assert {digest_of(name) for name in ("own@x.test", "0@x.test", "189@x.test")} <= set(digests)
    assert digests[:2] == (digest_of("own@x.test"), digest_of("189@x.test"))


def test_a_conversation_has_an_end(ann: Account, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list whose letters all name one root would else be one row, and cost as much as it is long."""
    monkeypatch.setattr(conversations, "KEYS_MAX", 5)
    came = [post(ann, text=letter("root@x.test"))[0]]
    came += [post(ann, text=letter(f"{n}@x.test", "root@x.test"))[0] for n in range(8)]
    indexing.drain()
    sizes = [
        ThreadKey.objects.filter(thread=one).count()
        for one in set(ThreadKey.objects.values_list("thread", flat=True))
    ]
    assert sorted(sizes) == [1, 1, 1, 1, 5]
    assert KEYS_MAX > 100


def test_what_is_expunged_leaves_no_keys(ann: Account, post: Post) -> None:
    alone, *three = [post(ann, text=text)[0].pk for text in (letter("7@x.test"), *THREE.values())]
    indexing.drain()
    assert ThreadKey.objects.count() == 4
    messages.expunge(ann.mailbox.pk, [alone, *three[:2]])
    indexing.drain()
    assert ThreadKey.objects.count() == 3, "one of the three is there"
    messages.expunge(ann.mailbox.pk, three[2:])
    indexing.drain()
    conversations.sweep()
    assert ThreadKey.objects.count() == 0


def test_the_sweep_keeps_what_has_messages(ann: Account, bob: Account, post: Post) -> None:
    for text in (letter("7@x.test"), *THREE.values()):
        post(ann, bob, text=text)
    indexing.drain()
    assert conversations.sweep() == 0
    assert ThreadKey.objects.count() == 8
    accounts.purge(ann)
    assert ThreadKey.objects.count() == 4


def test_what_is_shown_of_a_conversation(
    ann: Account, bob: Account, post: Post, django_assert_num_queries: Any
) -> None:
    first, answer, last, gone = [
        post(ann, text=text)[0]
        for text in (
            letter("1@x.test", sender="Bob <bob@x.test>"),
            letter("2@x.test", "1@x.test", sender="Carla <carla@x.test>"),
            letter("3@x.test", "2@x.test", sender="Bob <bob@x.test>"),
            letter("4@x.test", "3@x.test", sender="Dan <dan@x.test>"),
        )
    ]
    post(bob, text=letter("9@x.test", "1@x.test"))
    indexing.drain()
    box = ann.mailbox.pk
    folder = {one.kind: one for one in Folder.objects.filter(mailbox=box)}
    messages.move(box, [answer.pk], folder["archive"])
    messages.move(box, [gone.pk], folder["trash"])
    Message.objects.filter(pk=first.pk).update(seen=True)
    [thread] = set(Message.objects.filter(mailbox=box).values_list("thread", flat=True))
    with django_assert_num_queries(1):
        found = summaries_of(folder["inbox"], [thread, 0])
    assert found[thread].people == [("Bob", "bob@x.test", True), ("Carla", "carla@x.test", False)]
    assert (found[thread].count, found[thread].unread) == (3, 1)
    assert summaries_of(folder["trash"], [thread])[thread].count == 4

    def of(message: Message, **options: Any) -> tuple[list[int], bool]:
        fresh = Message.objects.select_related("folder").get(pk=message.pk)
        letters, more = letters_of(fresh, **options)
        return [one.pk for one in letters], more

    assert of(first) == ([first.pk, answer.pk, last.pk], False)
    assert of(gone) == ([first.pk, answer.pk, last.pk, gone.pk], False)
    assert of(first, limit=2) == ([answer.pk, last.pk], True)
    assert of(first, limit=2, before=Message.objects.get(pk=answer.pk)) == ([first.pk], False)
    assert newest_in_folder(Message.objects.get(pk=first.pk)) == last.pk
    assert sorted(conversations.whole(folder["inbox"], [last.pk], 100)) == [first.pk, last.pk]


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_split_a_conversation(ann: Account, post: Post) -> None:
    """Each has every second letter of a chain, so that whatever one reads the other is about to write."""
    came = [post(ann, text=letter("0@x.test"))[0]]
    came += [post(ann, text=letter(f"{n}@x.test", f"{n - 1}@x.test"))[0] for n in range(1, 40)]
    read = [
        letter_of(one, parse(letter(f"{n}@x.test", *([f"{n - 1}@x.test"] if n else []))))
        for n, one in enumerate(came)
    ]
    start = threading.Barrier(2)

    def work(worker: int) -> None:
        try:
            start.wait()
            for one in read[worker::2]:
                join([one])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert together(came)
    assert ThreadKey.objects.count() == 40


@pytest.mark.django_db(transaction=True)
def test_mail_that_was_there_before_conversations_is_read_once_more(ann: Account, post: Post) -> None:
    made = [post(ann, text=text)[0] for text in THREE.values()]
    indexing.drain()
    ThreadKey.objects.all().delete()
    Message.objects.update(thread=0)
    assert IndexJob.objects.count() == 0
    with connection.cursor() as cursor:
        cursor.execute(import_module("mailboxes.migrations.0007_thread_old_mail").REQUEUE)
    indexing.drain()
    assert together(made)
