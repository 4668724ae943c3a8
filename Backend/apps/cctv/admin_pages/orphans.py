"""Orphaned objects: what uploads left in the bucket. They are shown, and can be deleted from the bucket."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesCheckboxFilter

from apps.cctv.admin_pages.actions import ActionsAdmin
from apps.cctv.admin_pages.base import TransferRecordAdmin
from apps.cctv.admin_pages.display import badge, path_field, section, short_time, text_field, time_field
from apps.cctv.admin_pages.filters import DayRange
from apps.cctv.models import OrphanedObject
from apps.cctv.units import human_size


@admin.register(OrphanedObject)
class OrphanedObjectAdmin(ActionsAdmin, TransferRecordAdmin):
    """Shown to those who may see the transfer. Deleting one from the bucket keeps its row."""

    list_display = ("left", "of", "state", "why", "size", path_field("gcp_storage_path", "Object"))
    list_display_links = ("left",)
    list_filter = (("why", ChoicesCheckboxFilter), ("orphaned_at", DayRange))
    search_fields = ("transfer__recording__name", "transfer__recording__camera__name", "gcp_storage_path")
    ordering = ("-orphaned_at", "id")
    fieldsets = (
        section(None, "of", ("state", "why"), time_field("orphaned_at", "Left there")),
        section(
            "The object",
            text_field("gcp_bucket", "Bucket"),
            path_field("gcp_storage_path", "Object"),
            ("object_generation", "object_crc32c", "size"),
        ),
        section(
            "Deletion",
            ("deleted_by", time_field("deletion_asked_at", "Asked for")),
            (time_field("deleted_at", "Deleted"), "detail"),
        ),
    )

    @admin.display(description="Left there", ordering="orphaned_at")
    def left(self, row: OrphanedObject) -> str | SafeString:
        return short_time(row.orphaned_at)

    @admin.display(description="Recording", ordering="transfer__recording__name")
    def of(self, row: OrphanedObject) -> SafeString:
        url = reverse("admin:cctv_gcpvideotransfer_change", args=[row.transfer_id])
        return format_html('<a class="cr-link cr-name" href="{}">{}</a>', url, row.transfer.recording.name)

    @admin.display(description="State", ordering="deleted_at")
    def state(self, row: OrphanedObject) -> SafeString:
        if row.deleted_at is not None:
            return badge("deleted", "default")
        return badge("the recording's own", "success") if row.is_found_again else badge("in the bucket", "warning")

    @admin.display(description="Size", ordering="size_bytes")
    def size(self, row: OrphanedObject) -> str:
        return human_size(row.size_bytes)
