"""What `make bench ARGS=…` takes and refuses."""

from __future__ import annotations

import pytest

from benchmarks.figures import ENGINE, ON_POSTGRES, ON_SQLITE
from benchmarks.options import SECTIONS, parse


def sections(*arguments: str) -> list[str]:
    options = parse(arguments)
    return [section for section in SECTIONS if options.wants(section)]


def test_everything_is_run_by_default():
    options = parse([])

    assert sections() == ["plain", "tls", "thin", "memory", "cut"]
    assert all(options.wants_client(name) for name in (ENGINE, ON_SQLITE, ON_POSTGRES, "rclone default", "gcsfs"))
    assert options.runs == 5


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        ("cut", ["cut"]),
        ("tls,memory", ["tls", "memory"]),
        ("segments", ["plain", "tls"]),
        ("segments,tls", ["tls"]),
        ("rclone", ["plain", "tls", "thin", "memory", "cut"]),
    ],
)
def test_only_chooses_sections(only, wanted):
    assert sections("--only", only) == wanted


def test_only_may_be_given_more_than_once():
    assert sections("--only", "tls", "--only", "memory") == ["tls", "memory"]


def test_only_chooses_data_and_clients():
    options = parse(["--only", "long, rclone,engine"])

    assert (options.wants_data("long"), options.wants_data("segments")) == (True, False)
    assert [name for name in (ENGINE, "rclone default", "gcsfs", ON_SQLITE) if options.wants_client(name)] == [
        ENGINE,
        "rclone default",
    ]


def test_unknown_word_is_refused_with_all_that_are_known(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["--only", "tls,warp"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "warp: not known" in said
    assert "plain, tls, thin, memory, cut, segments, snippets, long, floor" in said


def test_quick_is_one_run_without_the_slow_clients():
    quick = parse(["--quick"])

    assert quick.runs == 1
    assert (quick.wants_client(ON_SQLITE), quick.wants_client(ON_POSTGRES)) == (True, False)
    assert quick.wants_in_cut("gcsfs")
    assert parse(["--quick", "--only", "gcsfs"]).wants_client("gcsfs")
    assert sections("--quick") == list(SECTIONS)


@pytest.mark.parametrize("other", [["--quick"], ["--only", "cut"]])
def test_partial_run_is_never_written_into_the_documents(other):
    with pytest.raises(SystemExit):
        parse(["--write", *other])


def test_a_negative_number_of_runs_is_refused():
    with pytest.raises(SystemExit):
        parse(["--runs", "-1"])
