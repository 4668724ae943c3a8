"""The run: guards, batches, disk pressure, alarms, report."""

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
from apps.cctv.services.cleanup.due_rows import DueRow, Scope, batches, due_rows, load, one_row, rows_not_due
from apps.cctv.services.cleanup.guards import (
    LOCAL_SHARE,
    REMOTE_SHARE,
    SAMPLE_ROWS,
    MissingShare,
    RunStopped,
    is_missing,
    marker_check,
)
from apps.cctv.services.cleanup.odd_objects import objects_check
from apps.cctv.services.cleanup.one_file import file_clean
from apps.cctv.services.cleanup.open_receipts import close_left_open
from apps.cctv.services.cleanup.pressure import DiskReader, bytes_above_mark, disk_usage
from apps.cctv.services.cleanup.proof import PROOF_SECONDS, Proofs
from apps.cctv.services.cleanup.report import CleanupReport, FileReport, Outcome
from apps.cctv.services.cleanup.run_alarms import files_clear, files_tell, run_clear, run_note, stop_tell
from apps.cctv.services.cleanup.run_state import Run
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
    """Whom a run talks to while it runs."""

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
    caller = _Caller(on_start or _ignore, on_file or _ignore, should_stop or _never)
    whole = _Work(run, caller, Scope(force, site_id), batch_size or settings.cleanup_batch_size, disk)
    if owner_id is not None or dry_run:
        return whole.do(chosen)
    free_leases_of_dead_owners(home=home(), now=clock.now())  # of a command that was killed, where no worker sweeps
    with command_owner(home(), clock) as run.owner_id:
        return whole.do(chosen)


def _ignore(_: object) -> None:
    pass


def _never() -> bool:
    return False


class _Work:
    def __init__(self, run: Run, caller: _Caller, scope: Scope, batch_size: int, disk: DiskReader) -> None:
        self._run = run
        self._caller = caller
        self._scope = scope
        self._batch_size = batch_size
        self._disk = disk
        self._report = CleanupReport(dry_run=run.dry_run, forced=run.force, started_at=run.clock.now())

    def do(self, chosen: list[DueRow] | None) -> CleanupReport:
        report = self._report
        try:
            self._do(chosen)
        except RunStopped as stopped:
            report.stopped, report.stopped_detail = stopped.reason, stopped.detail
        except OffloadError as error:
            report.stopped, report.stopped_detail = error.code, error.detail
        except _Interrupted:
            report.interrupted = True
        report.finished_at = self._run.clock.now()
        if not report.dry_run:
            retry_making_room(lambda: self._tell(whole=chosen is None))
        log.info("cleanup.summary", actor=self._run.actor, **report.as_json())
        return report

    def _do(self, chosen: list[DueRow] | None) -> None:
        if not self._run.root.has_marker() and not media_root_expected(self._run.root):
            return  # a new installation: there is nothing to clean up, and no disk to miss
        marker_check(self._run.root)
        if not self._run.dry_run:
            media_root_seen(self._run.root)
        try:
            self._run.installation = installation_id()
        except InstallationUnknown as unknown:
            raise RunStopped(Reason.OTHER_INSTALLATION, unknown.detail) from unknown
        if not self._run.dry_run:
            close_left_open(self._run)
        due = due_rows(self._scope, self._run.clock.now())
        self._guard([*due, *(row for row in chosen or [] if row not in due)])
        self._clean(due if chosen is None else chosen, Waiver.FORCE if self._scope.force else None)
        if chosen is None and not self._scope.force and self._run.settings.cleanup_local:
            self._relieve()
        for refusal in self._run.refusing.values():
            raise refusal

    # --- Guards ---------------------------------------------------------------------------------------

    def _guard(self, rows: list[DueRow]) -> None:
        """All of them before anything is touched. Raises RunStopped, LineDown."""
        self._run.line += rows
        judged = [row for row in rows if self._run.may_judge(row.bucket, row.installation)]
        self._guard_files(judged)
        for bucket in sorted({row.bucket for row in judged}):
            self._guard_bucket(bucket)
        self._guard_objects([row for row in judged if not row.held][:SAMPLE_ROWS])

    def _guard_bucket(self, bucket: str) -> None:
        """One that refuses keeps its own files; those of another bucket go."""
        try:
            self._run.bucket_now(bucket)
        except OffloadError as error:
            self._run.refuse(bucket, error)
        self._demand_line()

    def _demand_line(self) -> None:
        if self._run.failure is not None:
            raise self._run.failure

    def _guard_files(self, rows: list[DueRow]) -> None:
        """Every due file, by a look at the disk; those in the trash or under a receipt are accounted for."""
        count = self._run.missing_locally
        in_trash = set(self._run.trash.keys())
        for row in rows:
            if not row.has_open_receipt and str(row.transfer_id) not in in_trash:
                count.note(row.transfer_id, missing=is_missing(self._run.root, row.path))
        count.check()

    def _guard_objects(self, rows: list[DueRow]) -> None:
        rows = [row for row in rows if not row.held and self._run.may_judge(row.bucket, row.installation)]
        loaded = load(self._reachable(rows))
        self._run.proofs.load(loaded)
        objects_check(self._run, loaded)
        self._demand_line()

    def _reachable(self, rows: list[DueRow]) -> list[DueRow]:
        return [row for row in rows if row.bucket not in self._run.refusing]

    # --- Files ----------------------------------------------------------------------------------------

    def _clean(self, rows: list[DueRow], waiver: Waiver | None) -> int:
        """How many bytes were freed, or are about to be, in quarantine."""
        rows = self._reachable(rows)
        self._report.due += len(rows)
        self._caller.on_start(len(rows))
        freed_bytes = 0
        for batch in batches(rows, self._batch_size):
            self._guard_objects(batch)
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
        self._demand_line()
        return file.size_bytes if file.outcome is Outcome.CLEANED or file.reason is Reason.QUARANTINED else 0

    def _relieve(self) -> None:
        sites = Site.objects.filter(disk_high_water_percent__isnull=False)
        for site in sites if self._scope.site_id is None else sites.filter(pk=self._scope.site_id):
            self._relieve_site(site)

    def _relieve_site(self, site: Site) -> None:
        above_bytes = bytes_above_mark(site, self._disk(self._run.root.path))
        if self._run.dry_run:
            above_bytes -= self._report.freed_bytes
        if above_bytes <= 0:
            return
        rows = self._reachable(rows_not_due(site.pk, self._run.clock.now()))
        while above_bytes > 0 and rows:
            taken = _first(rows, above_bytes)
            rows = self._reachable(rows[len(taken) :])
            self._guard(taken)
            above_bytes -= self._clean(taken, Waiver.DISK_PRESSURE)

    # --- Alarms ---------------------------------------------------------------------------------------

    def _tell(self, *, whole: bool) -> None:
        report, alarms, now = self._report, self._run.alarms, self._run.clock.now()
        site_id = self._scope.site_id
        files_tell(alarms, now=now)
        if whole and not report.interrupted:
            run_note(report, site_id=site_id, now=now, next_in_seconds=self._run.settings.timings.cleanup_seconds)
        if report.stopped is not None:
            stop_tell(report.stopped, report.stopped_detail, site_id=site_id, now=now)
            return
        run_clear(site_id=site_id, now=now)
        if whole and not report.interrupted:
            files_clear(alarms, site_id=site_id, now=now)


def _first(rows: list[DueRow], size_bytes: int) -> list[DueRow]:
    """As many of the first rows as have that many bytes together."""
    taken: list[DueRow] = []
    for row in rows:
        if size_bytes <= 0:
            break
        taken.append(row)
        size_bytes -= row.size_bytes
    return taken
