"""What the owner of a mailbox is told of others who have its mail sent elsewhere as well, or end that."""

from django.utils import timezone

from mailboxes.audit import Actor, Who
from mailboxes.models import Account, ForwardNotice, Mailbox
from mailboxes.notices import Notices


def tell(account: Account, to: str, who: Who) -> None:
    """Within the transaction of the change: put down who did it, unless it was the owner."""
    by = who.name if isinstance(who, Actor) else who
    mailbox = Mailbox.objects.filter(account=account).first()
    if mailbox is not None and by != account.login:
        ForwardNotice.objects.create(mailbox=mailbox, by=by, to=to, at=timezone.now())


_notices = Notices(ForwardNotice, "at")
of_mailbox, unnoted = _notices.of_mailbox, _notices.unnoted
has_unnoted, note = _notices.has_unnoted, _notices.note
