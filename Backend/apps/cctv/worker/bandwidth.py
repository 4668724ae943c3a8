"""The bandwidth limits of a worker's sites: one thread fetches stretches of their lines for all its uploads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import Error, connection

from apps.cctv.leasing.leases import lease_clock
from apps.cctv.services.bandwidth import limits_in_force, line_take
from apps.cctv.worker.crashes import survive
from offload.clock import Clock
from offload.pace import Pace, SharedPace

READ_SECONDS = 1.0
"""How often the limits are read while something uploads."""
_STEP_SECONDS = 0.1
_AFTER_ERROR_SECONDS = 0.5
_LAST_STEP_SECONDS = 5.0


@dataclass(slots=True)
class _Site:
    pace: SharedPace
    uploads: int = 0


class Bandwidth:
    """A pace for each site that something is uploaded from. For a site without a limit nothing is written."""

    def __init__(self, clock: Clock, *, time_of: Callable[[datetime], datetime] = lease_clock) -> None:
        self._clock = clock
        self._time_of = time_of
        self._lock = threading.Lock()
        self._sites: dict[UUID, _Site] = {}
        self._read_at: float | None = None
        self._stepped_at = clock.monotonic()
        self._called = threading.Event()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bandwidth", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Stop, and wait a while for a step that runs: not for ever, since the database may be gone."""
        self._finished.set()
        self._called.set()
        self._thread.join(_LAST_STEP_SECONDS)

    @contextmanager
    def of(self, site_id: UUID) -> Iterator[Pace]:
        """The pace of one upload. It lets no byte go before the site's limit was read."""
        with self._lock:
            site = self._sites.get(site_id)
            if site is None:
                site = self._sites[site_id] = _Site(SharedPace(self._clock, call=self._called.set))
                self._read_at = None
                self._called.set()
            site.uploads += 1
        try:
            yield site.pace
        finally:
            with self._lock:
                site.uploads -= 1

    def stepped_within(self, seconds: float) -> bool:
        """Whether its thread made a step so lately: then an upload that waits for its turn will get one."""
        return self._clock.monotonic() - self._stepped_at < seconds

    def step(self) -> float | None:
        """Read the limits if it is time, and fetch the stretches that uploads need.

        Returns the seconds until the next step, None for as long as nothing uploads.
        """
        now = self._clock.monotonic()
        with self._lock:
            is_due = self._read_at is None or now >= self._read_at + READ_SECONDS
            if is_due:
                # A site stays known between two uploads of it, and no longer than its limit is fresh.
                self._sites = {site_id: site for site_id, site in self._sites.items() if site.uploads}
                self._read_at = now
            sites = {site_id: site.pace for site_id, site in self._sites.items()}
        if not sites:
            return None
        if is_due:
            self._read(sites)
        for site_id, pace in sites.items():
            if seconds := pace.wanted_seconds():
                stretch = line_take(site_id=site_id, wanted_seconds=seconds, clock=self._clock, time_of=self._time_of)
                pace.set_limit(None if stretch is None else stretch.bytes_per_second)
                if stretch is not None:
                    pace.add(stretch)
        return _STEP_SECONDS if any(pace.is_limited for pace in sites.values()) else READ_SECONDS

    def _read(self, sites: dict[UUID, SharedPace]) -> None:
        try:
            limits = limits_in_force(site_ids=list(sites), clock=self._clock, time_of=self._time_of)
        except Error:
            with self._lock:
                self._read_at = None
            raise
        for site_id, pace in sites.items():
            pace.set_limit(limits.get(site_id))

    def _run(self) -> None:
        while not self._finished.is_set():
            self._called.clear()
            if not survive(self._step_and_wait, "worker.bandwidth_waits"):  # uploads under a limit wait for it
                self._finished.wait(_AFTER_ERROR_SECONDS)
        connection.close()

    def _step_and_wait(self) -> None:
        seconds = self.step()
        self._stepped_at = self._clock.monotonic()
        self._called.wait(seconds)
