"""Changes that break P1: a local file goes only after its object was proven and the file found to be the one that was uploaded."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/comparison.py",
        "    shown = (info.generation, info.size_bytes, to_base64(info.crc32c))",
        "    shown = (info.generation, info.size_bytes, row.object_crc32c)",
        "tests/integration/cleanup/test_refusals.py::test_refused_file_stays_and_the_report_says_why",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/comparison.py",
        "    if found != row.object_crc32c or not unchanged:",
        "    if not unchanged:",
        "tests/integration/cleanup/test_refusals.py::test_refused_file_stays_and_the_report_says_why",
    ),
    Breakage(
        "P1",
        "offload/trash.py",
        "            _demand(taken, expected, relative_path)",
        "            taken.encode()",
        "tests/unit/test_trash.py::test_file_swapped_just_before_the_rename_is_put_back",
    ),
    Breakage(
        "P1",
        "offload/trash.py",
        "                if identity_in(trash, key, shown) != expected:\n",
        "                if False:\n",
        "tests/integration/cleanup/test_writers.py::test_bytes_written_just_before_the_unlink_are_kept",
    ),
    Breakage(
        "P1",
        "offload/linux.py",
        "        return error.errno == errno.EAGAIN",
        "        return False",
        "tests/integration/cleanup/test_writers.py::test_file_opened_after_the_receipt_goes_back",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/recovery.py",
        "    if not _is_ours(row):\n",
        "    if False:\n",
        "tests/integration/cleanup/test_trash.py::test_copy_of_an_installation_undoes_no_quarantine",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/comparison.py",
        "    return expected.trusted and found == expected",
        "    return found == expected",
        "tests/integration/cleanup/test_deletion.py::test_untrusted_identity_needs_a_fresh_checksum",
    ),
    Breakage(
        "P1",
        "offload/source.py",
        "        return replace(self, trusted=trusted)",
        "        return self",
        "tests/unit/test_file_time.py::test_upload_of_a_lately_changed_file_is_not_trusted",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/proof.py",
        " and -most < wall_seconds < most",
        "",
        "tests/integration/cleanup/test_proofs.py::test_proof_is_read_again_after_a_clock_change",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/one_file.py",
        "    if not run.proofs.is_fresh(attempt.proof):",
        "    if False:",
        "tests/integration/cleanup/test_guards.py::test_proof_from_a_slow_answer_counts_from_the_question",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/comparison.py",
        "    if _is_another_recordings(row, source.identity):",
        "    if False:",
        "tests/integration/cleanup/test_refusals.py::test_file_of_another_recording_stays_despite_equal_bytes",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/one_file.py",
        "    marker_check(run.root)  # on a disk",
        "    # on a disk",
        "tests/integration/cleanup/test_guards.py::test_disk_unmounted_during_the_run_counts_none_as_gone",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/one_file.py",
        "        _compare(attempt, source, receipt.source_identity)\n",
        "        pass\n",
        "tests/integration/cleanup/test_trash.py::test_file_changed_in_quarantine_comes_back",
    ),
    Breakage(
        "P1",
        "apps/cctv/services/cleanup/run.py",
        "            objects_pass(self._run, batch)\n",
        "",
        "tests/integration/cleanup/test_guards.py::test_batch_is_read_back_before_it_is_touched",
    ),
)
