"""SearchEntry: what search knows of a message, SearchText: what is shown of one that was found, and IndexJob:
that it must be looked at (again).

Neither refers to its message by a foreign key: an entry outlives its message until the indexer comes by, so
that removing mail stays as fast as it was, and search itself never shows a message that is gone.
"""

from django.db import models


class SearchEntry(models.Model):
    """`place` orders a mailbox's messages by time (mailboxes.entries.place_of).

    The words themselves are kept as each database can search them (mailboxes.entries): PostgreSQL in a column
    `vector` of this table, SQLite in the FTS5 table `mailboxes_searchwords`, whose rowid is `place`; `words`
    are then those that were put there, compressed, for FTS5 must be told them again to forget them.
    """

    message = models.BigIntegerField(primary_key=True)
    mailbox = models.BigIntegerField()
    place = models.BigIntegerField()
    words = models.BinaryField(default=b"")

    class Meta:
        verbose_name_plural = "search entries"
        indexes = [models.Index(fields=["mailbox", "place"], name="searchentry_by_time")]

    def __str__(self) -> str:
        return f"entry of message {self.message}"


class SearchText(models.Model):
    """How the text of a message begins, as its readers see it, compressed (mailboxes.entries).

    Apart from its entry, which is read a thousand at a time; of texts only those of one page are."""

    message = models.BigIntegerField(primary_key=True)
    text = models.BinaryField(default=b"")

    def __str__(self) -> str:
        return f"text of message {self.message}"


class IndexJob(models.Model):
    """The entry of a message is to be made true: written if there is the message, removed if not.

    A worker that takes a job claims it for a while; one that dies leaves it to the next. `attempts` says how
    often it was taken, so that a message that kills workers is indexed without its body in the end.
    """

    message = models.BigIntegerField(primary_key=True)
    mailbox = models.BigIntegerField()
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["mailbox", "message"], name="indexjob_in_mailbox")]

    def __str__(self) -> str:
        return f"index message {self.message}"
