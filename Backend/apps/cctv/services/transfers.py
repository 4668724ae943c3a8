"""Asking for transfers: request, retry, cancel.

A request reads the recordings page by page, looks at each file once (outside any transaction) and stores
at most `PAGE_ROWS` rows a transaction: 100,000 recordings neither hold the database for long nor fill the
memory. Asking twice, also at the same moment, starts nothing twice: a recording has at most one transfer,
and the database says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.db.models import BooleanField, Case, F, PositiveBigIntegerField, Value, When

from apps.cctv.installation import InstallationUnknown, installation_id
from apps.cctv.leasing.wakeup import wake_workers
from apps.cctv.models import GCPVideoTransfer, Recording, TransferBatch
from apps.cctv.selectors.visibility import transfers_visible_to
from apps.cctv.services import Conflict, NotConfigured, NotFound
from apps.cctv.services.settings import ServiceSettings
from apps.users.models import User
from offload.errors import FileProblem, Reason
from offload.naming import object_name, public_url
from offload.reasons import MEANING
from offload.source import MediaRoot
from offload.states import Move, State

log = structlog.get_logger("coldreel.transfer")

PAGE_ROWS = 1000
RETRY_BATCH_SIZE = 5

_NAME_IN_USE = (Reason.OBJECT_CONFLICT, Reason.OBJECT_EXISTS, Reason.OBJECT_DIFFERS)
"""After these, another object is under the name. A retry compares it with the file: the same bytes are adopted, and
where they differ the next name is taken, since nothing is overwritten (P2)."""


@dataclass(frozen=True, slots=True)
class InitiationFailure:
    """A recording that could not be started. `detail` is for people and holds no path."""

    recording_id: str
    reason: Reason
    detail: str


@dataclass(slots=True)
class RequestReport:
    """What came of one request. Every recording considered is counted once."""

    batch_id: UUID
    transfer_ids: list[UUID] = field(default_factory=list)
    already_transferred: int = 0
    failures: list[InitiationFailure] = field(default_factory=list)

    @property
    def initiated_transfers(self) -> int:
        return len(self.transfer_ids)

    @property
    def failed_initiations(self) -> int:
        return len(self.failures)

    @property
    def total_recordings(self) -> int:
        return self.initiated_transfers + self.already_transferred + self.failed_initiations

    def fail(self, recording_id: object, reason: Reason) -> None:
        self.failures.append(InitiationFailure(str(recording_id), reason, MEANING[reason]))


def transfer_request(
    *,
    recording_ids: Sequence[str | UUID] | None,
    batch_size: int,
    user: User,
    now: datetime,
    root: MediaRoot,
    settings: ServiceSettings,
) -> RequestReport:
    """Start a transfer for each of `recording_ids`, or for every local recording that is ready where it is None.

    What is under way or uploaded is left as it is; what failed is started again. A recording that cannot
    be started is a failure in the report and stops no other. The batch is stored with its first transfer,
    so a request that starts nothing adds no row. Raises NotConfigured, Conflict.
    """
    request = _Request(batch_size=batch_size, user=user, now=now, root=root, bucket=_bucket(settings))
    for page in request.pages(recording_ids):
        request.start(page)
    report = request.report
    log.info(
        "transfers_requested",
        batch=str(report.batch_id),
        actor=user.get_username(),
        considered=report.total_recordings,
        initiated=report.initiated_transfers,
        already_transferred=report.already_transferred,
        failed=report.failed_initiations,
    )
    return report


def transfer_retry(*, transfer_id: UUID, user: User, now: datetime, settings: ServiceSettings) -> GCPVideoTransfer:
    """Start a failed transfer again, with a fresh budget, in a batch of its own.

    Raises NotFound, NotConfigured, and MoveRefused where it has not failed.
    """
    bucket = _bucket(settings)
    row = _transfer_of(transfer_id, user)
    with transaction.atomic():
        batch = TransferBatch.objects.create(
            kind=TransferBatch.Kind.RETRY, batch_size=RETRY_BATCH_SIZE, created_by=user, created_at=now
        )
        changes = _fresh_start(batch.pk, user, now) | _other_object(_Former.of(row), bucket)
        GCPVideoTransfer.objects.move(
            row.pk, Move.RETRY, actor=user.get_username(), now=now, reason=Reason.RETRIED, changes=changes
        )
        wake_workers(row.site_id)
    return _logged("transfer_retried", row, user, Reason.RETRIED)


def transfer_cancel(*, transfer_id: UUID, user: User, now: datetime) -> GCPVideoTransfer:
    """End a transfer that is not uploaded yet; a retry starts it again.

    A worker in the middle of it loses its lease and records nothing (P6). Its session is forgotten, so
    the bucket lets it expire. Raises NotFound, and MoveRefused where there is nothing left to cancel.
    """
    row = _transfer_of(transfer_id, user)
    GCPVideoTransfer.objects.move(
        row.pk,
        Move.CANCEL,
        actor=user.get_username(),
        now=now,
        reason=Reason.CANCELLED,
        changes={
            "error_code": Reason.CANCELLED,
            "error_message": f"Cancelled by {user.get_username()}.",
            "next_attempt_at": None,
            **_NO_SESSION,
        },
    )
    return _logged("transfer_cancelled", row, user, Reason.CANCELLED)


# --- One request ----------------------------------------------------------------------------------
class _Row(NamedTuple):
    """What a request needs to know of a recording and of its transfer, if there is one."""

    pk: UUID
    camera_id: UUID
    camera__site_id: UUID
    status: str
    storage_type: str
    local_path: str
    gcp_transfer__pk: UUID | None
    gcp_transfer__transfer_status: str | None
    gcp_transfer__gcp_bucket: str | None
    gcp_transfer__name_version: int | None
    gcp_transfer__original_local_path: str | None
    gcp_transfer__file_size_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A recording whose file is there: its path below the media root and its size."""

    row: _Row
    path: str
    size_bytes: int


def _rows(**conditions: Any) -> list[_Row]:
    found = Recording.objects.filter(**conditions).order_by("pk").values_list(*_Row._fields)
    return [_Row(*values) for values in found[:PAGE_ROWS]]


class _Request:
    """One call of `transfer_request`: what it was asked with, and its report."""

    def __init__(self, *, batch_size: int, user: User, now: datetime, root: MediaRoot, bucket: str) -> None:
        self.report = RequestReport(batch_id=uuid4())
        self._installation_id = _installation_id()
        self._bucket = bucket
        self._batch_size = batch_size
        self._user = user
        self._now = now
        self._root = root

    def pages(self, recording_ids: Sequence[str | UUID] | None) -> Iterator[list[_Row]]:
        """The recordings of those ids, each once, or all that are ready. Ids of no recording become failures."""
        if recording_ids is None:
            ready = {"storage_type": Recording.StorageType.LOCAL, "status": Recording.Status.READY}
            page = _rows(**ready)
            while page:
                yield page
                # By key, not by offset: what is added or changed meanwhile shifts no row past a page's end.
                page = _rows(**ready, pk__gt=page[-1].pk) if len(page) == PAGE_ROWS else []
            return
        known: dict[UUID, None] = {}  # a dict keeps the order of the request, a set would not
        for recording_id in recording_ids:
            try:
                known[recording_id if isinstance(recording_id, UUID) else UUID(recording_id)] = None
            except ValueError:
                self.report.fail(recording_id, Reason.RECORDING_NOT_FOUND)
        ids = list(known)
        for start in range(0, len(ids), PAGE_ROWS):
            wanted = ids[start : start + PAGE_ROWS]
            page = _rows(pk__in=wanted)
            found = {row.pk for row in page}
            for missing in (pk for pk in wanted if pk not in found):
                self.report.fail(missing, Reason.RECORDING_NOT_FOUND)
            yield page

    def start(self, page: Iterable[_Row]) -> None:
        """Start what can be started of a page.

        1. Look at the file of each recording, before any transaction: a disk may take long to answer.
        2. In one transaction, insert the new transfers and start the failed ones again.
        3. Count the recordings that another request started meanwhile, and log the others.
        """
        ready = [found for row in page if (found := self._checked(row)) is not None]
        again = [found for found in ready if found.row.gcp_transfer__pk is not None]
        first = [found for found in ready if found.row.gcp_transfer__pk is None]
        if not ready:
            return
        with transaction.atomic():
            TransferBatch.objects.get_or_create(
                pk=self.report.batch_id,
                defaults={"batch_size": self._batch_size, "created_by": self._user, "created_at": self._now},
            )
            started = self._insert(first) | self._start_again(again)
            # They are told when the transaction is committed, not before they can see its rows.
            wake_workers(None)
        self.report.transfer_ids += started.values()
        overtaken = [found.row.pk for found in ready if found.row.pk not in started]
        # No query where the list is empty, as it nearly always is.
        taken = GCPVideoTransfer.objects.filter(recording__in=overtaken)
        known = set(taken.values_list("recording_id", flat=True))
        for found in ready:
            row = found.row
            if row.pk in started:
                log.info(
                    "transfer_initiated",
                    transfer=str(started[row.pk]),
                    recording=str(row.pk),
                    camera=str(row.camera_id),
                    site=str(row.camera__site_id),
                    batch=str(self.report.batch_id),
                    actor=self._user.get_username(),
                )
            elif row.pk in known:
                self.report.already_transferred += 1
            else:  # a constraint of the database refused it
                self.report.fail(row.pk, Reason.INTERNAL_ERROR)

    def _checked(self, row: _Row) -> _Found | None:
        """A recording to start, with its file; None for one that is not, which the report counts."""
        is_new = row.gcp_transfer__pk is None
        # What is in the bucket is not sent again, not even where no transfer tells how it got there.
        if (is_new and row.storage_type != Recording.StorageType.LOCAL) or (
            row.gcp_transfer__transfer_status not in {None, State.FAILED}
        ):
            self.report.already_transferred += 1
            return None
        if row.status != Recording.Status.READY:
            self.report.fail(row.pk, Reason.RECORDING_NOT_READY)
            return None
        try:
            path = self._root.relative(row.local_path)
            size_bytes = self._root.stat(path).size_bytes
        except FileProblem as problem:
            self.report.fail(row.pk, problem.code)
            return None
        if size_bytes == 0:
            self.report.fail(row.pk, Reason.FILE_EMPTY)
            return None
        return _Found(row, path, size_bytes)

    def _insert(self, first: Sequence[_Found]) -> dict[UUID, UUID]:
        """Recording id to transfer id of the rows that are new."""
        if not first:
            return {}
        rows: list[dict[str, Any]] = []
        for found in first:
            row = found.row
            name = _object_name(row.camera_id, row.pk, found.path, name_version=0)
            rows.append(
                {
                    "id": uuid4(),
                    "recording_id": row.pk,
                    "site_id": row.camera__site_id,
                    "original_local_path": found.path,
                    "gcp_storage_path": name,
                    "gcp_public_url": public_url(self._bucket, name),
                    "file_size_bytes": found.size_bytes,
                }
            )
        same = {
            "batch_id": self.report.batch_id,
            "initiated_by_id": self._user.pk,
            "installation_id": self._installation_id,
            "gcp_bucket": self._bucket,
            "next_attempt_at": self._now,
        }
        actor = self._user.get_username()
        new = GCPVideoTransfer.objects.request_many(rows, same=same, actor=actor, now=self._now)
        return {row["recording_id"]: row["id"] for row in rows if row["id"] in new}

    def _start_again(self, again: Sequence[_Found]) -> dict[UUID, UUID]:
        """Those whose object and file are as before in one statement, the others one by one."""
        # Locked together, in the order of their keys. The two groups below, locked one after the other, could make two
        # requests wait for each other.
        GCPVideoTransfer.objects.filter(pk__in=[found.row.gcp_transfer__pk for found in again]).lock_many()
        same = [found for found in again if not self._differences(found)]
        moved = self._retry([found.row.gcp_transfer__pk for found in same], {})
        for found in again:
            if differences := self._differences(found):
                moved |= self._retry([found.row.gcp_transfer__pk], differences)
        return {found.row.pk: pk for found in again if (pk := found.row.gcp_transfer__pk) in moved and pk is not None}

    def _differences(self, found: _Found) -> dict[str, Any]:
        """Columns of a failed transfer that its next attempt finds changed."""
        row = found.row
        changes = _other_object(_Former.of_row(row, found.path), self._bucket)
        same_file = (found.path, found.size_bytes) == (
            row.gcp_transfer__original_local_path,
            row.gcp_transfer__file_size_bytes,
        )
        if not same_file:
            changes |= {"original_local_path": found.path, "file_size_bytes": found.size_bytes, **_NO_SESSION}
        return changes

    def _retry(self, transfer_ids: Sequence[UUID | None], changes: dict[str, Any]) -> set[UUID]:
        if not transfer_ids:
            return set()
        return GCPVideoTransfer.objects.move_many(
            [pk for pk in transfer_ids if pk is not None],
            Move.RETRY,
            actor=self._user.get_username(),
            now=self._now,
            reason=Reason.RETRIED,
            changes=_fresh_start(self.report.batch_id, self._user, self._now) | changes,
        )


# --- Columns --------------------------------------------------------------------------------------
_NO_SESSION: dict[str, Any] = {
    "session_uri": "",
    "session_started_at": None,
    "session_identity": "",
    "bytes_uploaded": 0,
}


# The database computes this column and the next: the rows of one UPDATE differ in them.
_BYTES_OF_SESSION = Case(
    When(session_uri="", then=Value(0)), default=F("bytes_uploaded"), output_field=PositiveBigIntegerField()
)


_KNOWN_CONFLICT = Case(
    When(error_code__in=_NAME_IN_USE, then=Value(True)), default=Value(False), output_field=BooleanField()
)


class _Former(NamedTuple):
    """What decides under which name a failed transfer is tried again in another bucket."""

    camera_id: UUID
    recording_id: UUID
    path: str
    bucket: str
    name_version: int

    @classmethod
    def of(cls, row: GCPVideoTransfer) -> _Former:
        path, camera_id = row.original_local_path, row.recording.camera_id
        return cls(camera_id, row.recording_id, path, row.gcp_bucket, row.name_version)

    @classmethod
    def of_row(cls, row: _Row, path: str) -> _Former:
        bucket, name_version = row.gcp_transfer__gcp_bucket or "", row.gcp_transfer__name_version or 0
        return cls(row.camera_id, row.pk, path, bucket, name_version)


def _other_object(former: _Former, bucket: str) -> dict[str, Any]:
    """Columns of the next attempt's object where it cannot be the former one; else none."""
    if bucket == former.bucket:
        return {}
    name = _object_name(former.camera_id, former.recording_id, former.path, name_version=former.name_version)
    return {
        "gcp_bucket": bucket,
        "gcp_storage_path": name,
        "gcp_public_url": public_url(bucket, name),
        "passes_conflict": False,  # no object under that name there has been looked at yet
        **_NO_SESSION,
    }


def _fresh_start(batch_id: UUID, user: User, now: datetime) -> dict[str, Any]:
    """Columns of a failed transfer that begins again: a fresh budget, no proof, its session if there is one."""
    return {
        "batch_id": batch_id,
        "initiated_by": user,
        "next_attempt_at": now,
        "retry_count": F("retry_count") + 1,
        "failures_in_row": 0,
        "failing_since": None,
        "cleanup_failures": 0,
        "error_code": "",
        "error_message": "",
        "needs_attention": False,
        "bytes_uploaded": _BYTES_OF_SESSION,
        "passes_conflict": _KNOWN_CONFLICT,
        "upload_started_at": None,
        "upload_completed_at": None,
        "cleanup_scheduled_at": None,
        "cleanup_completed_at": None,
        "source_identity": "",
        "object_generation": None,
        "object_crc32c": "",
        "object_stored_at": None,
    }


def _object_name(camera_id: UUID, recording_id: UUID, path: str, *, name_version: int) -> str:
    file_name = path.rpartition("/")[2]
    return object_name(
        camera_id=str(camera_id), recording_id=str(recording_id), file_name=file_name, name_version=name_version
    )


def _bucket(settings: ServiceSettings) -> str:
    """The bucket that new uploads go to. Raises NotConfigured."""
    if not settings.is_configured:
        raise NotConfigured("GCP storage is not configured")
    return settings.bucket


def _installation_id() -> str:
    try:
        return installation_id()
    except InstallationUnknown as error:
        # Its own words name a path of this machine.
        raise Conflict("This installation's id is missing: `manage.py doctor` says what to do.") from error


def _transfer_of(transfer_id: UUID, user: User) -> GCPVideoTransfer:
    # The session URI is a key (P10), and no person's request needs it.
    rows = transfers_visible_to(user).select_related("recording__camera").defer("session_uri")
    row: GCPVideoTransfer | None = rows.filter(pk=transfer_id).first()
    if row is None:
        raise NotFound("There is no such transfer.")
    return row


def _logged(event: str, row: GCPVideoTransfer, user: User, reason: Reason) -> GCPVideoTransfer:
    row.refresh_from_db()
    log.info(
        event,
        transfer=str(row.pk),
        recording=str(row.recording_id),
        camera=str(row.recording.camera_id),
        site=str(row.site_id),
        attempt=row.retry_count + 1,
        actor=user.get_username(),
        reason=reason.value,
    )
    return row
