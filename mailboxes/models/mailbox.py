"""Mailbox: where a subscriber's mail lies, and Folder, the parts of it."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class POP3Delete(models.TextChoices):
    """What a POP3 DELE means for this mailbox."""

    TRASH = "trash"
    ARCHIVE = "archive"
    EXPUNGE = "expunge"


class Mailbox(models.Model):
    """`version` rises in the same transaction as every change to its messages; `rearranged_version` is the
    version of the last change that was more than new mail at the end of the inbox, so that whoever holds a
    listing of an older version knows whether reading the new end is enough."""

    account = models.OneToOneField("mailboxes.Account", on_delete=models.PROTECT, related_name="mailbox")
    quota_bytes = models.PositiveBigIntegerField()
    used_bytes = models.PositiveBigIntegerField(default=0)
    message_count = models.PositiveBigIntegerField(default=0)
    pop3_enabled = models.BooleanField(default=True)
    webmail_enabled = models.BooleanField(default=True)
    sending_enabled = models.BooleanField(default=True)
    receiving_enabled = models.BooleanField(default=True)
    pop3_delete = models.CharField(max_length=10, choices=POP3Delete, default=POP3Delete.TRASH)
    version = models.PositiveBigIntegerField(default=1)
    rearranged_version = models.PositiveBigIntegerField(default=1)
    # Whether its owner's lists show a conversation as one row.
    conversations = models.BooleanField(default=True)
    # The highest share of the quota, in percent, that its owner was warned of since it was last below.
    quota_warned = models.PositiveSmallIntegerField(default=0)
    # The lease of POP3_EXCLUSIVE: who holds the maildrop, and until when if it dies.
    lock_token = models.CharField(max_length=32, blank=True, default="")
    lock_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "mailboxes"
        constraints = [
            models.CheckConstraint(condition=Q(used_bytes__gte=0), name="mailbox_used_is_not_negative"),
            models.CheckConstraint(condition=Q(message_count__gte=0), name="mailbox_count_is_not_negative"),
            models.CheckConstraint(
                condition=Q(pop3_delete__in=POP3Delete.values), name="mailbox_delete_is_known"
            ),
            models.CheckConstraint(
                condition=Q(rearranged_version__lte=F("version")), name="mailbox_versions_are_in_order"
            ),
        ]

    def __str__(self) -> str:
        return f"mailbox {self.pk}"


class FolderKind(models.TextChoices):
    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    ARCHIVE = "archive"
    JUNK = "junk"
    TRASH = "trash"
    OWN = "own"


# What the folders that everybody has are called, in the reader's language; their `name` is that of exports.
FOLDER_TITLES = {
    FolderKind.INBOX: _("Inbox"),
    FolderKind.SENT: _("Sent"),
    FolderKind.DRAFTS: _("Drafts"),
    FolderKind.ARCHIVE: _("Archive"),
    FolderKind.JUNK: _("Junk"),
    FolderKind.TRASH: _("Trash"),
}


class Folder(models.Model):
    """Every mailbox has one folder of each kind but `own`, of which it has as many as its owner makes.

    The counters are kept by the verbs that move messages and never counted on view. `octets` is the sum of
    the sizes of its messages.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="folders")
    kind = models.CharField(max_length=10, choices=FolderKind)
    name = models.CharField(max_length=100)
    message_count = models.PositiveBigIntegerField(default=0)
    unread_count = models.PositiveBigIntegerField(default=0)
    octets = models.PositiveBigIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "name"], name="folder_name_is_unique"),
            models.UniqueConstraint(
                fields=["mailbox", "kind"], condition=~Q(kind="own"), name="folder_kind_is_unique"
            ),
            models.CheckConstraint(condition=Q(kind__in=FolderKind.values), name="folder_kind_is_known"),
            models.CheckConstraint(
                condition=Q(unread_count__lte=F("message_count")), name="folder_unread_is_part_of_all"
            ),
            models.CheckConstraint(condition=Q(octets__gte=0), name="folder_octets_are_not_negative"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        """How the folder is called where its owner reads it."""
        title = FOLDER_TITLES.get(FolderKind(self.kind))
        return self.name if title is None else str(title)
