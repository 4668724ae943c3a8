"""Media roots that were seen with their marker file."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class SeenMediaRoot(models.Model):
    """A folder in which the marker file was seen. From then on a missing marker means that its disk is away.

    Before that, and before the first recording, a missing marker only means that the installation is new.
    """

    path = models.TextField(unique=True)
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        app_label = "cctv"

    def __str__(self) -> str:
        return self.path
