"""The HTTP API under /api/v0/. Each route parses, calls one service or selector, and renders.

Shapes: `schemas`. Errors: `problems`. Permissions: `auth`; each route names its own.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from ninja import Body, NinjaAPI, Query, Router, Status
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from apps.cctv.http import problems, schemas
from apps.cctv.http.auth import BearerToken, Permission, caller
from apps.cctv.selectors import places as read_places
from apps.cctv.selectors import recordings as read_recordings
from apps.cctv.selectors import transfers as read_transfers
from apps.cctv.services import NotFound, cameras, holds, transfers
from apps.cctv.wiring import media_root, service_settings
from apps.users.login import login
from apps.users.models import User
from apps.users.tokens import tokens_issue, tokens_refresh, tokens_revoke

T = TypeVar("T")
VIEW = BearerToken(Permission.VIEW)
MANAGE = BearerToken(Permission.MANAGE)


class _Api(NinjaAPI):
    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**options)
        problems.describe(document)
        return document


api = _Api(
    parser=schemas.BoundedJson(),
    title="Coldreel",
    version="0",
    description=(
        "Moves recordings to Google Cloud Storage, proves that they arrived, then frees the local disk.\n\n"
        "Log in at `POST /api/v0/token/`, then send `Authorization: Bearer <access>`. "
        'Every error is `{"detail": "a sentence"}`. Times are UTC.'
    ),
)
problems.install(api)
tokens = Router(tags=["tokens"])
recordings = Router(tags=["recordings"])
gcp_transfers = Router(tags=["transfers"])
locations = Router(tags=["cameras"])


def answers(success: Any, *statuses: int, status: int = 200) -> dict[int, Any]:
    """The answers that a route declares: its success, its own errors, and those that every route has."""
    errors = dict.fromkeys((401, *statuses, 500), schemas.Problem)
    return {status: success, **errors, 422: schemas.MalformedProblem}


def secured(success: Any, *statuses: int, status: int = 200) -> dict[int, Any]:
    return answers(success, 403, *statuses, status=status)


# --- Tokens ---------------------------------------------------------------------------------------
@tokens.post("/", response=answers(schemas.LoginOut, 413, 429), auth=None, summary="Log in")
def token_obtain(request: HttpRequest, credentials: schemas.LoginIn) -> Any:
    """An access and a refresh token for a name and a password.

    Repeated failures are slowed, then locked out: 429 with `Retry-After` in seconds. An attempt that comes
    too early counts as a failure.
    """
    user = login(request=request, username=credentials.username, password=credentials.password, now=timezone.now())
    pair = tokens_issue(user)
    return {"access": pair.access, "refresh": pair.refresh, "user": user}


@tokens.post("/refresh/", response=answers(schemas.TokensOut, 413), auth=None, summary="New tokens for a refresh token")
def token_refresh(request: HttpRequest, body: schemas.RefreshIn) -> Any:  # noqa: ARG001
    """The refresh token is used up by this; the answer has the next one. A changed password ends all of them."""
    return tokens_refresh(body.refresh)


@tokens.post("/logout/", response=answers(None, 413, status=204), auth=None, summary="Log out")
def token_logout(request: HttpRequest, body: schemas.RefreshIn) -> Any:  # noqa: ARG001
    """The refresh token is revoked. The access token expires by itself."""
    tokens_revoke(body.refresh)
    return Status(204, None)


# --- Transfers ------------------------------------------------------------------------------------
@recordings.post(
    "/transfer-to-gcp/",
    response=secured(schemas.TransferRequestOut, 400, 409, 413),
    auth=MANAGE,
    tags=["transfers"],
    summary="Start transfers",
)
def transfer_request(request: HttpRequest, body: Body[schemas.TransferRequestIn | None] = None) -> Any:
    """Start the transfer of recordings to the bucket, and return before any upload begins.

    Without `recording_ids` every local recording that is ready is meant. What is under way or uploaded is
    left as it is, so asking twice starts nothing twice; what failed is started again. A recording that cannot
    be started is in `failures`, with a reason code, and stops no other. 400 where GCP storage is not configured.
    """
    body = body or schemas.TransferRequestIn()
    return transfers.transfer_request(
        recording_ids=body.recording_ids,
        batch_size=body.batch_size,
        user=caller(request),
        now=timezone.now(),
        root=media_root(),
        settings=service_settings(),
    )


@gcp_transfers.get("/", response=secured(schemas.TransferListOut), auth=VIEW, summary="List transfers")
def transfer_list(request: HttpRequest, query: Query[schemas.TransferQuery]) -> Any:
    """Newest first, a page at a time. The counts cover all transfers that you may see, whatever the filters."""
    user = caller(request)
    page = read_transfers.transfer_page(user=user, filters=query.filters(), limit=query.limit, cursor=query.cursor)
    counts = read_transfers.transfer_counts(user)
    return {**asdict(counts), "transfers": page.rows, "next_cursor": page.next_cursor}


@gcp_transfers.get(
    "/{transfer_id}/", response=secured(schemas.TransferDetailOut, 404), auth=VIEW, summary="One transfer"
)
def transfer_detail(request: HttpRequest, transfer_id: UUID) -> Any:
    """One transfer with its whole history: who moved it, when, from where to where, and why."""
    return _found(read_transfers.transfer_detail(user=caller(request), transfer_id=transfer_id), "transfer")


@gcp_transfers.post(
    "/{transfer_id}/retry/",
    response=secured(schemas.TransferOut, 400, 404, 409),
    auth=MANAGE,
    summary="Retry a failed transfer",
)
def transfer_retry(request: HttpRequest, transfer_id: UUID) -> Any:
    """Start a failed or cancelled transfer again, with a fresh budget of tries. 409 where it has not failed."""
    return transfers.transfer_retry(
        transfer_id=transfer_id, user=caller(request), now=timezone.now(), settings=service_settings()
    )


@gcp_transfers.post(
    "/{transfer_id}/cancel/", response=secured(schemas.TransferOut, 404, 409), auth=MANAGE, summary="Cancel a transfer"
)
def transfer_cancel(request: HttpRequest, transfer_id: UUID) -> Any:
    """End a transfer that waits or uploads: it has failed then, and can be retried. 409 once it is uploaded."""
    return transfers.transfer_cancel(transfer_id=transfer_id, user=caller(request), now=timezone.now())


# --- Recordings -----------------------------------------------------------------------------------
@recordings.get("/", response=secured(schemas.RecordingListOut), auth=VIEW, summary="List recordings")
def recording_list(request: HttpRequest, query: Query[schemas.RecordingQuery]) -> Any:
    """Latest start first, a page at a time."""
    user = caller(request)
    page = read_recordings.recording_page(user=user, filters=query.filters(), limit=query.limit, cursor=query.cursor)
    return {"recordings": page.rows, "next_cursor": page.next_cursor}


@recordings.get(
    "/stats/", response=secured(schemas.RecordingStatsOut), auth=VIEW, summary="How many recordings, and their bytes"
)
def recording_stats(request: HttpRequest) -> Any:
    """Sums over the recordings that you may see: by where they lie, held ones, and for each camera."""
    return schemas.RecordingStatsOut.of(read_recordings.recording_stats(caller(request)))


@recordings.get("/{recording_id}/", response=secured(schemas.RecordingOut, 404), auth=VIEW, summary="One recording")
def recording_detail(request: HttpRequest, recording_id: UUID) -> Any:
    return _found(read_recordings.recording_detail(user=caller(request), recording_id=recording_id), "recording")


@recordings.post(
    "/{recording_id}/hold/", response=secured(schemas.HoldOut, 404, 413), auth=MANAGE, summary="Hold a recording"
)
def hold_set(request: HttpRequest, recording_id: UUID, body: schemas.HoldIn) -> Any:
    """From now on neither the local file nor the object is deleted. A scheduled cleanup is called off."""
    user = caller(request)
    return _rendered(holds.hold_set(recording_id=recording_id, user=user, reason=body.reason, now=timezone.now()), user)


@recordings.delete(
    "/{recording_id}/hold/", response=secured(schemas.HoldOut, 404), auth=MANAGE, summary="Lift a recording's hold"
)
def hold_lift(request: HttpRequest, recording_id: UUID) -> Any:
    """The waiting period of the local file starts anew."""
    user = caller(request)
    report = holds.hold_lift(recording_id=recording_id, user=user, now=timezone.now(), settings=service_settings())
    return _rendered(report, user)


# --- Cameras and sites ----------------------------------------------------------------------------
@locations.get("/sites/", response=secured(schemas.SiteListOut), auth=VIEW, summary="List sites")
def site_list(request: HttpRequest) -> Any:
    return {"sites": read_places.site_list(caller(request))}


@locations.get("/cameras/", response=secured(schemas.CameraListOut), auth=VIEW, summary="List cameras")
def camera_list(request: HttpRequest, query: Query[schemas.CameraQuery]) -> Any:
    """In order of names. A private camera is listed for those who may manage, and for those with a grant."""
    return {"cameras": read_places.camera_list(user=caller(request), archived=query.archived)}


@locations.post(
    "/cameras/", response=secured(schemas.CameraOut, 404, 409, 413, status=201), auth=MANAGE, summary="Create a camera"
)
def camera_create(request: HttpRequest, body: schemas.CameraIn) -> Any:
    """409 where its site has a camera of that name, or where no site is named and there are several."""
    return Status(201, cameras.camera_create(**body.dict(), user=caller(request), now=timezone.now()))


@locations.get("/cameras/{camera_id}/", response=secured(schemas.CameraOut, 404), auth=VIEW, summary="One camera")
def camera_detail(request: HttpRequest, camera_id: UUID) -> Any:
    return _found(read_places.camera_detail(user=caller(request), camera_id=camera_id), "camera")


@locations.put(
    "/cameras/{camera_id}/", response=secured(schemas.CameraOut, 404, 409, 413), auth=MANAGE, summary="Change a camera"
)
def camera_update(request: HttpRequest, camera_id: UUID, body: schemas.CameraIn) -> Any:
    """Without `site_id` it stays where it is. 409 for another site while it has recordings."""
    return cameras.camera_update(camera_id=camera_id, **body.dict(), user=caller(request), now=timezone.now())


@locations.delete(
    "/cameras/{camera_id}/", response=secured(None, 404, 409, status=204), auth=MANAGE, summary="Delete a camera"
)
def camera_delete(request: HttpRequest, camera_id: UUID) -> Any:
    """409 while recordings exist: archive it instead."""
    cameras.camera_delete(camera_id=camera_id, user=caller(request), now=timezone.now())
    return Status(204, None)


@locations.post(
    "/cameras/{camera_id}/archive/", response=secured(schemas.CameraOut, 404), auth=MANAGE, summary="Archive a camera"
)
def camera_archive(request: HttpRequest, camera_id: UUID) -> Any:
    """Put it away; recordings and transfers stay."""
    return cameras.camera_archive(camera_id=camera_id, user=caller(request), now=timezone.now())


@locations.delete(
    "/cameras/{camera_id}/archive/", response=secured(schemas.CameraOut, 404), auth=MANAGE, summary="Take a camera back"
)
def camera_unarchive(request: HttpRequest, camera_id: UUID) -> Any:
    return cameras.camera_unarchive(camera_id=camera_id, user=caller(request), now=timezone.now())


# --- Rendering ------------------------------------------------------------------------------------
def _found(thing: T | None, name: str) -> T:
    if thing is None:
        raise NotFound(f"There is no such {name}.")
    return thing


def _rendered(report: holds.HoldReport, user: User) -> dict[str, Any]:
    recording = read_recordings.recording_detail(user=user, recording_id=report.recording.pk)
    return {"message": report.message, "local_copy_remains": report.local_copy_remains, "recording": recording}


api.add_router("/token", tokens)
# The longer prefix first: `gcp-transfers` would be taken for a recording's id.
api.add_router("/recordings/gcp-transfers", gcp_transfers)
api.add_router("/recordings", recordings)
api.add_router("", locations)
