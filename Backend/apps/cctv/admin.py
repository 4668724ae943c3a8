"""The admin's pages of transfers and recordings. The other pages are in `apps.cctv.admin_pages`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesCheckboxFilter

from apps.cctv.admin_pages import orphans, people, places, records
from apps.cctv.admin_pages.actions import ActionsAdmin
from apps.cctv.admin_pages.base import ReadOnlyAdmin
from apps.cctv.admin_pages.display import (
    NOTHING,
    badge,
    full_time,
    path_field,
    progress_bar,
    reason_meaning,
    section,
    short_time,
    status_badge,
    status_name,
    text_field,
    time_field,
)
from apps.cctv.admin_pages.filters import (
    CameraFilter,
    Completion,
    DayRange,
    Held,
    OwnSiteFilter,
    SiteFilter,
    TransferCameraFilter,
    TransferHeld,
)
from apps.cctv.admin_pages.site import viewer
from apps.cctv.models import GCPVideoTransfer, Recording
from apps.cctv.selectors.visibility import recordings_visible_to, transfers_visible_to
from apps.cctv.units import human_size
from offload.source import SourceIdentity

__all__ = ["GCPVideoTransferAdmin", "RecordingAdmin", "orphans", "people", "places", "records"]


@admin.register(GCPVideoTransfer)
class GCPVideoTransferAdmin(ActionsAdmin, ReadOnlyAdmin):
    """Transfers: shown, and changed by actions only."""

    list_display = (
        "status",
        "recording_name",
        "size",
        "progress",
        "created",
        "started",
        "completed",
        "cleanup",
    )
    list_display_links = ("status", "recording_name")
    list_filter = (
        ("transfer_status", ChoicesCheckboxFilter),
        Completion,
        TransferHeld,
        TransferCameraFilter,
        OwnSiteFilter,
        ("created_at", DayRange),
        ("upload_completed_at", DayRange),
        ("cleanup_scheduled_at", DayRange),
    )
    search_fields = ("recording__name", "recording__camera__name", "gcp_storage_path")
    search_help_text = "Recording, camera or object path"
    change_form_outer_after_template = "cctv/history.html"
    fieldsets = (
        section(
            "Where it stands",
            ("status", "progress"),
            "trouble",
            ("recording_link", "camera_name"),
            ("held", "bytes_confirmed"),
        ),
        section(
            "Times",
            (time_field("created_at", "Created"), time_field("upload_started_at", "Upload started")),
            (
                time_field("upload_completed_at", "Uploaded and verified"),
                time_field("object_stored_at", "Stored, by the bucket's clock"),
            ),
            (
                time_field("cleanup_scheduled_at", "Cleanup due"),
                time_field("cleanup_completed_at", "Local file deleted"),
            ),
        ),
        section(
            "In the bucket",
            (text_field("gcp_bucket", "Bucket"), "proof"),
            path_field("gcp_storage_path", "Object"),
            path_field("gcp_public_url", "Address (no grant: the bucket stays private)"),
        ),
        section("On the local disk", path_field("original_local_path", "Path below the media root"), "identity"),
        section(
            "Work",
            ("batch", "initiated_by"),
            ("retry_count", "failures_in_row"),
            (time_field("next_attempt_at", "Next try"), "lease"),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[GCPVideoTransfer]:
        # The session URI is a key (P10): these pages do not even read it.
        rows = transfers_visible_to(viewer(request)).select_related(
            "recording__camera", "batch", "site", "initiated_by"
        )
        return rows.defer("session_uri", "session_identity")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id) if object_id else None
        context = {**(extra_context or {}), "subtitle": None}
        if row is not None:
            context |= {"title": row.recording.name, "events": row.events.all(), "receipts": row.receipts.all()}
            context |= {"orphans": [orphan for orphan in row.orphans.all() if not orphan.is_found_again]}
        return super().changeform_view(request, object_id, form_url, context)

    # --- In the list ---
    @display(description="Status", ordering="transfer_status")
    def status(self, row: GCPVideoTransfer) -> SafeString:
        return status_badge(row.transfer_status)

    @display(description="Recording", ordering="recording__name")
    def recording_name(self, row: GCPVideoTransfer) -> SafeString:
        return _named(row.recording)

    @display(description="Size", ordering="file_size_bytes")
    def size(self, row: GCPVideoTransfer) -> str:
        return human_size(row.file_size_bytes)

    @display(description="Progress")
    def progress(self, row: GCPVideoTransfer) -> SafeString:
        return progress_bar(row.progress_percent, row.transfer_status)

    @display(description="Created", ordering="created_at")
    def created(self, row: GCPVideoTransfer) -> str | SafeString:
        return short_time(row.created_at)

    @display(description="Started", ordering="upload_started_at")
    def started(self, row: GCPVideoTransfer) -> str | SafeString:
        return short_time(row.upload_started_at)

    @display(description="Completed", ordering="upload_completed_at")
    def completed(self, row: GCPVideoTransfer) -> str | SafeString:
        return short_time(row.upload_completed_at)

    @display(description="Cleanup", ordering="cleanup_scheduled_at")
    def cleanup(self, row: GCPVideoTransfer) -> str | SafeString:
        """Done at, or else due at."""
        if row.cleanup_completed_at is not None:
            return short_time(row.cleanup_completed_at)
        return short_time(row.cleanup_scheduled_at, word="due")

    # --- On the detail page ---
    @display(description="What is wrong")
    def trouble(self, row: GCPVideoTransfer) -> str | SafeString:
        if not row.error_code:
            return "Needs a person's eye" if row.needs_attention else NOTHING
        return format_html(
            '<strong class="cr-code">{}</strong> {}<br>{}',
            row.error_code,
            reason_meaning(row.error_code),
            row.error_message,
        )

    @display(description="Recording")
    def recording_link(self, row: GCPVideoTransfer) -> SafeString:
        url = reverse("admin:cctv_recording_change", args=[row.recording_id])
        return format_html('<a class="cr-link" href="{}">{}</a>', url, row.recording.name)

    @display(description="Camera")
    def camera_name(self, row: GCPVideoTransfer) -> str:
        return f"{row.recording.camera.name}, {row.site.name}"

    @display(description="Legal hold")
    def held(self, row: GCPVideoTransfer) -> str:
        return _hold(row.recording)

    @display(description="Confirmed by the bucket")
    def bytes_confirmed(self, row: GCPVideoTransfer) -> str:
        return f"{human_size(row.bytes_uploaded)} of {human_size(row.file_size_bytes)}"

    @display(description="Generation and CRC32C")
    def proof(self, row: GCPVideoTransfer) -> str | SafeString:
        if row.object_generation is None:
            return NOTHING
        return format_html("<code>{}</code> · <code>{}</code>", row.object_generation, row.object_crc32c)

    @display(description="The file that was uploaded")
    def identity(self, row: GCPVideoTransfer) -> str:
        return NOTHING if not row.source_identity else _identity(SourceIdentity.decode(row.source_identity))

    @display(description="Worker's lease")
    def lease(self, row: GCPVideoTransfer) -> str:
        if row.lease_owner is None:
            return NOTHING
        return f"{row.lease_owner}, number {row.lease_number}, until {full_time(row.lease_expires_at)}"


@admin.register(Recording)
class RecordingAdmin(ActionsAdmin, ReadOnlyAdmin):
    """Recordings: registered by the import, and changed by actions only."""

    list_display = ("recording_name", "started", "duration", "size", "storage", "transfer_status")
    list_display_links = ("recording_name",)
    list_filter = (
        ("storage_type", ChoicesCheckboxFilter),
        ("status", ChoicesCheckboxFilter),
        Held,
        CameraFilter,
        SiteFilter,
        ("started_at", DayRange),
    )
    search_fields = ("name", "camera__name", "local_path")
    search_help_text = "Recording, camera or path"
    fieldsets = (
        section(
            None,
            ("camera", "status"),
            (time_field("started_at", "Began"), time_field("ended_at", "Ended")),
            ("duration", "picture"),
            ("size", "storage"),
        ),
        section(
            "Files",
            path_field("file_path", "To be read at"),
            path_field("local_path", "Lies or lay at, below the media root"),
            "transfer_link",
        ),
        section("Legal hold", "held", ("held_by", time_field("held_at", "Since")), "hold_reason"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recording]:
        rows = recordings_visible_to(viewer(request)).select_related("camera__site", "gcp_transfer", "held_by")
        return rows.defer("gcp_transfer__session_uri", "gcp_transfer__session_identity")

    @display(description="Recording", ordering="name")
    def recording_name(self, row: Recording) -> SafeString:
        return _named(row)

    @display(description="Began", ordering="started_at")
    def started(self, row: Recording) -> str | SafeString:
        return short_time(row.started_at)

    @display(description="Length", ordering="duration_seconds")
    def duration(self, row: Recording) -> str:
        if row.duration_seconds is None:
            return NOTHING
        minutes, seconds = divmod(round(row.duration_seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"

    @display(description="Size", ordering="file_size_bytes")
    def size(self, row: Recording) -> str:
        return human_size(row.file_size_bytes)

    @display(description="Storage", ordering="storage_type")
    def storage(self, row: Recording) -> SafeString:
        local = row.storage_type == Recording.StorageType.LOCAL
        return badge("local disk", "default") if local else badge("bucket", "success")

    @display(description="Transfer", ordering="gcp_transfer__transfer_status")
    def transfer_status(self, row: Recording) -> str | SafeString:
        transfer = getattr(row, "gcp_transfer", None)
        return NOTHING if transfer is None else status_badge(transfer.transfer_status)

    @display(description="Picture")
    def picture(self, row: Recording) -> str:
        return f"{row.codec} {row.width_pixels}x{row.height_pixels}" if row.width_pixels else row.codec or NOTHING

    @display(description="Transfer")
    def transfer_link(self, row: Recording) -> str | SafeString:
        transfer = getattr(row, "gcp_transfer", None)
        if transfer is None:
            return "Not asked for yet"
        url = reverse("admin:cctv_gcpvideotransfer_change", args=[transfer.pk])
        return format_html('<a class="cr-link" href="{}">{}</a>', url, status_name(transfer.transfer_status))

    @display(description="Now")
    def held(self, row: Recording) -> str:
        return _hold(row)


def _named(recording: Recording) -> SafeString:
    """Name over camera; a lock where it is held."""
    lock = format_html('<span class="material-symbols-outlined cr-lock" title="{}">lock</span>', "Held")
    return format_html(
        '<span class="cr-name">{}{} <small>{}</small></span>',
        lock if recording.hold_wanted else "",
        recording.name,
        recording.camera.name,
    )


def _hold(recording: Recording) -> str:
    """A hold as the person set it, and as the bucket has it."""
    if recording.hold_wanted:
        return "Held, and the bucket holds it too" if recording.hold_confirmed else "Held"
    return "Lifted; the bucket still holds it" if recording.hold_confirmed else "Not held"


def _identity(found: SourceIdentity) -> str:
    return f"device {found.device}, inode {found.inode}, {found.size_bytes:,} bytes, mtime {found.mtime_ns} ns"
