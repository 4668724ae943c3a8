"""What running creates is readable by its owner alone: the umask of every process, and wider modes mended.

Only files and folders that Coldreel makes itself are ever changed, and only where this user owns them. Footage
folders keep the modes that the recorder gave them.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

UMASK = 0o077
OTHERS = 0o077
"""Every right of the group and of all others."""
PASS_THROUGH = 0o711
"""A home with MEDIA_ROOT in it that a recorder of another user writes to: it may be entered, not listed."""

_OWN_NAMES = ("secret-key", "installation-id", "reserve", "owners", "static")
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
_ENTRIES_LOOKED_AT = 200


def keep_umask() -> None:
    """Nothing that this process creates from now on has a right for others, unless it is given one."""
    os.umask(UMASK)


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """What root makes in the folder of a service belongs to the service, which could not read it otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sqlite_file(database: Mapping[str, Any]) -> Path | None:
    """The file of a database of Django's settings; None where it is no SQLite or only in memory."""
    name = str(database["NAME"])
    is_file = database["ENGINE"] == "django.db.backends.sqlite3" and Path(name).is_absolute()
    return Path(name) if is_file else None


def own_paths(home: Path, database: Path | None) -> Iterator[Path]:
    """The files and folders with something private in them that are there now, the home itself aside.

    `database` is SQLite's file, None on PostgreSQL.
    """
    names = [home / name for name in _OWN_NAMES]
    logs = sorted(home.glob("*.log"))
    tables = [Path(f"{database}{suffix}") for suffix in _DATABASE_SUFFIXES] if database else []
    return (path for path in (*names, *logs, *tables) if path.exists())


def home_mode(home: Path, media_root: Path) -> int | None:
    """The mode that the home should have; None where it is the media root itself, whose mode is not ours to set."""
    if home.resolve() == media_root.resolve():
        return None
    inside = home.resolve() in media_root.resolve().parents
    return PASS_THROUGH if inside and _others_write_to(media_root) else 0o700


def make_private(home: Path, *, media_root: Path, database: Path | None) -> None:
    """Narrow what an earlier release, or a person, left open. What cannot be changed is left for `doctor` to tell."""
    wanted = home_mode(home, media_root)
    with suppress(OSError):
        if wanted is not None:
            _narrow([home], wanted)
        _narrow(own_paths(home, database), 0o700)


def _narrow(paths: Iterable[Path], most: int) -> None:
    """Take every right away that is not in `most`, where the path is this user's own."""
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            mode = stat.S_IMODE(found.st_mode)
            if found.st_uid == os.geteuid() and mode & ~most & OTHERS:
                path.chmod(mode & (most | ~OTHERS))


def _others_write_to(media_root: Path) -> bool:
    """Whether another user records there: the folder, or one in it, is another's or may be written to by others."""
    try:
        with os.scandir(media_root) as entries:
            some = itertools.islice(entries, _ENTRIES_LOOKED_AT)
            found = [media_root.stat(), *(entry.stat(follow_symlinks=False) for entry in some)]
    except OSError:
        return False
    return any(one.st_uid != os.geteuid() or (stat.S_ISDIR(one.st_mode) and one.st_mode & 0o022) for one in found)
