"""An alarm ends when its cause is gone, however it was mended: for every code that is raised there is a way to its end."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from apps.cctv.installation import machine_id
from apps.cctv.models import Alarm, PeriodicJob, Recording, SeenMediaRoot, Site, WorkerProcess
from apps.cctv.services.alarm_review import IS_OVER, RAISED_IN
from apps.cctv.services.alarms import STOP_CODES, alarm_raise
from apps.cctv.services.bucket_check import ENDED_BY_AN_ANSWER
from apps.cctv.services.cleanup import cleanup_run
from apps.cctv.services.sweep import sweep
from apps.cctv.services.uploads import uploads_work
from apps.cctv.tables.alarms import Subject, SubjectKind
from apps.cctv.wiring import service_settings
from offload.errors import LineDown, Reason, StopAndTell
from offload.source import MediaRoot
from offload.states import State
from offload.testing import FakeClock, MemoryStore
from tests.conftest import MARKER
from tests.integration.db import rows
from tests.integration.db.rows import NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bucket")]

APP = Path(__file__).resolve().parents[3] / "apps" / "cctv"
BUCKET = "coldreel-test"
Sweep = Callable[..., Any]


@pytest.fixture
def swept(store: MemoryStore, clock: FakeClock, tmp_path: Path, media_root: Path) -> Sweep:
    return lambda **more: sweep(
        store=store, clock=clock, home=tmp_path, root=MediaRoot(media_root), settings=service_settings(), **more
    )


@pytest.fixture
def depot() -> Site:
    return Site.objects.create(name="Depot")


def raised(code: Reason, subject: Subject) -> None:
    alarm_raise(code=code, subject=subject, detail="x", now=NOW)


def still_open() -> set[tuple[str, str]]:
    return rows.told()


FOOTAGE = Subject(SubjectKind.BUCKET, "footage")
ALL_RUNS = Subject(SubjectKind.CLEANUP)


def run_at(site: Site) -> Subject:
    return Subject.of_site(SubjectKind.CLEANUP, site.pk)


def files_at(site: Site) -> Subject:
    return Subject.of_bucket_at_site(SubjectKind.CLEANUP_FILES, "footage", site.pk)


def subject_of(kind: SubjectKind, site: Site) -> Subject:
    """As it is raised; the transfer is one that is not there any more, or that nothing is wrong with."""
    gone = uuid.uuid4()
    return {
        SubjectKind.INSTALLATION: Subject(kind),
        SubjectKind.BUCKET: FOOTAGE,
        SubjectKind.LINE: Subject(kind, BUCKET),
        SubjectKind.HOLDS: Subject(kind, "footage"),
        SubjectKind.MEDIA_ROOT: Subject.of_site(kind, site.pk),
        SubjectKind.CLEANUP: run_at(site),
        SubjectKind.CLEANUP_FILES: files_at(site),
        SubjectKind.FAILING_FILES: Subject.of_site(kind, site.pk),
        SubjectKind.RIGHT_TO_DELETE: Subject.of_site(kind, gone),
        SubjectKind.MACHINE: Subject(kind, "nvr-that-was-sold"),
        SubjectKind.TRANSFER: Subject(kind, str(rows.transfer(State.CLEANUP_COMPLETED).pk)),
        SubjectKind.LOCK_FILES: Subject(kind, machine_id()),
        SubjectKind.TRASH: Subject(kind, str(rows.transfer(State.CLEANUP_COMPLETED).pk)),
        SubjectKind.OTHER: Subject(kind, "cleanup at a former name"),
    }[kind]


CODES = {
    SubjectKind.INSTALLATION: [Reason.SILENCE],
    SubjectKind.BUCKET: sorted(STOP_CODES),
    SubjectKind.LINE: [Reason.LINE_DOWN],
    SubjectKind.HOLDS: sorted(STOP_CODES),
    SubjectKind.MEDIA_ROOT: [Reason.MEDIA_ROOT_NOT_MOUNTED],
    SubjectKind.FAILING_FILES: [Reason.CLEANUP_FAILED],
    SubjectKind.RIGHT_TO_DELETE: [Reason.NO_RIGHT_TO_DELETE],
    SubjectKind.MACHINE: [Reason.HOME_DISK_LOW],
    SubjectKind.LOCK_FILES: [Reason.OWNER_OF_ANOTHER_USER],
}
OF_ONE_KIND = {Reason.CLEANUP_FAILED, Reason.HOME_DISK_LOW}
"""The other kinds may carry any code but these: what stopped a run is whatever it was."""


@pytest.mark.parametrize("kind", [kind for kind in SubjectKind if kind is not SubjectKind.UNKNOWN])
def test_sweep_closes_every_alarm_without_a_cause(swept: Sweep, depot: Site, kind: SubjectKind) -> None:
    subject = subject_of(kind, depot)
    for code in CODES.get(kind, set(Reason) - OF_ONE_KIND):
        raised(code, subject)
    if kind in {SubjectKind.MACHINE, SubjectKind.OTHER}:
        Alarm.objects.update(last_seen_at=NOW - timedelta(days=31))
    swept()
    assert still_open() == set()


def test_every_place_that_raises_alarms_names_the_subject() -> None:
    """A new one stands in `RAISED_IN`, with a rule in `IS_OVER` that ends its alarms, or closes them itself."""
    raising = {
        path.relative_to(APP).as_posix()
        for path in APP.rglob("*.py")
        if re.search(r"(?<!def )\balarm_raise\(", path.read_text())
    }
    assert raising == set(RAISED_IN)
    assert set(IS_OVER) == set(SubjectKind)
    assert set().union(*RAISED_IN.values()) == set(SubjectKind) - {SubjectKind.OTHER, SubjectKind.UNKNOWN}


def test_alarm_of_the_right_to_delete_needs_the_disk(swept: Sweep, depot: Site, settings: Any) -> None:
    raised(Reason.NO_RIGHT_TO_DELETE, Subject.of_site(SubjectKind.RIGHT_TO_DELETE, depot.pk))
    swept()
    assert still_open() == {("no_right_to_delete", "right to delete at Depot")}
    settings.GCP_STORAGE_CLEANUP_LOCAL = False
    swept()
    assert still_open() == set()


@pytest.mark.parametrize("days", [0.5, 31])
def test_alarm_of_a_machine_is_left_to_its_workers(swept: Sweep, days: float) -> None:
    WorkerProcess.objects.create(host="nvr-1", machine_id="a1b2", pid=1, installation_id="i", started_at=NOW)
    raised(Reason.HOME_DISK_LOW, Subject(SubjectKind.MACHINE, "a1b2"))
    Alarm.objects.update(last_seen_at=NOW - timedelta(days=days))
    swept()
    assert still_open() == {("home_disk_low", "nvr-1")}


@pytest.mark.parametrize("kind", ["", "a_new_kind"])
def test_alarm_of_another_release_is_left_to_its_workers(swept: Sweep, kind: str) -> None:
    Alarm.objects.create(
        code="object_lost", subject_kind=kind, subject_id="x", detail="x", raised_at=NOW, last_seen_at=NOW
    )
    Alarm.objects.update(last_seen_at=NOW - timedelta(days=31))
    swept()
    assert still_open() == {("object_lost", "x")}


def test_alarm_of_an_earlier_releases_code_stops_nothing(swept: Sweep) -> None:
    Alarm.objects.create(
        code="no_longer_known", subject_kind="other", subject_id="x", detail="x", raised_at=NOW, last_seen_at=NOW
    )
    raised(Reason.QUOTA_EXCEEDED, FOOTAGE)
    swept()
    assert still_open() == {("no_longer_known", "x")}


# --- what lasts stays ---


@pytest.mark.parametrize("code", sorted(STOP_CODES))
def test_bucket_alarm_lasts_while_a_transfer_waits_for_it(swept: Sweep, code: Reason) -> None:
    waiting = rows.transfer(State.PENDING, error_code=code, next_attempt_at=NOW + timedelta(hours=1))
    raised(code, FOOTAGE)
    swept()
    assert still_open() == {(code.value, "footage")}
    type(waiting).objects.update(error_code="")
    swept()
    assert still_open() == set()


def test_alarm_of_a_missing_disk_lasts_until_its_marker(swept: Sweep, depot: Site, media_root: Path) -> None:
    rows.recording()
    (media_root / MARKER).unlink()
    for subject in (Subject.of_site(SubjectKind.MEDIA_ROOT, depot.pk), ALL_RUNS, run_at(depot)):
        raised(Reason.MEDIA_ROOT_NOT_MOUNTED, subject)
    swept()
    assert len(still_open()) == 3
    (media_root / MARKER).write_text("there\n")
    swept()
    assert still_open() == set()


def test_worker_of_one_site_judges_no_other_sites_disk(swept: Sweep, depot: Site) -> None:
    harbour = Site.objects.create(name="Harbour")
    for subject in (Subject.of_site(SubjectKind.MEDIA_ROOT, harbour.pk), run_at(harbour), ALL_RUNS):
        raised(Reason.MEDIA_ROOT_NOT_MOUNTED, subject)
    swept(site_id=depot.pk)
    assert len(still_open()) == 3
    swept(site_id=harbour.pk)
    assert {subject for _, subject in still_open()} == {"cleanup"}


def test_stopped_run_lasts_while_files_are_due(swept: Sweep, depot: Site) -> None:
    rows.transfer(State.CLEANUP_PENDING)
    raised(Reason.TOO_MANY_MISSING_LOCALLY, run_at(depot))
    swept()
    assert still_open() == {("too_many_missing_locally", "cleanup at Depot")}


def test_files_no_longer_due_end_their_sites_alarm_only(swept: Sweep, depot: Site) -> None:
    rows.transfer(State.CLEANUP_PENDING)
    for site in (depot, Site.objects.create(name="Harbour")):
        raised(Reason.HOLD_UNKNOWN, files_at(site))
    swept()
    assert still_open() == {("hold_unknown", "cleanup of footage at Depot")}


def test_bucket_that_the_settings_name_again_ends_its_alarm(swept: Sweep, depot: Site, settings: Any) -> None:
    rows.transfer(State.CLEANUP_PENDING)
    raised(Reason.BUCKET_SETTING_CHANGED, files_at(depot))
    swept()
    assert len(still_open()) == 1
    settings.GCP_STORAGE_FORMER_BUCKETS = ("footage",)
    swept()
    assert still_open() == set()


def test_failing_files_alarm_lasts_until_the_last_went(swept: Sweep, depot: Site) -> None:
    failing = rows.transfer(State.CLEANUP_PENDING, needs_attention=True)
    raised(Reason.CLEANUP_FAILED, Subject.of_site(SubjectKind.FAILING_FILES, depot.pk))
    swept()
    assert len(still_open()) == 1
    type(failing).objects.update(needs_attention=False)
    swept()
    assert still_open() == set()


def test_lost_object_stays_told_until_its_row_says_otherwise(swept: Sweep) -> None:
    lost = rows.transfer(State.FAILED, error_code="object_lost")
    raised(Reason.OBJECT_LOST, Subject(SubjectKind.TRANSFER, str(lost.pk)))
    swept()
    assert len(still_open()) == 1


def test_refused_hold_alarm_survives_an_unrelated_cleanup(
    swept: Sweep, store: MemoryStore, clock: FakeClock, media_root: Path
) -> None:
    """The sweep would open it anew every few seconds, and a person would see a new alarm each time."""
    Recording.objects.filter(pk=rows.transfer(State.COMPLETED).recording_id).update(hold_wanted=True)
    swept()
    before = Alarm.objects.get()
    assert before.code == Reason.OBJECT_MISSING
    cleanup_run(store=store, root=MediaRoot(media_root), clock=clock, actor="tester", settings=service_settings())
    swept()
    assert Alarm.objects.get().cleared_at is None


def test_upload_leaves_the_alarm_of_a_missing_hold_right(swept: Sweep, store: MemoryStore) -> None:
    Recording.objects.filter(pk=rows.transfer(State.COMPLETED).recording_id).update(hold_wanted=True)
    store.fault("get", StopAndTell("no right to update", code=Reason.PERMISSION_DENIED), times=100)
    swept()
    rows.transfer(State.PENDING)
    claim = rows.claim()
    assert claim is not None
    uploads_work(claims=[claim], now=NOW)
    assert still_open() == {("permission_denied", "holds in footage")}


def test_hold_that_agrees_again_ends_the_alarm(swept: Sweep, store: MemoryStore) -> None:
    held = rows.transfer(State.COMPLETED)
    Recording.objects.filter(pk=held.recording_id).update(hold_wanted=True)
    store.fault("get", StopAndTell("no right to update", code=Reason.PERMISSION_DENIED))
    swept()
    Recording.objects.update(hold_confirmed=True)
    swept()
    assert still_open() == set()


def test_alarm_met_again_at_this_moment_stays_open(swept: Sweep) -> None:
    raised(Reason.QUOTA_EXCEEDED, FOOTAGE)
    swept()
    raised(Reason.QUOTA_EXCEEDED, FOOTAGE)
    rows.transfer(State.PENDING, error_code="quota_exceeded")
    swept()
    assert len(still_open()) == 1


def test_one_alarm_hides_no_other(swept: Sweep, store: MemoryStore, media_root: Path) -> None:
    """A disk that is away kept every cleanup from asking the bucket, which was unreachable as well."""
    rows.recording()
    (media_root / MARKER).unlink()
    raised(Reason.MEDIA_ROOT_NOT_MOUNTED, ALL_RUNS)
    store.fault("bucket_time", LineDown("no answer"))
    swept()
    assert still_open() == {("media_root_not_mounted", "cleanup"), ("line_down", BUCKET)}


# --- the bucket is asked ---


def test_silent_bucket_alarms_until_it_answers(swept: Sweep, store: MemoryStore, clock: FakeClock) -> None:
    store.fault("bucket_time", LineDown("no answer"))
    swept()
    assert still_open() == {("line_down", BUCKET)}
    assert PeriodicJob.objects.get(name="bucket").last_result == "line_down: no answer"
    clock.advance(60)
    swept()
    assert still_open() == set()
    assert PeriodicJob.objects.get(name="bucket").last_result == "answers"


@pytest.mark.parametrize("code", sorted(ENDED_BY_AN_ANSWER - {Reason.LINE_DOWN}))
def test_alarm_disproved_by_an_answer_ends_with_it(
    swept: Sweep, store: MemoryStore, clock: FakeClock, code: Reason
) -> None:
    store.fault("bucket_time", StopAndTell("no", code=code))
    swept()
    assert still_open() == {(code.value, BUCKET)}
    swept()
    assert len(still_open()) == 1
    clock.advance(60)
    swept()
    assert still_open() == set()


def test_bucket_is_asked_by_one_of_many_sweeps(swept: Sweep, store: MemoryStore, clock: FakeClock) -> None:
    for _ in range(8):
        swept()
        clock.advance(15)
    assert len(store.calls_of("bucket_time")) == 4


def test_bucket_that_goes_away_is_told_within_a_minute(swept: Sweep, store: MemoryStore, clock: FakeClock) -> None:
    swept()
    store.fault("bucket_time", LineDown("no answer"), times=100)
    since = clock.now()
    while not still_open() and clock.now() < since + timedelta(hours=1):
        clock.advance(15)
        swept()
    assert Alarm.objects.get().raised_at <= since + timedelta(minutes=1)


def test_clock_put_back_does_not_silence_the_bucket_check(swept: Sweep, store: MemoryStore, clock: FakeClock) -> None:
    swept()
    clock.advance(-6 * 3600)
    swept()
    assert len(store.calls_of("bucket_time")) == 2


def test_line_of_another_site_proves_nothing(swept: Sweep, store: MemoryStore, depot: Site, clock: FakeClock) -> None:
    harbour = Site.objects.create(name="Harbour")
    store.fault("bucket_time", LineDown("no answer"))
    swept(site_id=depot.pk)
    swept(site_id=harbour.pk)
    assert still_open() == {("line_down", f"{BUCKET} from Depot")}
    clock.advance(60)
    swept(site_id=depot.pk)
    assert still_open() == set()


def test_missing_right_is_left_to_the_call_that_needs_it(swept: Sweep, store: MemoryStore) -> None:
    """The look wants the right to list; an upload that gets through would close what it raised, again and again."""
    Recording.objects.filter(pk=rows.transfer(State.COMPLETED).recording_id).update(hold_wanted=True)
    store.fault("bucket_time", StopAndTell("no right to list", code=Reason.PERMISSION_DENIED))
    swept()
    assert ("permission_denied", BUCKET) not in still_open()
    assert store.calls_of("get")


def test_alarm_of_a_former_bucket_ends(swept: Sweep) -> None:
    raised(Reason.LINE_DOWN, Subject(SubjectKind.LINE, "former-bucket"))
    swept()
    assert still_open() == set()


# --- a stopped cleanup runs again soon ---


@pytest.mark.parametrize(("minutes", "again"), [(4, False), (6, True)])
def test_cleanup_that_was_stopped_runs_again_within_minutes(
    swept: Sweep, clock: FakeClock, minutes: float, again: bool
) -> None:
    rows.transfer(State.CLEANUP_PENDING)
    raised(Reason.CLOCK_SKEW, ALL_RUNS)
    later = NOW + timedelta(hours=1)
    PeriodicJob.objects.create(name="cleanup", kind="cleanup", next_run_at=later, last_finished_at=NOW)
    clock.advance(60 * minutes)
    swept()
    assert (PeriodicJob.objects.get(name="cleanup").next_run_at <= clock.now()) is again


def test_sweep_remembers_the_marker_that_it_saw(swept: Sweep) -> None:
    swept()
    assert SeenMediaRoot.objects.count() == 1
