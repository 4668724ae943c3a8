"""Users: made by Django's own command, and their two flags follow the role."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from apps.users.models import Role, User
from tests.conftest import PASSWORD


def test_createsuperuser_makes_a_superadmin(db, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "root")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    monkeypatch.setenv("DJANGO_SUPERUSER_EMAIL", "root@example.org")

    call_command("createsuperuser", interactive=False, verbosity=0)

    user = User.objects.get()
    assert (user.username, user.role, user.is_superuser, user.is_staff) == ("root", Role.SUPERADMIN, True, True)
    assert user.check_password(PASSWORD)


@pytest.mark.parametrize(
    ("role", "is_superuser", "is_staff"),
    [
        (Role.SUPERADMIN, True, True),
        (Role.ADMIN, False, True),
        (Role.DEV, False, True),
        (Role.VISITOR, False, False),
    ],
)
def test_the_flags_follow_the_role(db, role, is_superuser, is_staff):
    user = User.objects.create_user("someone", role=role, is_superuser=not is_superuser, is_staff=not is_staff)

    user.refresh_from_db()
    assert (user.is_superuser, user.is_staff) == (is_superuser, is_staff)


def test_demoted_superadmin_loses_the_flags_by_any_save(superadmin_user):
    superadmin_user.role = Role.VISITOR
    superadmin_user.save(update_fields=["role"])

    superadmin_user.refresh_from_db()
    assert (superadmin_user.is_superuser, superadmin_user.is_staff) == (False, False)


def test_an_ordinary_user_begins_as_a_visitor(db):
    assert User.objects.create_user("someone").role == Role.VISITOR
