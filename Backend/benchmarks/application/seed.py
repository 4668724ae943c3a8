"""`python -m benchmarks.application.seed`: migrates a database and adds a user and a recording for each file.

The files are those of MEDIA_ROOT. A database that was filled for other files is used again: its migrations are what
takes time. Its settings come from the environment, like those of the product.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

USER = "bench"
PASSWORD = "benchmark only"


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from apps.cctv.models import Camera, Recording, Site
    from apps.users.models import User

    call_command("migrate", interactive=False, verbosity=0)
    if not User.objects.exists():
        User.objects.create_superuser(username=USER, password=PASSWORD)
        Camera.objects.create(site=Site.objects.create(name="Benchmark"), name="Gate")
    Recording.objects.all().delete()
    camera = Camera.objects.get()
    now = datetime.now(tz=UTC)
    Recording.objects.bulk_create(
        Recording(
            camera=camera,
            name=path.name,
            started_at=now,
            file_size_bytes=path.stat().st_size,
            file_mtime_ns=path.stat().st_mtime_ns,
            local_path=path.name,
            file_path=path.name,
        )
        for path in sorted(Path(settings.MEDIA_ROOT).iterdir())
        if not path.name.startswith(".")
    )


if __name__ == "__main__":
    main()
