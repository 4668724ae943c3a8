"""Filters of the lists. None names a camera or site that the person may not see."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RadioFilter, RangeDateFilter
from unfold.utils import parse_date_str

from apps.cctv.admin_pages.site import viewer
from apps.cctv.selectors.places import site_list
from apps.cctv.selectors.visibility import cameras_visible_to
from offload.states import UPLOADED

Rows = QuerySet[Any]


class DayRange(RangeDateFilter):  # type: ignore[misc]  # unfold has no types
    """From a day to a day, both included, in UTC."""

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        # Up to the midnight after the last day, which is included.
        for end, lookup, later in (("from", "gte", timedelta()), ("to", "lt", timedelta(days=1))):
            text = self.used_parameters.get(f"{self.parameter_name}_{end}")
            day: date | None = parse_date_str(text) if isinstance(text, str) else None
            if day is not None:
                moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + later
                queryset = queryset.filter(**{f"{self.field_path}__{lookup}": moment})
        return queryset


class Completion(RadioFilter):  # type: ignore[misc]
    title = "upload"
    parameter_name = "upload"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("verified", "Uploaded and verified"), ("open", "Not yet")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() == "verified":
            return queryset.filter(transfer_status__in=sorted(UPLOADED))
        if self.value() == "open":
            return queryset.exclude(transfer_status__in=sorted(UPLOADED))
        return queryset


class CameraFilter(DropdownFilter):  # type: ignore[misc]
    title = "camera"
    parameter_name = "camera"
    lookup_path = "camera"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        cameras = cameras_visible_to(viewer(request)).order_by("name", "site__name")
        return [(str(camera.pk), f"{camera.name} ({camera.site.name})") for camera in cameras]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        # Another value than those offered is no UUID, or a camera that is hidden from this person.
        chosen = self.value()
        if chosen not in {value for value, _ in self.lookup_choices}:
            return queryset
        return queryset.filter(**{self.lookup_path: chosen})


class SiteFilter(CameraFilter):
    title = "site"
    parameter_name = "site"
    lookup_path = "camera__site"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(str(site.pk), site.name) for site in site_list(viewer(request))]


class TransferCameraFilter(CameraFilter):
    lookup_path = "recording__camera"


class OwnSiteFilter(SiteFilter):
    """Of rows that have a site of their own, not by way of a camera."""

    lookup_path = "site"


class Held(RadioFilter):  # type: ignore[misc]
    title = "hold"
    parameter_name = "held"
    lookup_path = "hold_wanted"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("yes", "Held"), ("no", "Not held")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(**{self.lookup_path: self.value() == "yes"})


class TransferHeld(Held):
    lookup_path = "recording__hold_wanted"


class OpenAlarms(RadioFilter):  # type: ignore[misc]
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("open", "Open"), ("cleared", "Cleared")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in {"open", "cleared"}:
            return queryset
        return queryset.filter(cleared_at__isnull=self.value() == "open")
