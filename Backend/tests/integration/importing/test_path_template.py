from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cctv.services.importing.path_template import PathMatch, PathTemplate, TemplateError

NOON = datetime(2026, 11, 22, 12, 30, 5)  # noqa: DTZ001 - local
NOON_TO_THE_MINUTE = NOON.replace(second=0)


@pytest.mark.parametrize("date", ["2026-11-22", "20261122", "2026_11_22", "2026.11.22"])
@pytest.mark.parametrize("time_of_day", ["12-30-05", "123005", "12.30.05", "12_30_05", "12:30:05", "12h30m05s"])
def test_dates_and_times_of_all_spellings_are_read(date: str, time_of_day: str) -> None:
    assert PathTemplate("{camera}/{date}/{time}.mp4").match(f"Gate 1/{date}/{time_of_day}.mp4") == PathMatch(
        camera="Gate 1", local_start=NOON
    )


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("{camera}/{date}/{time}.mp4", "a/2026-11-22/12-30.mp4", PathMatch("a", None, NOON_TO_THE_MINUTE)),
        ("{camera}/{date}/{time}.mp4", "a/20261122/1230.mp4", PathMatch("a", None, NOON_TO_THE_MINUTE)),
        ("{camera}_{datetime}.mp4", "a_b_20261122123005.mp4", PathMatch("a_b", None, NOON)),
        ("{camera}/{datetime}{any}.mkv", "a/2026-11-22 12.30.05 motion.mkv", PathMatch("a", None, NOON)),
        ("{site}/{camera}/{year}/{month}/{day}/{hour}{minute}{second}.mp4", "N/a/2026/11/22/123005.mp4", PathMatch("a", "N", NOON)),
        ("{camera}/{year}{month}{day}/{hour}/{minute}.{any}", "a/20261122/12/30.MP4", PathMatch("a", None, NOON_TO_THE_MINUTE)),
        ("{camera}/{date}/{any}.mp4", "a/2026-11-22/17.mp4", PathMatch("a")),
        ("{any}/{camera}/{camera}-{datetime}.mp4", "x/a/a-2026-11-22T12-30-05.mp4", PathMatch("a", None, NOON)),
        ("{{x}}{camera}.mp4", "{x}a.mp4", PathMatch("a")),
        ("{camera}/{any}.mp4", "a/new\nline \"'é.mp4", PathMatch("a")),
    ],
)  # fmt: skip
def test_templates_of_recorders_are_understood(template: str, path: str, expected: PathMatch) -> None:
    assert PathTemplate(template).match(path) == expected


@pytest.mark.parametrize(
    ("text", "hour"), [("20261122T123005Z", 12), ("2026-11-22T12:30:05+01:00", 11), ("2026-11-22_12.30.05-0500", 17)]
)
def test_time_with_an_offset_needs_no_time_zone(text: str, hour: int) -> None:
    found = PathTemplate("{camera}/{datetime}.mp4").match(f"a/{text}.mp4")

    assert found is not None
    assert found.start == datetime(2026, 11, 22, hour, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("12-30-05 AM", 0),
        ("01-30-05 am", 1),
        ("11-30-05 a.m.", 11),
        ("12-30-05 PM", 12),
        ("01-30-05 pm", 13),
        ("11-30-05 P.M.", 23),
    ],
)
def test_clock_of_twelve_hours_is_read_with_its_half(text: str, hour: int) -> None:
    found = PathTemplate("{camera}/{date}/{time} {ampm}.mp4").match(f"a/2026-11-22/{text}.mp4")

    assert found is not None
    assert found.local_start == NOON.replace(hour=hour)


@pytest.mark.parametrize(("yy", "year"), [("26", 2026), ("00", 2000), ("68", 2068), ("70", 1970), ("99", 1999)])
def test_a_year_of_two_digits_is_read(yy: str, year: int) -> None:
    found = PathTemplate("{camera}/{yy}-{month}-{day}_{time}.mp4").match(f"a/{yy}-11-22_12-30-05.mp4")

    assert found is not None
    assert found.local_start == NOON.replace(year=year)


@pytest.mark.parametrize(
    ("offset", "hour"),
    [
        ("Z", 12), ("UTC", 12), ("GMT", 12), ("+01:00", 11), ("+0100", 11), ("+01", 11), ("-05", 17),
        ("GMT+1", 11), ("GMT-3", 15), ("UTC+01:00", 11), ("UTC-10", 22),
    ],
)  # fmt: skip
def test_offset_is_ahead_of_utc_as_in_iso_8601(offset: str, hour: int) -> None:
    found = PathTemplate("{camera}/{date}/{time} {offset}.mp4").match(f"a/2026-11-22/12-30-05 {offset}.mp4")

    assert found is not None
    assert found.start == datetime(2026, 11, 22, hour, 30, 5, tzinfo=UTC)


def test_an_offset_of_half_hours_is_read() -> None:
    found = PathTemplate("{camera}/{datetime}.mp4").match("a/2026-11-22 12-30-05 GMT+5:30.mp4")

    assert found is not None
    assert found.start == datetime(2026, 11, 22, 7, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("template", "path", "said"),
    [
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/02-00-00 PM.mp4", "{ampm}"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/02-00-00pm.mp4", "{ampm}"),
        ("{camera}/{date}/{any}{time}.mp4", "a/2026-11-22/PM 02-00-00.mp4", "{ampm}"),
        ("{camera}/{datetime}{any}", "a/2026-11-22T02-00-00 a.m.mp4", "{ampm}"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/02-00-00Z.mp4", "{offset}"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/02-00-00+0100.mp4", "{offset}"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/02-00-00 GMT+1.mp4", "{offset}"),
        ("{camera}/{datetime}{any}", "a/2026-11-22T02-00-00+01.mp4", "{offset}"),
    ],
)
def test_text_that_changes_the_time_makes_it_unclear(template: str, path: str, said: str) -> None:
    found = PathTemplate(template).match(path)

    assert found is not None
    assert said in found.unclear


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/12-00-00-12-10-00.mp4"),
        ("{camera}/{date}/{time}-{any}", "a/2026-11-22/1200-1210.mp4"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/12-00-00_Pump.mp4"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/12-00-00_CAM1.mp4"),
        ("{camera}/{date}/{time}{any}", "a/2026-11-22/12-00-00_Zoom.mp4"),
        ("{any}/{camera}/{date}/{time}{any}", "PM/a/2026-11-22/12-00-00.mp4"),
        ("{camera}_{datetime}{any}", "PM_2026-11-22T12-00-00.mp4"),
    ],
)
def test_text_that_changes_nothing_leaves_the_time_clear(template: str, path: str) -> None:
    found = PathTemplate(template).match(path)

    assert found is not None
    assert found.local_start is not None
    assert found.unclear == ""


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{camera}/{date}/{time} {ampm}.mp4", "a/2026-11-22/13-00-00 PM.mp4"),
        ("{camera}/{date}/{time} {ampm}.mp4", "a/2026-11-22/00-00-00 AM.mp4"),
        ("{camera}/{date}/{time} {offset}.mp4", "a/2026-11-22/12-00-00 +15.mp4"),
        ("{camera}/{date}/{time} {offset}.mp4", "a/2026-11-22/12-00-00 +01:75.mp4"),
        ("{camera}/{epoch}.mp4", "a/179535060.mp4"),
        ("{camera}/{epoch}.mp4", "a/1795350605123.mp4"),
        ("{camera}/{epoch}-{epoch_ms}.mp4", "a/1795350605-1795350606000.mp4"),
        ("{camera}/{epoch}.mp4", "a/9999999999.mp4"),
    ],
)
def test_impossible_time_of_the_new_kinds_does_not_match(template: str, path: str) -> None:
    assert PathTemplate(template).match(path) is None


def test_mark_of_the_end_matches_nothing_and_is_told() -> None:
    found = PathTemplate("{camera}/{end}{date}/{time}.mp4").match("a/2026-11-22/12-30-05.mp4")

    assert found == PathMatch("a", None, NOON, is_end=True)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{camera}/{date}/{time}.mp4", "a/2026-11-22/12-30-05.avi"),
        ("{camera}/{date}/{time}.mp4", "a/2026-11-22/12-30-05.mp4.part"),
        ("{camera}/{date}/{time}.mp4", "a/b/2026-11-22/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/2026-13-22/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/2026-11-31/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/2026-11-22/25-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/2026-11-22/12-30.05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/2026-1122/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/0001-11-22/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "a/\uff12\uff10\uff12\uff161122/12-30-05.mp4"),
        ("{camera}/{date}/{time}.mp4", "/2026-11-22/12-30-05.mp4"),
        ("{camera}/{camera}-{datetime}.mp4", "a/b-2026-11-22T12-30-05.mp4"),
        ("{date}/{camera}-{datetime}.mp4", "2026-11-21/b-2026-11-22T12-30-05.mp4"),
        ("{camera}/{datetime}.mp4", "a/99991231T235959-2300.mp4"),
    ],
)
def test_path_that_tells_something_else_does_not_match(template: str, path: str) -> None:
    assert PathTemplate(template).match(path) is None


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("", "expected a path below FOLDER"),
        ("/{camera}.mp4", "expected a path below FOLDER"),
        ("../{camera}.mp4", "expected a path below FOLDER"),
        ("{kamera}.mp4", "{kamera} is no placeholder; expected one of {camera}"),
        ("{camera:>5}.mp4", "is no placeholder"),
        ("{camera.mp4", "write {{ for a brace"),
        ("{camera}{any}.mp4", "nothing tells where {camera} ends and {any} begins"),
        ("{any}_{any}_{any}_{camera}.mp4", "at most 3"),
        ("{camera}/{date}/{time} PM.mp4", "write {ampm}"),
        ("{camera}/{ampm}.mp4", "without an hour"),
        ("{camera}/{end}.mp4", "without a time"),
        ("{camera}/{year}{yy}.mp4", "either {year} or {yy}"),
        ("{camera}/{datetime}_{epoch}.mp4", "write {any} for one of them"),
    ],
)
def test_invalid_template_is_refused_with_what_is_expected(template: str, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        PathTemplate(template)

    assert said in str(refused.value)


@given(st.text(max_size=60), st.sampled_from(["{camera}/{date}/{time}.mp4", "{any}-{camera}-{datetime}.{any}"]))
def test_no_path_makes_a_template_raise(path: str, template: str) -> None:
    PathTemplate(template).match(path)


@given(st.text(max_size=30))
def test_no_text_makes_a_template_fail_otherwise_than_refused(text: str) -> None:
    with contextlib.suppress(TemplateError):
        PathTemplate(text).match("a/2026-11-22/12-30-05.mp4")


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1)))  # noqa: DTZ001 - local
def test_every_moment_that_is_written_is_read_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)

    found = PathTemplate("{camera}/{date}/{time}.mp4").match(f"Gate/{moment:%Y-%m-%d/%H-%M-%S}.mp4")

    assert found is not None
    assert found.local_start == moment


def test_a_hostile_name_is_refused_in_bounded_time() -> None:
    template = PathTemplate("{any}_{any}_{camera}/{any}_{any}_{any}/{any}_{any}_{date}.mp4")
    path = "/".join("_" * 255 for _ in range(3))
    before = time.process_time()

    assert template.match(path) is None
    assert time.process_time() - before < 20


@pytest.mark.parametrize(
    "template",
    [
        "{any}_{any}_{camera}",
        "{any}{date}{any}{time}{any}{offset}",
        "{any}{epoch}{any}{epoch_ms}{any}",
        "{any}{yy}{month}{day}{any}{hour}{minute}{ampm}{any}",
    ],
)
@pytest.mark.parametrize("letter", ["_", "1", "2", "12-", "a.m.", "+01", "20261122"])
def test_a_hostile_name_costs_little_with_every_placeholder(template: str, letter: str) -> None:
    before = time.process_time()

    PathTemplate(template).match((letter * 255)[:255])

    assert time.process_time() - before < 20
