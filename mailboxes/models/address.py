"""Address: every address that reaches something here, and Target: what it reaches."""

from django.db import models
from django.db.models import Q

from mailboxes.models.account import Status


class AddressKind(models.TextChoices):
    PRIMARY = "primary"
    ALIAS = "alias"
    FORWARD = "forward"


class Address(models.Model):
    """`name` is the whole address, local part in lower case and domain as A-label, unique in the house."""

    name = models.CharField(max_length=320, unique=True)
    domain = models.ForeignKey("mailboxes.Domain", on_delete=models.PROTECT, related_name="addresses")
    kind = models.CharField(max_length=10, choices=AddressKind)
    # Suspended: senders are asked to try again later. Closed: refused, purged once the grace time is over.
    active = models.BooleanField(default=True)
    status_reason = models.CharField(max_length=300, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "addresses"
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=AddressKind.values), name="address_kind_is_known"),
        ]
        indexes = [
            # The few among a million that are to be purged.
            models.Index(fields=["closed_at"], condition=Q(closed_at__isnull=False), name="address_closed"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> Status:
        if self.closed_at is not None:
            return Status.CLOSED
        return Status.ACTIVE if self.active else Status.SUSPENDED


class Target(models.Model):
    """One thing that an address reaches: a mailbox here, or an address elsewhere (a forward)."""

    address = models.ForeignKey(Address, on_delete=models.CASCADE, related_name="targets")
    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", null=True, blank=True, on_delete=models.CASCADE, related_name="targeted_by"
    )
    forward_to = models.CharField(max_length=320, blank=True)

    class Meta:
        constraints = [
            # Two, for to SQL one NULL never equals another.
            models.UniqueConstraint(fields=["address", "mailbox"], name="target_mailbox_is_named_once"),
            models.UniqueConstraint(
                fields=["address", "forward_to"],
                condition=~Q(forward_to=""),
                name="target_forward_is_named_once",
            ),
            models.CheckConstraint(
                condition=Q(mailbox__isnull=False, forward_to="")
                | (Q(mailbox__isnull=True) & ~Q(forward_to="")),
                name="target_is_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return self.forward_to or f"mailbox {self.mailbox_id}"
