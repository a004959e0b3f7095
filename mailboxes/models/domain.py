"""Domain: a mail domain that this house serves."""

from django.db import models

from mailboxes.models.account import Status


class Domain(models.Model):
    """`name` is the lower-case A-label (RFC 5890 section 2.3.2.1), so one domain has one spelling.

    `active` off: its mail is put off. `status_reason`, as subscribers read it: nobody of it may log in, for
    it is suspended, or closed where there is `closed_at`.
    """

    name = models.CharField(max_length=255, unique=True)
    active = models.BooleanField(default=True)
    status_reason = models.CharField(max_length=300, blank=True)
    # Closed: no mail, no logins; purged with all that is in it once the grace time is over.
    closed_at = models.DateTimeField(null=True, blank=True)
    catch_all = models.ForeignKey(
        "mailboxes.Mailbox", null=True, blank=True, on_delete=models.SET_NULL, related_name="catches_all_of"
    )
    default_quota_bytes = models.PositiveBigIntegerField()
    # Kept by the verbs that open and purge accounts, never counted on view.
    account_count = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~models.Q(name=""), name="domain_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> Status:
        if self.closed_at is not None:
            return Status.CLOSED
        return Status.SUSPENDED if self.status_reason else Status.ACTIVE
