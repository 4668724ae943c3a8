"""Sites, cameras and grants for private cameras: what a person sets up by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms import BaseModelFormSet
from django.http import HttpRequest
from django.utils import timezone

from apps.cctv.admin_pages.actions import ActionsAdmin
from apps.cctv.admin_pages.base import RoleAdmin, RoleTabularInline, count_of
from apps.cctv.admin_pages.display import NOTHING, badge, short_time
from apps.cctv.admin_pages.filters import SiteFilter
from apps.cctv.admin_pages.site import viewer
from apps.cctv.models import Camera, CameraGrant, Recording, Site
from apps.cctv.selectors.places import people_for_grants, site_list
from apps.cctv.selectors.visibility import cameras_visible_to
from apps.cctv.services import ServiceError
from apps.cctv.services.bandwidth import limit_of
from apps.cctv.services.cameras import camera_create, camera_update, grant_end, grant_give
from apps.cctv.services.sites import bandwidth_limit_check, site_create, site_update, time_zone_check
from apps.users.permissions import Permission


class SiteForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for type checkers only
    def clean_time_zone(self) -> str:
        return _checked(time_zone_check, self.cleaned_data["time_zone"])

    def clean_bandwidth_limit(self) -> str:
        return _checked(bandwidth_limit_check, self.cleaned_data["bandwidth_limit"])


def _checked(rule: Callable[[str], str], text: str) -> str:
    """The value that a rule of the services accepts; what it refuses is told beside the field of the form."""
    try:
        return rule(text)
    except ServiceError as error:
        raise forms.ValidationError(error.detail) from error


@admin.register(Site)
class SiteAdmin(RoleAdmin):
    add_needs = Permission.MANAGE
    change_needs = Permission.MANAGE
    form = SiteForm
    list_display = ("name", "time_zone", "limit_now", "disk_high_water", "cameras")
    search_fields = ("name",)
    fields = ("name", "time_zone", "bandwidth_limit", "limit_now", "disk_high_water_percent")
    readonly_fields = ("limit_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Site]:
        user = viewer(request)
        visible = [site.pk for site in site_list(user)]
        # A private camera does not show in a number either.
        return Site.objects.filter(pk__in=visible).annotate(camera_count=count_of(cameras_visible_to(user), "site"))

    def save_model(self, request: HttpRequest, obj: Site, form: Any, change: bool) -> None:
        columns = {name: getattr(obj, name) for name in form.fields}
        if change:
            site_update(site_id=obj.pk, **columns, user=viewer(request), now=timezone.now())
        else:
            # The admin's log, and its answer, need the id of the row that was saved.
            obj.pk = site_create(**columns, user=viewer(request), now=timezone.now()).pk

    @admin.display(description="Limit in force now")
    def limit_now(self, row: Site) -> str:
        limit = limit_of(row)
        told = limit.told(timezone.now())
        return f"{told}. {limit.problem}" if limit.problem else told

    @admin.display(description="Frees early above", ordering="disk_high_water_percent")
    def disk_high_water(self, row: Site) -> str:
        return NOTHING if row.disk_high_water_percent is None else f"{row.disk_high_water_percent} % of the disk"

    @admin.display(description="Cameras", ordering="camera_count")
    def cameras(self, row: Any) -> int:
        return int(row.camera_count)


class GrantInline(RoleTabularInline):
    """The people of the role dev who see this camera although it is private."""

    model = CameraGrant
    add_needs = Permission.MANAGE
    change_needs = None
    delete_needs = Permission.MANAGE
    view_needs = Permission.MANAGE
    fk_name = "camera"
    fields = ("user", "granted_by", "created_at")
    readonly_fields = ("granted_by", "created_at")
    verbose_name = "grant"
    verbose_name_plural = "People who see it although it is private"
    hide_title = True  # the row says it already

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        # Only those whose role needs a grant can be chosen.
        if db_field.name == "user":
            kwargs["queryset"] = people_for_grants()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


@admin.register(Camera)
class CameraAdmin(ActionsAdmin):
    """A camera is archived here, never deleted."""

    add_needs = Permission.MANAGE
    change_needs = Permission.MANAGE
    inlines: ClassVar[tuple[type[RoleTabularInline], ...]] = (GrantInline,)
    list_display = ("name", "site", "private", "archived", "created", "recordings")
    list_filter = (SiteFilter,)
    search_fields = ("name", "site__name")
    fields = ("site", "name", "is_private")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Camera]:
        return cameras_visible_to(viewer(request)).annotate(recording_count=count_of(Recording.objects.all(), "camera"))

    def get_readonly_fields(self, request: HttpRequest, obj: Camera | None = None) -> tuple[str, ...]:
        """A camera with recordings keeps its site: they lie on the disk there."""
        return ("site",) if obj is not None and obj.recordings.exists() else ()

    def save_model(self, request: HttpRequest, obj: Camera, form: Any, change: bool) -> None:
        columns: dict[str, Any] = {"name": obj.name, "is_private": obj.is_private, "site_id": obj.site_id}
        if change:
            camera_update(camera_id=obj.pk, **columns, user=viewer(request), now=timezone.now())
        else:
            # As with a site, the admin needs the id.
            obj.pk = camera_create(**columns, user=viewer(request), now=timezone.now()).pk

    def save_formset(self, request: HttpRequest, form: Any, formset: BaseModelFormSet[Any, Any], change: bool) -> None:
        camera_id, user, now = form.instance.pk, viewer(request), timezone.now()
        # A grant on this page can be given or ended, not changed.
        for grant in formset.save(commit=False):
            grant_give(camera_id=camera_id, person_id=grant.user_id, user=user, now=now)
        for grant in formset.deleted_objects:
            grant_end(camera_id=camera_id, person_id=grant.user_id, user=user, now=now)

    @admin.display(description="Private", ordering="is_private")
    def private(self, row: Camera) -> str:
        return badge("private", "warning") if row.is_private else NOTHING

    @admin.display(description="Archived", ordering="archived_at")
    def archived(self, row: Camera) -> str:
        return short_time(row.archived_at)

    @admin.display(description="Added", ordering="created_at")
    def created(self, row: Camera) -> str:
        return short_time(row.created_at)

    @admin.display(description="Recordings", ordering="recording_count")
    def recordings(self, row: Any) -> int:
        return int(row.recording_count)
