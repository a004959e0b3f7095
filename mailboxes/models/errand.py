"""Errand: long work that somebody asked for, done by a worker, with its progress and its result."""

from django.db import models
from django.utils import timezone


class ErrandKind(models.TextChoices):
    EXPORT = "export"
    IMPORT = "import"
    FETCH = "fetch"
    ACCOUNTS = "accounts"
    ALIASES = "aliases"
    CHANGE = "change"


class ErrandState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Errand(models.Model):
    """`key` names it in URLs. `seen_at` is when its worker last said that it lives. `arguments` and `result`
    hold no secret; `secret` is encrypted and emptied as soon as it is not needed. `file` is a name in the
    default storage, there until `file_until`. `attempts` tells one worker from the next; those up to
    `forgiven` did not fail: the last of them gave way to others and left what it had done."""

    key = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=10, choices=ErrandKind)
    account = models.ForeignKey("mailboxes.Account", on_delete=models.CASCADE, related_name="errands")
    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", null=True, blank=True, on_delete=models.CASCADE, related_name="errands"
    )
    state = models.CharField(max_length=10, choices=ErrandState, default=ErrandState.WAITING)
    cancel_asked = models.BooleanField(default=False)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(null=True, blank=True)
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    forgiven = models.PositiveSmallIntegerField(default=0)
    arguments = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    reason = models.CharField(max_length=300, blank=True)
    secret = models.TextField(blank=True)
    file = models.CharField(max_length=200, blank=True)
    file_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["account", "asked_at"], name="errand_of_account"),
            models.Index(fields=["state", "asked_at"], name="errand_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"

    @property
    def is_open(self) -> bool:
        """It has not ended yet."""
        return self.state in (ErrandState.WAITING, ErrandState.RUNNING)

    @property
    def has_begun(self) -> bool:
        """It runs, or has given way to others and goes on later."""
        return self.state == ErrandState.RUNNING or (self.state == ErrandState.WAITING and self.forgiven > 0)

    @property
    def failures(self) -> int:
        """Attempts since it last came on."""
        return self.attempts - self.forgiven

    @property
    def percent(self) -> int | None:
        """How much is done, 0 to 100; None: nobody knows how much there is."""
        if not self.total:
            return None
        return min(100, self.done * 100 // self.total)

    @property
    def can_be_fetched(self) -> bool:
        """There is a file for whoever asked, and its time is not over."""
        return bool(self.file) and self.file_until is not None and self.file_until > timezone.now()
