"""What the product writes by itself: history, receipts, alarms, workers, jobs, batches. These pages only show it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesCheckboxFilter

from apps.cctv.admin_pages.base import ReadOnlyAdmin, TransferRecordAdmin, count_of
from apps.cctv.admin_pages.display import (
    NOTHING,
    badge,
    path_field,
    reason_meaning,
    section,
    short_time,
    status_badge,
    status_name,
    time_field,
)
from apps.cctv.admin_pages.filters import DayRange, OpenAlarms, OwnSiteFilter
from apps.cctv.admin_pages.site import viewer
from apps.cctv.models import (
    Alarm,
    DeletionReceipt,
    GCPVideoTransfer,
    PeriodicJob,
    PlaceEvent,
    Site,
    TransferBatch,
    TransferEvent,
    WorkerProcess,
)
from apps.cctv.selectors.alarms import alarms_shown
from apps.cctv.selectors.visibility import (
    batches_visible_to,
    jobs_visible_to,
    place_events_visible_to,
    sees_all_cameras,
    transfers_visible_to,
    workers_visible_to,
)
from apps.cctv.units import human_size, span

OUTCOME_COLOURS: dict[str, str] = {
    DeletionReceipt.Outcome.DELETING: "warning",
    DeletionReceipt.Outcome.DELETED: "success",
    DeletionReceipt.Outcome.ALREADY_MISSING: "info",
    DeletionReceipt.Outcome.PUT_BACK: "default",
}


_SITES_SEARCHED = 20


def _of(transfer: GCPVideoTransfer) -> SafeString:
    url = reverse("admin:cctv_gcpvideotransfer_change", args=[transfer.pk])
    return format_html('<a class="cr-link cr-name" href="{}">{}</a>', url, transfer.recording.name)


@admin.register(TransferEvent)
class TransferEventAdmin(TransferRecordAdmin):
    """The audit log: every move of every transfer."""

    list_display = ("happened", "of", "came_from", "led_to", "reason", "actor", "detail")
    list_display_links = ("happened",)
    list_filter = (("at", DayRange),)
    search_fields = (*TransferRecordAdmin.search_fields, "actor", "reason")
    ordering = ("-id",)
    fields = (time_field("at", "When"), "of", ("from_status", "to_status"), "why", "actor", "detail")

    @admin.display(description="When", ordering="id")
    def happened(self, row: TransferEvent) -> str | SafeString:
        return short_time(row.at)

    @admin.display(description="Recording", ordering="transfer__recording__name")
    def of(self, row: TransferEvent) -> SafeString:
        return _of(row.transfer)

    @admin.display(description="From")
    def came_from(self, row: TransferEvent) -> str:
        return status_name(row.from_status) or NOTHING

    @admin.display(description="To")
    def led_to(self, row: TransferEvent) -> SafeString:
        return status_badge(row.to_status)

    @admin.display(description="Why")
    def why(self, row: TransferEvent) -> SafeString:
        return format_html('<strong class="cr-code">{}</strong> {}', row.reason, reason_meaning(row.reason))


@admin.register(PlaceEvent)
class PlaceEventAdmin(ReadOnlyAdmin):
    """The audit log of the set-up: every change to a site, a camera or a grant."""

    list_display = ("happened", "what", "name", "site", "person", "detail", "actor")
    list_display_links = ("happened",)
    list_filter = (("what", ChoicesCheckboxFilter), OwnSiteFilter, ("at", DayRange))
    list_select_related = ("site",)
    search_fields = ("name", "site__name", "person", "detail", "actor")
    fields = (time_field("at", "When"), ("what", "actor"), ("site", "camera"), ("name", "person"), "detail")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlaceEvent]:
        return place_events_visible_to(viewer(request))

    @admin.display(description="When", ordering="id")
    def happened(self, row: PlaceEvent) -> str | SafeString:
        return short_time(row.at)


@admin.register(DeletionReceipt)
class DeletionReceiptAdmin(TransferRecordAdmin):
    """What was compared before a local file went, when, by whom, and how it ended."""

    list_display = ("opened", "of", "ended", "freed", "compared", "early", "actor")
    list_display_links = ("opened",)
    list_filter = (("outcome", ChoicesCheckboxFilter), ("compared", ChoicesCheckboxFilter), ("opened_at", DayRange))
    search_fields = (*TransferRecordAdmin.search_fields, "actor", "local_path")
    fieldsets = (
        section(
            None,
            "of",
            ("ended", "actor"),
            (time_field("opened_at", "Opened"), time_field("closed_at", "Closed")),
            ("compared", "early"),
            "detail",
        ),
        section(
            "The local file",
            path_field("local_path", "Path"),
            path_field("trash_path", "Went through"),
            "source_identity",
            "freed",
        ),
        section(
            "The object",
            time_field("proof_read_at", "The bucket showed it at"),
            ("gcp_bucket", "object_generation", "object_crc32c"),
            path_field("gcp_storage_path", "Object"),
        ),
    )

    @admin.display(description="When", ordering="opened_at")
    def opened(self, row: DeletionReceipt) -> str | SafeString:
        return short_time(row.opened_at)

    @admin.display(description="Recording", ordering="transfer__recording__name")
    def of(self, row: DeletionReceipt) -> SafeString:
        return _of(row.transfer)

    @admin.display(description="Outcome", ordering="outcome")
    def ended(self, row: DeletionReceipt) -> SafeString:
        return badge(row.get_outcome_display(), OUTCOME_COLOURS[row.outcome])

    @admin.display(description="Before its time", ordering="forced")
    def early(self, row: DeletionReceipt) -> str:
        return "Yes, --force" if row.forced else NOTHING

    @admin.display(description="Size", ordering="size_bytes")
    def freed(self, row: DeletionReceipt) -> str:
        return human_size(row.size_bytes)


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """What a person must know. Alarms clear by themselves when their cause is gone."""

    list_display = ("state", "code", "about", "told", "raised", "seen", "seen_count")
    list_display_links = ("state", "code")
    list_filter = (OpenAlarms, ("raised_at", DayRange))
    search_fields = ("code", "subject_id", "detail")
    fields = (
        ("state", "code"),
        "about",
        "detail",
        "told",
        (time_field("raised_at", "Raised"), time_field("last_seen_at", "Last seen")),
        ("seen_count", time_field("cleared_at", "Cleared")),
    )

    # Subject and detail are words that may name any camera, recording or site.
    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [name for name in self.list_display if name != "about" or sees_all_cameras(viewer(request))]

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.search_fields if sees_all_cameras(viewer(request)) else ("code",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Alarm], search_term: str
    ) -> tuple[QuerySet[Alarm], bool]:
        """Also by the name that a site has now."""
        found, has_duplicates = super().get_search_results(request, queryset, search_term)
        if search_term and sees_all_cameras(viewer(request)):
            # An alarm has the id of a site within a text: there is no column to join by.
            for pk in Site.objects.filter(name__icontains=search_term).values_list("pk", flat=True)[:_SITES_SEARCHED]:
                found |= queryset.filter(subject_id__contains=str(pk))
        return found, has_duplicates

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Alarm | None:
        row: Alarm | None = super().get_object(request, object_id, from_field)
        if row is not None:
            # The same words as in the list: what this person may not read is left out of them.
            (shown,) = alarms_shown([row], sees_all=sees_all_cameras(viewer(request)))
            row.detail = shown.detail
            row.words = shown.subject  # type: ignore[attr-defined]
        return row

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The subjects of a page are looked up together."""
        page: ChangeList = super().get_changelist_instance(request)
        for shown in alarms_shown(page.result_list, sees_all=sees_all_cameras(viewer(request))):
            shown.alarm.words = shown.subject  # type: ignore[attr-defined]
        return page

    @admin.display(description="Subject")
    def about(self, row: Alarm) -> str:
        return getattr(row, "words", "")

    @admin.display(description="State", ordering="cleared_at")
    def state(self, row: Alarm) -> SafeString:
        return badge("open", "danger") if row.cleared_at is None else badge("cleared", "success")

    @admin.display(description="Meaning")
    def told(self, row: Alarm) -> SafeString:
        return reason_meaning(row.code)

    @admin.display(description="Raised", ordering="raised_at")
    def raised(self, row: Alarm) -> str | SafeString:
        return short_time(row.raised_at)

    @admin.display(description="Last seen", ordering="last_seen_at")
    def seen(self, row: Alarm) -> str | SafeString:
        return short_time(row.last_seen_at)


@admin.register(WorkerProcess)
class WorkerProcessAdmin(ReadOnlyAdmin):
    list_display = ("process", "site", "heartbeat", "started", "stopped")
    list_select_related = ("site",)
    fields = (
        ("host", "pid"),
        "site",
        "id",
        "installation_id",
        (
            time_field("started_at", "Started"),
            time_field("heartbeat_at", "Last heartbeat"),
            time_field("stopped_at", "Stopped"),
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkerProcess]:
        return workers_visible_to(viewer(request))

    @admin.display(description="Process")
    def process(self, row: WorkerProcess) -> str:
        return str(row)

    @admin.display(description="Heartbeat", ordering="heartbeat_at")
    def heartbeat(self, row: WorkerProcess) -> str:
        return f"{span(timezone.now() - row.heartbeat_at)} ago"

    @admin.display(description="Started", ordering="started_at")
    def started(self, row: WorkerProcess) -> str | SafeString:
        return short_time(row.started_at)

    @admin.display(description="Stopped", ordering="stopped_at")
    def stopped(self, row: WorkerProcess) -> str | SafeString:
        return short_time(row.stopped_at)


@admin.register(PeriodicJob)
class PeriodicJobAdmin(ReadOnlyAdmin):
    list_display = ("name", "next_run", "finished", "last_result")
    fields = (
        "name",
        time_field("next_run_at", "Next run"),
        (time_field("last_started_at", "Last started"), time_field("last_finished_at", "Last finished")),
        "last_result",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PeriodicJob]:
        return jobs_visible_to(viewer(request))

    # A result may name what failed.
    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [name for name in self.list_display if name != "last_result" or sees_all_cameras(viewer(request))]

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[Any]:
        return [name for name in self.fields if name != "last_result" or sees_all_cameras(viewer(request))]

    @admin.display(description="Next run", ordering="next_run_at")
    def next_run(self, row: PeriodicJob) -> str | SafeString:
        return short_time(row.next_run_at)

    @admin.display(description="Last finished", ordering="last_finished_at")
    def finished(self, row: PeriodicJob) -> str | SafeString:
        return short_time(row.last_finished_at)


@admin.register(TransferBatch)
class TransferBatchAdmin(ReadOnlyAdmin):
    """Transfers asked for together."""

    list_display = ("created", "kind", "batch_size", "created_by", "transfers")
    list_filter = (("kind", ChoicesCheckboxFilter), ("created_at", DayRange))
    list_select_related = ("created_by",)
    fields = ("id", ("kind", "batch_size"), ("created_by", time_field("created_at", "Created")), "transfers")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TransferBatch]:
        user = viewer(request)
        return batches_visible_to(user).annotate(transfer_count=count_of(transfers_visible_to(user), "batch"))

    @admin.display(description="Created", ordering="created_at")
    def created(self, row: TransferBatch) -> str | SafeString:
        return short_time(row.created_at)

    @admin.display(description="Transfers", ordering="transfer_count")
    def transfers(self, row: Any) -> int:
        return int(row.transfer_count)
