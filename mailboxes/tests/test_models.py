"""The rules of the records lie in the database: it refuses what breaks them, whoever asks."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from mailboxes.models import (
    Account,
    Address,
    AddressKind,
    Content,
    Domain,
    Folder,
    FolderKind,
    ImportedMessage,
    LoginThrottle,
    Mailbox,
    Message,
    Target,
)

Post = Callable[..., list[Message]]


def inbox(account: Account) -> Folder:
    return Folder.objects.get(mailbox=account.mailbox, kind=FolderKind.INBOX)


def alias(account: Account) -> Address:
    domain = Domain.objects.get()
    return Address.objects.create(name="alias@example.test", domain=domain, kind=AddressKind.ALIAS)


def target_twice(account: Account, **reached: Any) -> None:
    address = alias(account)
    for _ in range(2):
        Target.objects.create(address=address, **reached)


def message(account: Account, **values: Any) -> Message:
    content = Content.objects.create(octets=1, wire_octets=1, created_at=timezone.now())
    defaults = {
        "mailbox": account.mailbox,
        "folder": inbox(account),
        "content": content,
        "uidl": "u",
        "size": 1,
    }
    return Message.objects.create(**(defaults | {"received_at": timezone.now()} | values))


def twice(make: Callable[[], Any]) -> None:
    make()
    make()


REFUSED: dict[str, Callable[[Account], Any]] = {
    "a login twice": lambda ann: Account.objects.create(login=ann.login),
    "an account without a login": lambda ann: Account.objects.create(login=""),
    "a role that is none": lambda ann: Account.objects.update(role="king"),
    "a status that is none": lambda ann: Account.objects.update(status="asleep"),
    "a closed account without its time": lambda ann: Account.objects.update(status="closed"),
    "an open account with a closing time": lambda ann: Account.objects.update(closed_at=timezone.now()),
    "a domain twice": lambda ann: Domain.objects.create(name="example.test", default_quota_bytes=1),
    "a domain without a name": lambda ann: Domain.objects.update(name=""),
    "a second mailbox": lambda ann: Mailbox.objects.create(account=ann, quota_bytes=1),
    "less than nothing used": lambda ann: Mailbox.objects.update(used_bytes=-1),
    "less than no messages": lambda ann: Mailbox.objects.update(message_count=-1),
    "less than no quota": lambda ann: Mailbox.objects.update(quota_bytes=-1),
    "a delete that is none": lambda ann: Mailbox.objects.update(pop3_delete="burn"),
    "a rearrangement after the last change": lambda ann: Mailbox.objects.update(rearranged_version=99),
    "an address twice": lambda ann: twice(lambda: alias(ann)),
    "an address of no kind": lambda ann: Address.objects.update(kind="list"),
    "a mailbox targeted twice": lambda ann: target_twice(ann, mailbox=ann.mailbox),
    "a forward named twice": lambda ann: target_twice(ann, forward_to="x@y.test"),
    "a target that is nothing": lambda ann: Target.objects.create(address=alias(ann)),
    "a target that is two things": lambda ann: Target.objects.update(forward_to="x@y.test"),
    "a second inbox": lambda ann: Folder.objects.create(mailbox=ann.mailbox, kind="inbox", name="2"),
    "a folder name twice": lambda ann: Folder.objects.create(mailbox=ann.mailbox, kind="own", name="Inbox"),
    "a folder of no kind": lambda ann: Folder.objects.create(mailbox=ann.mailbox, kind="x", name="x"),
    "more unread than there are": lambda ann: Folder.objects.update(unread_count=1),
    "less than no messages in a folder": lambda ann: Folder.objects.update(message_count=-1),
    "a UIDL twice in a mailbox": lambda ann: twice(lambda: message(ann)),
    "a message without a UIDL": lambda ann: message(ann, uidl=""),
    "a size below nothing": lambda ann: message(ann, size=-1),
    "an import twice": lambda ann: [
        ImportedMessage.objects.create(mailbox=ann.mailbox, fingerprint="f", uidl=uidl) for uidl in "ab"
    ],
    "an imported UIDL twice": lambda ann: [
        ImportedMessage.objects.create(mailbox=ann.mailbox, fingerprint=print_, uidl="u") for print_ in "ab"
    ],
    "a throttle twice": lambda ann: twice(
        lambda: LoginThrottle.objects.create(key="k", last_failure_at=timezone.now())
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_database_refuses(ann: Account, what: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        REFUSED[what](ann)


def test_the_same_uidl_in_two_mailboxes_is_two_messages(ann: Account, bob: Account) -> None:
    assert message(ann).uidl == message(bob).uidl


def test_what_is_in_use_cannot_be_deleted(ann: Account, post: Post) -> None:
    [lying] = post(ann)
    for used in (lying.content, lying.folder, ann, Domain.objects.get()):
        with pytest.raises(ProtectedError):
            used.delete()


def test_people_say_which_messages_they_mean(ann: Account, bob: Account, post: Post) -> None:
    [[read], [unread]] = [post(ann, seen=True), post(ann)]
    [[gone], _] = [post(ann, folder=FolderKind.TRASH), post(bob)]
    Message.objects.filter(pk=gone.pk).update(removed_by_pop3=True)
    of_ann = Message.objects.in_mailbox(ann.mailbox.pk)
    assert set(of_ann.inbox()) == {read, unread}
    assert set(of_ann.unread()) == {unread, gone}
    assert list(of_ann.trash()) == list(of_ann.removed_by_pop3()) == [gone]
    assert set(Message.objects.in_folder(ann.mailbox.pk, FolderKind.INBOX)) == {read, unread}


def test_every_record_says_what_it_is(ann: Account, post: Post) -> None:
    [lying] = post(ann)
    domain, address = Domain.objects.get(), Address.objects.get()
    assert [str(record) for record in (ann, domain, address, lying, lying.content, inbox(ann))] == [
        "ann@example.test",
        "example.test",
        "ann@example.test",
        f"message {lying.uidl}",
        lying.content_id.hex,
        "Inbox",
    ]
