"""Alarms: what a person must know, and what each is about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q


class SubjectKind(StrEnum):
    """What an alarm is about. The comment says what its id is."""

    INSTALLATION = "installation"  # empty: there is one
    BUCKET = "bucket"  # the bucket's name
    LINE = "line"  # BUCKET/SITE, or BUCKET from a worker of all sites: whether the bucket is reached from there
    HOLDS = "holds"  # the name of the bucket whose holds cannot be set or lifted
    MEDIA_ROOT = "media_root"  # the site's id
    CLEANUP = "cleanup"  # the id of the site whose run was stopped; empty for a run over all sites
    CLEANUP_FILES = "cleanup_files"  # BUCKET/SITE: files there that stay until a person acts
    FAILING_FILES = "failing_files"  # the id of the site where files fail to be cleaned up
    RIGHT_TO_DELETE = "right_to_delete"  # the id of the site where files cannot be deleted
    TRANSFER = "transfer"  # the transfer's id
    TRASH = "trash"  # the id of the transfer whose file lies in the trash
    LOCK_FILES = "lock_files"  # the id of the machine with lock files of another user
    MACHINE = "machine"  # the id of the machine whose home's disk is low
    OTHER = "other"  # words of an earlier release, about a site that has another name now
    UNKNOWN = ""  # raised by a worker of another release, which ends it

    @classmethod
    def _missing_(cls, _: object) -> SubjectKind:
        """A kind of a newer release, read by this one."""
        return cls.UNKNOWN


_SITE_IS_THE_ID = frozenset(
    {SubjectKind.MEDIA_ROOT, SubjectKind.CLEANUP, SubjectKind.FAILING_FILES, SubjectKind.RIGHT_TO_DELETE}
)
_BUCKET_AND_SITE = frozenset({SubjectKind.LINE, SubjectKind.CLEANUP_FILES})
_BETWEEN = "/"  # which is in no bucket's name: https://cloud.google.com/storage/docs/buckets#naming


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alarm is about, by a key that stays when a person renames a site, a camera or a machine.

    The words for people are made when they are shown: `selectors.alarms.subject_words`.
    """

    kind: SubjectKind
    id: str = ""

    @classmethod
    def of_site(cls, kind: SubjectKind, site_id: UUID | None) -> Subject:
        """`site_id` is None where it is about all sites."""
        return cls(kind, "" if site_id is None else str(site_id))

    @classmethod
    def of_bucket_at_site(cls, kind: SubjectKind, bucket: str, site_id: UUID | None) -> Subject:
        """`site_id` is None where it is about the bucket as a worker of all sites meets it."""
        return cls(kind, bucket if site_id is None else f"{bucket}{_BETWEEN}{site_id}")

    @property
    def site_id(self) -> UUID | None:
        """None where it is about no one site."""
        if self.kind in _BUCKET_AND_SITE:
            return uuid_or_none(self.id.partition(_BETWEEN)[2])
        return uuid_or_none(self.id) if self.kind in _SITE_IS_THE_ID else None

    @property
    def bucket(self) -> str:
        """Empty where it is about no bucket."""
        if self.kind in _BUCKET_AND_SITE:
            return self.id.partition(_BETWEEN)[0]
        return self.id if self.kind in {SubjectKind.BUCKET, SubjectKind.HOLDS} else ""

    @property
    def transfer_id(self) -> UUID | None:
        """None where it is about no transfer, or about one whose id cannot be read."""
        return uuid_or_none(self.id) if self.kind in {SubjectKind.TRANSFER, SubjectKind.TRASH} else None

    @property
    def columns(self) -> dict[str, str]:
        """For a filter, or for a new row."""
        return {"subject_kind": self.kind.value, "subject_id": self.id}


class Alarm(models.Model):
    """Something a person must know. One open row for each code and subject, however often it is met."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=40)
    subject_kind = models.CharField(max_length=20, db_default="")
    subject_id = models.CharField(max_length=255, blank=True, db_default="")
    detail = models.TextField()
    raised_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    seen_count = models.PositiveIntegerField(default=1)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-raised_at",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["code", "subject_kind", "subject_id"],
                condition=Q(cleared_at__isnull=True) & ~Q(subject_kind=""),
                name="alarm_open_once_a_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def subject(self) -> Subject:
        return Subject(SubjectKind(self.subject_kind), self.subject_id)


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
