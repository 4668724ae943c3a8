"""One run of the cleanup: the order of its steps, from the guards to the report."""

from __future__ import annotations

import random as standard_random
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from apps.cctv.installation import InstallationUnknown, home, installation_id
from apps.cctv.leasing.leases import release_unfinished_cleanup
from apps.cctv.leasing.owners import command_owner
from apps.cctv.leasing.recovery import free_leases_of_dead_owners
from apps.cctv.models import Site
from apps.cctv.services import NotFound
from apps.cctv.services.cleanup.due_rows import DueRow, Scope, due_rows, one_row, rows_not_due
from apps.cctv.services.cleanup.guards import LOCAL_SHARE, REMOTE_SHARE, guards_pass, marker_check, objects_pass
from apps.cctv.services.cleanup.one_file import file_clean
from apps.cctv.services.cleanup.pressure import DiskReader, bytes_above_mark, disk_usage
from apps.cctv.services.cleanup.proof import PROOF_SECONDS, Proofs
from apps.cctv.services.cleanup.recovery import receipts_recover
from apps.cctv.services.cleanup.report import CleanupReport, FileReport, Outcome
from apps.cctv.services.cleanup.run_alarms import run_tell
from apps.cctv.services.cleanup.run_state import MissingShare, Run, RunStopped
from apps.cctv.services.disk_reserve import retry_making_room
from apps.cctv.services.media_root import media_root_expected, media_root_seen
from apps.cctv.services.retention import Waiver
from apps.cctv.services.settings import ServiceSettings
from offload.clock import Clock
from offload.errors import OffloadError, Reason
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.trash import Trash

log = structlog.get_logger("coldreel.cleanup")


@dataclass(frozen=True, slots=True)
class _Caller:
    """The functions by which the caller follows a run and stops it."""

    on_start: Callable[[int], None]
    on_file: Callable[[FileReport], None]
    should_stop: Callable[[], bool]


class _Interrupted(Exception):
    """The caller asked to stop."""


def cleanup_run(
    *,
    store: ObjectStore,
    root: MediaRoot,
    clock: Clock,
    actor: str,
    settings: ServiceSettings,
    dry_run: bool = False,
    force: bool = False,
    transfer_id: UUID | None = None,
    batch_size: int | None = None,
    on_file: Callable[[FileReport], None] | None = None,
    on_start: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    site_id: UUID | None = None,
    accept_missing: bool = False,
    trash: Trash | None = None,
    owner_id: UUID | None = None,
    disk: DiskReader = disk_usage,
    random: Callable[[], float] = standard_random.random,
) -> CleanupReport:
    """Delete the local files of verified recordings whose waiting period is over; all that are due, oldest first.

    The numbers are those of docs/design/cleanup.md.

    1. Pass the guards: the media root has its marker, the clocks agree, not too much is missing on the disk or in the
       bucket. A bucket that refuses as a whole keeps its files (`guards`).
    2. Claim the due rows in batches, oldest first, each by a lease; a held one stays (`due_rows`, `one_file`).
    3. Read back the object: a batch by a listing where that is cheaper, else one by one (`proof`).
    4. Compare the file, rename it into the trash, compare it there (`one_file`, `comparison`).
    5. Commit the receipt `deleting` (`one_file`).
    6. Unlink, and close the receipt with the move (`one_file`). Where one of 2 to 6 does not allow it, the file stays
       or goes back (`file_stays`).
    7. Under disk pressure do the same, with the guards first, for rows that are not due yet, until the disk is below
       its site's high-water mark (`pressure`).
    8. Raise and close alarms, and note the run (`run_alarms`).

    `force` waives the waiting period and nothing else; `transfer_id` takes that one alone, also while it
    waits for a later try; `batch_size` is how many are read back together; `accept_missing` lets a person
    go on who knows why many files or objects are missing. `on_start` is told how many files are next,
    `on_file` how each ended, `should_stop` is asked between files. With `site_id` only rows of that site.

    Safe to run any number of times at once, and to kill: without an `owner_id` the run is an owner of its own,
    whose leases end with its process. Raises NotFound for an unknown `transfer_id`; a run that must not go on
    says so in `CleanupReport.stopped`.
    """
    chosen = None if transfer_id is None else one_row(transfer_id)
    if chosen == []:
        raise NotFound(f"There is no transfer {transfer_id}.")
    log.info("cleanup.run", actor=actor, dry_run=dry_run, force=force, transfer=transfer_id and str(transfer_id))
    run = Run(
        store=store,
        root=root,
        trash=trash or Trash(root),
        clock=clock,
        settings=settings,
        proofs=Proofs(store, clock, seconds=PROOF_SECONDS),
        owner_id=uuid4() if owner_id is None else owner_id,
        actor=actor,
        dry_run=dry_run,
        force=force,
        random=random,
        missing_locally=MissingShare(Reason.TOO_MANY_MISSING_LOCALLY, LOCAL_SHARE, "due files", accept_missing),
        missing_remotely=MissingShare(Reason.TOO_MANY_MISSING_REMOTELY, REMOTE_SHARE, "due objects", accept_missing),
    )
    caller = _Caller(on_start or _ignore, on_file or _ignore, should_stop or (lambda: False))
    steps = _RunSteps(run, caller, Scope(force, site_id), batch_size or settings.cleanup_batch_size, disk)
    if owner_id is not None or dry_run:
        return steps.report_of(chosen)
    free_leases_of_dead_owners(home=home(), now=clock.now())  # of a command that was killed, where no worker sweeps
    with command_owner(home(), clock) as run.owner_id:
        return steps.report_of(chosen)


def _ignore(_: object) -> None:
    pass


class _RunSteps:
    """`chosen` is the one row that was asked for, None for all that are due."""

    def __init__(self, run: Run, caller: _Caller, scope: Scope, batch_size: int, disk: DiskReader) -> None:
        self._run = run
        self._caller = caller
        self._scope = scope
        self._batch_size = batch_size
        self._disk = disk
        self._report = CleanupReport(dry_run=run.dry_run, forced=run.force, started_at=run.clock.now())

    def report_of(self, chosen: list[DueRow] | None) -> CleanupReport:
        run, report = self._run, self._report
        try:
            self._do(chosen)
        except RunStopped as stopped:
            report.stopped, report.stopped_detail = stopped.reason, stopped.detail
        except OffloadError as error:
            report.stopped, report.stopped_detail = error.code, error.detail
        except _Interrupted:
            report.interrupted = True
        report.finished_at = run.clock.now()
        # 8. Alarms and note.
        if not report.dry_run:
            retry_making_room(lambda: run_tell(run, report, site_id=self._scope.site_id, whole=chosen is None))
        log.info("cleanup.summary", actor=run.actor, **report.as_json())
        return report

    def _do(self, chosen: list[DueRow] | None) -> None:
        run = self._run
        # 1. Guards.
        if not run.root.has_marker() and not media_root_expected(run.root):
            return  # a new installation: there is nothing to clean up, and no disk to miss
        marker_check(run.root)
        if not run.dry_run:
            media_root_seen(run.root)
        try:
            run.installation = installation_id()
        except InstallationUnknown as unknown:
            raise RunStopped(Reason.OTHER_INSTALLATION, unknown.detail) from unknown
        if not run.dry_run:
            receipts_recover(run)
        # All due rows pass the guards, also where one transfer was asked for: the share that is missing is theirs.
        due = due_rows(self._scope, run.clock.now())
        guards_pass(run, [*due, *(row for row in chosen or [] if row not in due)])
        # 2 to 6. Each file.
        self._clean(due if chosen is None else chosen, Waiver.FORCE if self._scope.force else None)
        # 7. Disk pressure.
        if chosen is None and not self._scope.force and run.settings.cleanup_local:
            sites = Site.objects.filter(disk_high_water_percent__isnull=False)
            for site in sites if self._scope.site_id is None else sites.filter(pk=self._scope.site_id):
                self._relieve(site)
        for refusal in run.refusing.values():
            raise refusal

    def _clean(self, rows: list[DueRow], waiver: Waiver | None) -> int:
        """How many bytes were freed, or are about to be, in quarantine."""
        rows = self._run.reachable(rows)
        self._report.due += len(rows)
        self._caller.on_start(len(rows))
        freed_bytes = 0
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            objects_pass(self._run, batch)
            # Asked again for each file: a bucket may begin to refuse while the batch goes on.
            freed_bytes += sum(self._clean_one(row, waiver) for row in batch if row.bucket not in self._run.refusing)
        return freed_bytes

    def _clean_one(self, row: DueRow, waiver: Waiver | None) -> int:
        if self._caller.should_stop():
            raise _Interrupted
        file = retry_making_room(
            lambda: file_clean(self._run, row.transfer_id, waiver=waiver),
            before_again=lambda: release_unfinished_cleanup(self._run.owner_id, row.transfer_id),
        )
        self._report.add(file)
        self._caller.on_file(file)
        if self._run.failure is not None:
            raise self._run.failure
        return file.size_bytes if file.outcome is Outcome.CLEANED or file.reason is Reason.QUARANTINED else 0

    # --- 7. Disk pressure -----------------------------------------------------------------------------

    def _relieve(self, site: Site) -> None:
        above_bytes = bytes_above_mark(site, self._disk(self._run.root.path))
        if self._run.dry_run:  # it freed nothing, but would have
            above_bytes -= self._report.freed_bytes
        if above_bytes <= 0:
            return
        rows = self._run.reachable(rows_not_due(site.pk, self._run.clock.now()))
        while above_bytes > 0 and rows:
            taken = _first(rows, above_bytes)
            rows = self._run.reachable(rows[len(taken) :])
            guards_pass(self._run, taken)
            above_bytes -= self._clean(taken, Waiver.DISK_PRESSURE)


def _first(rows: list[DueRow], size_bytes: int) -> list[DueRow]:
    """As many of the first rows as have that many bytes together."""
    taken: list[DueRow] = []
    for row in rows:
        if size_bytes <= 0:
            break
        taken.append(row)
        size_bytes -= row.size_bytes
    return taken
