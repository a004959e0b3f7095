"""Message: a content as it lies in one mailbox, and Forwarding: a content that waits to be sent on."""

from django.db import models
from django.db.models import Q

from mailboxes.models.mailbox import Folder, FolderKind, Mailbox

SUBJECT_MAX = 255
NAME_MAX = 200
SNIPPET_MAX = 200
UIDL_MAX = 70  # RFC 1939 section 7: one to 70 characters in the range 0x21 to 0x7E


class MessageQuerySet(models.QuerySet["Message"]):
    """The vocabulary: what people say of messages."""

    def in_mailbox(self, mailbox: Mailbox | int) -> "MessageQuerySet":
        return self.filter(mailbox=mailbox)

    def in_folder(self, mailbox: Mailbox | int, kind: FolderKind) -> "MessageQuerySet":
        """Those in the one folder of a kind; finds the folder first, so that its index does the rest."""
        folder = Folder.objects.filter(mailbox=mailbox, kind=kind).values("pk")
        return self.filter(mailbox=mailbox, folder=models.Subquery(folder[:1]))

    def inbox(self) -> "MessageQuerySet":
        return self.filter(folder__kind=FolderKind.INBOX)

    def trash(self) -> "MessageQuerySet":
        return self.filter(folder__kind=FolderKind.TRASH)

    def unread(self) -> "MessageQuerySet":
        return self.filter(seen=False)

    def removed_by_pop3(self) -> "MessageQuerySet":
        return self.filter(removed_by_pop3=True)


class Message(models.Model):
    """`uidl` is unique in the mailbox for ever. `size` is in octets as POP3 sends it: the un-stuffed content
    and, before it, the `Delivered-To` line made from `envelope_recipient` (none when that is empty)."""

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="messages", db_index=False)
    folder = models.ForeignKey(
        "mailboxes.Folder", on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    content = models.ForeignKey("mailboxes.Content", on_delete=models.PROTECT, related_name="messages")
    uidl = models.CharField(max_length=UIDL_MAX)
    size = models.PositiveBigIntegerField()
    received_at = models.DateTimeField()
    envelope_sender = models.CharField(max_length=320, blank=True)
    envelope_recipient = models.CharField(max_length=320, blank=True)

    seen = models.BooleanField(default=False)
    starred = models.BooleanField(default=False)
    answered = models.BooleanField(default=False)

    subject = models.CharField(max_length=SUBJECT_MAX, blank=True)
    sender_name = models.CharField(max_length=NAME_MAX, blank=True)
    sender_address = models.CharField(max_length=320, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    snippet = models.CharField(max_length=SNIPPET_MAX, blank=True)
    has_attachments = models.BooleanField(default=False)
    message_id = models.CharField(max_length=255, blank=True)
    thread = models.BigIntegerField(default=0)

    # Where it came from when it was moved to trash or archive, so that it can be put back.
    moved_from = models.ForeignKey(
        "mailboxes.Folder", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    moved_at = models.DateTimeField(null=True, blank=True)
    removed_by_pop3 = models.BooleanField(default=False)
    removed_in_session = models.CharField(max_length=32, blank=True, default="")

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "uidl"], name="message_uidl_is_unique"),
            models.CheckConstraint(condition=~Q(uidl=""), name="message_has_a_uidl"),
        ]
        indexes = [
            # A folder lies in one mailbox, so this serves listing a folder and removing one alike.
            models.Index(fields=["folder", "id"], name="message_in_folder"),
            # A page of the webmail's list: newest first, from where the page before ended.
            models.Index(fields=["folder", "received_at", "id"], name="message_in_folder_by_time"),
            # A conversation, across folders; and the newest of each in one folder.
            models.Index(fields=["mailbox", "thread"], condition=~Q(thread=0), name="message_of_thread"),
            models.Index(
                fields=["folder", "thread", "received_at", "id"],
                condition=~Q(thread=0),
                name="message_of_thread_in_folder",
            ),
            # What one session removed, of POP3 or (to the trash) of a browser, so that it can be put back;
            # most messages were never removed.
            models.Index(
                fields=["mailbox", "removed_in_session"],
                condition=~Q(removed_in_session=""),
                name="message_removed_in_session",
            ),
            # Removing a folder asks which messages came from it; few messages were ever moved.
            models.Index(
                fields=["moved_from"], condition=Q(moved_from__isnull=False), name="message_moved_from"
            ),
        ]

    def __str__(self) -> str:
        return f"message {self.uidl}"


class ImportedMessage(models.Model):
    """What an import has brought into a mailbox, so that running it again brings nothing twice, and so that
    the old server's UIDL is never given to another message. `errand`: the number of that which brought it,
    if one did; it tells in the end of all that it brought, though its worker died and another went on."""

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="+", db_index=False)
    fingerprint = models.CharField(max_length=80)
    uidl = models.CharField(max_length=UIDL_MAX)
    errand = models.PositiveBigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "fingerprint"], name="imported_once"),
            models.UniqueConstraint(fields=["mailbox", "uidl"], name="imported_uidl_once"),
        ]

    def __str__(self) -> str:
        return self.fingerprint


class Forwarding(models.Model):
    """Mail that came for a forward address and is kept until it has been sent on."""

    address = models.ForeignKey("mailboxes.Address", null=True, on_delete=models.SET_NULL, related_name="+")
    content = models.ForeignKey("mailboxes.Content", on_delete=models.PROTECT, related_name="forwardings")
    envelope_sender = models.CharField(max_length=320, blank=True)
    envelope_recipient = models.CharField(max_length=320)
    forward_to = models.CharField(max_length=320)
    queued_at = models.DateTimeField(db_index=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"forwarding {self.pk}"
