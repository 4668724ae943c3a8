"""People and their roles. Only a superadmin sees these pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from apps.cctv.admin_pages.base import RoleAdmin
from apps.cctv.admin_pages.display import badge, section, short_time
from apps.users.models import Role, User
from apps.users.permissions import Permission

ROLE_COLOURS: dict[str, str] = {
    Role.SUPERADMIN: "primary",
    Role.ADMIN: "warning",
    Role.DEV: "info",
    Role.VISITOR: "default",
}

# Its pages ask Django's model permissions, which decide nothing here.
admin.site.unregister(Group)


class RoleForm(UserChangeForm):  # type: ignore[misc]  # unfold has no types
    """Refuses the change that would leave no active superadmin."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        stays = cleaned.get("role") == Role.SUPERADMIN and cleaned.get("is_active")
        # An inactive one does not count: that person could not sign in and set it right.
        others = User.objects.filter(role=Role.SUPERADMIN, is_active=True).exclude(pk=self.instance.pk)
        if self.initial.get("role") == Role.SUPERADMIN and not stays and not others.exists():
            raise forms.ValidationError("This is the last active super administrator.")
        return cleaned


@admin.register(User)
class UserAdmin(RoleAdmin, DjangoUserAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """A user is made inactive, not deleted, so that the history keeps the name."""

    view_needs = Permission.ADMINISTER
    add_needs = Permission.ADMINISTER
    change_needs = Permission.ADMINISTER
    form = RoleForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "role_name", "email", "is_active", "last_seen")
    list_filter = ("role", "is_active")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    # Django's page has groups and permissions there, which decide nothing here.
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        section(None, "username", "password", "role", "is_active"),
        section("Who it is", ("first_name", "last_name"), "email"),
        section("Times", ("last_login", "date_joined")),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("username", "role", "password1", "password2")}),)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    @admin.display(description="Role", ordering="role")
    def role_name(self, row: User) -> SafeString:
        return badge(row.get_role_display(), ROLE_COLOURS[row.role])

    @admin.display(description="Last signed in", ordering="last_login")
    def last_seen(self, row: User) -> str:
        return short_time(row.last_login)
