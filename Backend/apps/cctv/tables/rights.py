"""Rights on a bucket that are in doubt."""

from __future__ import annotations

from django.db import models


class RightInDoubt(models.Model):
    """The first of the 403 answers beside which the bucket says "you may"; the first success removes the row.

    In the database, so that all processes together count from it. `subject` reads as that of the alarm does.
    """

    subject = models.CharField(max_length=255, unique=True)
    since = models.DateTimeField()

    class Meta:
        app_label = "cctv"

    def __str__(self) -> str:
        return self.subject
