"""Change: what the owner of a mailbox did to messages, for as long as it can be undone."""

from django.db import models


class Change(models.Model):
    """An act of a mailbox's owner, on `count` messages. `made_at` is when its last part was done."""

    mailbox = models.ForeignKey("mailboxes.Mailbox", on_delete=models.CASCADE, related_name="changes")
    key = models.CharField(max_length=32, unique=True)
    verb = models.CharField(max_length=10)
    count = models.PositiveIntegerField()
    made_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.verb} {self.count}"


class ChangePart(models.Model):
    """What one transaction of an act did, so that an act on a million messages is never one row of a million.

    `groups` says what messages were and became: [{"messages": [ids], "was": {...}, "now": {...}}, ...].
    Undoing passes over what is no longer what the change made of it."""

    change = models.ForeignKey(Change, on_delete=models.CASCADE, related_name="parts")
    groups = models.JSONField()

    def __str__(self) -> str:
        return f"part of {self.change_id}"
