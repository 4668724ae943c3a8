"""`manage.py cleanup_gcp_transfers`: free the disk of recordings that are proven in the bucket."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Self
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from apps.cctv import wiring
from apps.cctv.management.actor import command_actor
from apps.cctv.models import Site
from apps.cctv.services import NotConfigured, NotFound
from apps.cctv.services.cleanup import CleanupReport, FileReport, Outcome, cleanup_run
from apps.cctv.services.disk_reserve import Reserve, is_disk_full_error, retry_making_room
from config.bounds import CLEANUP_BATCH_MOST
from offload.clock import SystemClock
from offload.errors import Reason
from offload.reasons import MEANING

COULD_NOT_RUN, BAD_USAGE, DONE_IN_PART = 1, 2, 3
SIGNALLED = 128
"""Added to the number of a signal for the exit status, as shells do: 130 after Ctrl-C."""

_WORDS = {
    Outcome.CLEANED: "cleaned",
    Outcome.ALREADY_MISSING: "already missing",
    Outcome.SKIPPED: "skipped",
    Outcome.FAILED: "FAILED",
}


class Command(BaseCommand):
    help = (
        "Deletes the local files of recordings whose upload is verified and whose waiting period is over, "
        "each after its object was read back from the bucket. Safe to run at any time, any number of times at once."
    )
    # Django's checks load every page and URL, which a cleanup does not need.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.epilog = (
            "Exit status: 0 all done or nothing to do, 1 the cleanup could not run or was stopped by a guard, "
            "2 bad usage, 3 some files failed or were left until a person ends the reason, 130 after Ctrl-C."
        )
        parser.add_argument("--dry-run", action="store_true", help="make the same checks, and change nothing")
        parser.add_argument("--force", action="store_true", help="ignore the waiting period, and nothing else")
        parser.add_argument("--transfer-id", type=_uuid, metavar="UUID", help="clean up only this transfer")
        parser.add_argument(
            "--batch-size", type=_batch_size, metavar="N", help="how many files are read back from the bucket together"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
        parser.add_argument("--site", metavar="NAME", help="only files of this site (default: of every site)")
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on although many files or objects are missing, because you know why",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        output = Output(self.stdout.write)
        if options["json"]:
            output = JsonOutput(self.stdout.write)
        elif self.stdout.isatty():
            output = TerminalOutput(self.stdout.write)
        with Stop() as stop, output:
            report = _run(output, stop, options)
        output.summary(report)
        if stop.number:
            sys.exit(SIGNALLED + stop.number)
        if report.stopped is not None:
            detail = f" ({report.stopped_detail})" if report.stopped_detail else ""
            raise CommandError(f"The cleanup stopped. {MEANING[report.stopped]}{detail}", returncode=COULD_NOT_RUN)
        left = report.left_for_a_person
        words = [f"{report.failed} of {report.files} files failed."] if report.failed else []
        words += [f"{left.total()} of {report.files} files were left for a person to decide."] if left else []
        words += [f"{reason.value}: {MEANING[reason]}" for reason in sorted(left)]
        if words:
            raise CommandError(" ".join(words), returncode=DONE_IN_PART)


def _run(output: Output, stop: Stop, options: dict[str, Any]) -> CleanupReport:
    try:
        return retry_making_room(lambda: _cleanup(output, stop, options))
    except NotFound as error:
        raise CommandError(f"--transfer-id: {error.detail}", returncode=BAD_USAGE) from error
    except NotConfigured as error:
        # A report all the same: who reads the JSON of a cron job finds the reason there.
        now = timezone.now()
        report = CleanupReport(dry_run=options["dry_run"], forced=options["force"], started_at=now, finished_at=now)
        report.stopped, report.stopped_detail = Reason.NOT_CONFIGURED, error.detail
        return report
    except DatabaseError as error:
        detail = f"The database does not answer: {error}"
        if is_disk_full_error(error):
            detail = (
                "The database's disk is full and no reserve is left: make a few MiB of room on it, then run this again."
            )
        raise CommandError(detail, returncode=COULD_NOT_RUN) from error
    finally:
        Reserve.of_installation().refill()


def _cleanup(output: Output, stop: Stop, options: dict[str, Any]) -> CleanupReport:
    site = _site(options["site"])
    return cleanup_run(
        store=wiring.object_store(),
        root=wiring.media_root(),
        clock=SystemClock(),
        actor=command_actor(),
        settings=wiring.service_settings(),
        dry_run=options["dry_run"],
        force=options["force"],
        transfer_id=options["transfer_id"],
        batch_size=options["batch_size"],
        on_file=output.file,
        on_start=output.start,
        should_stop=stop.asked,
        site_id=site.pk if site else None,
        accept_missing=options["accept_missing"],
    )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a transfer: expected a UUID") from error


def _batch_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= CLEANUP_BATCH_MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is invalid: expected a whole number from 1 to {CLEANUP_BATCH_MOST}")
    return int(text)


def _site(name: str | None) -> Site | None:
    if name is None:
        return None
    try:
        return Site.objects.get(name=name)
    except Site.DoesNotExist as error:
        raise CommandError(f"--site: there is no site {name!r}.", returncode=BAD_USAGE) from error


# --- Ctrl-C -------------------------------------------------------------------------------------------


class Stop(contextlib.AbstractContextManager["Stop"]):
    """Notes the first SIGINT or SIGTERM. A second one ends the process at once, which is safe as well."""

    number = 0

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers: a test may call the command from another one.
        is_main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        self._before = {number: signal.signal(number, self) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, signal.SIG_DFL)

    def asked(self) -> bool:
        return bool(self.number)


# --- Output -------------------------------------------------------------------------------------------


class Output(contextlib.AbstractContextManager["Output"]):
    """Plain lines, for the mail of a cron job or for a log file."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, count: int) -> None:
        """`count` more files are next."""

    def file(self, file: FileReport) -> None:
        plain = file.outcome is Outcome.CLEANED and file.reason is Reason.CLEANED
        reason = "" if plain else f" ({file.reason.value})"
        detail = f": {_printable(file.detail)}" if file.detail else ""
        path = _printable(file.path)
        self.line(f"{_WORDS[file.outcome]}{reason}  {path}  {decimal(file.size_bytes)}{detail}")

    def line(self, text: str) -> None:
        try:
            self._write(text)
        except OSError as error:
            # Where the log file lies on the full disk, the cleanup goes on and makes room.
            if not is_disk_full_error(error):
                raise

    def summary(self, report: CleanupReport) -> None:
        cleaned, freed = ("Would clean", "Would free") if report.dry_run else ("Files cleaned", "Space freed")
        if report.dry_run:
            self.line("Dry run: nothing was changed.")
        self.line(f"{cleaned + ':':<17}{report.cleaned} of {report.due}")
        self.line(f"{freed + ':':<17}{decimal(report.freed_bytes)} ({report.freed_bytes} bytes)")
        self.line(f"Already missing: {report.already_missing}")
        self.line(f"{'Skipped:':<17}{_counted(report.skipped)}")
        self.line(f"{'Failures:':<17}{_counted(report.failures)}")


class TerminalOutput(Output):
    """The same lines, above a progress bar."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(write)
        columns = (TextColumn("Cleanup"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(), transient=True)
        self._task = self._progress.add_task("cleanup", total=0)
        self._total = 0
        self._log = logging.getLogger("coldreel.cleanup")
        self._log_level = self._log.level

    def __enter__(self) -> Self:
        # The log has the same events, and its lines would tear the bar.
        self._log.setLevel(logging.WARNING)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._log.setLevel(self._log_level)

    def start(self, count: int) -> None:
        self._total += count
        self._progress.update(self._task, total=self._total)

    def file(self, file: FileReport) -> None:
        super().file(file)
        self._progress.advance(self._task)

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


class JsonOutput(Output):
    """One JSON document at the end."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__(write)
        self._files: list[dict[str, Any]] = []

    def file(self, file: FileReport) -> None:
        self._files.append(file.as_json())

    def summary(self, report: CleanupReport) -> None:
        self.line(json.dumps({**report.as_json(), "files": self._files}, indent=2))


def _printable(text: str) -> str:
    """A file name may hold a line break or an escape sequence of a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _counted(reasons: Counter[Reason]) -> str:
    words = ", ".join(f"{reason.value} {count}" for reason, count in sorted(reasons.items()))
    return f"{reasons.total()} ({words})" if words else "0"
