"""A worker process from its start to its end."""

from __future__ import annotations

import random as randomness
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import structlog

from apps.cctv.leasing.leases import JobLease
from apps.cctv.leasing.owners import Owner
from apps.cctv.leasing.recovery import free_leases_of_dead_owners
from apps.cctv.models import Alarm, Site
from apps.cctv.services.alarms import STOP_CODES
from apps.cctv.services.delete_rights import DeleteRightsWatch
from apps.cctv.services.settings import ServiceSettings
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.breaker import CircuitBreaker
from apps.cctv.worker.disk import DiskGuard
from apps.cctv.worker.dispatch import Dispatcher
from apps.cctv.worker.group_commit import GroupCommit
from apps.cctv.worker.heartbeat import Heartbeat
from apps.cctv.worker.periodic import PERIODIC, PeriodicThread, Worker
from apps.cctv.worker.signals import StopSignals, Waker
from apps.cctv.worker.upload_attempt import Tools
from offload.clock import Clock, SystemClock
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.uploader import UploadSettings

log = structlog.get_logger("coldreel.worker")

_LAST_JOB_SECONDS = 10.0


def run_worker(
    *,
    store: ObjectStore,
    root: MediaRoot,
    home: Path,
    settings: ServiceSettings,
    upload_settings: UploadSettings,
    uploads: int,
    site: Site | None = None,
    until_idle: bool = False,
    periodic: bool = True,
    clock: Clock | None = None,
    random: Callable[[], float] = randomness.random,
) -> None:
    """Upload what is due until SIGTERM or SIGINT, or with `until_idle` until nothing is left.

    Runs in the main thread, which gets the signals; `uploads` is how many files it uploads at once. Raises
    InstallationUnknown at once.
    """
    clock = clock or SystemClock()
    # What stopped all uploads of an earlier process, as its alarm says, may still do so.
    tripped = Alarm.objects.filter(code__in=sorted(STOP_CODES), cleared_at__isnull=True).exists()
    breaker = CircuitBreaker(clock, settings.timings.backoff, random, tripped=tripped)
    owner = Owner.start(home, site, clock.now())
    waker = Waker(owner.wake_pipe)
    tools = Tools(
        store=store,
        root=root,
        clock=clock,
        random=random,
        settings=settings,
        upload_settings=upload_settings,
        breaker=breaker,
        bandwidth=Bandwidth(clock),
        group_commit=GroupCommit(clock=clock, wake=waker.wake, settings=settings),
        stopping=threading.Event(),
        rights=DeleteRightsWatch(root),
    )
    log.info("worker.started", worker=owner.name, site=str(site) if site else None, uploads=uploads)
    try:
        with StopSignals(tools.stopping, waker):
            free_leases_of_dead_owners(home=home, now=clock.now())
            dispatcher = Dispatcher(owner, tools, waker, site_id=site.pk if site else None, uploads=uploads)
            here = Worker(tools=tools, home=home, owner_id=owner.id, site_id=site.pk if site else None)
            jobs = [PeriodicThread(job, here) for job in PERIODIC] if periodic else []
            guards = [DiskGuard(tools, home, here.site_id)] if periodic else []
            job_leases = partial(_leases_of, jobs)
            heartbeat = Heartbeat(owner, dispatcher.running, jobs=job_leases, clock=clock, timings=settings.timings)
            heartbeat.start()
            tools.bandwidth.start()
            for thread in (*jobs, *guards):
                thread.start()
            dispatcher.run(until_idle=until_idle)
            # After the dispatcher, which waits for attempts that need their leases.
            heartbeat.finish()
            tools.bandwidth.finish()
            tools.stopping.set()
            for thread in (*jobs, *guards):
                thread.join(_LAST_JOB_SECONDS)
    finally:
        tools.stopping.set()
        owner.stop(clock.now())
        log.info("worker.stopped", worker=owner.name)


def _leases_of(jobs: Sequence[PeriodicThread]) -> list[JobLease]:
    return [lease for job in jobs if (lease := job.lease()) is not None]
