"""Orphaned objects: what uploads left in the bucket. To be read, and deleted one by one or as ticked."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin import display
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesCheckboxFilter

from apps.cctv.admin_pages.actions import ActionsAdmin
from apps.cctv.admin_pages.base import OfTransferAdmin
from apps.cctv.admin_pages.display import badge, moment_of, path_of, section, text_of, when
from apps.cctv.admin_pages.filters import DayRange
from apps.cctv.models import OrphanedObject
from apps.cctv.units import human_size


@admin.register(OrphanedObject)
class OrphanedObjectAdmin(ActionsAdmin, OfTransferAdmin):
    """Seen by who may see the transfer; deleted from the bucket by who may manage; the rows stay."""

    list_display = ("left", "of", "state", "why", "size", "gcp_storage_path")
    list_display_links = ("left",)
    list_filter = (("why", ChoicesCheckboxFilter), ("orphaned_at", DayRange))
    search_fields = ("transfer__recording__name", "transfer__recording__camera__name", "gcp_storage_path")
    ordering = ("-orphaned_at", "id")
    fieldsets = (
        section(None, "of", ("state", "why"), moment_of("orphaned_at", "Left there")),
        section(
            "The object",
            text_of("gcp_bucket", "Bucket"),
            path_of("gcp_storage_path", "Object"),
            ("object_generation", "object_crc32c", "size"),
        ),
        section(
            "Deletion",
            ("deleted_by", moment_of("deletion_asked_at", "Asked for")),
            (moment_of("deleted_at", "Deleted"), "detail"),
        ),
    )

    @display(description="Left there", ordering="orphaned_at")
    def left(self, row: OrphanedObject) -> str | SafeString:
        return when(row.orphaned_at)

    @display(description="Recording", ordering="transfer__recording__name")
    def of(self, row: OrphanedObject) -> SafeString:
        url = reverse("admin:cctv_gcpvideotransfer_change", args=[row.transfer_id])
        return format_html('<a class="cr-link cr-name" href="{}">{}</a>', url, row.transfer.recording.name)

    @display(description="State", ordering="deleted_at")
    def state(self, row: OrphanedObject) -> SafeString:
        if row.deleted_at is not None:
            return badge("deleted", "default")
        return badge("the recording's own", "success") if row.is_found_again else badge("in the bucket", "warning")

    @display(description="Size", ordering="size_bytes")
    def size(self, row: OrphanedObject) -> str:
        return human_size(row.size_bytes)
