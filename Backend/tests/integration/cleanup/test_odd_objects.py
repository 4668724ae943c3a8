"""One odd object never stops the others: it is named, postponed and flagged. A bucket that refuses stops the run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gcs_emulator.process import EmulatorProcess
from offload.errors import LineDown, ObjectProblem, OffloadError, Reason, StopAndTell, TryAgain
from offload.gcs import GoogleStore
from offload.states import State
from offload.store import META_INSTALLATION, BucketReport, ObjectInfo
from offload.testing import MemoryStore
from tests.conftest import INSTALLATION_ID
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite


class OddStore:
    """A bucket in memory in which single objects, or everything, answer with an error."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.odd: dict[str, OffloadError] = {}
        self.refuses: OffloadError | None = None
        self.lists: OffloadError | None = None
        self.listed = 5
        self.asked: list[str] = []
        self.gone: set[str] = set()

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        self.asked.append(name)
        error = self.refuses or self.odd.get(name)
        if error is not None:
            raise error
        return self._store.get(bucket, name, generation=generation)

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        for number, info in enumerate(self._store.list_prefix(bucket, prefix)):
            if self.lists is not None and number == self.listed:
                raise self.lists
            yield info

    def bucket_time(self, bucket: str) -> datetime:
        if bucket in self.gone:
            raise StopAndTell(f"bucket {bucket} does not exist", code=Reason.BUCKET_NOT_FOUND)
        return self._store.bucket_time(bucket)

    def bucket_report(self, bucket: str) -> BucketReport:
        return self._store.bucket_report(bucket)


ODD = [
    ObjectProblem("The bucket shows no CRC32C of the object.", code=Reason.OBJECT_DIFFERS),
    ObjectProblem("The bucket answered 403 forbidden.", code=Reason.PERMISSION_DENIED),
    ObjectProblem("The bucket answered 418.", code=Reason.BUCKET_REFUSED),
    StopAndTell("The bucket answered 403: Cloud KMS key is disabled.", code=Reason.PERMISSION_DENIED),
]
each_oddity = pytest.mark.parametrize(
    "error", ODD, ids=["no_crc32c", "denied_on_one_object", "unknown_4xx", "key_of_one_object"]
)


@pytest.fixture
def odd(site: UploadedSite) -> OddStore:
    return OddStore(site.store)


def name_of(footage: Footage) -> str:
    return footage.row.gcp_storage_path


@each_oddity
@pytest.mark.parametrize("batch_size", [1, 50])
@pytest.mark.parametrize("at", [0, 2], ids=["oldest", "in_the_middle"])
def test_odd_object_is_flagged_and_stops_nothing(
    site: UploadedSite, odd: OddStore, error: OffloadError, batch_size: int, at: int
) -> None:
    footage = [site.add(f"{n:03}.mp4", hours_ago=100 - n) for n in range(5)]
    bad = footage[at]
    odd.odd[name_of(bad)] = error
    run = site.clean(store=odd, batch_size=batch_size)
    assert run.report.stopped is None
    assert (run.report.cleaned, run.report.failed) == (4, 1)
    told = next(file for file in run.files if file.transfer_id == bad.transfer_id)
    assert (told.outcome.value, told.reason, told.detail) == ("failed", error.code, error.detail)
    row = bad.row
    assert bad.is_whole
    assert row.transfer_status == State.CLEANUP_PENDING
    assert (row.error_code, row.needs_attention, row.cleanup_failures) == (error.code, True, 1)
    assert row.next_attempt_at is not None
    assert row.next_attempt_at > site.clock.now()
    assert site.alarms() == {("cleanup_failed", "failing files at Depot")}
    assert site.trash_files() == []


@each_oddity
def test_odd_object_alone_does_not_blame_the_bucket(site: UploadedSite, odd: OddStore, error: OffloadError) -> None:
    footage = site.add()
    odd.odd[name_of(footage)] = error
    run = site.clean(store=odd)
    assert run.report.stopped is None
    assert footage.row.needs_attention is True


def test_mended_odd_object_goes_and_its_alarm_too(site: UploadedSite, odd: OddStore) -> None:
    bad, _ = site.many(2)
    odd.odd[name_of(bad)] = ODD[0]
    site.clean(store=odd)
    odd.odd.clear()
    site.clock.advance(3600)
    assert site.clean(store=odd).report.cleaned == 1
    assert bad.row.needs_attention is False
    assert site.alarms() == set()


def test_most_objects_odd_still_lets_the_others_go(site: UploadedSite, odd: OddStore) -> None:
    footage = [site.add(f"{n:03}.mp4", hours_ago=200 - n) for n in range(70)]
    for bad in footage[:60]:
        odd.odd[name_of(bad)] = ODD[3]
    odd.lists, odd.listed = ODD[3], 0
    run = site.clean(store=odd, batch_size=7)
    assert run.report.stopped is None
    assert (run.report.cleaned, run.report.failed) == (10, 60)


def test_odd_object_after_the_rename_brings_its_file_back(site: UploadedSite, odd: OddStore) -> None:
    """Its proof was good at first and has to be renewed before the unlink."""
    footage = [site.add(f"{n:03}.mp4", hours_ago=100 - n) for n in range(3)]

    def later(_: Any) -> None:
        odd.odd[name_of(footage[1])] = ODD[3]
        site.clock.advance(61)

    run = site.clean(store=odd, on_file=later)
    assert (run.report.cleaned, run.report.failed, run.report.stopped) == (2, 1, None)
    assert footage[1].is_whole


@pytest.mark.parametrize("error", [*ODD, TryAgain("503")], ids=lambda error: error.code.value)
def test_listing_that_breaks_off_is_replaced_by_single_reads(
    site: UploadedSite, odd: OddStore, error: OffloadError
) -> None:
    """An object that another program put among a camera's own must not hide these."""
    footage = site.many(20)
    odd.lists = error
    run = site.clean(store=odd)
    assert (run.report.cleaned, run.report.stopped) == (20, None)
    assert not any(each.path.exists() for each in footage)
    assert len(odd.asked) == 15  # five were seen in the listing


@pytest.mark.parametrize("error", [StopAndTell("403"), LineDown("reset")], ids=["refuses", "line_down"])
def test_bucket_refusing_every_object_stops_the_run(site: UploadedSite, odd: OddStore, error: OffloadError) -> None:
    footage = site.many(30)
    odd.refuses = odd.lists = error
    odd.listed = 0
    run = site.clean(store=odd)
    assert run.report.stopped is error.code
    assert run.files == []
    assert {each.row.cleanup_failures for each in footage} == {0}
    assert site.alarms() == {(error.code.value, "cleanup")}
    assert len(odd.asked) <= 12


def test_another_odd_object_is_an_answer_of_the_bucket(site: UploadedSite, odd: OddStore) -> None:
    """The bucket says of the second what is wrong with it, so it is only the first that cannot be read."""
    first, second = site.many(2)
    odd.odd[name_of(first)] = ODD[3]
    odd.odd[name_of(second)] = ODD[0]
    run = site.clean(store=odd)
    assert (run.report.failed, run.report.stopped) == (2, None)
    assert first.row.needs_attention is True


def test_missing_right_to_read_stops_a_single_file(site: UploadedSite, odd: OddStore) -> None:
    footage = site.add()
    site.store.report = BucketReport(exists=True, missing_permissions=("storage.objects.get",))
    odd.refuses = StopAndTell("403")
    assert site.clean(store=odd).report.stopped is Reason.PERMISSION_DENIED
    assert footage.row.needs_attention is False


def test_reset_connection_of_one_object_postpones_it_without_alarm(site: UploadedSite, odd: OddStore) -> None:
    bad, *_ = site.many(4)
    odd.odd[name_of(bad)] = LineDown("reset")
    run = site.clean(store=odd)
    assert (run.report.cleaned, run.report.failed, run.report.stopped) == (3, 1, None)
    assert bad.row.needs_attention is False
    assert site.alarms() == set()


@pytest.mark.parametrize("from_the_start", [True, False])
def test_former_bucket_that_is_gone_keeps_its_files_only(
    site: UploadedSite, odd: OddStore, settings: Any, from_the_start: bool
) -> None:
    settings.GCP_STORAGE_FORMER_BUCKETS = ["a-former-bucket"]
    site.store.add_bucket("a-former-bucket")
    here = site.many(3)
    site.bucket = "a-former-bucket"
    there = [site.add(f"there-{n}.mp4", gcp_bucket="a-former-bucket") for n in range(2)]
    site.store.remove_bucket("a-former-bucket")
    if from_the_start:
        odd.gone.add("a-former-bucket")
    run = site.clean(store=odd)
    assert run.report.stopped is Reason.BUCKET_NOT_FOUND
    assert run.report.cleaned == 3
    assert not any(each.path.exists() for each in here)
    assert all(each.is_whole for each in there)
    assert {each.row.cleanup_failures for each in there} == {0}
    assert site.alarms() == {("bucket_not_found", "cleanup")}


def test_dry_run_names_the_odd_object_without_an_alarm(site: UploadedSite, odd: OddStore) -> None:
    bad, *_ = site.many(3)
    odd.odd[name_of(bad)] = ODD[2]
    run = site.clean(store=odd, dry_run=True)
    assert (run.report.cleaned, run.report.failed, run.report.stopped) == (2, 1, None)
    assert bad.row.needs_attention is False
    assert site.alarms() == set()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    folder: Path = tmp_path_factory.mktemp("odd-bucket")
    with EmulatorProcess(folder, buckets=["coldreel-test"]) as process:
        yield process


@pytest.mark.parametrize("batch_size", [1, 50])
def test_odd_objects_of_a_real_protocol_stop_nothing(
    site: UploadedSite, emulator: EmulatorProcess, batch_size: int
) -> None:
    """No CRC32C, 403 and an unknown status on one object each, and a stranger's object among the camera's own."""
    footage = [site.add(f"{n:03}.mp4", hours_ago=100 - n) for n in range(20)]
    for each in footage:
        resource = emulator.put_object(site.bucket, name_of(each), each.content)
        emulator.patch_object(site.bucket, name_of(each), metadata={META_INSTALLATION: INSTALLATION_ID})
        each.set(object_generation=int(resource["generation"]))
    stranger = f"{name_of(footage[0]).rpartition('/')[0]}/a-stranger.mp4"
    emulator.put_object(site.bucket, stranger, b"encrypted with a key of its owner")
    for name in (stranger, name_of(footage[3])):
        emulator.patch_object(site.bucket, name, crc32c=None)
    # Both are read singly: a listing that shows nothing of them would not be asked twice.
    for number, status in ((4, 403), (5, 418)):
        emulator.patch_object(site.bucket, name_of(footage[number]), crc32c=None)
        emulator.fault("status", kind="get", name=name_of(footage[number]), status=status, times=1000)
    store = GoogleStore(project=None, credentials_path=None, emulator_host=emulator.url)
    try:
        run = site.clean(store=store, force=True, batch_size=batch_size)
    finally:
        emulator.clear_faults()
    assert run.report.stopped is None
    assert (run.report.cleaned, run.report.failed) == (17, 3)
    reasons = {file.path: file.reason.value for file in run.files if file.outcome.value == "failed"}
    assert reasons == {
        "Gate/003.mp4": "object_differs",
        "Gate/004.mp4": "permission_denied",
        "Gate/005.mp4": "bucket_refused",
    }
    assert [each.row.needs_attention for each in footage[3:6]] == [True] * 3
    assert site.alarms() == {("cleanup_failed", "failing files at Depot")}
