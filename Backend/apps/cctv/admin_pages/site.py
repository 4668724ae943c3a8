"""The admin site: which roles may enter it, its menu, and its front page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from apps.cctv.admin_pages.front_page import dashboard_of
from apps.cctv.models import Alarm
from apps.cctv.selectors.snapshots import READING, one_snapshot
from apps.users.login import LoginDelayed, LoginRefused, login
from apps.users.models import User
from apps.users.permissions import Permission, may


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # unfold has no types
    """Signs in as the API does, failures slowed and locked out; asks the role, and never `is_staff`."""

    error_messages: ClassVar[dict[str, str]] = {
        "invalid_login": "This name and this password do not belong together.",
        "role": "Your role does not open these pages.",
        "delayed": "Too many attempts. The next one is welcome in %(seconds)s seconds.",
    }

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cleaned_data
        if found.get("username") and found.get("password"):
            try:
                user = login(
                    request=self.request, username=found["username"], password=found["password"], now=timezone.now()
                )
            except LoginDelayed as delayed:
                raise self._refusal("delayed", seconds=delayed.retry_after_seconds) from delayed
            except LoginRefused as refused:
                raise self._refusal("invalid_login") from refused
            if not may(user, Permission.VIEW):
                raise self._refusal("role")
            self.user_cache = user
        return found

    def _refusal(self, code: str, **params: object) -> ValidationError:
        return ValidationError(self.error_messages[code], code=code, params=params)


class ColdreelAdminSite(UnfoldAdminSite):  # type: ignore[misc]
    login_form = LoginForm
    index_template = "cctv/dashboard.html"
    index_title = "Overview"
    enable_nav_sidebar = True
    final_catch_all_view = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Superadmin, admin and dev; what each sees and does there is asked again on every page."""
        return may(request.user, Permission.VIEW)

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        """Every page that reads is one snapshot, with the menu around it (P9)."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in READING:
                return inner(request, *args, **kwargs)  # type: ignore[no-any-return]
            # Before the snapshot, which takes no writes: Django deletes a session whose password has changed.
            request.user.is_authenticated  # noqa: B018
            with one_snapshot():
                response: HttpResponse = inner(request, *args, **kwargs)
                return response.render() if isinstance(response, SimpleTemplateResponse) else response

        return page

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        user = viewer(request)
        return super().index(request, {**(extra_context or {}), "dashboard": dashboard_of(user, now=timezone.now())})  # type: ignore[no-any-return]


def viewer(request: HttpRequest) -> User:
    """The signed-in person. Every admin page is behind `has_permission`, so there is one."""
    user: AbstractBaseUser | AnonymousUser = request.user
    if not isinstance(user, User):
        raise TypeError("an admin page was reached without a user")
    return user


# --- Named in settings.UNFOLD ---------------------------------------------------------------------
def styles(request: HttpRequest) -> str:
    return static("cctv/coldreel.css")


def icon(request: HttpRequest) -> str:
    return static("cctv/coldreel.svg")


def may_administer(request: HttpRequest) -> bool:
    return may(request.user, Permission.ADMINISTER)


_MENU: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Footage",
        (
            ("Transfers", "cloud_upload", "cctv_gcpvideotransfer"),
            ("Recordings", "movie", "cctv_recording"),
            ("Cameras", "videocam", "cctv_camera"),
            ("Sites", "location_on", "cctv_site"),
        ),
    ),
    (
        "Proof",
        (
            ("History", "history", "cctv_transferevent"),
            ("Deletion receipts", "receipt_long", "cctv_deletionreceipt"),
            ("Orphaned objects", "inventory_2", "cctv_orphanedobject"),
            ("Changes to sites", "tune", "cctv_placeevent"),
        ),
    ),
    (
        "Machinery",
        (
            ("Alarms", "notifications", "cctv_alarm"),
            ("Workers", "memory", "cctv_workerprocess"),
            ("Periodic jobs", "schedule", "cctv_periodicjob"),
            ("Batches", "stacks", "cctv_transferbatch"),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The menu at the left."""
    overview = {"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}
    groups: list[dict[str, Any]] = [{"items": [overview]}]
    for title, entries in _MENU:
        groups.append({"title": title, "separator": True, "items": [_entry(*entry) for entry in entries]})
    users = {**_entry("Users", "group", "users_user"), "permission": may_administer}
    if may_administer(request):
        groups.append({"title": "People", "separator": True, "items": [users]})
    return groups


def _entry(title: str, symbol: str, model: str) -> dict[str, Any]:
    entry = {"title": title, "icon": symbol, "link": reverse(f"admin:{model}_changelist")}
    if model == "cctv_alarm" and (count := Alarm.objects.filter(cleared_at__isnull=True).count()):
        entry |= {"badge": str(count), "badge_variant": "danger", "badge_style": "solid"}
    return entry
