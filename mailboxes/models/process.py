"""ProcessBeat: that a process of the house lives, and what it has counted since it began."""

from django.db import models


class ProcessBeat(models.Model):
    """Written by the process itself every few seconds; one that stops writing is shown as gone."""

    name = models.CharField(max_length=120, unique=True)  # kind@host:pid
    kind = models.CharField(max_length=20)
    host = models.CharField(max_length=80)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    figures = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name
