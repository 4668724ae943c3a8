"""The timetable of a line: what people write, and what it means on the two nights when clocks change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offload.timetable import DAYS, Timetable, parse, rate_text

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
KOLKATA, LORD_HOWE = ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Lord_Howe")
MB = 1_000_000
OFFICE = parse("08:00-18:00 2 MB/s, else unlimited")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rates(timetable: Timetable, zone: ZoneInfo, *moments: str) -> list[int | None]:
    return [timetable.rate_at(utc(moment), zone) for moment in moments]


# --- what people write ---


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("64 kB/s", 64_000),
        ("1.5 MB/s", 1_500_000),
        ("2MB/s", 2 * MB),
        ("1 GB/s", 1000 * MB),
        ("100 KiB/s", 102_400),
        ("2 MiB/s", 2_097_152),
        ("1 GiB/s", 2**30),
        ("800 kbit/s", 100_000),
        ("20 Mbit/s", 2_500_000),
        ("1 Gbit/s", 125_000_000),
        ("else 3 MB/s", 3 * MB),
        ("unlimited", None),
        ("", None),
        (" \n ", None),
    ],
)
def test_bare_rate_counts_always(text, bytes_per_second):
    assert rates(parse(text), BERLIN, "2026-01-01T00:00", "2026-07-05T13:37") == [bytes_per_second] * 2


@pytest.mark.parametrize(
    "text",
    [
        "08:00-18:00 2 MB/s, else 5 MB/s",
        "08:00-18:00 2 MB/s; else 5 MB/s",
        "8:00-18:00   2MB/s\nelse 5MB/s\n",
        "08:00-18:00 2 MB/s, 5 MB/s",
        "00:00-08:00 18:00-24:00 5 MB/s, else 2 MB/s",
        "18:00-08:00 5 MB/s, 2 MB/s",
    ],
)
def test_one_meaning_written_in_many_ways(text):
    table = parse(text)
    found = rates(
        table, ZoneInfo("UTC"), "2026-03-03T07:59", "2026-03-03T08:00", "2026-03-03T17:59", "2026-03-03T18:00"
    )
    assert found == [5 * MB, 2 * MB, 2 * MB, 5 * MB]


def test_without_else_all_other_times_are_unlimited():
    assert rates(parse("08:00-18:00 2 MB/s"), ZoneInfo("UTC"), "2026-03-03T20:00") == [None]


@pytest.mark.parametrize("days", ["sat sun", "sat,sun", "Sat, Sun", "sat-sun", "sun,sat"])
def test_days_may_be_listed_with_commas_too(days):
    table = parse(f"{days} 10:00-12:00 1 MB/s, mon-fri 2 MB/s, else 3 MB/s")
    friday, saturday, sunday, monday = (f"2026-03-{day:02}T11:00" for day in (6, 7, 8, 9))
    assert rates(table, ZoneInfo("UTC"), friday, saturday, sunday, monday) == [2 * MB, MB, MB, 2 * MB]
    assert rates(table, ZoneInfo("UTC"), "2026-03-07T12:00") == [3 * MB]


def test_days_may_go_round_the_end_of_the_week():
    table = parse("fri-mon 1 MB/s")
    week = [f"2026-03-{day:02}T12:00" for day in range(2, 9)]  # Monday to Sunday
    assert rates(table, ZoneInfo("UTC"), *week) == [MB, None, None, None, MB, MB, MB]


def test_first_rule_that_applies_counts():
    table = parse("wed 12:00-13:00 unlimited, mon-fri 08:00-18:00 2 MB/s, 8 MB/s")
    found = rates(
        table, ZoneInfo("UTC"), "2026-03-04T12:30", "2026-03-04T13:00", "2026-03-05T12:30", "2026-03-07T12:30"
    )
    assert found == [None, 2 * MB, 2 * MB, 8 * MB]


def test_night_belongs_to_the_day_on_which_it_begins():
    table = parse("fri 22:00-06:00 1 MB/s")
    found = rates(
        table,
        ZoneInfo("UTC"),
        "2026-03-06T05:00",
        "2026-03-06T22:00",
        "2026-03-07T05:59",
        "2026-03-07T06:00",
        "2026-03-07T23:00",
    )
    assert found == [None, MB, MB, None, None]


@pytest.mark.parametrize(
    ("text", "named", "wanted"),
    [
        ("quick", "quick", "expected days, hours and a rate"),
        ("08:00-18:00", "08:00-18:00", "a rate like 2 MB/s"),
        ("else", "else", "a rate like 2 MB/s"),
        ("08:00-18:00 fast", "fast", "expected days, hours and a rate"),
        ("25:00-26:00 2 MB/s", "25:00-26:00", "00:00 to 24:00"),
        ("08:60-09:00 2 MB/s", "08:60-09:00", "00:00 to 24:00"),
        ("24:00-06:00 2 MB/s", "24:00-06:00", "00:00 to 24:00"),
        ("08:00-08:00 2 MB/s", "08:00-08:00", "Leave the hours out"),
        ("2 Mb/s", "Mb/s", "MB/s, GB/s"),
        ("2 mb/s", "mb/s", "MB/s, GB/s"),
        ("2 MB", "2 MB", "expected days, hours and a rate"),
        ("0 MB/s", "0 MB/s", "64 kB/s"),
        ("63 kB/s", "63 kB/s", "64 kB/s"),
        ("2000 GB/s", "2000 GB/s", "1000 GB/s"),
        ("-2 MB/s", "-2 MB/s", "expected days, hours and a rate"),
        ("2 MB/s, 08:00-18:00 1 MB/s", "08:00-18:00 1 MB/s", "Put that one last"),
        ("else 2 MB/s, else 1 MB/s", "else 1 MB/s", "Put that one last"),
        ("else 08:00-18:00 1 MB/s", "08:00-18:00", "expected days, hours and a rate"),
        ("montag 2 MB/s", "montag", "mon, tue"),
        ("sat, sun", "sat sun", "a rate like 2 MB/s"),
    ],
)
def test_invalid_part_is_refused_with_the_expected(text, named, wanted):
    with pytest.raises(ValueError) as refused:
        parse(text)
    assert named in str(refused.value)
    assert wanted in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_raises_value_error(text):
    with suppress(ValueError):
        assert isinstance(parse(text), Timetable)


@pytest.mark.parametrize(
    ("bytes_per_second", "text"),
    [(None, "unlimited"), (64_000, "64 kB/s"), (2 * MB, "2 MB/s"), (1_250_000, "1.25 MB/s"), (3 * 10**9, "3 GB/s")],
)
def test_rate_is_told_as_people_write_it(bytes_per_second, text):
    assert rate_text(bytes_per_second) == text
    assert parse(text).rate_at(utc("2026-01-01T00:00"), BERLIN) == bytes_per_second


# --- the site's clock ---


@pytest.mark.parametrize(
    ("zone", "begins", "ends"),
    [
        (BERLIN, "2026-01-15T07:00", "2026-01-15T17:00"),
        (BERLIN, "2026-07-15T06:00", "2026-07-15T16:00"),
        (NEW_YORK, "2026-01-15T13:00", "2026-01-15T23:00"),
        (NEW_YORK, "2026-07-15T12:00", "2026-07-15T22:00"),
        (KOLKATA, "2026-07-15T02:30", "2026-07-15T12:30"),
        (LORD_HOWE, "2026-07-14T21:30", "2026-07-15T07:30"),
        (LORD_HOWE, "2026-01-14T21:00", "2026-01-15T07:00"),
    ],
)
def test_office_hours_are_those_of_the_place(zone, begins, ends):
    minute = timedelta(minutes=1)
    around = [utc(begins) - minute, utc(begins), utc(ends) - minute, utc(ends)]
    assert [OFFICE.rate_at(moment, zone) for moment in around] == [None, 2 * MB, 2 * MB, None]
    assert OFFICE.next_change(utc(begins) - minute, zone) == utc(begins)
    assert OFFICE.next_change(utc(begins), zone) == utc(ends)


def test_hour_that_is_shown_twice_is_limited_twice():
    """Berlin, 25 October 2026: 02:00 to 03:00 comes at 00:00 and at 01:00 UTC."""
    table = parse("02:15-02:45 1 MB/s")
    found = rates(
        table,
        BERLIN,
        "2026-10-25T00:14",
        "2026-10-25T00:15",
        "2026-10-25T00:45",
        "2026-10-25T01:15",
        "2026-10-25T01:45",
    )
    assert found == [None, MB, None, MB, None]
    assert table.next_change(utc("2026-10-25T00:00"), BERLIN) == utc("2026-10-25T00:15")
    assert table.next_change(utc("2026-10-25T00:50"), BERLIN) == utc("2026-10-25T01:15")


def test_hour_that_is_skipped_is_not_there():
    """Berlin, 29 March 2026: 02:00 to 03:00 is left out at 01:00 UTC."""
    table = parse("02:15-02:45 1 MB/s")
    assert rates(table, BERLIN, "2026-03-29T00:30", "2026-03-29T01:20", "2026-03-29T01:30") == [None, None, None]
    assert table.next_change(utc("2026-03-28T12:00"), BERLIN) == utc("2026-03-30T00:15")


def test_limit_from_the_skipped_hour_begins_after_it():
    table = parse("02:30-06:00 1 MB/s")
    assert rates(table, BERLIN, "2026-03-29T00:59", "2026-03-29T01:00", "2026-03-29T04:00") == [None, MB, None]
    assert table.next_change(utc("2026-03-28T12:00"), BERLIN) == utc("2026-03-29T01:00")


def test_limit_to_the_skipped_hour_ends_before_it():
    table = parse("00:00-02:30 1 MB/s")
    assert rates(table, BERLIN, "2026-03-29T00:59", "2026-03-29T01:00") == [MB, None]
    assert table.next_change(utc("2026-03-29T00:00"), BERLIN) == utc("2026-03-29T01:00")


def test_night_across_the_change_follows_the_wall_clock():
    table = parse("22:00-06:00 1 MB/s")
    for begins, ends in [
        ("2026-03-28T21:00", "2026-03-29T04:00"),  # seven hours
        ("2026-10-24T20:00", "2026-10-25T05:00"),  # nine
    ]:
        assert table.next_change(utc(begins) - timedelta(hours=1), BERLIN) == utc(begins)
        assert table.next_change(utc(begins), BERLIN) == utc(ends)


def test_half_hour_is_repeated_on_lord_howe_island():
    """5 April 2026: at 15:00 UTC on the 4th the clock goes from 02:00 back to 01:30."""
    table = parse("01:30-02:00 1 MB/s")
    found = rates(
        table,
        LORD_HOWE,
        "2026-04-04T14:29",
        "2026-04-04T14:30",
        "2026-04-04T15:00",
        "2026-04-04T15:29",
        "2026-04-04T15:30",
    )
    assert found == [None, MB, MB, MB, None]
    assert table.next_change(utc("2026-04-04T14:30"), LORD_HOWE) == utc("2026-04-04T15:30")


def test_line_without_a_limit_never_changes():
    assert parse("").next_change(utc("2026-03-03T12:00"), BERLIN) is None
    assert parse("2 MB/s").next_change(utc("2026-03-03T12:00"), BERLIN) is None


# --- against a table made by walking ---

RATES = ["1 MB/s", "2 MB/s", "unlimited"]
AS_BYTES = {"1 MB/s": MB, "2 MB/s": 2 * MB, "unlimited": None}
WEEK_MINUTES = 7 * 1440
ZONES = [BERLIN, NEW_YORK, KOLKATA, LORD_HOWE]

edges = st.integers(0, 95).map(lambda quarter: quarter * 15)
hours = st.tuples(edges, edges).filter(lambda pair: pair[0] != pair[1])
rules = st.tuples(st.sets(st.integers(0, 6)), st.lists(hours, max_size=2), st.sampled_from(RATES)).filter(
    lambda rule: 0 < len(rule[0]) < 7 or rule[1]
)
near_a_change = st.sampled_from(
    [
        "2026-03-29T01:00",
        "2026-10-25T01:00",
        "2026-03-08T07:00",
        "2026-11-01T06:00",
        "2026-04-04T15:00",
        "2026-10-03T15:30",
    ]
).map(utc)
instants = st.builds(lambda at, minutes: at + timedelta(minutes=minutes), near_a_change, st.integers(-3000, 3000))


def written(rule) -> str:
    days, spans, rate = rule
    clock = [f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}" for begin, end in spans]
    return " ".join([*(DAYS[day] for day in sorted(days)), *clock, rate])


def walked(rules, default) -> list[int | None]:
    """The limit at each minute of a wall clock's week, painted over from the last rule to the first."""
    week = [AS_BYTES[default]] * WEEK_MINUTES
    for days, spans, rate in reversed(rules):
        for day in days or range(7):
            for begin, end in spans or [(0, 1440)]:
                minute = begin
                while True:
                    week[(day * 1440 + minute) % WEEK_MINUTES] = AS_BYTES[rate]
                    minute += 1
                    if minute % 1440 == end % 1440:
                        break
    return week


@settings(max_examples=150)
@given(st.lists(rules, max_size=4), st.sampled_from(RATES), instants, st.sampled_from(ZONES))
def test_rate_is_that_of_the_wall_clocks_minute(made, default, now, zone):
    table = parse(", ".join([*map(written, made), f"else {default}"]))
    local = now.astimezone(zone)
    week = walked(made, default)
    assert table.rate_at(now, zone) == week[local.weekday() * 1440 + local.hour * 60 + local.minute]


@settings(max_examples=50)
@given(st.lists(rules, min_size=1, max_size=3), instants, st.sampled_from(ZONES))
def test_next_change_is_the_first_moment_that_changes(made, now, zone):
    table = parse(", ".join(map(written, made)))
    rate, change = table.rate_at(now, zone), table.next_change(now, zone)
    until = change or now + timedelta(days=8)
    quarters = int((until - now) / timedelta(minutes=15)) + 1
    passed = [now + timedelta(minutes=15 * number) for number in range(quarters)]
    assert all(table.rate_at(moment, zone) == rate for moment in passed if moment < until)
    if change is not None:
        assert table.rate_at(change - timedelta(seconds=1), zone) == rate
        assert table.rate_at(change, zone) != rate
