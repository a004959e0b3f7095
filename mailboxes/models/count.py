"""HourlyCount: how much of something there was in an hour, and LargeMailbox: the largest mailboxes. Both are
counted by a job and only read on view."""

from django.db import models


class HourlyCount(models.Model):
    """`name` is what was counted: `delivered`, `refused 550 5.1.1`, `pop3_sessions`, ..."""

    hour = models.DateTimeField()
    name = models.CharField(max_length=40)
    value = models.PositiveBigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["hour", "name"], name="hourly_count_is_one")]

    def __str__(self) -> str:
        return f"{self.name} {self.value}"


class LargeMailbox(models.Model):
    """One of the largest mailboxes when it was last looked. An index on `used_bytes` would cost every
    delivery more than this look costs once an hour."""

    rank = models.PositiveSmallIntegerField(unique=True)
    mailbox = models.ForeignKey("mailboxes.Mailbox", on_delete=models.CASCADE, related_name="+")
    used_bytes = models.PositiveBigIntegerField()
    grown_bytes = models.BigIntegerField(default=0)  # since the look of the day before
    counted_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "large mailboxes"

    def __str__(self) -> str:
        return f"{self.rank}: mailbox {self.mailbox_id}"
