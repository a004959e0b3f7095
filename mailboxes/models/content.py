"""Content: the bytes of a message as they were accepted, shared by every Message made from them."""

import uuid

from django.db import models


class Content(models.Model):
    """The primary key is the storage key. `octets` is the size of the un-stuffed message in the file, and
    `wire_octets` that of the file itself. A content is never edited after it is written."""

    key = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    octets = models.PositiveBigIntegerField()
    wire_octets = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_index=True)
    # When its last message went; the sweep removes it a grace time later. Null while it is in use.
    unused_since = models.DateTimeField(null=True, blank=True, db_index=True)

    def __str__(self) -> str:
        return self.key.hex
