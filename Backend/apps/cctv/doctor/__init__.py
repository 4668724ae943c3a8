"""The checks of `manage.py doctor`: what is right, what may surprise and what is wrong, and what to do about each.

They change no row, no recording and no object. They write these files, all of them Coldreel's own:

1. `installation-id` in `COLDREEL_HOME`, where it is missing and nothing was transferred yet, as every part does that
   needs the id.
2. An empty file in the folder of the newest recording of each camera, to see whether it can be deleted the way cleanup
   deletes: it is renamed into the trash folder, which is made where it is missing, and both are removed again.
3. A nameless file of 1 MiB in `COLDREEL_HOME`, where less than 64 MiB are free there, to see whether its disk is full.

What cannot be checked, for example without a bucket or a database, is a finding of its own and stops no other check.

| module | has |
|---|---|
| `finding` | `Finding`: one thing that was looked at, and how bad it is |
| `settings` | settings that are allowed and surprise |
| `disk` | `COLDREEL_HOME`, the reserve, the media root and its marker |
| `database` | the database: reachable, migrated, set up as the promises need it |
| `bucket` | the bucket: rights, clock, lifecycle, retention |
| `delete_rights` | the right to delete recordings, tried with an empty file |
| `sites` | time zones and bandwidth limits of the sites |
| `workers` | workers and their periodic jobs |
| `footage` | files that were never imported, recordings that were never asked for |
| `transfers` | transfers that wait for a person or have gone quiet |
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.db import connection

from apps.cctv.doctor.bucket import bucket_findings, unknown_bucket_finding
from apps.cctv.doctor.database import database_findings
from apps.cctv.doctor.delete_rights import delete_rights_findings
from apps.cctv.doctor.disk import (
    file_system_findings,
    home_findings,
    media_root_findings,
    private_findings,
    reserve_findings,
)
from apps.cctv.doctor.finding import Finding, Level, worst
from apps.cctv.doctor.footage import footage_findings, request_findings
from apps.cctv.doctor.settings import DoctorSettings, settings_findings
from apps.cctv.doctor.sites import site_findings
from apps.cctv.doctor.transfers import transfer_findings
from apps.cctv.doctor.workers import worker_findings
from apps.cctv.services.disk_reserve import Reserve
from config.private_files import sqlite_file
from offload.clock import Clock
from offload.source import MediaRoot
from offload.store import ObjectStore

__all__ = ["DoctorSettings", "Finding", "Level", "diagnose", "worst"]

MOUNTS = Path("/proc/self/mountinfo")


def diagnose(
    *,
    store: ObjectStore | None,
    store_problem: str = "",
    root: MediaRoot,
    home: Path,
    clock: Clock,
    settings: DoctorSettings,
    mounts: Path = MOUNTS,
) -> Iterator[Finding]:
    """Every finding, as it is made, causes before their effects.

    `store` is None where no bucket is configured, or where `store_problem` says why there is no connection to it.
    `mounts` is Linux's list of mounts (proc_pid_mountinfo(5)). Works without a database. Raises nothing on purpose.
    """
    now = clock.now()
    yield from settings_findings(settings)
    yield from home_findings(home=home, media_root=root.path)
    database_file = sqlite_file(connection.settings_dict)
    yield from reserve_findings(home=home, size_bytes=Reserve.of_installation().size_bytes, database=database_file)
    yield from private_findings(home=home, media_root=root.path, database=database_file)
    database = list(database_findings())
    yield from database
    usable = worst(database) is not Level.PROBLEM
    yield from media_root_findings(root=root, database_usable=usable)
    yield from file_system_findings(root=root, mounts=mounts)
    if store_problem:
        yield unknown_bucket_finding(store_problem)
    elif store is not None:
        yield from bucket_findings(store=store, clock=clock, settings=settings.services)
    if usable:
        if settings.services.cleanup_local:
            yield from delete_rights_findings(root=root, home=home)
        yield from site_findings(now=now)
        yield from worker_findings(home=home, now=now, settings=settings.services)
        yield from footage_findings(root=root, clock=clock)
        yield from request_findings(now=now)
        yield from transfer_findings(now=now, trusted_buckets=settings.services.trusted_buckets)
