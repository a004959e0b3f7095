"""Writes down what was refused to a recipient, so that support staff find it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from mailboxes.models import DeliveryRecord
from mailboxes.records import Recorder
from smtpd.replies import Reply


def record_refusal(
    recorder: Recorder,
    reply: Reply,
    *,
    recipient: str,
    sender: str,
    octets: int,
    door: str,
    peer: str,
    helo: str,
    transaction: str = "",
    of: Sequence[int] = (),
) -> None:
    """`of`: the mailboxes that the recipient stands for, as far as that is known."""
    # What was for one mailbox is found with it, by whatever name of it; of a list the name must do.
    mailbox = of[0] if len(of) == 1 else None
    at = datetime.now(UTC)
    recorder.record(
        lambda: DeliveryRecord(
            at=at,
            mailbox_id=mailbox,
            recipient=_printable(recipient.lower(), 320),
            sender=_printable(sender, 320),
            octets=octets,
            code=f"{reply.code} {reply.enhanced}",
            reason=reply.text,
            door=door,
            peer=_printable(peer, 64),
            helo=_printable(helo, 255),
            transaction=transaction,
        )
    )


def _printable(text: str, most: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:most])
