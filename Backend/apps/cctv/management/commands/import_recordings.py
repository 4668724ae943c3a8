"""`manage.py import_recordings FOLDER`: register the files that a recorder wrote below MEDIA_ROOT."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from apps.cctv.management.actor import command_actor
from apps.cctv.services import ServiceError
from apps.cctv.services.importing.path_template import PathTemplate, TemplateError
from apps.cctv.services.importing.report import EXAMPLES, ImportReport, Reading, shown
from apps.cctv.services.importing.run import ImportRequest, recordings_import
from apps.cctv.services.sites import zone_of
from apps.cctv.units import human_size
from apps.cctv.wiring import media_root, upload_settings
from config.bounds import SETTLE_SECONDS_MOST
from offload.clock import SystemClock
from offload.errors import FileProblem, Reason
from offload.reasons import MEANING
from offload.source import MediaRoot
from offload.walk import walk

USAGE = 2
SOME_REFUSED = 3
INTERRUPTED = 130
FILES_PER_LINE = 1000

OnFile = Callable[[ImportReport], None]


class Command(BaseCommand):
    help = (
        "Register the recordings below FOLDER, a folder inside MEDIA_ROOT. You can repeat it: a file is registered "
        "once. Exit status: 0 all registered, known, still written to, or passed over by their type; 1 could not run; "
        "2 bad usage; 3 some files were refused, or have a time in their names that was not read."
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", metavar="FOLDER", help="MEDIA_ROOT itself or a folder in it")
        parser.add_argument("--camera", metavar="NAME", default="", help="the camera of all files")
        parser.add_argument(
            "--site", metavar="NAME", default="", help="the site of the cameras (default: the only one)"
        )
        parser.add_argument(
            "--template",
            metavar="PATH",
            default="",
            help="how paths below FOLDER are made, for example '{camera}/{date}/{time}.mp4'; placeholders: {camera} "
            "{site} {date} {time} {datetime} {year} {yy} {month} {day} {hour} {minute} {second} {ampm} {offset} "
            "{epoch} {epoch_ms} {end} {any}",
        )
        parser.add_argument(
            "--time-zone", metavar="NAME", default="", help="the zone of times in paths (default: the site's)"
        )
        parser.add_argument("--create-cameras", action="store_true", help="make cameras and sites that are missing")
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="write nothing, and print for each new file its camera, its local and its UTC time",
        )
        parser.add_argument(
            "--every-type",
            action="store_true",
            help="import files like .jpg, .txt and .tmp too, which are passed over otherwise",
        )
        parser.add_argument(
            "--time-from-file",
            action="store_true",
            help="names hold no time of a start: report no part of them that looks like one",
        )
        parser.add_argument("--json", action="store_true", help="print the whole report as JSON")
        parser.add_argument(
            "--settle-seconds",
            type=float,
            metavar="N",
            help="leave files written to within N seconds to a later run (default: COLDREEL_SETTLE_SECONDS)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        root = media_root()
        request = _request(options, root)
        # A dry run shows each reading, so that a wrong time is seen before it is stored.
        readings: list[Reading] = []
        tell_reading = readings.append if options["json"] else self._tell_reading
        try:
            with self._progress(root, request, as_json=options["json"]) as on_file:
                report = recordings_import(
                    request=request,
                    root=root,
                    clock=SystemClock(),
                    on_file=on_file,
                    on_reading=tell_reading if request.dry_run else lambda _: None,
                    examples_per_reason=None if options["json"] else EXAMPLES,
                )
        except (ServiceError, FileProblem) as error:
            raise CommandError(shown(error.detail)) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used ({error}): run `manage.py migrate`, or see `manage.py doctor`."
            ) from error
        except KeyboardInterrupt as error:
            raise CommandError(
                "Stopped. What was registered stays. Run the command again to go on.", returncode=INTERRUPTED
            ) from error
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(report, readings), indent=2))
        else:
            self._tell(report)
        if not report.is_whole:
            sys.exit(SOME_REFUSED)

    def _tell_reading(self, reading: Reading) -> None:
        self.stdout.write(
            f"{shown(reading.path)}: {shown(reading.site)}, {shown(reading.camera)}, "
            f"{reading.local:%Y-%m-%d %H:%M:%S %Z}, {reading.utc:%Y-%m-%d %H:%M:%S} UTC, from the {reading.time_from}"
        )

    @contextlib.contextmanager
    def _progress(self, root: MediaRoot, request: ImportRequest, *, as_json: bool) -> Iterator[OnFile]:
        """A bar on a terminal, a line every thousand files elsewhere, and nothing beside JSON."""
        if as_json:
            yield lambda _: None
        elif self.stdout.isatty() and not request.dry_run:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            # Walked once before the import, to know how far the bar has to go.
            total = sum(1 for _ in walk(root, request.folder))
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, transient=True) as progress:
                task = progress.add_task("Looking at files", total=total)

                def on_file(report: ImportReport) -> None:
                    progress.update(task, completed=report.looked_at)
                    if report.looked_at >= total:  # so that what is logged next begins a line
                        progress.stop()

                yield on_file
        else:
            yield self._tell_now_and_then

    def _tell_now_and_then(self, report: ImportReport) -> None:
        if report.looked_at % FILES_PER_LINE == 0:
            self.stdout.write(f"{report.looked_at} files looked at, {report.refused_count} refused")

    def _tell(self, report: ImportReport) -> None:
        if report.cameras_created:
            self._line("Cameras created: " + ", ".join(sorted(report.cameras_created)), report)
        for replaced in report.replacements:
            self._line(f"{replaced.path}: takes the place of recording {replaced.recording_id}, never uploaded", report)
        self._tell_of_more(report.replaced - len(report.replacements))
        if report.passed_over:
            kinds = ", ".join(f"{ending} {count}" for ending, count in sorted(report.passed_over.items()))
            self.stdout.write(f"Passed over by their type: {kinds}")
        if report.time_unread:
            self.stdout.write(
                f"Time not read, {Reason.TIME_UNREAD}: {report.time_unread} ({MEANING[Reason.TIME_UNREAD]} "
                "Write it into --template, or give --time-from-file.)"
            )
            for example in report.time_unread_examples:
                self.stdout.write(f"  {example.path}: {example.detail}")
            self._tell_of_more(report.time_unread - len(report.time_unread_examples), "; --json has them all")
        for code, count in report.refused.most_common():
            self.stdout.write(f"Refused, {code}: {count} ({MEANING[code]})")
            for refusal in report.refusals[code]:
                self.stdout.write(f"  {refusal.path}: {refusal.detail}")
            self._tell_of_more(count - len(report.refusals[code]), "; --json has them all")
        recordings = "recording" if report.registered == 1 else "recordings"
        words = [
            f"{report.registered} {recordings} registered ({human_size(report.registered_bytes)})",
            f"{report.known} known already",
        ]
        words += [f"{report.later} later (still written to)"] if report.later else []
        words += [f"{report.passed_over.total()} passed over"] if report.passed_over else []
        self._line(", ".join([*words, f"{report.refused_count} refused"]), report)

    def _tell_of_more(self, count: int, where: str = "") -> None:
        if count > 0:
            self.stdout.write(f"  … and {count} more{where}")

    def _line(self, text: str, report: ImportReport) -> None:
        self.stdout.write(f"Would be: {text}" if report.dry_run else text)


def _request(options: dict[str, Any], root: MediaRoot) -> ImportRequest:
    settle_seconds = options["settle_seconds"]
    try:
        template = PathTemplate(options["template"]) if options["template"] else None
        if options["time_zone"]:
            zone_of(options["time_zone"])
    except (TemplateError, ServiceError) as error:
        raise CommandError(str(error), returncode=USAGE) from error
    if bool(options["camera"]) == (template is not None and "camera" in template.placeholders):
        raise CommandError(
            "Which camera made the files is not known: give --camera, or {camera} in --template.", returncode=USAGE
        )
    if settle_seconds is not None and not 0 <= settle_seconds <= SETTLE_SECONDS_MOST:
        raise CommandError(f"--settle-seconds: expected a number from 0 to {SETTLE_SECONDS_MOST}.", returncode=USAGE)
    # A relative folder is looked for below the working directory, then below the root. Each is compared as written,
    # then with links followed: the root may be a link, or lie behind one.
    inside: list[str] = []
    for start in (Path.cwd(), root.path):
        # Path.resolve() would follow links below the root.
        written = Path(os.path.abspath(start / options["folder"]))  # noqa: PTH100
        for path, outer in ((written, root.path), (written.resolve(), root.path.resolve())):
            if path.is_relative_to(outer):
                below = path.relative_to(outer).as_posix()
                inside.append("" if below == "." else below)
                break
    if not inside:
        raise CommandError(
            f"{shown(options['folder'])} is not inside MEDIA_ROOT={str(root.path)!r}, the only tree to read from.",
            returncode=USAGE,
        )
    return ImportRequest(
        folder=next((below for below in inside if (root.path / below).is_dir()), inside[0]),
        template=template,
        camera=options["camera"],
        site=options["site"],
        time_zone=options["time_zone"],
        create_cameras=options["create_cameras"],
        every_type=options["every_type"],
        time_from_file=options["time_from_file"],
        actor=command_actor(),
        dry_run=options["dry_run"],
        settle_seconds=upload_settings().settle_seconds if settle_seconds is None else settle_seconds,
    )


def _as_json(report: ImportReport, readings: list[Reading]) -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "looked_at": report.looked_at,
        "registered": report.registered,
        "registered_bytes": report.registered_bytes,
        "known": report.known,
        "later": report.later,
        "passed_over": dict(sorted(report.passed_over.items())),
        "time_unread": report.time_unread,
        "time_unread_files": [{"path": one.path, "detail": one.detail} for one in report.time_unread_examples],
        "refused": report.refused_count,
        "reasons": [
            {
                "code": code,
                "count": count,
                "files": [{"path": refusal.path, "detail": refusal.detail} for refusal in report.refusals[code]],
            }
            for code, count in report.refused.most_common()
        ],
        "replaced": [{"path": one.path, "recording_id": str(one.recording_id)} for one in report.replacements],
        "cameras_created": sorted(report.cameras_created),
        "readings": [
            {
                "path": shown(one.path),
                "site": one.site,
                "camera": one.camera,
                "local": one.local.isoformat(),
                "utc": one.utc.isoformat(),
                "time_from": one.time_from,
            }
            for one in readings
        ],
    }
