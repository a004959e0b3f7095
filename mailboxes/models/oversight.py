"""What concerns a mailbox from outside: staff who looked into it or had its mail sent elsewhere as well, and
senders whose images are shown."""

from django.db import models


class Inspection(models.Model):
    """An operator has opened the contents of a mailbox, for a reason that its owner is shown. Read-only, and
    over at `until`."""

    key = models.CharField(max_length=32, unique=True)
    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", on_delete=models.CASCADE, related_name="inspections", db_index=False
    )
    operator = models.ForeignKey("mailboxes.Account", null=True, on_delete=models.SET_NULL, related_name="+")
    operator_login = models.CharField(max_length=320)
    reason = models.CharField(max_length=300)
    began_at = models.DateTimeField()
    until = models.DateTimeField()
    # When the owner has said that it was read; until then the webmail shows it above the mail.
    noted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["mailbox", "began_at"], name="inspection_of_mailbox")]

    def __str__(self) -> str:
        return f"inspection of mailbox {self.mailbox_id}"


class ForwardNotice(models.Model):
    """Somebody of the house has changed where copies of a mailbox's mail are sent (`to`; empty: nowhere any
    more), which its owner is shown."""

    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", on_delete=models.CASCADE, related_name="forward_notices", db_index=False
    )
    by = models.CharField(max_length=320)
    to = models.CharField(max_length=320, blank=True)
    at = models.DateTimeField()
    # When the owner has said that it was read; until then the webmail shows it above the mail.
    noted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["mailbox", "at"], name="forward_notice_of_mailbox")]

    def __str__(self) -> str:
        return f"forward of mailbox {self.mailbox_id}"


class TrustedSender(models.Model):
    """The owner of a mailbox wants to see remote images of this sender (an address, in lower case)."""

    mailbox = models.ForeignKey(
        "mailboxes.Mailbox", on_delete=models.CASCADE, related_name="trusted_senders", db_index=False
    )
    address = models.CharField(max_length=320)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mailbox", "address"], name="trusted_sender_once")]

    def __str__(self) -> str:
        return self.address
