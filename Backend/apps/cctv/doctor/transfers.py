"""Transfers: alarms, stalled uploads, what waits for a person, and objects in buckets that are not set any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Sum

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
    found = [
        *_alarms(),
        *_silence(now),
        *_failed(),
        *_needing_attention(),
        *_other_buckets(trusted_buckets),
        *_orphans(),
    ]
    yield from found
    if not found:
        yield ok("transfers", "No alarm, no silence, nothing failed, nothing waits for a person.")


def _alarms() -> Iterator[Finding]:
    found = open_alarms()
    for shown in alarms_shown(found[:_ALARMS_TOLD], sees_all=True):
        alarm, about = shown.alarm, f" ({shown.subject})" if shown.subject else ""
        yield problem(
            "alarm",
            f"{alarm.code}{about} since {alarm.raised_at:%Y-%m-%d %H:%M} UTC: {alarm.detail}",
            _meaning(alarm.code),
        )
    more = found.count() - _ALARMS_TOLD
    if more > 0:
        yield problem("alarm", f"More open alarms: {more}.", "See the alarms in the admin pages.")


def _silence(now: datetime) -> Iterator[Finding]:
    """Transfers wait and none fails, but nothing is uploaded (F7)."""
    silence = stalled_uploads(now)
    if silence is None:
        return
    advice = "Check whether a worker runs, the errors of the waiting transfers, and the site's uplink."
    if silence.lasted >= SILENCE_IS_WRONG:
        yield problem("silence", str(silence), advice)
    else:
        yield warning("silence", str(silence), f"{advice} Very large files on a slow uplink may take that long.")


def _failed() -> Iterator[Finding]:
    failed = GCPVideoTransfer.objects.filter(transfer_status=State.FAILED)
    for code, count in failed.order_by().values_list("error_code").annotate(count=Count("pk")).order_by("-count"):
        yield warning("failed transfers", f"Failed with {code}: {count}. Local files stay.", _meaning(code))


def _needing_attention() -> Iterator[Finding]:
    marked = GCPVideoTransfer.objects.filter(needs_attention=True).exclude(transfer_status=State.FAILED)
    for code, count in marked.order_by().values_list("error_code").annotate(count=Count("pk")).order_by("-count"):
        yield warning("attention", f"Waiting for a person, {code or 'see their history'}: {count}.", _meaning(code))


def _other_buckets(trusted: Collection[str]) -> Iterator[Finding]:
    """Recordings in a bucket that is not in the settings any more: their objects and local files are left alone."""
    local = GCPVideoTransfer.objects.filter(transfer_status__in=[State.COMPLETED, State.CLEANUP_PENDING])
    rows = local.exclude(gcp_bucket__in=trusted)
    for bucket, count in rows.order_by().values_list("gcp_bucket").annotate(count=Count("pk")).order_by("-count"):
        yield problem(
            "other bucket",
            f"The settings do not name the bucket {bucket}, and recordings with local files are in it: {count}.",
            f"Add {bucket} to GCP_STORAGE_FORMER_BUCKETS, or set GCP_STORAGE_BUCKET_NAME back.",
        )


def _orphans() -> Iterator[Finding]:
    """Objects that uploads left in the bucket. Each may be the last copy of a recording."""
    lying = OrphanedObject.objects.left_in_bucket()
    for why, count, size_bytes in (
        lying.order_by().values_list("why").annotate(count=Count("pk"), size=Sum("size_bytes")).order_by("why")
    ):
        yield warning(
            "orphaned objects",
            f"{OrphanedObject.Why(why).label}: {count}, {human_size(size_bytes)} in the bucket.",
            "See Orphaned objects in the admin pages. Each may be the last copy: it can be deleted there once the "
            "recording's own object is proven.",
        )


def _meaning(code: str) -> str:
    return MEANING[_REASONS[code]] if code in _REASONS else "See its history in the admin pages."
