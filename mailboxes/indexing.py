"""Messages are read whole, by a job, some seconds after they came: they are entered into the search index and
put into their conversations.

A message that cannot be read is entered with what its list shows of it; one whose content cannot be fetched
now waits.
"""

import logging
import time
from collections.abc import Callable, Sequence

from django.db import transaction

from mailboxes import conversations, entries, index_queue, reading
from mailboxes.conversations import Letter
from mailboxes.entries import Document
from mailboxes.exceptions import ContentMissing, StoreUnavailable
from mailboxes.index_queue import Job
from mailboxes.models import Message
from mailboxes.reading import Mail, Person

log = logging.getLogger(__name__)

# Written in one transaction: on SQLite deliveries wait that long (about 20 ms).
BATCH = 32
# Taken so often without being finished, a message kills its workers.
ATTEMPTS_MAX = 3
# Other jobs have their turn, too.
SECONDS = 20.0

Progress = Callable[[int], object]


def _silent(messages: int) -> None:
    return None


def drain(seconds: float = SECONDS, *, batch: int = BATCH, progress: Progress = _silent) -> int:
    """Do what the queue holds, newest first, until it is empty or the time is over; returns how many.

    StoreUnavailable: contents cannot be fetched now; what was begun stays in the queue.
    """
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end and (jobs := index_queue.claim(batch)):
        done += _do(_bearable(jobs), progress)
    return done


def _bearable(jobs: Sequence[Job]) -> Sequence[Job]:
    """What was begun before and not finished is done alone, so that one message takes no others with it."""
    again = next((job for job in jobs if job.attempts > 1), None)
    if again is None:
        return jobs
    index_queue.let_go([job for job in jobs if job is not again])
    return [again]


def index_message(message: int) -> bool:
    """Make the entry of one message true, whether it is queued or not. False: there is no such message (any
    more), nor its entry. StoreUnavailable."""
    documents, letters = _read([message], whole={message})
    conversations.join(letters)
    with transaction.atomic():
        _make_true([message], documents)
    return bool(documents)


def _make_true(messages: Sequence[int], documents: Sequence[Document]) -> None:
    there = {document.message for document in documents}
    entries.remove([message for message in messages if message not in there])
    entries.write(documents)


def _do(jobs: Sequence[Job], progress: Progress) -> int:
    whole = {job.message for job in jobs if job.attempts <= ATTEMPTS_MAX}
    try:
        documents, letters = _read([job.message for job in jobs], whole)
    except StoreUnavailable:
        index_queue.let_go(jobs)
        raise
    there = {document.message for document in documents}
    # In a transaction of its own: it locks the mailboxes, and writing words takes longer.
    conversations.join(letters, [(job.message, job.mailbox) for job in jobs if job.message not in there])
    with transaction.atomic():
        _make_true([job.message for job in jobs], documents)
        index_queue.finish(jobs)
    progress(len(jobs))
    return len(jobs)


def _read(messages: Sequence[int], whole: set[int]) -> tuple[list[Document], list[Letter]]:
    """Of those that there are: what search knows of them, and where in a conversation they stand."""
    documents, letters = [], []
    for message in Message.objects.filter(pk__in=messages):
        mail = _mail_of(message) if message.pk in whole else None
        document = _document(message, mail) if mail else None
        documents.append(document or document_of_facts(message))
        if mail:
            letters.append(conversations.letter_of(message, mail))
    return documents, letters


def _mail_of(message: Message) -> Mail | None:
    """None: it cannot be read, now or ever. StoreUnavailable."""
    try:
        return reading.parse(reading.octets_of(message.content_id))
    except StoreUnavailable:
        raise
    except ContentMissing:
        log.error("index content_missing message=%d", message.pk)
    except Exception:
        # Found by its subject and sender: a body less is better than a queue that stands still.
        log.exception("index read_failed message=%d", message.pk)
    return None


def _document(message: Message, mail: Mail) -> Document | None:
    try:
        text = reading.search_text(mail)
    except Exception:
        log.exception("index read_failed message=%d", message.pk)
        return None
    return Document(
        message.pk,
        message.mailbox_id,
        message.received_at,
        subject=mail.subject,
        sender=_people(mail.sender),
        recipients=f"{_people([*mail.to, *mail.cc, *mail.bcc])}\n{message.envelope_recipient}",
        body=text,
    )


def _people(people: Sequence[Person]) -> str:
    return "\n".join(f"{person.name} {person.address}" for person in people)


def document_of_facts(message: Message) -> Document:
    """What the message's own row says of it; that is what it is found by until it is indexed."""
    return Document(
        message.pk,
        message.mailbox_id,
        message.received_at,
        subject=message.subject,
        sender=f"{message.sender_name} {message.sender_address}",
        recipients=message.envelope_recipient,
        body=message.snippet,
    )
