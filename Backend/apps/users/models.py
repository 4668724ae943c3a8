"""Users and their roles."""

from __future__ import annotations

from typing import Any, ClassVar

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
    """A person who signs in. What each role may do: `apps.cctv.auth`."""

    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VISITOR)

    objects: ClassVar[RoleUserManager] = RoleUserManager()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Django's two flags follow the role: who may view may open the admin site, a superadmin is superuser."""
        self.is_superuser = self.role == Role.SUPERADMIN
        self.is_staff = self.role != Role.VISITOR
        if (fields := kwargs.get("update_fields")) is not None and "role" in fields:
            kwargs["update_fields"] = {*fields, "is_superuser", "is_staff"}
        super().save(*args, **kwargs)
