"""Guards the home's disk: an alarm before it is full, cleanup first while it is, and a new reserve after that."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.db import connection

from apps.cctv.installation import machine_id
from apps.cctv.services.alarms import alarm_clear, alarm_raise
from apps.cctv.services.cleanup.due_rows import is_anything_due
from apps.cctv.services.delete_rights import LOOK_AGAIN_SECONDS, delete_rights_alarm, delete_rights_recheck
from apps.cctv.services.disk_reserve import FULL_BYTES, Reserve, low_mark_bytes
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.units import human_size
from apps.cctv.worker.crashes import survive
from apps.cctv.worker.upload_attempt import Tools
from offload.errors import FileProblem, Reason
from offload.source import TRASH_NAME

ASK_AGAIN_SECONDS = 60.0
"""How often cleanup is asked for while the disk stays full and something is due."""
NOTHING_ELSE_SECONDS = 30.0
"""How long all other work waits for such a cleanup at most: after that only more uploads can free the disk."""
RAISE_AGAIN = timedelta(minutes=10)
ENOUGH = 1.25
"""How many times the mark has to be free before the alarm ends, so that it does not flicker."""


class DiskGuard(threading.Thread):
    """Looks once a poll, by one call of the operating system.

    The database is asked while room is short, and every ten minutes for the right to delete.
    """

    def __init__(self, tools: Tools, home: Path, site_id: UUID | None, reserve: Reserve | None = None) -> None:
        super().__init__(name="disk-guard", daemon=True)
        self._tools = tools
        self._home = home
        self._site_id = site_id
        self._reserve = reserve or Reserve.of_installation()
        self._asked_at = tools.clock.monotonic() - ASK_AGAIN_SECONDS
        self._has_trash = False
        self._clear_rights_at = tools.clock.monotonic()
        self._told = ""
        self._told_at: datetime | None = None

    def run(self) -> None:
        while True:
            survive(self.look, "disk.not_told")
            connection.close()  # usually none is needed for minutes
            if self._tools.stopping.wait(self._tools.timings.poll_seconds):
                break

    def look(self) -> None:
        free_bytes = self._reserve.free_bytes()
        if free_bytes is None:  # not known: nothing is told of it, and no alarm ends
            self._tell_of_rights()
            return
        if free_bytes >= max(self._reserve.size_bytes, FULL_BYTES):
            self._tools.cleanup_first.clear()
            self._reserve.refill()
            # The trash folder is made while there is room: on a full disk a new folder may get no block.
            if not self._has_trash and self._tools.root.has_marker():
                with suppress(FileProblem), self._tools.root.folder((TRASH_NAME,), create=True, mode=0o700):
                    self._has_trash = True
        else:
            waited = self._tools.clock.monotonic() - self._asked_at
            if waited >= NOTHING_ELSE_SECONDS:
                self._tools.cleanup_first.clear()
            if (
                waited >= ASK_AGAIN_SECONDS
                and self._tools.settings.cleanup_local
                and is_anything_due(self._site_id, self._tools.clock.now())
            ):
                self._asked_at = self._tools.clock.monotonic()
                self._tools.cleanup_first.set()
        self._tell(free_bytes)
        self._tell_of_rights()

    def _tell_of_rights(self) -> None:
        now = self._tools.clock.now()
        missing = self._tools.rights.take() if self._tools.rights is not None else {}
        if missing:
            delete_rights_alarm(missing, now, cleanup_local=self._tools.settings.cleanup_local)
        elif self._tools.clock.monotonic() >= self._clear_rights_at:
            self._clear_rights_at = self._tools.clock.monotonic() + LOOK_AGAIN_SECONDS
            delete_rights_recheck(self._tools.root, now, site_id=self._site_id)

    def _tell(self, free_bytes: int) -> None:
        """Raise or clear the alarm, where the state has changed or was last told long ago."""
        now = self._tools.clock.now()
        mark = low_mark_bytes(self._home, self._reserve.size_bytes)
        state = "well"
        if free_bytes < max(self._reserve.size_bytes, FULL_BYTES):
            state = "full"
        elif free_bytes < mark or (self._told not in {"", "well"} and free_bytes < ENOUGH * mark):
            state = "low"
        lately = self._told_at is not None and self._told_at <= now < self._told_at + RAISE_AGAIN
        if state == self._told and (state == "well" or lately):
            return
        subject = Subject(SubjectKind.MACHINE, machine_id())
        if state == "well":
            alarm_clear(code=Reason.HOME_DISK_LOW, subject=subject, now=now)
        else:
            alarm_raise(code=Reason.HOME_DISK_LOW, subject=subject, detail=self._detail(state, free_bytes), now=now)
        self._told, self._told_at = state, now

    def _detail(self, state: str, free_bytes: int) -> str:
        shared = ""
        with suppress(OSError):
            if self._home.stat().st_dev == self._tools.root.path.stat().st_dev:
                shared = " Recordings lie on it too, so the recorder fills it."
        first = " What is due is cleaned up before anything else." if state == "full" else ""
        return (
            f"The disk of COLDREEL_HOME is {'full' if state == 'full' else 'nearly full'}: "
            f"{human_size(free_bytes)} are free.{shared}{first}"
        )
