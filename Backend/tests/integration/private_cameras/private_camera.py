"""An installation with a private camera, whose every column says so, and all addresses that there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import CharField, Model, TextField
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from apps.cctv.models import (
    Alarm,
    Camera,
    GCPVideoTransfer,
    OrphanedObject,
    PeriodicJob,
    PlaceEvent,
    Recording,
    Site,
    TransferBatch,
    TransferEvent,
    WorkerProcess,
)
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.users.models import User
from tests.integration.admin import scene

HIDDEN = "hidden"
ASKED_FOR = "hidde"
"""A search for this finds the word; a page that repeats what was asked for does not show it."""
_LEFT_AS_THEY_ARE = {"source_identity", "object_crc32c", "session_identity", "time_zone", "bandwidth_limit"}


@dataclass
class Installation:
    open_rows: list[Model] = field(default_factory=list)
    hidden_rows: list[Model] = field(default_factory=list)

    @property
    def hidden_ids(self) -> set[str]:
        return {
            str(row.pk) for row in self.hidden_rows if len(str(row.pk)) == len("8c5b2f0e-3f0a-4a3e-9a52-0f5f3c0b7d11")
        }

    def rows(self, model: type[Model]) -> list[Model]:
        return [row for row in (*self.open_rows, *self.hidden_rows) if isinstance(row, model)]

    def shown(self, text: str, asked: str = "") -> list[str]:
        """What `text` has of what is hidden, apart from what it repeats of the address that was asked for."""
        text = text.lower().replace('type="hidden"', "").replace("hidden=", "")
        return sorted(word for word in {*self.hidden_ids, f"{HIDDEN}-"} if word in text and word not in asked)


def installation(by: User) -> Installation:
    found = Installation()
    open_site = Site.objects.create(name="Open depot")
    open_camera = Camera.objects.create(site=open_site, name="Yard")
    found.open_rows += [open_site, open_camera, *_footage(open_camera, by)]

    hidden_site = Site.objects.create(name="place")
    cameras = [
        Camera.objects.create(site=hidden_site, name="camera", is_private=True),
        Camera.objects.create(site=open_site, name="beside an open one", is_private=True),
    ]
    found.hidden_rows += [hidden_site, *cameras]
    for camera in cameras:
        found.hidden_rows += _footage(camera, by)
    mixed = found.rows(TransferBatch)[0]
    beside = found.rows(GCPVideoTransfer)[-1]
    GCPVideoTransfer.objects.filter(pk=beside.pk).update(batch=mixed)

    found.open_rows += [_event(open_site), _event(open_site, open_camera)]
    found.hidden_rows += [_event(hidden_site), *(_event(camera.site, camera) for camera in cameras)]
    found.hidden_rows += [_event(open_site, what="camera_deleted"), _event(open_site, open_camera, what="grant_given")]
    found.open_rows += [
        _worker(open_site),
        *_jobs(open_site),
        _alarm("permission_denied", Subject(SubjectKind.BUCKET, "footage")),
    ]
    found.hidden_rows += [_worker(hidden_site), *_jobs(hidden_site), *_alarms(found, hidden_site)]
    _sign(found.hidden_rows)
    PeriodicJob.objects.create(
        name="cleanup",
        next_run_at=timezone.now(),
        last_finished_at=timezone.now(),
        last_result=f"failed: {HIDDEN}-path",
    )
    for camera in cameras:
        LogEntry.objects.create(
            user=by,
            content_type=ContentType.objects.get_for_model(Camera),
            object_id=str(camera.pk),
            object_repr=f"{HIDDEN}-repr",
            action_flag=CHANGE,
            change_message=f"{HIDDEN}-message",
        )
    return found


def _footage(camera: Camera, by: User) -> list[Model]:
    moved = scene.transfers(6, cameras=[camera], by=by)
    rows: list[Model] = [moved[0].batch, *moved]
    for row in moved:
        rows += [row.recording, *row.events.all(), *row.receipts.all()]
    rows.append(
        OrphanedObject.objects.create(
            transfer=moved[-1],
            gcp_bucket="footage",
            gcp_storage_path=f"{moved[-1].gcp_storage_path}-1",
            object_generation=7,
            size_bytes=1,
            why=OrphanedObject.Why.FILE_CHANGED,
            orphaned_at=timezone.now(),
        )
    )
    return rows


def _worker(site: Site) -> WorkerProcess:
    return WorkerProcess.objects.create(site=site, host="nvr", pid=4711, installation_id="one")


def _event(site: Site, camera: Camera | None = None, what: str = "") -> PlaceEvent:
    what = what or ("camera_changed" if camera else "site_changed")
    person = "grace" if what == "grant_given" else ""
    return PlaceEvent.objects.create(
        at=timezone.now(), actor="ada", what=what, site=site, camera=camera, name="Yard", person=person
    )


def _jobs(site: Site) -> list[PeriodicJob]:
    now = timezone.now()
    return [
        PeriodicJob.objects.ensure(kind, site.pk, next_run_at=now, last_finished_at=now, last_result="done")[0]
        for kind in ("cleanup", "sweep")
    ]


def _alarm(code: str, subject: Subject, detail: str = "") -> Alarm:
    now = timezone.now()
    return Alarm.objects.create(code=code, **subject.columns, detail=detail, raised_at=now, last_seen_at=now)


def _alarms(found: Installation, site: Site) -> list[Alarm]:
    transfer = next(row for row in found.hidden_rows if isinstance(row, GCPVideoTransfer))
    about = [
        Subject(SubjectKind.TRANSFER, str(transfer.pk)),
        Subject(SubjectKind.TRASH, str(transfer.pk)),
        Subject.of_site(SubjectKind.MEDIA_ROOT, site.pk),
        Subject.of_site(SubjectKind.CLEANUP, site.pk),
        Subject(SubjectKind.OTHER, f"{HIDDEN}-subject"),
    ]
    details = [transfer.gcp_storage_path, f"{HIDDEN}-path/{transfer.recording_id}", f"{HIDDEN}-detail"]
    return [
        _alarm(code, subject, f"{HIDDEN}-{details[number % len(details)]}")
        for number, subject in enumerate(about)
        for code in ("object_missing", "unknown_code")
    ]


def _sign(rows: list[Model]) -> None:
    """Put the word into every text column that may say anything."""
    for row in rows:
        if isinstance(row, Alarm | PeriodicJob):
            continue
        columns = {
            column.name: f"{HIDDEN}-{column.name}"[: column.max_length or 100]
            for column in row._meta.concrete_fields
            if isinstance(column, CharField | TextField)
            and not column.choices
            and not column.primary_key
            and column.name not in _LEFT_AS_THEY_ARE
        }
        for name in columns:
            if row._meta.get_field(name).unique or isinstance(row, Camera | Recording):
                columns[name] = f"{columns[name]} {row.pk}"[: row._meta.get_field(name).max_length or 100]
        if isinstance(row, TransferEvent):
            columns |= {"from_status": "pending", "to_status": "uploading", "move": "claim"}
        type(row)._default_manager.filter(pk=row.pk).update(**columns)
        row.refresh_from_db()


# --- All addresses --------------------------------------------------------------------------------
def addresses(found: Installation) -> Iterator[str]:
    """Every route of the admin and the API, with the id of every row that fits."""
    for route, pattern in _routes(get_resolver().url_patterns):
        if "(?P" in route or "static" in route or pattern.name in {"logout", "admin_logout"}:
            continue
        yield from {f"/{filled}" for filled in _filled(route, found)}


def _routes(patterns: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route, pattern
        else:
            yield from _routes(pattern.url_patterns, route)


def _filled(route: str, found: Installation) -> Iterator[str]:
    if "<" not in route:
        yield route
        return
    if "content_type_id" in route:
        for row in (*found.open_rows[:3], *found.hidden_rows[:3]):
            kind = ContentType.objects.get_for_model(row).pk
            yield route.replace("<path:content_type_id>", str(kind)).replace("<path:object_id>", str(row.pk))
        return
    for row in (*found.open_rows, *found.hidden_rows):
        model = row._meta.model_name
        parameter = route.split("<")[1].split(">", maxsplit=1)[0].rpartition(":")[2]
        fits = {"transfer_id": GCPVideoTransfer, "recording_id": Recording, "camera_id": Camera}.get(parameter)
        if (fits is not None and isinstance(row, fits)) or f"/{model}/" in route:
            filled = route.replace(route[route.index("<") : route.index(">") + 1], quote(str(row.pk), safe=""))
            yield from (filled.replace("<slug:action_name>", action) for action in ("hold", "delete_orphan", "archive"))
