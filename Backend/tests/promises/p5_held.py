"""Changes that break P5: a held recording is deleted nowhere."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P5",
        "apps/cctv/services/retention.py",
        "MAY_GO_EARLY = Q(transfer_status=State.CLEANUP_PENDING, recording__hold_wanted=False)",
        "MAY_GO_EARLY = Q(transfer_status=State.CLEANUP_PENDING)",
        "tests/integration/cleanup/test_between_steps.py::test_hold_between_any_two_steps_saves_or_is_late",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/cleanup/comparison.py",
        "    if info.held:",
        "    if False:",
        "tests/integration/cleanup/test_refusals.py::test_refused_file_stays_and_the_report_says_why",
    ),
    Breakage(
        "P5",
        "offload/gcs/uploads.py",
        "    if spec.temporary_hold:",
        "    if False:",
        "tests/integration/gcs/test_uploads.py::test_object_sent_in_chunks_has_all_that_was_asked",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/orphans.py",
        "        if recording.hold_wanted or recording.hold_confirmed:",
        "        if False:",
        "tests/integration/work/test_orphans.py::test_orphan_stays_where_anything_speaks_for_it",
    ),
    Breakage(
        "P5",
        "apps/cctv/tables/moves.py",
        "    cleanup_at = None if hold_wanted else one.cleanup_at",
        "    cleanup_at = one.cleanup_at",
        "tests/integration/db/test_transfer_model.py::test_no_cleanup_is_scheduled_for_a_held_recording",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/holds.py",
        "        recording.hold_confirmed = False\n",
        "",
        "tests/integration/cleanup/test_holds_killed.py::test_hold_released_before_a_kill_is_set_again",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/holds.py",
        "        pk=transfer.recording_id, hold_wanted=wanted, held_at=transfer.recording.held_at\n",
        "        pk=transfer.recording_id\n",
        "tests/integration/cleanup/test_holds_killed.py::test_note_of_an_overtaken_sweep_confirms_no_hold",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/cleanup/one_file.py",
        "    _last_look(attempt, receipt)\n",
        "",
        "tests/integration/cleanup/test_between_steps.py::test_hold_between_any_two_steps_saves_or_is_late",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/cleanup/one_file.py",
        "    row_check(run, row)\n    if receipt",
        "    if receipt",
        "tests/integration/cleanup/test_trash.py::test_hold_during_the_quarantine_brings_the_file_back",
    ),
)
