"""Transfers: alarms, stalled uploads, what waits for a person, and objects in buckets that are not set any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet, Sum

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.models import GCPVideoTransfer, OrphanedObject
from apps.cctv.selectors.alarms import alarms_shown, open_alarms
from apps.cctv.services.stalled_uploads import stalled_uploads
from apps.cctv.units import human_size
from offload.errors import Reason
from offload.reasons import MEANING
from offload.states import State

SILENCE_IS_WRONG = timedelta(hours=24)
_ALARMS_TOLD = 20
_REASONS = {reason.value: reason for reason in Reason}


def transfer_findings(*, now: datetime, trusted_buckets: Collection[str]) -> Iterator[Finding]:
    found: list[Finding] = []
    alarms = open_alarms()
    for shown in alarms_shown(alarms[:_ALARMS_TOLD], sees_all=True):
        alarm, about = shown.alarm, f" ({shown.subject})" if shown.subject else ""
        said = f"{alarm.code}{about} since {alarm.raised_at:%Y-%m-%d %H:%M} UTC: {alarm.detail}"
        found.append(problem("alarm", said, _meaning(alarm.code)))
    # The others are counted by the database, and not read.
    more = alarms.count() - _ALARMS_TOLD
    if more > 0:
        found.append(problem("alarm", f"More open alarms: {more}.", "See the alarms in the admin pages."))
    # Transfers wait and none fails, but nothing is uploaded (F7).
    silence = stalled_uploads(now)
    if silence is not None:
        advice = "Check whether a worker runs, the errors of the waiting transfers, and the site's uplink."
        if silence.lasted >= SILENCE_IS_WRONG:
            found.append(problem("silence", str(silence), advice))
        else:
            advice += " Very large files on a slow uplink may take that long."
            found.append(warning("silence", str(silence), advice))
    failed = GCPVideoTransfer.objects.filter(transfer_status=State.FAILED)
    found += [
        warning("failed transfers", f"Failed with {code}: {count}. Local files stay.", _meaning(code))
        for code, count in _counted(failed, "error_code")
    ]
    marked = GCPVideoTransfer.objects.filter(needs_attention=True).exclude(transfer_status=State.FAILED)
    found += [
        warning("attention", f"Waiting for a person, {code or 'see their history'}: {count}.", _meaning(code))
        for code, count in _counted(marked, "error_code")
    ]
    # What is in a bucket that is not in the settings any more is left alone, the local files as well.
    local = GCPVideoTransfer.objects.filter(transfer_status__in=[State.COMPLETED, State.CLEANUP_PENDING])
    found += [
        problem(
            "other bucket",
            f"The settings do not name the bucket {bucket}, and recordings with local files are in it: {count}.",
            f"Add {bucket} to GCP_STORAGE_FORMER_BUCKETS, or set GCP_STORAGE_BUCKET_NAME back.",
        )
        for bucket, count in _counted(local.exclude(gcp_bucket__in=trusted_buckets), "gcp_bucket")
    ]
    found += [
        warning(
            "orphaned objects",
            f"{OrphanedObject.Why(why).label}: {count}, {human_size(size_bytes)} in the bucket.",
            "See Orphaned objects in the admin pages. Each may be the last copy: it can be deleted there once the "
            "recording's own object is proven.",
        )
        for why, count, size_bytes in OrphanedObject.objects.left_in_bucket()
        .order_by()
        .values_list("why")
        .annotate(count=Count("pk"), size=Sum("size_bytes"))
        .order_by("why")
    ]
    yield from found
    if not found:
        yield ok("transfers", "No alarm, no silence, nothing failed, nothing waits for a person.")


def _counted(transfers: QuerySet[GCPVideoTransfer], column: str) -> Iterable[tuple[str, int]]:
    """How many transfers have each value of the column, the most frequent first."""
    # The empty order_by() drops the model's own order, which would divide the groups further.
    return transfers.order_by().values_list(column).annotate(count=Count("pk")).order_by("-count")


def _meaning(code: str) -> str:
    return MEANING[_REASONS[code]] if code in _REASONS else "See its history in the admin pages."
