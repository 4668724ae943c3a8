"""Users and their roles; what is remembered of failed sign-ins and of refresh tokens."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models


class Role(models.TextChoices):
    SUPERADMIN = "superadmin", "Super administrator"
    ADMIN = "admin", "Administrator"
    DEV = "dev", "Developer"
    VISITOR = "visitor", "Visitor"


class RoleUserManager(UserManager["User"]):
    """`createsuperuser` makes a superadmin."""

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra_fields: Any
    ) -> User:
        extra_fields.setdefault("role", Role.SUPERADMIN)
        return super().create_superuser(username, email, password, **extra_fields)


class User(AbstractUser):
    """A person who signs in. What each role may do: `apps.users.permissions`."""

    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VISITOR)

    objects: ClassVar[RoleUserManager] = RoleUserManager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Django's two flags follow the role: `is_staff` for each but visitor, `is_superuser` for superadmin."""
        self.is_superuser = self.role == Role.SUPERADMIN
        self.is_staff = self.role != Role.VISITOR
        # A save of the role alone would leave the flags of the former one.
        if (fields := kwargs.get("update_fields")) is not None and "role" in fields:
            kwargs["update_fields"] = {*fields, "is_superuser", "is_staff"}
        super().save(*args, **kwargs)


class LoginFailures(models.Model):
    """How often sign-ins failed lately: of one name from one address, or from one address whatever the name.

    Written by `apps.users.attempts`. The key is a digest: what people type as a name is often a password.
    """

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField()
    last_at = models.DateTimeField(help_text="The last attempt, checked or not")
    wait_until = models.DateTimeField(help_text="The next attempt is looked at from then on")
    expires_at = models.DateTimeField(db_index=True, help_text="From then on it counts as no failure")

    def __str__(self) -> str:
        return f"{self.count} failed sign-ins"


class TokenFamily(models.Model):
    """One sign-in through the API: the refresh token that is good now descends from the first one.

    A family ends by logging out, by running out, and when a token is used a second time.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    token_id = models.CharField(max_length=64, help_text="`jti` of the one refresh token that is good")
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "token families"

    def __str__(self) -> str:
        return f"sign-in of {self.user}"
