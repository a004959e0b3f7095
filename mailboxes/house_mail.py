"""Letters from the house itself to the owner of a mailbox: made, and delivered as all mail is."""

from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from django.conf import settings
from django.db import transaction
from django.utils import timezone, translation

from mailboxes import storage
from mailboxes.addresses import Route
from mailboxes.content import facts_of
from mailboxes.delivery import Arrival, deliver
from mailboxes.exceptions import MailboxError
from mailboxes.local_delivery import spool_message
from mailboxes.models import Account, Mailbox
from mailboxes.storage import new_key
from mailboxes.trace import trace_headers

DOOR = "house"


@dataclass(frozen=True, slots=True)
class Letter:
    """What it says, in its reader's language."""

    subject: str
    paragraphs: tuple[str, ...]


def in_language_of(account: Account) -> translation.override:
    """Within this, texts are in the language in which the account's owner reads."""
    return translation.override(account.language or settings.LANGUAGE_CODE)


def send(mailbox: Mailbox, letter: Letter, claim: Callable[[], object] | None = None) -> None:
    """Deliver a letter to a mailbox's inbox.

    `claim` is called in the transaction of the delivery, and what it raises undoes both. MailboxError:
    nothing was delivered, and nothing is left of it.
    """
    arrival = _arrival(mailbox, letter)
    try:
        with transaction.atomic():
            if claim is not None:
                claim()
            [[outcome]] = deliver([arrival])
            if outcome is not None:
                raise outcome
    except MailboxError:
        storage.remove_content(arrival.key)
        raise


def _arrival(mailbox: Mailbox, letter: Letter) -> Arrival:
    now, number = timezone.now(), new_key().hex
    trace = trace_headers(
        sender="",
        helo="",
        peer="",
        hostname=settings.HOSTNAME,
        protocol="local",
        transaction=number,
        at=now,
    )
    login = mailbox.account.login
    spool, octets = spool_message([_message(login, letter, number).as_bytes()], trace)
    facts, wire_octets = facts_of(spool.head), spool.wire_octets
    return Arrival(
        key=spool.keep(),
        octets=octets,
        wire_octets=wire_octets,
        routes=[Route(login, (mailbox.pk,))],
        facts=facts,
        door=DOOR,
        transaction=number,
        received_at=now,
    )


def _message(login: str, letter: Letter, number: str) -> EmailMessage:
    """What nobody answers: no envelope sender, and marked as automatic (RFC 3834 section 5)."""
    message = EmailMessage(policy=SMTP)
    message["From"] = f"postmaster@{login.rpartition('@')[2]}"
    message["To"] = login
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(timezone.localtime())
    message["Message-ID"] = f"<{number}@{settings.HOSTNAME}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join(letter.paragraphs) + "\n")
    return message
