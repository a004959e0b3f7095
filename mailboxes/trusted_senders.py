"""Senders whose remote images the owner of a mailbox wants to see without being asked."""

from django.db import IntegrityError, transaction

from mailboxes.models import TrustedSender

# A list that one can still read; whoever has more has said yes to everything.
SENDERS_MAX = 500


def trust(mailbox: int, address: str) -> bool:
    """From now on images of this sender are shown; False: the list is full."""
    if TrustedSender.objects.filter(mailbox=mailbox).count() >= SENDERS_MAX:
        return is_trusted(mailbox, address)
    try:
        with transaction.atomic():
            TrustedSender.objects.create(mailbox_id=mailbox, address=address.lower())
    except IntegrityError:
        pass  # it is there already
    return True


def distrust(mailbox: int, number: int) -> str:
    """Ask again before images of this sender are shown: its address; "": there was none of that number."""
    found = TrustedSender.objects.filter(mailbox=mailbox, pk=number).first()
    if found is None:
        return ""
    found.delete()
    return found.address


def is_trusted(mailbox: int, address: str) -> bool:
    return TrustedSender.objects.filter(mailbox=mailbox, address=address.lower()).exists()


def trusted_by(mailbox: int) -> list[TrustedSender]:
    return list(TrustedSender.objects.filter(mailbox=mailbox).order_by("address")[:SENDERS_MAX])
