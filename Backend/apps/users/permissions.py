"""What each role may do: the one table that the API, the admin and the queries ask."""

from __future__ import annotations

from enum import StrEnum

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from apps.users.models import Role, User


class Permission(StrEnum):
    VIEW = "view"  # recordings, transfers, playback
    MANAGE = "manage"  # transfer, retry, cancel, hold, restore, settings
    ADMINISTER = "administer"  # users and their roles


GRANTED: dict[str, frozenset[Permission]] = {
    Role.SUPERADMIN: frozenset(Permission),
    Role.ADMIN: frozenset({Permission.VIEW, Permission.MANAGE}),
    Role.DEV: frozenset({Permission.VIEW}),
    Role.VISITOR: frozenset(),
}


def may(user: AbstractBaseUser | AnonymousUser, permission: Permission) -> bool:
    """Whether `user` has `permission` now. The role alone decides; who is inactive or unknown may nothing."""
    return isinstance(user, User) and user.is_active and permission in GRANTED.get(user.role, frozenset())
