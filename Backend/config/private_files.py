"""Files that Coldreel creates are readable by their owner alone: a umask for every process, and wider modes narrowed.

Modes are changed only of files and folders that Coldreel makes itself, and only where this user owns them. Folders
with footage keep the modes that the recorder gave them.
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
"""All rights of the group and of all other users."""
PASS_THROUGH = 0o711
"""For a home with MEDIA_ROOT in it that another user's recorder writes to: it may be entered and not listed."""

_OWN_NAMES = ("secret-key", "installation-id", "reserve", "owners", "static")
_DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
_ENTRIES_LOOKED_AT = 200


def keep_umask() -> None:
    """Files that this process creates from now on give other users no right, unless their mode is set explicitly."""
    os.umask(UMASK)


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give a file that root just made to the owner of `folder`: the service could not read it otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sqlite_file(database: Mapping[str, Any]) -> Path | None:
    """SQLite's file of an entry of DATABASES; None for PostgreSQL and for a database in memory."""
    name = str(database["NAME"])
    is_file = database["ENGINE"] == "django.db.backends.sqlite3" and Path(name).is_absolute()
    return Path(name) if is_file else None


def own_paths(home: Path, database: Path | None) -> Iterator[Path]:
    """The private files and folders that exist now, without the home itself.

    `database` is SQLite's file, None on PostgreSQL.
    """
    names = [home / name for name in _OWN_NAMES]
    logs = sorted(home.glob("*.log"))
    tables = [Path(f"{database}{suffix}") for suffix in _DATABASE_SUFFIXES] if database else []
    return (path for path in (*names, *logs, *tables) if path.exists())


def home_mode(home: Path, media_root: Path) -> int | None:
    """The mode that the home should have; None where it is the media root too, whose mode the recorder sets."""
    if home.resolve() == media_root.resolve():
        return None
    if home.resolve() not in media_root.resolve().parents:
        return 0o700
    # Another user records there where the folder, or an entry of it, is another's or a folder open to others.
    try:
        with os.scandir(media_root) as entries:
            some = itertools.islice(entries, _ENTRIES_LOOKED_AT)
            found = [media_root.stat(), *(entry.stat(follow_symlinks=False) for entry in some)]
    except OSError:
        return 0o700
    shared = any(one.st_uid != os.geteuid() or (stat.S_ISDIR(one.st_mode) and one.st_mode & 0o022) for one in found)
    return PASS_THROUGH if shared else 0o700


def make_private(home: Path, *, media_root: Path, database: Path | None) -> None:
    """Narrow modes that an earlier release, or a person, left open. `doctor` reports what cannot be changed."""
    wanted = home_mode(home, media_root)
    with suppress(OSError):
        if wanted is not None:
            _narrow([home], wanted)
        _narrow(own_paths(home, database), 0o700)


def _narrow(paths: Iterable[Path], most: int) -> None:
    """Remove all rights of others beyond `most` from those paths that this user owns."""
    for path in paths:
        with suppress(OSError):
            found = path.stat()
            mode = stat.S_IMODE(found.st_mode)
            # Only the owner may change a mode. Root would change those of other users as well, and must not.
            if found.st_uid == os.geteuid() and mode & ~most & OTHERS:
                path.chmod(mode & (most | ~OTHERS))
