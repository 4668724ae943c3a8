"""Sites, their media roots and uplinks, their cameras, grants for private cameras, and the history of all these."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone


class Site(models.Model):
    """A place with cameras and a disk of its own. Its files are read by workers there, and nowhere else."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="An IANA name, for example Europe/Berlin")
    disk_high_water_percent = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(99)],
        help_text="Above this share of the disk, verified and unheld recordings go before their waiting period ends",
    )
    bandwidth_limit = models.TextField(
        blank=True,
        default="",
        help_text=(
            "What all uploads of the site share, by the site's clock; blank is no limit. Examples: "
            "08:00-18:00 2 MB/s, else unlimited; mon-fri 07:00-19:00 20 Mbit/s, sat sun 5 MB/s, else unlimited"
        ),
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class SiteLine(models.Model):
    """How far ahead the schedule of a site's limited line is given to its workers. No row until the line is limited.

    It is a table of its own because the workers write it several times a second, while a person edits the site.
    """

    site = models.OneToOneField(Site, on_delete=models.PROTECT, primary_key=True, related_name="+")
    bytes_per_second = models.PositiveBigIntegerField()
    free_at = models.DateTimeField(help_text="The first moment of the schedule that is not given to a worker")

    def __str__(self) -> str:
        return f"line of {self.site}"


class Camera(models.Model):
    """A camera of a site. With recordings it is archived, never deleted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cameras")
    name = models.CharField(max_length=100)
    is_private = models.BooleanField(default=False, help_text="The role dev sees it with a grant only")
    archived_at = models.DateTimeField(null=True, blank=True)  # null while it is in use
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["site", "name"], name="camera_name_once_per_site"),
        ]

    def __str__(self) -> str:
        return self.name


class CameraGrant(models.Model):
    """Lets one user of the role dev see one private camera."""

    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="camera_grants")
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["camera", "user"], name="camera_grant_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} may see {self.camera}"


class PlaceEvent(models.Model):
    """One change to a site, to a camera or to the grants of one: what, when, by whom. Rows are only added.

    The rows of a camera that is deleted lose their link to it, and keep its name.
    """

    class What(models.TextChoices):
        SITE_CREATED = "site_created", "site created"
        SITE_CHANGED = "site_changed", "site changed"
        CAMERA_CREATED = "camera_created", "camera created"
        CAMERA_CHANGED = "camera_changed", "camera changed"
        CAMERA_ARCHIVED = "camera_archived", "camera archived"
        CAMERA_UNARCHIVED = "camera_unarchived", "camera taken back into use"
        CAMERA_DELETED = "camera_deleted", "camera deleted"
        GRANT_GIVEN = "grant_given", "grant given"
        GRANT_ENDED = "grant_ended", "grant ended"

    at = models.DateTimeField()
    actor = models.CharField(max_length=150, help_text="A user's name, or system")
    what = models.CharField(max_length=20, choices=What)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    camera = models.ForeignKey(
        Camera, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Empty once it is deleted"
    )
    name = models.CharField(max_length=100, help_text="What the site or the camera was called after the change")
    person = models.CharField(max_length=150, blank=True, default="", help_text="Whose grant it is")
    detail = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "change to a site"
        verbose_name_plural = "changes to sites"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.get_what_display()}: {self.name}"


class SeenMediaRoot(models.Model):
    """A media root in which the marker file was seen. From then on a missing marker means that its disk is away.

    Before that, and before the first recording, a missing marker only means that the installation is new.
    """

    path = models.TextField(unique=True)  # as MEDIA_ROOT names it on its machine
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.path
