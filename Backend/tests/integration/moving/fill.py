"""`python -m tests.integration.moving.fill`: migrates the database of DATABASE_URL and puts a row into every table.

Values are those that the two databases write differently: fractions of a second, zones, NULL and empty text, the longest
numbers, letters of every kind. `FILL_ROWS` more recordings with transfers and events follow.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

ODD_TEXT = "tab\tnew\nline \\N \\. \"quoted\" 'single' Grüße 東京 🎥"
NAME = "Überwachung_東京 (1).mp4"


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_test"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    people()
    footage()
    the_rest()
    many(int(os.environ.get("FILL_ROWS", "0")))


def people() -> None:
    from django.contrib.admin.models import CHANGE, LogEntry
    from django.contrib.auth.models import Group, Permission
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.models import Session

    from apps.users.models import Role, User

    # A kind of row that no model has any more, as after years of releases: the ids differ from a fresh database's.
    ContentType.objects.filter(app_label="sessions").delete()
    ContentType.objects.create(app_label="gone", model="thing")
    ContentType.objects.create(app_label="sessions", model="session")
    ada = User.objects.create_superuser(username="ada", password="correct horse battery staple")
    gone = User.objects.create_user(username="gone", password="correct horse battery staple", role=Role.DEV)
    group = Group.objects.create(name=ODD_TEXT[:100])
    group.permissions.add(*Permission.objects.order_by("-pk")[:3])
    ada.groups.add(group)
    ada.user_permissions.add(Permission.objects.order_by("pk")[0])
    kind = ContentType.objects.get(app_label="gone")
    LogEntry.objects.create(user=ada, content_type=kind, object_repr="x", action_flag=CHANGE, change_message=ODD_TEXT)
    Session.objects.create(session_key="B" * 32, session_data="abc", expire_date=moment(1))
    Session.objects.create(session_key="a" * 32, session_data="", expire_date=moment(0))
    User.objects.create_user(username="newest", role=Role.VISITOR).delete()  # its number is not given again
    gone.email = "ada@example.org"
    gone.save()


def footage() -> None:
    from apps.cctv.models import CameraGrant, Recording
    from apps.users.models import User
    from offload.states import State
    from tests.integration.db import rows

    gate = rows.camera("Gate")
    CameraGrant.objects.create(camera=gate, user=User.objects.get(username="gone"))
    for number, state in enumerate(State):
        of = rows.recording(
            f"{state.value} {NAME}",
            camera=gate,
            started_at=moment(number),
            duration_seconds=0.1 * 3 + number,
            file_mtime_ns=2**62 + number,
            file_size_bytes=2**40 + number,
        )
        row = rows.transfer(
            state, of=of, session_uri="https://storage.example/upload?upload_id=1", session_started_at=moment(number)
        )
        if state is State.CLEANUP_COMPLETED:
            rows.receipt(row)
            rows.orphan(row)
        event(row, ODD_TEXT)
    held = rows.recording("held.mp4", hold_wanted=True, hold_reason="case 7", held_at=moment(3), file_mtime_ns=None)
    Recording.objects.filter(pk=held.pk).update(duration_seconds=1e-300)


def event(row: Any, detail: str) -> None:
    from apps.cctv.models import TransferEvent

    TransferEvent.objects.create(
        transfer=row, at=moment(5), actor="ada", move="request", to_status="pending", reason="requested", detail=detail
    )


def the_rest() -> None:
    """One row in each table that has none yet, of a model that a release to come may have added."""
    from django.apps import apps
    from django.db.models import ForeignKey

    for model in apps.get_models(include_auto_created=True):
        if getattr(model, "kept_by_triggers", False) or not model._meta.managed or model.objects.exists():
            continue
        values: dict[str, Any] = {}
        for field in model._meta.local_concrete_fields:
            if isinstance(field, ForeignKey):
                values[field.attname] = field.remote_field.model._default_manager.values_list("pk", flat=True).first()
            elif not field.has_default() and not field.null and not field.primary_key:
                values[field.attname] = sample(field)
            elif field.primary_key and field.get_internal_type() == "CharField":
                values[field.attname] = "key"
        model._default_manager.create(**values)


def sample(field: Any) -> Any:
    if field.choices:
        return field.choices[0][0]
    kind = field.get_internal_type()
    if kind in {"CharField", "TextField"}:
        return "text"
    return {
        "DateTimeField": moment(1),
        "BooleanField": True,
        "UUIDField": uuid.uuid4(),
        "JSONField": {"b": [1.5, None]},
    }.get(kind, 1)


def moment(number: int) -> datetime:
    """With and without a fraction of a second, in summer and in winter."""
    return datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC) + timedelta(days=30 * number, microseconds=number)


def many(count: int) -> None:
    from apps.cctv.models import GCPVideoTransfer, Recording, TransferEvent
    from offload.states import State
    from tests.integration.db import rows

    if not count:
        return
    first, row = rows.recording("first.mp4"), None
    row = rows.transfer(State.CLEANUP_PENDING, of=first)
    for begin in range(0, count, 1000):
        numbers = range(begin, min(begin + 1000, count))
        recordings = [copy(first, name=f"{n}.mp4", local_path=f"Gate/{n}.mp4", file_mtime_ns=n) for n in numbers]
        Recording.objects.bulk_create(recordings)
        transfers = [copy(row, recording_id=one.pk, gcp_storage_path=f"recordings/{one.pk}") for one in recordings]
        GCPVideoTransfer.objects.bulk_create(transfers)
        TransferEvent.objects.bulk_create(
            TransferEvent(transfer_id=one.pk, at=moment(n), actor="host:7", move=move, to_status="x", reason="uploaded")
            for n, one in enumerate(transfers)
            for move in ("request", "claim", "complete")
        )


def copy(of: Any, **columns: Any) -> Any:
    values = {field.attname: getattr(of, field.attname) for field in of._meta.local_concrete_fields}
    return type(of)(**{**values, "id": uuid.uuid4(), **columns})


if __name__ == "__main__":
    main()
