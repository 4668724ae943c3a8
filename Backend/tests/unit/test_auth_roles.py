"""What each role may do, by the table of the contract."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser

from apps.users.models import Role, User
from apps.users.permissions import Permission, may

TABLE = {
    Role.SUPERADMIN: {Permission.VIEW, Permission.MANAGE, Permission.ADMINISTER},
    Role.ADMIN: {Permission.VIEW, Permission.MANAGE},
    Role.DEV: {Permission.VIEW},
    Role.VISITOR: set(),
}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("permission", list(Permission))
def test_active_role_may_do_what_the_table_says(role, permission):
    assert may(User(role=role), permission) is (permission in TABLE[role])
    assert not may(User(role=role, is_active=False), permission)


def test_an_unknown_role_or_none_has_no_permission():
    for user in (User(role="owner"), AnonymousUser()):
        assert not any(may(user, permission) for permission in Permission)


def test_djangos_own_flags_give_no_permission():
    assert not may(User(role=Role.VISITOR, is_superuser=True, is_staff=True), Permission.VIEW)
