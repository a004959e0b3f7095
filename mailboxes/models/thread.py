"""ThreadKey: which conversation a Message-ID belongs to, in one mailbox."""

from django.db import models


class ThreadKey(models.Model):
    """`digest` is of a Message-ID that a message has or names (RFC 5322 section 3.6.4), so that a letter that
    arrives before the one it answers is found by it; `thread` is what `Message.thread` says."""

    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    digest = models.BigIntegerField()
    thread = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mailbox", "digest"], name="threadkey_is_one")]
        indexes = [models.Index(fields=["mailbox", "thread"], name="threadkey_of_thread")]

    def __str__(self) -> str:
        return f"thread {self.thread}"
