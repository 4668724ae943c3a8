"""A secret key where DJANGO_SECRET_KEY is not set: made once, and readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

from config.private_files import give_to_owner_of


def secret_key_of_home(home: Path) -> str:
    """The key in ``<home>/secret-key``, made on first use. Two processes that start at once agree on one."""
    path = home / "secret-key"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = home / f".secret-key.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(get_random_secret_key())
            file.flush()
            give_to_owner_of(home, file.fileno())
            os.fsync(file.fileno())
        try:
            # A link is made whole or not at all, and never over a file that another process made meanwhile.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
