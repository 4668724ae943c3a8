"""Requests that span sites, and requests on a process that sees no site's disk or another one's (P11)."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apps.cctv import wiring
from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.models import Camera, GCPVideoTransfer, Recording, Site, TransferBatch
from apps.cctv.services.media_root import Marker
from apps.cctv.services.transfers import RequestReport, transfer_request, transfer_retry
from apps.cctv.wiring import service_settings
from apps.users.models import User
from offload.errors import Reason
from offload.source import MediaRoot
from offload.states import State
from offload.testing import MemoryStore
from tests.conftest import MARKER, MakeRecording
from tests.integration.db.rows import NOW
from tests.integration.work.test_worker import RunWorker, work
from tests.threads import all_at_once

__all__ = ["work"]  # the fixture

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bucket")]

Ask = Callable[..., RequestReport]
BadRecordings = dict[uuid.UUID, Reason]


@pytest.fixture
def ask(admin_user: User, now: datetime, media_root: Path) -> Ask:
    """Request transfers as the administrator, by default where the disk of `media_root` is seen."""

    def request(root: Path = media_root, recording_ids: Any = None, batch_size: int = 5) -> RequestReport:
        return transfer_request(
            recording_ids=recording_ids,
            batch_size=batch_size,
            user=admin_user,
            now=now,
            root=MediaRoot(root),
            settings=service_settings(),
        )

    return request


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """The media root of a central server: there is none."""
    return tmp_path / "no-media-root"


@pytest.fixture
def yard(site: Site, media_root: Path) -> Camera:
    """A camera of a second site. The disk of `media_root` is that of the first one."""
    (media_root / MARKER).write_text(str(Marker.of(site)))
    return Camera.objects.create(site=Site.objects.create(name="Yard"), name="Quay")


def statuses_of(site_id: uuid.UUID) -> dict[str, int]:
    counts = GCPVideoTransfer.objects.filter(site=site_id).status_counts()
    return {status: count for status, count in counts.items() if count}


def claimed(site_id: uuid.UUID, most: int = 20) -> int:
    queue = BatchQueue(owner_id=uuid.uuid4(), site_id=site_id, lease_seconds=40, actor="box:7")
    return len(queue.claim_due(most, now=NOW))


# --- A batch for each site --------------------------------------------------------------------------


def test_request_has_a_batch_for_each_site(
    ask: Ask, make_recording: MakeRecording, yard: Camera, admin_user: User, office: Path
) -> None:
    for number in range(2):
        make_recording(f"{number}.mp4")
        make_recording(f"{number}.mp4", camera=yard)
    report = ask(office, batch_size=3)
    batches = list(TransferBatch.objects.all())
    assert {batch.request_id for batch in batches} == {report.batch_id}
    assert report.batch_id in {batch.pk for batch in batches}
    assert len({batch.site_id for batch in batches}) == 2
    assert {(batch.kind, batch.batch_size, batch.created_by) for batch in batches} == {("request", 3, admin_user)}
    assert all(row.batch.site_id == row.site_id for row in GCPVideoTransfer.objects.select_related("batch"))


def test_batch_size_holds_at_each_site(ask: Ask, make_recording: MakeRecording, yard: Camera, office: Path) -> None:
    for number in range(8):
        make_recording(f"{number}.mp4")
        make_recording(f"{number}.mp4", camera=yard)
    ask(office, batch_size=3)
    here = Site.objects.exclude(pk=yard.site_id).get()
    assert [sum(all_at_once(4, lambda: claimed(site_id))) for site_id in (here.pk, yard.site_id)] == [3, 3]  # noqa: B023
    assert [statuses_of(site_id)["uploading"] for site_id in (here.pk, yard.site_id)] == [3, 3]


def test_two_pages_of_a_site_share_its_batch(
    ask: Ask, camera: Camera, yard: Camera, office: Path, now: datetime
) -> None:
    for of in (camera, yard):
        Recording.objects.bulk_create(
            Recording(camera=of, site=of.site, name="x", local_path=str(n), file_path="", started_at=now)
            for n in range(1100)
        )
    report = ask(office)
    assert report.initiated_transfers == 2200
    assert TransferBatch.objects.count() == 2


def test_failed_transfers_start_again_in_their_sites_batch(
    ask: Ask, make_recording: MakeRecording, yard: Camera, office: Path
) -> None:
    make_recording("one.mp4")
    make_recording("one.mp4", camera=yard)
    ask(office)
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled")
    report = ask(office)
    again = list(GCPVideoTransfer.objects.select_related("batch"))
    assert report.initiated_transfers == 2
    assert {row.batch.request_id for row in again} == {report.batch_id}
    assert all(row.batch.site_id == row.site_id for row in again)


def test_retry_of_one_transfer_has_a_batch_of_its_site(
    ask: Ask, make_recording: MakeRecording, yard: Camera, admin_user: User, now: datetime
) -> None:
    recording = make_recording("one.mp4", camera=yard)
    ask()
    GCPVideoTransfer.objects.update(transfer_status=State.FAILED, error_code="cancelled")
    row = transfer_retry(transfer_id=recording.gcp_transfer.pk, user=admin_user, now=now, settings=service_settings())
    assert (row.batch.site_id, row.batch.request_id) == (yard.site_id, row.batch.pk)
    assert claimed(yard.site_id) == 1


# --- Whose files are judged -------------------------------------------------------------------------


def test_office_starts_recordings_whose_files_it_never_saw(
    ask: Ask, make_recording: MakeRecording, yard: Camera, office: Path
) -> None:
    harbour = Camera.objects.create(site=Site.objects.create(name="Harbour"), name="Pier")
    for number in range(9):
        for camera in (yard, harbour, None):
            of = {} if camera is None else {"camera": camera}
            make_recording(f"{number}.mp4", write_file=False, **of)
    report = ask(office)
    assert (report.initiated_transfers, report.failed_initiations) == (27, 0)
    assert GCPVideoTransfer.objects.filter(transfer_status=State.PENDING).count() == 27


def test_one_request_judges_only_the_files_it_sees(ask: Ask, make_recording: MakeRecording, yard: Camera) -> None:
    good, gone = make_recording("good.mp4"), make_recording("gone.mp4", write_file=False)
    # The same path as a file that lies here, and one that does not: both may lie there.
    there = [make_recording(name, camera=yard, write_file=False) for name in ("good.mp4", "other.mp4")]
    report = ask()
    assert [(failure.recording_id, failure.reason) for failure in report.failures] == [
        (str(gone.pk), Reason.FILE_MISSING)
    ]
    started = set(GCPVideoTransfer.objects.values_list("recording", flat=True))
    assert started == {good.pk, *(one.pk for one in there)}


def test_another_sites_disk_is_no_judge(
    ask: Ask, make_recording: MakeRecording, yard: Camera, media_root: Path
) -> None:
    (media_root / MARKER).write_text(str(Marker.of(yard.site)))
    make_recording("gone.mp4", write_file=False)
    report = ask()
    assert (report.initiated_transfers, report.failures) == (1, [])


def test_disk_that_is_away_is_no_judge(ask: Ask, make_recording: MakeRecording, media_root: Path) -> None:
    make_recording("one.mp4")
    media_root.rename(media_root.with_name("unmounted"))
    report = ask()
    assert (report.initiated_transfers, report.failures) == (1, [])


def test_unseen_retry_keeps_session_and_path(
    ask: Ask, make_recording: MakeRecording, media_root: Path, office: Path
) -> None:
    make_recording("one.mp4", size_bytes=100, local_path=str(media_root / "one.mp4"))
    ask()
    GCPVideoTransfer.objects.update(
        transfer_status=State.FAILED, error_code="cancelled", session_uri="kept", bytes_uploaded=50
    )
    ask(office)
    row = GCPVideoTransfer.objects.get()
    assert (row.original_local_path, row.file_size_bytes) == ("one.mp4", 100)
    assert (row.session_uri, row.bytes_uploaded) == ("kept", 50)


@pytest.fixture
def ask_office(ask: Ask, office: Path, settings: Any) -> Ask:
    """As `ask` on a server without a disk, for a bucket that the store has."""
    settings.GCP_STORAGE_BUCKET_NAME = "footage"
    return partial(ask, office)


@pytest.fixture
def bad_recordings(make_recording: MakeRecording, media_root: Path, tmp_path: Path) -> BadRecordings:
    (tmp_path / "outside.ts").write_bytes(b"not ours")
    (media_root / "link.ts").symlink_to(tmp_path / "outside.ts")
    (media_root / "folder.ts").mkdir()
    return {
        make_recording("gone.ts", write_file=False).pk: Reason.FILE_MISSING,
        make_recording("empty.ts", size_bytes=0).pk: Reason.FILE_EMPTY,
        make_recording("link.ts", write_file=False).pk: Reason.FILE_IS_LINK,
        make_recording("folder.ts", write_file=False).pk: Reason.FILE_NOT_REGULAR,
        make_recording("../outside.ts", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording("/etc/passwd", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
        make_recording(".coldreel-trash/x", write_file=False).pk: Reason.FILE_OUTSIDE_MEDIA_ROOT,
    }


def test_worker_judges_what_the_office_started(
    work: RunWorker, ask_office: Ask, make_recording: MakeRecording, bad_recordings: BadRecordings, store: MemoryStore
) -> None:
    site = Site.objects.get()
    """With the reasons that a request at the site would have told."""
    good = [make_recording(f"{number}.ts", content=b"G" * 188 * (number + 1)) for number in range(20)]
    report = ask_office()
    assert (report.initiated_transfers, report.failed_initiations) == (27, 0)

    work(site=site)

    failed = GCPVideoTransfer.objects.filter(transfer_status=State.FAILED)
    assert dict(failed.values_list("recording", "error_code")) == bad_recordings
    uploaded = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_PENDING)
    assert set(uploaded.values_list("recording", flat=True)) == {one.pk for one in good}
    assert len(store.objects()) == 20


def test_same_path_at_two_sites_is_two_objects(
    work: RunWorker, ask_office: Ask, make_recording: MakeRecording, yard: Camera, store: MemoryStore
) -> None:
    """P2, P11: equal in path, size and mtime, and each object names its own site."""
    here = make_recording("one.ts", content=b"G" * 188 * 2)
    there = make_recording("one.ts", camera=yard, write_file=False, content=b"G" * 188 * 2)
    Recording.objects.update(file_mtime_ns=here.file_mtime_ns)
    assert ask_office().initiated_transfers == 2
    media_root = Path(wiring.media_root().path)
    second = media_root.with_name("yard")
    shutil.copytree(media_root, second)
    (second / MARKER).write_text(str(Marker.of(yard.site)))

    work(site=here.site)
    assert [info.metadata["coldreel-site"] for info in store.objects()] == [str(here.site_id)]
    work(site=yard.site, root=MediaRoot(second))

    of_site = {info.metadata["coldreel-site"]: info.metadata["coldreel-recording"] for info in store.objects()}
    assert of_site == {str(one.site_id): str(one.pk) for one in (here, there)}
    assert statuses_of(here.site_id) == statuses_of(yard.site_id) == {"cleanup_pending": 1}
