"""The bucket: whether it exists, our rights in it, its clock, and settings of it that may surprise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.services.cleanup.guards import CLOCK_SKEW_SECONDS
from apps.cctv.services.settings import ServiceSettings
from offload.clock import Clock
from offload.errors import OffloadError
from offload.reasons import MEANING
from offload.store import BucketReport, ObjectStore

OPTIONAL_PERMISSION = "storage.objects.delete"
SKEW_NOTICED = timedelta(seconds=5)
HALF_SECOND = timedelta(milliseconds=500)
DAY_SECONDS = 86_400
SOFT_DELETE_USUAL_SECONDS = 7 * DAY_SECONDS
"""The default of a new bucket: https://cloud.google.com/storage/docs/soft-delete"""


def unknown_bucket_finding(detail: str) -> Finding:
    """The finding where there is no store, for the reason in `detail`."""
    return problem("bucket", detail, "Check the GCP_STORAGE settings and the credentials.")


def bucket_findings(*, store: ObjectStore, clock: Clock, settings: ServiceSettings) -> Iterator[Finding]:
    bucket = settings.bucket
    try:
        report = store.bucket_report(bucket)
    except OffloadError as error:
        yield _refused("bucket", error)
        return
    if not report.exists:
        yield problem(
            "bucket",
            f"There is no bucket {bucket}, or these credentials may not see it.",
            "Create it, or set GCP_STORAGE_BUCKET_NAME and GCP_STORAGE_PROJECT_ID.",
        )
        return
    kind = ", ".join(part for part in (report.location, report.storage_class) if part)
    yield ok("bucket", f"{bucket} answers{f' ({kind})' if kind else ''}.")
    for permission in report.missing_permissions:
        advice = f"Grant {permission} on {bucket} to the account that Coldreel uses."
        if permission == OPTIONAL_PERMISSION:
            yield warning(
                "permissions",
                f"{permission} is missing: an object of a file that changed during its upload stays as an orphan.",
                f"Leave it if that is intended. Otherwise: {advice}",
            )
        else:
            yield problem("permissions", f"{permission} is missing.", advice)
    if not report.missing_permissions:
        yield ok("permissions", "Objects may be created, read, listed, updated and deleted.")
    before = clock.now()
    try:
        theirs = store.bucket_time(bucket)
    except OffloadError as error:
        yield _refused("clock", error)
    else:
        # Half of the round trip is taken for the way there.
        ours = before + (clock.now() - before) / 2
        # The bucket's time has whole seconds: half a second more is right on average.
        skew = abs(ours - (theirs + HALF_SECOND))
        said = f"This machine's clock and the bucket's differ by {skew.total_seconds():.1f} s."
        if skew > timedelta(seconds=CLOCK_SKEW_SECONDS):
            limit = f"Above {CLOCK_SKEW_SECONDS:.0f} s nothing is cleaned up."
            yield problem("clock", f"{said} {limit}", "Set the clock; run an NTP client.")
        elif skew > SKEW_NOTICED:
            yield warning("clock", said, "Run an NTP client.")
        else:
            yield ok("clock", said)
    yield from _settings(report, settings)


def _refused(check: str, error: OffloadError) -> Finding:
    return problem(check, f"{error.code}: {error.detail}", MEANING[error.code])


def _settings(report: BucketReport, settings: ServiceSettings) -> Iterator[Finding]:
    bucket = settings.bucket
    if report.lifecycle_deletes is None:
        yield warning(
            "bucket settings",
            "These credentials may not read them: lifecycle, retention and holds were not checked.",
            f"Grant storage.buckets.get on {bucket} to have them checked.",
        )
        return
    found: list[Finding] = []
    if report.lifecycle_deletes:
        found.append(
            warning(
                "lifecycle",
                "A lifecycle rule deletes objects: footage whose local file is cleaned up is then lost.",
                f"See `gcloud storage buckets describe gs://{bucket}`; its age must cover what you have to keep.",
            )
        )
    if report.retention_period_seconds:
        found.append(
            warning(
                "retention",
                f"Objects cannot be deleted or replaced for {_days(report.retention_period_seconds)}.",
                "Good for evidence. An object of a file that changed during its upload stays that long as well.",
            )
        )
    if (report.soft_delete_seconds or 0) > SOFT_DELETE_USUAL_SECONDS:
        found.append(
            warning(
                "soft delete",
                f"Deleted objects are kept, and billed, for {_days(report.soft_delete_seconds or 0)} more.",
                "Shorten it where the bill matters.",
            )
        )
    if report.default_event_based_hold:
        found.append(
            problem(
                "default hold",
                "The bucket holds every new object, and a hold that was not set here keeps the local file as well.",
                f"Run `gcloud storage buckets update gs://{bucket} --no-default-event-based-hold`.",
            )
        )
    if report.autoclass:
        found.append(
            warning(
                "autoclass",
                "Autoclass moves objects between storage classes by itself, for a fee per thousand objects.",
                f"GCP_STORAGE_CLASS={settings.storage_class} has no lasting effect there."
                if settings.storage_class
                else "Leave it so if that is intended.",
            )
        )
    yield from found
    if not found:
        yield ok("bucket settings", "No lifecycle deletion, no retention, no default hold, no other surprise.")


def _days(seconds: int) -> str:
    return f"{seconds / DAY_SECONDS:g} days"
