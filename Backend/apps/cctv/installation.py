"""Which installation this is: its home, its id, the size of its reserve, and which machine it runs on.

The id is kept outside the database. A copy of the database on a staging machine must not make that machine the owner
of the real one's objects: objects carry this id, and hold, release and delete refuse another installation's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import tempfile
import uuid
from pathlib import Path

from django.conf import settings

from apps.cctv.models import GCPVideoTransfer
from config.private_files import give_to_owner_of

FILE_NAME = "installation-id"
_MACHINE_ID_FILE = Path("/etc/machine-id")
_MOST_CHARACTERS = 36  # the length of the columns that keep it: a UUID, or a shorter name


class InstallationUnknown(Exception):
    """The id is missing although there are transfers, or it is no valid id. `detail` tells the operator what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def home() -> Path:
    """`COLDREEL_HOME`: the folder of the id, the locks and pipes of the workers, and the reserve."""
    return Path(settings.COLDREEL_HOME)


def reserve_bytes() -> int:
    """The size that the reserve for a full disk is to have; 0 for none.

    Read from the settings and not passed as an argument: handlers of errors need it, whose callers do not have it.
    """
    return int(settings.COLDREEL_RESERVE_BYTES)


def installation_id() -> str:
    """The id from `COLDREEL_INSTALLATION_ID`, or from the file in `COLDREEL_HOME`, made on first use.

    Raises InstallationUnknown where the file is missing although transfers exist, and where the id
    is empty or longer than 36 characters.
    """
    if settings.COLDREEL_INSTALLATION_ID:
        return _checked(settings.COLDREEL_INSTALLATION_ID, "COLDREEL_INSTALLATION_ID")
    path = home() / FILE_NAME
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    # Objects in the bucket carry the lost id. With a new one, this installation would refuse its own objects.
    if GCPVideoTransfer.objects.exists():
        raise InstallationUnknown(
            f"There are transfers, but {path} is missing. Put the file back from a backup of COLDREEL_HOME, or set "
            "COLDREEL_INSTALLATION_ID to the id that the objects in the bucket carry."
        )
    # Read back, since another process may have been first.
    _write_once(path, str(uuid.uuid4()))
    return _read(path)


def machine_id(file: Path = _MACHINE_ID_FILE) -> str:
    """Which machine this is, by an id that stays when it gets another name; its name where it has no such id.

    Not the id itself, which is confidential, but a keyed hash of it that only Coldreel makes:
    https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
    """
    try:
        found = file.read_bytes().strip()
    except OSError:
        found = b""
    return hmac.digest(found, b"coldreel", hashlib.sha256).hex()[:32] if found else socket.gethostname()


def _read(path: Path) -> str:
    return _checked(path.read_text(encoding="utf-8").strip(), str(path))


def _checked(found: str, where: str) -> str:
    if not 0 < len(found) <= _MOST_CHARACTERS or not found.isprintable():
        raise InstallationUnknown(
            f"{where} is invalid: expected an installation id of 1 to {_MOST_CHARACTERS} characters."
        )
    return found


def _write_once(path: Path, text: str) -> None:
    """Make the file whole, or leave the one that is there: two processes may start at the same moment.

    The text is written under another name and linked to `path`. A link to a name that exists fails, so the first one
    wins, and a reader never sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{FILE_NAME}-", encoding="utf-8") as draft:
        draft.write(f"{text}\n")
        draft.flush()
        give_to_owner_of(path.parent, draft.fileno())
        os.fsync(draft.fileno())
        try:
            os.link(draft.name, path)
        except FileExistsError:
            return
    # A new name survives a power loss only when its folder is written as well: fsync(2).
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
