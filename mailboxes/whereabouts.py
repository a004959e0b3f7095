"""Where mail that came lies now, and which device deleted it: of a page of messages or deliveries at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailboxes.listing import browsers_of, removers_of
from mailboxes.models import Account, DeliveryRecord, FolderKind, Mailbox, Message, POP3Session, WebSession

Remover = POP3Session | WebSession


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`message` None: it was removed for good. `remover`: the session that deleted it, if that is known."""

    message: Message | None
    remover: Remover | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether it is what staff put back: in the trash, or taken out of the inbox by POP3."""
        one = self.message
        return one is not None and (one.removed_by_pop3 or one.folder.kind == FolderKind.TRASH)


def removers(account: Account, mailbox: Mailbox, messages: Iterable[Message]) -> dict[str, Remover]:
    """By their names, the sessions that deleted any of these: of mail programs, then of browsers. Two queries
    at most."""
    rows = list(messages)
    return {**removers_of(mailbox, rows), **browsers_of(account, rows)}


def of_deliveries(
    account: Account, mailbox: Mailbox, deliveries: Iterable[DeliveryRecord]
) -> Mapping[str, Whereabouts]:
    """By their UIDLs, where those lie now that were taken into this mailbox. Three queries at most."""
    came = {one.uidl for one in deliveries if one.uidl and one.mailbox_id == mailbox.pk}
    if not came:
        return {}
    found = list(Message.objects.select_related("folder").filter(mailbox=mailbox, uidl__in=came))
    by_session = removers(account, mailbox, found)
    lying = {one.uidl: Whereabouts(one, by_session.get(one.removed_in_session)) for one in found}
    return {uidl: lying.get(uidl, Whereabouts(None)) for uidl in came}
