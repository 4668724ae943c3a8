"""What a person may do to rows: one table of verbs, offered in lists and on detail pages alike.

Each verb asks before it acts (GET and the list's action show a page, only its POST acts), asks the same
permission as the API, and calls one service a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.forms import CharField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from apps.cctv.admin_pages.base import RoleAdmin
from apps.cctv.admin_pages.site import viewer
from apps.cctv.models import Camera, GCPVideoTransfer, OrphanedObject, Recording
from apps.cctv.services import ServiceError
from apps.cctv.services.cameras import camera_archive, camera_unarchive
from apps.cctv.services.cleanup import FileReport, Outcome, cleanup_run
from apps.cctv.services.holds import hold_lift, hold_set
from apps.cctv.services.orphans import orphan_delete
from apps.cctv.services.transfers import transfer_cancel, transfer_request, transfer_retry
from apps.cctv.tables.moves import MoveRefused
from apps.cctv.units import human_size
from apps.cctv.wiring import media_root, object_store, service_settings
from apps.users.models import User
from apps.users.permissions import Permission, may
from offload.clock import SystemClock
from offload.errors import OffloadError
from offload.reasons import MEANING
from offload.states import MOVES, Move, State

SELECTED_AT_MOST = 500
"""Their ids travel through the page that asks; Django takes 1,000 form fields."""
CLEANED_AT_MOST = 50
"""Each is a run with all its guards, while the person waits. For more there is the command."""
TOLD_ONE_BY_ONE = 5
BATCH_SIZE = 5


class Refused(Exception):
    """The verb was not carried out; the text is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, when, and with which words."""

    user: User
    now: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """`one` carries it out on a row and returns what to say; it raises Refused, or what services raise."""

    name: str
    title: str
    symbol: str
    question: str
    applies: Callable[[Any], bool]
    one: Callable[[Any, Asked], str]
    wants_reason: bool = False
    dangerous: bool = False
    at_most: int = SELECTED_AT_MOST


@dataclass(slots=True)
class Outcomes:
    """What was said of each row."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


# --- What each verb does --------------------------------------------------------------------------
def _retry(row: GCPVideoTransfer, asked: Asked) -> str:
    transfer_retry(transfer_id=row.pk, user=asked.user, now=asked.now, settings=service_settings())
    return "The upload begins again within seconds."


def _cancel(row: GCPVideoTransfer, asked: Asked) -> str:
    transfer_cancel(transfer_id=row.pk, user=asked.user, now=asked.now)
    return "Cancelled. The local file stays where it is."


def _hold(row: GCPVideoTransfer | Recording, asked: Asked) -> str:
    return hold_set(recording_id=_recording_id(row), user=asked.user, reason=asked.reason, now=asked.now).message


def _lift(row: GCPVideoTransfer | Recording, asked: Asked) -> str:
    recording_id = _recording_id(row)
    return hold_lift(recording_id=recording_id, user=asked.user, now=asked.now, settings=service_settings()).message


def _clean_up(row: GCPVideoTransfer, asked: Asked) -> str:
    told: list[FileReport] = []
    report = cleanup_run(
        store=object_store(),
        root=media_root(),
        clock=SystemClock(),
        actor=asked.user.get_username(),
        settings=service_settings(),
        force=True,
        transfer_id=row.pk,
        on_file=told.append,
    )
    if report.stopped is not None:
        raise Refused(report.stopped_detail or MEANING[report.stopped])
    for file in told:
        if file.outcome in {Outcome.SKIPPED, Outcome.FAILED}:
            raise Refused(file.detail or MEANING[file.reason])
    if not told:
        raise Refused("It does not wait for its cleanup any more.")
    return f"{human_size(report.freed_bytes)} freed, with a deletion receipt."


def _delete_orphan(row: OrphanedObject, asked: Asked) -> str:
    orphan_delete(orphan_id=row.pk, store=object_store(), user=asked.user, now=asked.now)
    return f"Generation {row.object_generation} is gone from the bucket. Its row stays."


def _transfer(row: Recording, asked: Asked) -> str:
    report = transfer_request(
        recording_ids=[row.pk],
        batch_size=BATCH_SIZE,
        user=asked.user,
        now=asked.now,
        root=media_root(),
        settings=service_settings(),
    )
    for failure in report.failures:
        raise Refused(failure.detail)
    return "The upload begins within seconds." if report.initiated_transfers else "It was transferred already."


def _archive(row: Camera, asked: Asked) -> str:
    camera_archive(camera_id=row.pk, user=asked.user, now=asked.now)
    return "Archived."


def _unarchive(row: Camera, asked: Asked) -> str:
    camera_unarchive(camera_id=row.pk, user=asked.user)
    return "In use again."


def _can_be_transferred(row: Recording) -> bool:
    transfer = getattr(row, "gcp_transfer", None)
    if transfer is not None:
        return _may_start_from(Move.RETRY)(transfer)
    return row.storage_type == Recording.StorageType.LOCAL and row.status == Recording.Status.READY


def _recording_id(row: GCPVideoTransfer | Recording) -> UUID:
    return row.pk if isinstance(row, Recording) else row.recording_id


def _recording(row: GCPVideoTransfer | Recording | OrphanedObject) -> Recording:
    if isinstance(row, OrphanedObject):
        return row.transfer.recording
    return row if isinstance(row, Recording) else row.recording


def _may_start_from(move: Move) -> Callable[[GCPVideoTransfer], bool]:
    return lambda row: State(row.transfer_status) in MOVES[move].sources


TRANSFER = Verb(
    "transfer",
    "Transfer",
    "cloud_upload",
    "Upload to the bucket? Each file is verified there; its local copy goes after the waiting period.",
    applies=_can_be_transferred,
    one=_transfer,
)
RETRY = Verb(
    "retry",
    "Retry",
    "refresh",
    "Upload again? It starts within seconds, with a fresh budget of tries, and resumes where it can.",
    applies=_may_start_from(Move.RETRY),
    one=_retry,
)
CANCEL = Verb(
    "cancel",
    "Cancel",
    "cancel",
    "Stop the upload? The local file stays, nothing in the bucket is deleted, and a retry starts it again.",
    applies=_may_start_from(Move.CANCEL),
    one=_cancel,
    dangerous=True,
)
HOLD = Verb(
    "hold",
    "Hold",
    "lock",
    "Hold? Neither the local file nor the object in the bucket is deleted until the hold is lifted.",
    applies=lambda row: not _recording(row).hold_wanted,
    one=_hold,
    wants_reason=True,
)
LIFT = Verb(
    "lift_hold",
    "Lift hold",
    "lock_open",
    "Lift the hold? The waiting period starts anew; after it the local file is deleted.",
    applies=lambda row: _recording(row).hold_wanted,
    one=_lift,
)
CLEAN_UP = Verb(
    "clean_up",
    "Clean up now",
    "delete_sweep",
    "Free the local disk now, before the waiting period is over? First the object is read back from the bucket and "
    "the file is compared with what was uploaded. Held recordings and anything in doubt stay.",
    applies=lambda row: row.transfer_status == State.CLEANUP_PENDING and not row.recording.hold_wanted,
    one=_clean_up,
    dangerous=True,
    at_most=CLEANED_AT_MOST,
)

DELETE_ORPHAN = Verb(
    "delete_orphan",
    "Delete from the bucket",
    "delete_forever",
    "Delete this object for good? Nothing brings it back. First the recording's own object is read back from "
    "the bucket and proven; an object of another installation, of a held recording, or without such a proof stays.",
    applies=lambda row: row.deleted_at is None and not row.is_found_again and not _recording(row).hold_wanted,
    one=_delete_orphan,
    dangerous=True,
    at_most=CLEANED_AT_MOST,
)


ARCHIVE = Verb(
    "archive",
    "Archive",
    "archive",
    "Put the camera away? Its recordings and transfers stay, and it can be taken back.",
    applies=lambda row: row.archived_at is None,
    one=_archive,
)
UNARCHIVE = Verb(
    "unarchive",
    "Take back",
    "unarchive",
    "Take the camera back into use?",
    applies=lambda row: row.archived_at is not None,
    one=_unarchive,
)


_KINDS: dict[type[Model], str] = {Camera: "camera", OrphanedObject: "object"}


# --- Pages ----------------------------------------------------------------------------------------
class VerbsAdmin(RoleAdmin):
    """A list and a detail page with verbs."""

    verbs: ClassVar[tuple[Verb, ...]] = ()
    change_form_outer_before_template = "cctv/verbs.html"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not may(request.user, Permission.MANAGE):
            return {}
        return {verb.name: (_list_action(verb), verb.name, verb.title) for verb in self.verbs}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_http_methods(["GET", "HEAD", "POST"])(self.verb_view))
        name = f"{self.opts.app_label}_{self.opts.model_name}_do"
        return [path("<uuid:object_id>/do/<slug:verb_name>/", view, name=name), *super().get_urls()]

    def verb_view(self, request: HttpRequest, object_id: UUID, verb_name: str) -> HttpResponse:
        """The page that asks (GET) and acts (POST) on one row."""
        verb = next((verb for verb in self.verbs if verb.name == verb_name), None)
        rows = self.get_queryset(request).filter(pk=object_id)
        if verb is None or not rows.exists():
            raise Http404
        back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[object_id])
        return self.ask_or_act(request, verb, rows, back=back) or HttpResponseRedirect(back)

    def ask_or_act(
        self, request: HttpRequest, verb: Verb, rows: QuerySet[Any], *, back: str = ""
    ) -> TemplateResponse | None:
        """The page that asks, or None after the verb was carried out. Raises PermissionDenied."""
        if not may(request.user, Permission.MANAGE):
            raise PermissionDenied
        confirmed = request.method == "POST" and "confirmed" in request.POST
        reason, complaint = _reason_of(request) if verb.wants_reason and confirmed else ("", "")
        chosen = list(rows[: verb.at_most + 1])
        if len(chosen) > verb.at_most:
            self.message_user(request, f"{verb.title}: at most {verb.at_most} at a time.", messages.ERROR)
            return None
        if not confirmed or complaint:
            return self._ask(request, verb, chosen, back=back, complaint=complaint)
        self._tell(request, verb, _carry_out(verb, chosen, Asked(viewer(request), timezone.now(), reason)))
        return None

    def _ask(self, request: HttpRequest, verb: Verb, rows: list[Any], *, back: str, complaint: str) -> TemplateResponse:
        return TemplateResponse(
            request,
            "cctv/confirm.html",
            {
                **self.admin_site.each_context(request),
                "title": verb.title,
                "opts": self.opts,
                "verb": verb,
                "rows": [_listed(row) for row in rows if verb.applies(row)],
                "others": [_listed(row) for row in rows if not verb.applies(row)],
                "kind": _KINDS.get(self.model, "recording"),
                "complaint": complaint,
                "back": back or request.get_full_path(),
                "from_list": not back,
                "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            },
        )

    def _tell(self, request: HttpRequest, verb: Verb, outcomes: Outcomes) -> None:
        for told, level in ((outcomes.done, messages.SUCCESS), (outcomes.refused, messages.WARNING)):
            for text in told[:TOLD_ONE_BY_ONE]:
                self.message_user(request, text, level)
            if len(told) > TOLD_ONE_BY_ONE:
                self.message_user(request, f"{verb.title}: {len(told) - TOLD_ONE_BY_ONE} more likewise.", level)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "verbs": self._verbs_for(request, object_id)}
        return cast("HttpResponse", super().changeform_view(request, object_id, form_url, context))

    def _verbs_for(self, request: HttpRequest, object_id: str | None) -> list[Verb]:
        row = self.get_object(request, object_id) if object_id and may(request.user, Permission.MANAGE) else None
        return [] if row is None else [verb for verb in self.verbs if verb.applies(row)]


def _reason_of(request: HttpRequest) -> tuple[str, str]:
    """The words that go into the history, or what is wrong with them."""
    field = CharField(max_length=500, error_messages={"required": "Say why: it stands in the recording's history."})
    try:
        return field.clean(request.POST.get("reason", "")), ""
    except ValidationError as error:
        return "", error.messages[0]


def _list_action(verb: Verb) -> Callable[[VerbsAdmin, HttpRequest, QuerySet[Model]], HttpResponse | None]:
    def act(model_admin: VerbsAdmin, request: HttpRequest, queryset: QuerySet[Model]) -> HttpResponse | None:
        return model_admin.ask_or_act(request, verb, queryset)

    return act


def _listed(row: GCPVideoTransfer | Recording | Camera | OrphanedObject) -> tuple[UUID, str, str]:
    """Id, name, and what stands beside it."""
    if isinstance(row, Camera):
        return row.pk, row.name, row.site.name
    recording = _recording(row)
    if isinstance(row, OrphanedObject):
        return row.pk, recording.name, f"{row.gcp_storage_path}#{row.object_generation}, {human_size(row.size_bytes)}"
    return row.pk, recording.name, f"{recording.camera.name}, {human_size(row.file_size_bytes)}"


def _carry_out(verb: Verb, rows: Iterable[Any], asked: Asked) -> Outcomes:
    outcomes = Outcomes()
    for row in rows:
        _, name, _ = _listed(row)
        try:
            outcomes.done.append(f"{name}: {verb.one(row, asked)}")
        except ServiceError as error:
            outcomes.refused.append(f"{name}: {error.detail}")
        except OffloadError as error:
            outcomes.refused.append(f"{name}: {MEANING[error.code]}")
        except (MoveRefused, Refused) as error:
            outcomes.refused.append(f"{name}: {error}")
    return outcomes
