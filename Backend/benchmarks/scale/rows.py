"""Fill a database with many recordings, as an installation has them that has run for a year.

The database makes the rows itself (INSERT … SELECT from a series), so a million takes a minute or two. Every column
that is not named here gets its default, and a new column without one is told by name.

| rows | what they are |
|---|---|
| sites, cameras | two sites, seventeen cameras, one of them private; a clip of ten minutes each, all day |
| newest | 200 recordings without a transfer, then 1,000 pending, 5 uploading, 1,000 waiting for their cleanup |
| spread evenly | 1,000 failed, 500 held (completed), 50 damaged and never requested |
| all others | uploaded and cleaned up, with receipt and whole history |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.db.models.fields import NOT_PROVIDED

from apps.cctv.models import (
    Camera,
    CameraGrant,
    DeletionReceipt,
    GCPVideoTransfer,
    Recording,
    Site,
    TransferBatch,
    TransferEvent,
)
from apps.users.models import Role, User
from benchmarks.scale.figures import FEWEST, INSTALLATION

CAMERAS = 17
SECONDS_A_CLIP = 600
ROWS_A_BATCH = 2_000
"""Transfers of one request: they have one batch and one time of creation."""

UNREQUESTED, PENDING, UPLOADING, WAITING = 200, 1_000, 5, 1_000
FAILED, HELD, DAMAGED = 1_000, 500, 50
OWNER = UUID(int=7)


@dataclass(frozen=True, slots=True)
class Filled:
    """Who may ask, and what was made."""

    recordings: int
    admin: User
    dev: User
    site: Site
    camera: Camera
    newest_batch: TransferBatch


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The few expressions that differ. `moment` and `stamp` are of seconds since 1970."""

    series: str
    uuid: str
    moment: str
    stamp: str
    two_digits: str
    hex_of: str
    yes: str
    no: str


_SQLITE = _Dialect(
    series="WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {n})",
    uuid="lower(hex(randomblob(16)))",
    moment="strftime('%%Y-%%m-%%d %%H:%%M:%%S', {0}, 'unixepoch')",
    stamp="strftime('%%Y%%m%%d%%H%%M%%S', {0}, 'unixepoch')",
    two_digits="printf('%%02d', {0})",
    hex_of="{0}",
    yes="1",
    no="0",
)
_POSTGRES = _Dialect(
    series="WITH series(i) AS (SELECT * FROM generate_series(1, {n}))",
    uuid="gen_random_uuid()",
    moment="to_timestamp({0})",
    stamp="to_char(to_timestamp({0}) AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS')",
    two_digits="lpad(({0})::text, 2, '0')",
    hex_of="replace(({0})::text, '-', '')",
    yes="true",
    no="false",
)


def fill(recordings: int, *, now: datetime | None = None, analyze: bool = True) -> Filled:
    """Fill an empty, migrated database. The newest recording ended ten minutes before `now`."""
    if recordings < FEWEST:
        raise ValueError(f"at least {FEWEST} recordings: with fewer the kinds of rows overlap")
    end = int((now or datetime.now(tz=UTC)).timestamp()) // SECONDS_A_CLIP * SECONDS_A_CLIP
    admin = User.objects.create_user(username="scale-admin", password="scale only", role=Role.ADMIN)
    dev = User.objects.create_user(username="scale-dev", password="scale only", role=Role.DEV)
    sites = [Site.objects.create(name=name) for name in ("Depot", "Harbour")]
    cameras = [
        Camera.objects.create(site=sites[n % 2], name=f"{('Gate', 'Yard')[n % 2]} {n:02}", is_private=n == CAMERAS - 1)
        for n in range(CAMERAS)
    ]
    CameraGrant.objects.create(camera=Camera.objects.create(site=sites[0], name="Office", is_private=True), user=dev)
    batches = TransferBatch.objects.bulk_create(
        TransferBatch(created_at=_time(_batch_end(b, recordings, end)), **_site_of_batch(sites[0]))
        for b in range(-(-recordings // ROWS_A_BATCH))
    )
    d = _POSTGRES if connection.vendor == "postgresql" else _SQLITE
    # Analyzed on the way: PostgreSQL would join tables that it believes to be empty row by row.
    for make in (lambda: _plan(recordings, end, d, cameras, batches), lambda: _recordings(d), lambda: _transfers(d)):
        make()
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    _events(d)
    _receipts(d)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE scale_plan")
        if not analyze and connection.vendor == "sqlite":
            cursor.execute("DELETE FROM sqlite_stat1")
        elif analyze:
            cursor.execute("ANALYZE")
    return Filled(recordings, admin, dev, sites[0], cameras[3], batches[-1])


def _site_of_batch(site: Site) -> dict[str, Any]:
    return {"site": site} if hasattr(TransferBatch, "site_id") else {}


def _batch_end(batch: int, recordings: int, end: int) -> int:
    """When the clips of a batch were requested: a quarter of an hour after the newest of them began."""
    newest = min((batch + 1) * ROWS_A_BATCH, recordings)
    return end - ((recordings - newest) // CAMERAS + 1) * SECONDS_A_CLIP + 900


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _plan(recordings: int, end: int, d: _Dialect, cameras: list[Camera], batches: list[TransferBatch]) -> None:
    """One row a recording: its number, ids, times and what becomes of it."""
    kind = f"""CASE
        WHEN {recordings} - i < {UNREQUESTED} THEN 'unrequested'
        WHEN {recordings} - i < {UNREQUESTED + PENDING} THEN 'pending'
        WHEN {recordings} - i < {UNREQUESTED + PENDING + UPLOADING} THEN 'uploading'
        WHEN {recordings} - i < {UNREQUESTED + PENDING + UPLOADING + WAITING} THEN 'cleanup_pending'
        WHEN i %% {recordings // FAILED} = 0 THEN 'failed'
        WHEN i %% {recordings // HELD} = 1 THEN 'completed'
        WHEN i %% {recordings // DAMAGED} = 2 THEN 'damaged'
        ELSE 'cleanup_completed' END"""
    plan = f"""{d.series.format(n=recordings)}
        SELECT i, i %% {CAMERAS} AS camera_number, (i - 1) / {ROWS_A_BATCH} AS batch_number,
        {d.uuid} AS recording_id, {d.uuid} AS transfer_id, {kind} AS kind,
        {end} - (({recordings} - i) / {CAMERAS} + 1) * {SECONDS_A_CLIP} AS began,
        50000000 + i %% 1000 * 1000 AS size_bytes FROM series"""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE scale_plan AS {plan}".replace("%%", "%"))
        kinds = "uuid" if connection.vendor == "postgresql" else "char(32)"
        cursor.execute(f"CREATE TEMPORARY TABLE scale_camera (n integer, camera_id {kinds}, site_id {kinds})")
        cursor.execute(f"CREATE TEMPORARY TABLE scale_batch (n integer PRIMARY KEY, batch_id {kinds}, at integer)")
        cursor.executemany(
            "INSERT INTO scale_camera VALUES (%s, %s, %s)",
            [(n, _raw(camera.pk), _raw(camera.site_id)) for n, camera in enumerate(cameras)],
        )
        cursor.executemany(
            "INSERT INTO scale_batch VALUES (%s, %s, %s)",
            [(n, _raw(batch.pk), int(batch.created_at.timestamp())) for n, batch in enumerate(batches)],
        )


def _raw(key: UUID) -> Any:
    return key if connection.vendor == "postgresql" else key.hex


_FROM = """FROM scale_plan p JOIN scale_camera c ON c.n = p.camera_number
    JOIN scale_batch b ON b.n = p.batch_number"""


def _recordings(d: _Dialect) -> None:
    stamp, number = d.stamp.format("p.began"), d.two_digits.format("p.camera_number")
    name = f"'ch' || {number} || '_' || {stamp} || '_' || substr({d.hex_of.format('p.recording_id')}, 1, 4) || '.mp4'"
    path = f"'ch' || {number} || '/' || substr({stamp}, 1, 8) || '/' || {name}"
    in_bucket = "p.kind IN ('cleanup_pending', 'cleanup_completed', 'completed')"
    _insert(
        Recording,
        {
            "id": "p.recording_id",
            "camera_id": "c.camera_id",
            "site_id": "c.site_id",
            "name": name,
            "status": "CASE p.kind WHEN 'damaged' THEN 'damaged' ELSE 'ready' END",
            "started_at": d.moment.format("p.began"),
            "ended_at": d.moment.format(f"p.began + {SECONDS_A_CLIP}"),
            "duration_seconds": "600.0",
            "codec": "'h264'",
            "width_pixels": "1920",
            "height_pixels": "1080",
            "file_size_bytes": "p.size_bytes",
            "file_mtime_ns": f"(p.began + {SECONDS_A_CLIP}) * CAST(1000000000 AS bigint)",
            "local_path": path,
            "file_path": f"CASE WHEN {in_bucket} THEN {_object_path(d, name)} ELSE {path} END",
            "storage_type": f"CASE WHEN {in_bucket} THEN 'gcp' ELSE 'local' END",
            "hold_wanted": f"CASE p.kind WHEN 'completed' THEN {d.yes} ELSE {d.no} END",
            "hold_confirmed": f"CASE p.kind WHEN 'completed' THEN {d.yes} ELSE {d.no} END",
            "hold_reason": "CASE p.kind WHEN 'completed' THEN 'Case 2026-114' ELSE '' END",
            "created_at": d.moment.format(f"p.began + {SECONDS_A_CLIP} + 60"),
        },
        f"{_FROM} ORDER BY p.i",
    )


def _object_path(d: _Dialect, name: str) -> str:
    camera, recording = d.hex_of.format("c.camera_id"), d.hex_of.format("p.recording_id")
    return f"'recordings/' || {_dashed(camera)} || '/' || {_dashed(recording)} || '/' || {name}"


def _dashed(text: str) -> str:
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    return " || '-' || ".join(f"substr({text}, {start}, {length})" for start, length in parts)


def _transfers(d: _Dialect) -> None:
    uploaded = "p.kind IN ('completed', 'cleanup_pending', 'cleanup_completed')"
    ended = "b.at + (p.i %% 2000) / 2 + 20"

    def if_uploaded(then: str, otherwise: str = "NULL") -> str:
        return f"CASE WHEN {uploaded} THEN {then} ELSE {otherwise} END"

    _insert(
        GCPVideoTransfer,
        {
            "id": "p.transfer_id",
            "recording_id": "p.recording_id",
            "camera_id": "c.camera_id",
            "batch_id": "b.batch_id",
            "site_id": "c.site_id",
            "installation_id": f"'{INSTALLATION}'",
            "original_local_path": "r.local_path",
            "gcp_bucket": "'footage'",
            "gcp_storage_path": _object_path(d, "r.name"),
            "gcp_public_url": f"'https://storage.googleapis.com/footage/' || {_object_path(d, 'r.name')}",
            "file_size_bytes": "p.size_bytes",
            "bytes_uploaded": if_uploaded("p.size_bytes", "0"),
            "source_identity": if_uploaded("'2049:' || p.i || ':' || p.size_bytes || ':' || p.began || ':1'", "''"),
            "object_generation": if_uploaded("CAST(1700000000000000 AS bigint) + p.i"),
            "object_crc32c": if_uploaded("'AAAAAA=='", "''"),
            "object_stored_at": if_uploaded(d.moment.format(ended)),
            "transfer_status": "p.kind",
            "created_at": d.moment.format("b.at"),
            "upload_started_at": if_uploaded(d.moment.format(f"{ended} - 20")),
            "upload_completed_at": if_uploaded(d.moment.format(ended)),
            "cleanup_scheduled_at": "CASE WHEN p.kind IN ('cleanup_pending', 'cleanup_completed') "
            f"THEN {d.moment.format(f'{ended} + 86400')} END",
            "cleanup_completed_at": "CASE p.kind WHEN 'cleanup_completed' "
            f"THEN {d.moment.format(f'{ended} + 90000')} END",
            "error_code": "CASE p.kind WHEN 'failed' THEN 'file_missing' ELSE '' END",
            "error_message": "CASE p.kind WHEN 'failed' THEN 'The file is not there.' ELSE '' END",
            "next_attempt_at": f"CASE p.kind WHEN 'pending' THEN {d.moment.format('b.at')} END",
            "lease_number": "CASE p.kind WHEN 'pending' THEN 0 ELSE 1 END",
            "lease_owner": f"CASE p.kind WHEN 'uploading' THEN {_key(OWNER)} END",
            "lease_expires_at": f"CASE p.kind WHEN 'uploading' THEN {d.moment.format('b.at + 864000')} END",
        },
        f"""{_FROM} JOIN cctv_recording r ON r.id = p.recording_id
        WHERE p.kind NOT IN ('unrequested', 'damaged') ORDER BY p.i""",
    )


def _key(key: UUID) -> str:
    return f"CAST('{key}' AS uuid)" if connection.vendor == "postgresql" else f"'{key.hex}'"


_HISTORY = (
    ("request", "", "pending", "requested", 0, ""),
    ("claim", "pending", "uploading", "claimed", 1, "'pending', 'failed'"),
    ("complete_scheduled", "uploading", "cleanup_pending", "uploaded", 2, "'pending', 'failed', 'uploading'"),
    ("finish_cleanup", "cleanup_pending", "cleanup_completed", "cleaned", 3, ""),
)


def _events(d: _Dialect) -> None:
    steps = " UNION ALL ".join(
        f"SELECT '{move}' AS move, '{before}' AS before, '{after}' AS after, '{reason}' AS reason, {step} AS step"
        for move, before, after, reason, step, _ in _HISTORY
    )
    _insert(
        TransferEvent,
        {
            "transfer_id": "p.transfer_id",
            "at": d.moment.format("b.at + h.step * 600"),
            "actor": "CASE h.step WHEN 0 THEN 'scale-admin' ELSE 'nvr-1:4711' END",
            "move": "h.move",
            "from_status": "h.before",
            "to_status": "h.after",
            "reason": "h.reason",
        },
        f"""{_FROM} CROSS JOIN ({steps}) h WHERE p.kind NOT IN ('unrequested', 'damaged')
        AND h.step <= CASE p.kind WHEN 'cleanup_completed' THEN 3 WHEN 'completed' THEN 2
        WHEN 'cleanup_pending' THEN 2 WHEN 'uploading' THEN 1 ELSE 0 END ORDER BY p.i, h.step""",
    )


def _receipts(d: _Dialect) -> None:
    _insert(
        DeletionReceipt,
        {
            "id": d.uuid,
            "transfer_id": "t.id",
            "outcome": "'deleted'",
            "actor": "'system'",
            "opened_at": "t.cleanup_completed_at",
            "closed_at": "t.cleanup_completed_at",
            "local_path": "t.original_local_path",
            "trash_path": f"'.coldreel-trash/' || {_dashed(d.hex_of.format('t.id'))}",
            "size_bytes": "t.file_size_bytes",
            "gcp_bucket": "t.gcp_bucket",
            "gcp_storage_path": "t.gcp_storage_path",
            "object_generation": "t.object_generation",
            "object_crc32c": "t.object_crc32c",
            "proof_read_at": "t.cleanup_completed_at",
            "compared": "'identity'",
            "source_identity": "t.source_identity",
        },
        """FROM scale_plan p JOIN cctv_gcpvideotransfer t ON t.id = p.transfer_id
        WHERE p.kind = 'cleanup_completed' ORDER BY p.i""",
    )


def _insert(model: type[Model], columns: Mapping[str, str], source: str) -> None:
    """INSERT … SELECT: `columns` are expressions by attribute name; those that the model has not are left out."""
    names: list[str] = []
    expressions: list[str] = []
    values: list[Any] = []
    meta: Any = model._meta  # noqa: SLF001 - Django's documented Model._meta
    for field in meta.local_concrete_fields:
        if field.attname in columns:
            expressions.append(columns[field.attname])
        elif field.primary_key or field.generated or field.db_default is not NOT_PROVIDED:
            continue
        else:
            default = field.get_default()
            if default is None and not field.null:
                raise ValueError(f"benchmarks/scale/rows.py has no value for {model.__name__}.{field.attname}")
            expressions.append("%s")
            values.append(field.get_db_prep_save(default, connection))
        names.append(connection.ops.quote_name(str(field.column)))
    table = connection.ops.quote_name(meta.db_table)
    text = f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(expressions)} {source}"
    with connection.cursor() as cursor:
        cursor.execute(text, values)
