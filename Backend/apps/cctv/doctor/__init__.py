"""Diagnosis: what is right, what would surprise and what is wrong here, and what to do about each.

It looks and changes nothing but one thing: like every part that needs it, it makes the installation id on
first use. What cannot be looked at (no bucket set, no database) is said, and stops no other check.

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
from apps.cctv.doctor.disk import home_findings, media_root_findings, private_findings, reserve_findings
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
    """Every finding, in an order that puts causes before what they cause, as it is found.

    `store` is None where no bucket is configured, or where `store_problem` says why it cannot be spoken to.
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
    yield from media_root_findings(root=root, mounts=mounts, database_usable=usable)
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
