"""Fixtures that every test may use.

| fixture | what it is |
|---|---|
| `now` | a fixed moment, aware, UTC |
| `media_root` | a temporary folder with the marker file in it; ``settings.MEDIA_ROOT`` is that folder |
| `bucket` | the name of a bucket; the settings say that it is configured, and name the installation |
| `site`, `camera` | one site and one camera of it |
| `superadmin_user`, `admin_user`, `dev_user`, `visitor_user` | one user a role; the password is `PASSWORD` |
| `make_recording(name=…, size_bytes=…, **fields)` | a recording with a real file below `media_root`, settled for an hour |

The test database is a file, not memory: threads and other connections then meet the same locks and the
same write-ahead log as in production.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from apps.cctv.models import Camera, Recording, Site
from apps.users.models import Role, User

PASSWORD = "correct horse battery staple"
INSTALLATION_ID = "11111111-2222-4333-8444-555555555555"
MARKER = ".coldreel-media-root"

MakeRecording = Callable[..., Recording]

# How long an example takes depends on the machine: a deadline would be a timed assertion.
hypothesis_settings.register_profile("coldreel", deadline=None)
hypothesis_settings.load_profile("coldreel")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from django.db import connections

    for connection in connections.all():
        if connection.vendor == "sqlite":
            name = tmp_path_factory.mktemp("database") / "test.sqlite3"
            connection.settings_dict["TEST"]["NAME"] = str(name)


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def media_root(tmp_path: Path, settings: Any) -> Path:
    root = tmp_path / "media"
    root.mkdir()
    (root / MARKER).write_text("test\n")
    settings.MEDIA_ROOT = root
    return root


@pytest.fixture
def bucket(settings: Any) -> str:
    settings.GCP_STORAGE_USE_GCS = True
    settings.GCP_STORAGE_BUCKET_NAME = "coldreel-test"
    settings.GCP_STORAGE_PROJECT_ID = "coldreel"
    settings.COLDREEL_INSTALLATION_ID = INSTALLATION_ID
    return "coldreel-test"


@pytest.fixture
def site(db: None) -> Site:
    return Site.objects.create(name="Depot")


@pytest.fixture
def camera(site: Site) -> Camera:
    return Camera.objects.create(site=site, name="Gate")


def _user(role: Role) -> User:
    return User.objects.create_user(username=role.value, password=PASSWORD, role=role)


@pytest.fixture
def superadmin_user(db: None) -> User:
    return User.objects.create_superuser(username="superadmin", password=PASSWORD)


@pytest.fixture
def admin_user(db: None) -> User:
    return _user(Role.ADMIN)


@pytest.fixture
def dev_user(db: None) -> User:
    return _user(Role.DEV)


@pytest.fixture
def visitor_user(db: None) -> User:
    return _user(Role.VISITOR)


@pytest.fixture
def make_recording(media_root: Path, camera: Camera, now: datetime) -> MakeRecording:
    """`name` is the file's path below the media root. `content` may be given instead of `size_bytes`.

    `settled_seconds` ago is the file's mtime, by the real clock; `write_file=False` leaves the file out.
    Every other keyword is a field of `Recording`.
    """

    def make(
        name: str = "clip.mp4",
        size_bytes: int = 1024,
        *,
        content: bytes | None = None,
        settled_seconds: float = 3600,
        write_file: bool = True,
        **fields: Any,
    ) -> Recording:
        path = media_root / name
        content = os.urandom(size_bytes) if content is None else content
        mtime_ns = int((datetime.now(tz=UTC).timestamp() - settled_seconds) * 1e9)
        if write_file:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(mtime_ns, mtime_ns))
        return Recording.objects.create(
            **{
                "camera": camera,
                "name": Path(name).name[:255],
                "started_at": now - timedelta(hours=2),
                "ended_at": now - timedelta(hours=1),
                "duration_seconds": 3600.0,
                "file_size_bytes": len(content),
                "file_mtime_ns": mtime_ns,
                "local_path": name,
                "file_path": name,
                **fields,
            }
        )

    return make
