"""Alarms: what a person must know."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Alarm(models.Model):
    """Something a person must know. One open row a code and subject, however often it is met."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=40)
    subject = models.CharField(max_length=255, blank=True, help_text="A bucket, a site or a transfer")
    detail = models.TextField()
    raised_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    seen_count = models.PositiveIntegerField(default=1)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-raised_at",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["code", "subject"], condition=Q(cleared_at__isnull=True), name="alarm_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
