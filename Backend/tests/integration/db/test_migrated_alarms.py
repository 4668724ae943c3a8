"""Alarms, doubts and periodic jobs of the release before, whose subjects and names were sentences."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from tests.integration.db import rows
from tests.integration.db.rows import NOW
from tests.integration.db.test_migrations import Apps, newest, to

__all__ = ["to"]  # the fixture

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, TYPED, JOBS = "0021_name_version", "0022_alarmsubject", "0023_jobkind"
To = Callable[[str | None], Apps]
SITE = uuid.UUID("11111111-2222-4333-8444-555555555555")
TRANSFER = "99999999-2222-4333-8444-555555555555"

OLD_FORMS = [
    ("silence", "", "installation", ""),
    ("permission_denied", "footage", "bucket", "footage"),
    ("line_down", "footage", "line", "footage"),
    ("line_down", "footage from Depot", "line", f"footage/{SITE}"),
    ("permission_denied", "holds in footage", "holds", "footage"),
    ("media_root_not_mounted", str(SITE), "media_root", str(SITE)),
    ("clock_skew", "cleanup", "cleanup", ""),
    ("media_root_not_mounted", "cleanup at Depot", "cleanup", str(SITE)),
    ("hold_unknown", "cleanup of footage at Depot", "cleanup_files", f"footage/{SITE}"),
    ("cleanup_failed", "Depot", "failing_files", str(SITE)),
    ("no_right_to_delete", "Depot", "right_to_delete", str(SITE)),
    ("object_lost", TRANSFER, "transfer", TRANSFER),
    ("other_installation", f"trash {TRANSFER}", "trash", TRANSFER),
    ("owner_of_another_user", "owners on nvr-1", "lock_files", "nvr-1"),
    ("home_disk_low", "nvr-1", "machine", "nvr-1"),
    ("of_an_older_release", "words", "other", "words"),
]


def two_sites(apps: Apps) -> None:
    for pk, name in ((SITE, "Depot"), (uuid.uuid4(), "Harbour")):
        apps.get_model("cctv", "Site").objects.create(pk=pk, name=name)


def alarm(apps: Apps, code: str, subject: str, **columns: Any) -> int:
    times = {"raised_at": NOW, "last_seen_at": NOW}
    made = apps.get_model("cctv", "Alarm").objects.create(
        code=code, subject=subject, detail="x", **{**times, **columns}
    )
    return int(made.pk)


def subjects(apps: Apps) -> set[tuple[str, str, str]]:
    return set(apps.get_model("cctv", "Alarm").objects.values_list("code", "subject_kind", "subject_id"))


@pytest.mark.parametrize("cleared_at", [None, NOW])
def test_alarm_of_every_old_form_keeps_its_subject(to: To, cleared_at: Any) -> None:
    apps = to(BEFORE)
    two_sites(apps)
    for code, subject, _, _ in OLD_FORMS:
        alarm(apps, code, subject, cleared_at=cleared_at)
    after = to(TYPED)
    assert subjects(after) == {(code, kind, key) for code, _, kind, key in OLD_FORMS}
    assert set(after.get_model("cctv", "Alarm").objects.values_list("cleared_at", flat=True)) == {cleared_at}


@pytest.mark.parametrize(
    ("code", "subject"),
    [
        ("line_down", "footage from Old name"),
        ("clock_skew", "cleanup at Old name"),
        ("hold_unknown", "cleanup of footage at Old name"),
        ("cleanup_failed", "Old name"),
        ("no_right_to_delete", "Old name"),
    ],
)
def test_alarm_of_a_renamed_site_among_several_keeps_its_words(to: To, code: str, subject: str) -> None:
    apps = to(BEFORE)
    two_sites(apps)
    alarm(apps, code, subject)
    assert subjects(to(TYPED)) == {(code, "other", subject)}


def test_alarm_of_a_renamed_only_site_is_its_own(to: To) -> None:
    apps = to(BEFORE)
    apps.get_model("cctv", "Site").objects.create(pk=SITE, name="New name")
    alarm(apps, "cleanup_failed", "Old name")
    assert subjects(to(TYPED)) == {("cleanup_failed", "failing_files", str(SITE))}


def test_two_open_alarms_of_one_subject_become_one(to: To) -> None:
    apps = to(BEFORE)
    apps.get_model("cctv", "Site").objects.create(pk=SITE, name="New name")
    stranded = alarm(apps, "cleanup_failed", "Old name", last_seen_at=NOW - timedelta(days=1))
    current = alarm(apps, "cleanup_failed", "New name")
    closed = alarm(apps, "cleanup_failed", "Older name", cleared_at=NOW)
    after = to(TYPED).get_model("cctv", "Alarm").objects
    assert dict(after.values_list("pk", "cleared_at")) == {
        stranded: NOW - timedelta(days=1),
        current: None,
        closed: NOW,
    }


def test_site_named_like_a_subject_is_a_site(to: To) -> None:
    apps = to(BEFORE)
    apps.get_model("cctv", "Site").objects.create(pk=SITE, name="cleanup at sea at night")
    alarm(apps, "cleanup_failed", "cleanup at sea at night")
    alarm(apps, "hold_unknown", "cleanup of footage at cleanup at sea at night")
    assert subjects(to(TYPED)) == {
        ("cleanup_failed", "failing_files", str(SITE)),
        ("hold_unknown", "cleanup_files", f"footage/{SITE}"),
    }


def test_doubt_keeps_its_bucket_and_since_when(to: To) -> None:
    doubts = to(BEFORE).get_model("cctv", "RightInDoubt").objects
    doubts.create(subject="footage", since=NOW)
    doubts.create(subject="holds in footage", since=NOW)
    after = to(TYPED).get_model("cctv", "RightInDoubt").objects
    assert set(after.values_list("subject_kind", "subject_id", "since")) == {
        ("bucket", "footage", NOW),
        ("holds", "footage", NOW),
    }


def test_going_back_gives_the_sentences_again(to: To) -> None:
    apps = to(BEFORE)
    two_sites(apps)
    for code, subject, _, _ in OLD_FORMS:
        alarm(apps, code, subject)
    to(TYPED)
    back = to(BEFORE).get_model("cctv", "Alarm").objects
    assert set(back.values_list("code", "subject")) == {(code, subject) for code, subject, _, _ in OLD_FORMS}


@pytest.mark.parametrize(
    ("name", "result", "expected"),
    [
        ("sweep", "nothing to do", ("sweep", None, None, None)),
        (f"cleanup@{SITE}", "8 cleaned", ("cleanup", SITE, None, None)),
        ("bucket", "answers", ("bucket", None, True, None)),
        (f"bucket@{SITE}", "line_down: no answer", ("bucket", SITE, False, None)),
        (f"look@{SITE}", "12 of 40 files are no recording", ("look", SITE, True, 12)),
        ("look", "0 of 9 files are no recording; not all of the disk was looked at", ("look", None, False, 0)),
        ("look", "", ("look", None, None, None)),
    ],
)
def test_job_says_what_it_does_and_what_it_found(to: To, name: str, result: str, expected: Any) -> None:
    apps = to(TYPED)
    two_sites(apps)
    apps.get_model("cctv", "PeriodicJob").objects.create(name=name, next_run_at=NOW, last_result=result)
    after = to(JOBS).get_model("cctv", "PeriodicJob").objects
    assert list(after.values_list("name", "kind", "site_id", "last_ok", "unknown_files")) == [(name, *expected)]


def test_job_of_a_deleted_site_is_dropped_and_hidden(to: To) -> None:
    jobs = to(TYPED).get_model("cctv", "PeriodicJob").objects
    for site in (uuid.uuid4(), "unreadable"):
        jobs.create(name=f"sweep@{site}", next_run_at=NOW)
    assert not to(newest()).get_model("cctv", "PeriodicJob").objects.exists()
    assert not rows.told()


def test_workers_of_the_former_release_run_on_the_new_schema(to: To) -> None:
    """They name no kind. SQLite serves one machine, whose processes are all of one release."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL keeps the columns of the release before")
    to(newest())
    columns = "code, subject, detail, raised_at, last_seen_at, seen_count"
    with connection.cursor() as cursor:
        for bucket in ("a", "b"):
            cursor.execute(
                f"INSERT INTO cctv_alarm ({columns}) VALUES ('quota_exceeded', '{bucket}', 'x', now(), now(), 1)"
            )
            cursor.execute(f"INSERT INTO cctv_rightindoubt (subject, since) VALUES ('{bucket}', now())")
        cursor.execute(
            "INSERT INTO cctv_periodicjob (name, next_run_at, lease_number, last_result) VALUES ('sweep', now(), 0, '')"
        )
    assert rows.told() == {("quota_exceeded", "")}
