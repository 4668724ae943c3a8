"""Workers: whether one runs, by lock file and heartbeat, and whether the periodic jobs run on time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.leasing.wakeup import OWNERS_FOLDER
from apps.cctv.models import GCPVideoTransfer, PeriodicJob, WorkerProcess
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.tables.work import JobKind
from offload.states import State

HEARTBEATS_MISSED = 3
JOB_LATE = timedelta(hours=1)
CLOCK_SLACK = timedelta(minutes=5)
_START = "Start one: `manage.py run_worker`, best as a systemd service."


def worker_findings(*, home: Path, now: datetime, settings: ServiceSettings) -> Iterator[Finding]:
    patience = timedelta(seconds=HEARTBEATS_MISSED * settings.timings.heartbeat_seconds)
    running = WorkerProcess.objects.filter(stopped_at__isnull=True)
    alive = [row for row in running if _is_alive(row, home, now, patience)]
    if not alive:
        waiting = GCPVideoTransfer.objects.filter(
            transfer_status__in=[State.PENDING, State.UPLOADING, State.CLEANUP_PENDING]
        ).count()
        if waiting:
            yield problem("worker", f"No worker runs. Transfers that wait for one: {waiting}.", _START)
        else:
            yield warning("worker", "No worker runs. No transfer waits for one now.", _START)
        return
    # A worker that hangs still holds its lock.
    silent = [row for row in alive if now - row.heartbeat_at > patience]
    for row in silent:
        yield warning(
            "worker",
            f"{row} runs, but its last heartbeat is {_age(now - row.heartbeat_at)} old.",
            "See its log. Restart it if it does not come back.",
        )
    if len(silent) < len(alive):
        names = ", ".join(str(row) for row in alive if row not in silent)
        yield ok("worker", f"Alive: {names}.")
    # The disk is looked at after a cleanup, the bucket in a sweep.
    intervals = {
        JobKind.SWEEP.value: settings.timings.sweep_seconds,
        JobKind.BUCKET.value: settings.timings.sweep_seconds,
        JobKind.CLEANUP.value: settings.timings.cleanup_seconds,
        JobKind.LOOK.value: settings.timings.cleanup_seconds,
    }
    # Judged by when each job last ended: a lease says only that a worker claims to run it.
    for job in PeriodicJob.objects.order_by("name"):
        every = timedelta(seconds=intervals.get(job.kind, 0))
        due_at = job.next_run_at if job.last_finished_at is None else job.last_finished_at + every
        if due_at > now + every + CLOCK_SLACK:
            yield warning(
                "periodic jobs",
                f"{job.name} last ended {_age(due_at - every - now)} from now: the clock was set back since.",
                "Make sure that the clock of this machine is right. The job runs all the same.",
            )
        elif due_at < now - JOB_LATE and job.lease_expires_at is not None and job.lease_expires_at > now:
            yield warning(
                "periodic jobs",
                f"{job.name} should have ended a run {_age(now - due_at)} ago; a worker is at it.",
                "A first cleanup of many files takes hours. Otherwise see the log of the worker, and restart it.",
            )
        elif due_at < now - JOB_LATE:
            yield warning(
                "periodic jobs",
                f"{job.name} should have run {_age(now - due_at)} ago.",
                "Run one worker without --no-periodic.",
            )


def _is_alive(row: WorkerProcess, home: Path, now: datetime, patience: timedelta) -> bool:
    """By its lock file where that can be read, else by its heartbeat."""
    beats = now - row.heartbeat_at <= patience
    if row.host != socket.gethostname():
        return beats
    try:
        lock = os.open(home / OWNERS_FOLDER / f"{row.pk}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Another user's file, or one of another COLDREEL_HOME.
        return beats
    try:
        # A shared lock: two doctors at once must not take each other for a worker.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _age(time: timedelta) -> str:
    seconds = time.total_seconds()
    if seconds < 120:  # noqa: PLR2004 - two minutes are told in seconds
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004 - likewise
