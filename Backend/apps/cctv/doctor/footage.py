"""Footage that waits for a person: never imported, or imported and never asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min, Sum

from apps.cctv.doctor.finding import Finding, Level, ok, warning
from apps.cctv.models import Recording
from apps.cctv.selectors.recordings import unrequested
from apps.cctv.services.importing.report import shown
from apps.cctv.services.unimported_footage import footage_scan
from apps.cctv.units import human_size
from offload.clock import Clock
from offload.errors import FileProblem
from offload.source import MediaRoot

TOO_LONG = timedelta(hours=24)
"""Footage that waits longer is a problem, since its recorder may overwrite it; until then it is a warning."""

_FOLDERS = 5
_IMPORT = "Import it: `manage.py import_recordings FOLDER --template … --dry-run`, see docs/guide/importing.md."
_ASK = "Ask for their transfer: POST /api/v0/recordings/transfer-to-gcp/."


def footage_findings(*, root: MediaRoot, clock: Clock) -> Iterator[Finding]:
    try:
        scan = footage_scan(root=root, clock=clock)
    except FileProblem as problem:
        yield warning(
            "footage",
            f"The media root was not looked at for footage that was never imported: {problem.detail}.",
            "See the finding about the media root, then run doctor again.",
        )
        return
    # Asked for after the scan, which takes minutes on a large disk.
    now = clock.now()
    reasons = ["there are too many files"] if scan.was_cut_short else []
    reasons += [f"{scan.unreadable} files or folders cannot be read"] if scan.unreadable else []
    bound = "" if scan.is_whole else f" Not everything was looked at: {', '.join(reasons)}."
    young = f" Younger than an hour, and perhaps still to be imported: {scan.young}." if scan.young else ""
    if scan.unknown_count and scan.oldest_at is not None:
        folders = ", ".join(f"{shown(name) or '.'} {count}" for name, count in scan.unknown.most_common(_FOLDERS))
        more = ", …" if len(scan.unknown) > _FOLDERS else ""
        names = ", ".join(shown(path) for path in scan.sample)
        yield _aged(
            "footage",
            f"Files below MEDIA_ROOT that are no recording: {scan.unknown_count} of {scan.looked_at}, in "
            f"{folders}{more}; for example {names}.{young}{bound}",
            _IMPORT,
            since=scan.oldest_at,
            now=now,
        )
    # A scan that ended early must not say that all is known.
    elif not scan.is_whole:
        yield warning(
            "footage",
            f"The {scan.looked_at} files that were looked at are known.{young}{bound}",
            "Check the rest yourself: `manage.py import_recordings FOLDER … --dry-run`.",
        )
    else:
        yield ok(
            "footage",
            f"Looked at all {scan.looked_at} files below MEDIA_ROOT: {scan.registered} registered, {scan.passed_over} "
            f"passed over by their type, none that was never imported.{young}",
        )


def request_findings(*, now: datetime) -> Iterator[Finding]:
    found = unrequested(Recording.objects.all()).aggregate(
        count=Count("pk"), size=Sum("file_size_bytes"), since=Min("created_at")
    )
    if found["count"]:
        yield _aged(
            "requests",
            f"Recordings that wait for a request: {found['count']}, {human_size(found['size'])}, the oldest "
            f"imported {found['since']:%Y-%m-%d %H:%M} UTC. No transfer of them was asked for.",
            _ASK,
            since=found["since"],
            now=now,
        )


def _aged(check: str, detail: str, advice: str, *, since: datetime, now: datetime) -> Finding:
    return Finding(check, Level.PROBLEM if now - since > TOO_LONG else Level.WARNING, detail, advice)
