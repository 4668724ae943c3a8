"""Any size, any sequence of faults, killed anywhere: in the end one object with the right bytes (P2, P3, P8)."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload.errors import LineDown, OffloadError, SessionGone, StopAndTell, TryAgain
from offload.uploader import UploadResult
from tests.unit.upload_bench import QUANTUM, UploadBench, noise

KINDS = ("send", "send", "send", "session_status", "start_session", "put_small", "get", "cancel_session", "delete")


class Killed(BaseException):
    """The process is gone: no handler runs, and the next call is a new process."""


def kill() -> None:
    raise Killed


@dataclass(frozen=True)
class Plan:
    """One fault: of which call, after how many good ones, and what goes wrong."""

    kind: str
    skip: int
    times: int
    how: str
    amount: int

    def inject(self, bench: UploadBench) -> None:
        fault: dict[str, Any] = {
            "busy": {"error": TryAgain("503")},
            "down": {"error": LineDown("no answer")},
            "gone": {"error": SessionGone("410")},
            "stop": {"error": StopAndTell("403")},
            "lost": {"lost_answer": True},
            "cut": {"after_bytes": self.amount},
            "partial": {"commit_bytes": self.amount},
            "flipped": {"flip_byte_at": self.amount},
            "killed before": {"action": kill},
            "killed after": {"then": kill},
            "rewritten before": {"action": partial(rewrite, bench, self.amount)},
            "rewritten after": {"then": partial(rewrite, bench, self.amount)},
            "replaced before": {"action": partial(replace_file, bench, self.amount)},
            "replaced after": {"then": partial(replace_file, bench, self.amount)},
        }[self.how]
        bench.store.fault(self.kind, skip=self.skip, times=self.times, **fault)


def rewrite(bench: UploadBench, size_bytes: int) -> None:
    """Another content in the same file, and never the same date."""
    bench.clock.advance(1)
    bench.write(noise(1 + size_bytes, seed=int(bench.clock.monotonic())))


def replace_file(bench: UploadBench, size_bytes: int) -> None:
    bench.path.rename(bench.path.with_name("earlier"))
    rewrite(bench, size_bytes)


LINE_FAULTS = ("busy", "down", "gone", "stop", "lost", "cut", "partial", "flipped", "killed before", "killed after")
FILE_FAULTS = ("rewritten before", "rewritten after", "replaced before", "replaced after")

sizes = st.builds(lambda quanta, more: max(1, quanta * QUANTUM + more), st.integers(0, 6), st.integers(-2, 2))
amounts = st.one_of(st.integers(0, 5), st.integers(0, 4 * QUANTUM), st.integers(0, 4).map(lambda n: n * QUANTUM))


def plans(*hows: str) -> st.SearchStrategy[list[Plan]]:
    plan = st.builds(Plan, st.sampled_from(KINDS), st.integers(0, 4), st.integers(1, 4), st.sampled_from(hows), amounts)
    return st.lists(plan, min_size=1, max_size=8)


between_calls = st.lists(st.sampled_from(["nothing", "a week", "sessions forgotten"]), max_size=3)


def live(bench: UploadBench, faults: list[Plan], between: list[str]) -> UploadResult:
    """Calls, each a process of its own, until one succeeds. Each failure uses up a fault: there is an end."""
    for plan in faults:
        plan.inject(bench)
    pauses = iter(between)
    for _ in range(1 + sum(plan.times for plan in faults)):
        try:
            return bench.upload()
        except (OffloadError, Killed):
            pause = next(pauses, "nothing")
            if pause == "a week":
                bench.clock.advance(7 * 86400)
            if pause == "sessions forgotten":
                bench.store.forget_sessions()
    raise AssertionError("no end of failures")


def assert_no_committed_byte_was_sent_again(bench: UploadBench) -> None:
    """But the last part of a session that has every byte and made no object."""
    for call in bench.store.calls_of("send"):
        whole = call.committed_before_bytes == call.size_bytes
        assert call.resent_bytes == 0 or (whole and call.last)


def assert_work_was_bounded(bench: UploadBench, faults: list[Plan]) -> None:
    sessions = len(bench.store.calls_of("start_session"))
    strikes = sum(plan.times for plan in faults)
    assert sessions <= 4 * (strikes + 3)
    assert len(bench.store.calls_of("send")) <= (sessions + 1) * 8 + strikes


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(sizes, st.integers(1, 3), st.sampled_from([0, QUANTUM]), plans(*LINE_FAULTS), between_calls)
def test_any_line_faults_end_in_one_right_object(size_bytes, chunk_quanta, small_limit_bytes, faults, between):
    folder = Path(tempfile.mkdtemp(prefix="coldreel-upload-"))
    try:
        bench = UploadBench(
            folder,
            chunk_min_bytes=QUANTUM,
            chunk_max_bytes=chunk_quanta * QUANTUM,
            small_limit_bytes=small_limit_bytes,
        )
        bench.write(size_bytes)
        result = live(bench, faults, between)

        bench.assert_proven(result)
        assert len(bench.store.objects()) == 1
        assert_no_committed_byte_was_sent_again(bench)
        assert_work_was_bounded(bench, faults)
        assert max(bench.journal.progressed, default=0) <= size_bytes
    finally:
        shutil.rmtree(folder)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(sizes, st.sampled_from([0, 10 * QUANTUM]), plans(*LINE_FAULTS, *FILE_FAULTS), between_calls)
def test_any_file_changes_end_in_what_the_disk_has(size_bytes, small_limit_bytes, faults, between):
    folder = Path(tempfile.mkdtemp(prefix="coldreel-upload-"))
    try:
        bench = UploadBench(folder, small_limit_bytes=small_limit_bytes)
        bench.write(size_bytes)
        result = live(bench, faults, between)

        bench.assert_proven(result, name_version=result.name_version)
        assert result.name_version == bench.journal.name_version
        assert {info.name for info in bench.store.objects()} <= {
            bench.job.object_name(name_version) for name_version in range(result.name_version + 1)
        }
        assert_no_committed_byte_was_sent_again(bench)
    finally:
        shutil.rmtree(folder)
