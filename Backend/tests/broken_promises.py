"""`make promises`: break each promise by a small change of the product, and see its test go red.

Every change is made in a copy of the checkout. A test that stays green is a test that proves nothing: exit status 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BACKEND = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Breakage:
    """`before`, found once in `path`, becomes `after`; then `test` must fail."""

    promise: str
    path: str
    before: str
    after: str
    test: str


_CLEANUP = "apps/cctv/services/cleanup"
BREAKAGES = [
    Breakage(
        "P4",
        "apps/cctv/services/bucket_rights.py",
        "        return now - doubt.since >= BELIEVED_AFTER",
        "        return now >= doubt.since",
        "tests/integration/work/test_bucket_rights.py::test_two_processes_count_the_ten_minutes_together_and_tell_once",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/bucket_rights.py",
        "    RightInDoubt.objects.filter(subject__in=subjects).delete()",
        "    RightInDoubt.objects.filter(subject__in=[])",
        "tests/integration/work/test_bucket_rights.py::test_success_before_ten_minutes_begins_the_count_again",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/rules.py",
        "    shown = (info.generation, info.size_bytes, to_base64(info.crc32c))",
        "    shown = (info.generation, info.size_bytes, row.object_crc32c)",
        "tests/integration/cleanup/test_refusals.py::test_refuses_keeps_the_file_and_says_why",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/deletion.py",
        "    if found != row.object_crc32c or not unchanged:",
        "    if not unchanged:",
        "tests/integration/cleanup/test_refusals.py::test_refuses_keeps_the_file_and_says_why",
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
        "    if found != expected:\n",
        "    if False:\n",
        "tests/integration/cleanup/test_writers.py::test_bytes_written_between_the_last_questions_and_the_unlink_are_kept",
    ),
    Breakage(
        "P1",
        "offload/linux.py",
        "        return error.errno == errno.EAGAIN",
        "        return False",
        "tests/integration/cleanup/test_writers.py::test_file_that_is_opened_after_the_receipt_goes_back_to_its_place",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/trash.py",
        "    if not _is_ours(row):\n",
        "    if False:\n",
        "tests/integration/cleanup/test_trash.py::test_copy_of_an_installation_undoes_no_quarantine_of_the_real_one",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/deletion.py",
        "    return expected.trusted and found == expected",
        "    return found == expected",
        "tests/integration/cleanup/test_deletion.py::test_identity_that_is_not_trusted_alone_is_not_enough_and_a_fresh_sum_decides",
    ),
    Breakage(
        "P1",
        "offload/source.py",
        "        return replace(self, trusted=trusted)",
        "        return self",
        "tests/unit/test_file_time.py::test_upload_of_a_file_that_was_changed_lately_keeps_an_identity_that_is_not_trusted",
    ),
    Breakage(
        "P2",
        "offload/gcs/data.py",
        "&ifGenerationMatch=0",
        "",
        "tests/integration/gcs/test_uploads.py::test_a_session_for_a_name_that_is_taken_ends_without_touching_what_is_there",
    ),
    Breakage(
        "P2",
        "offload/gcs/data.py",
        """            headers["X-Goog-Hash"] = f"crc32c={to_base64(crc32c)}\"""",
        "            pass",
        "tests/integration/gcs/test_uploads.py::test_a_wrong_object_is_refused_and_does_not_exist",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        """        if (info.size_bytes, info.crc32c) == (self._identity.size_bytes, self._sender.own_crc32c()):
            self._log.info("upload.adopted\"""",
        """        if info.size_bytes == self._identity.size_bytes:
            self._log.info("upload.adopted\"""",
        "tests/unit/test_uploader_objects.py::test_object_with_other_bytes_is_a_conflict_and_stays_as_it_is",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "            self._take_next_name(Orphan(info, WhyOrphaned.FILE_CHANGED))",
        "            self._store.delete(info.bucket, info.name, generation=info.generation)",
        "tests/unit/test_uploader_changes.py::test_whole_object_of_a_file_that_changed_after_its_last_byte_is_never_deleted",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        if not self._source.identity_open().same_content_as(self._identity):",
        "        if False:",
        "tests/unit/test_uploader_objects.py::test_wrong_object_of_a_file_that_is_not_as_it_was_is_not_deleted",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        info = self._resolve()\n        if info is None and self._lost",
        "        info = self._sender.drop_session()\n        if info is None and self._lost",
        "tests/unit/test_uploader_resume.py::test_killed_after_the_last_byte_and_its_session_gone_sends_nothing_again",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        return self._job.passes_conflict and self._take == self._job.take",
        "        return self._job.passes_conflict",
        "tests/unit/test_uploader_objects.py::test_retry_after_a_conflict_passes_one_name_only",
    ),
    Breakage(
        "P2",
        "apps/cctv/services/orphans.py",
        "    proven = _demand_proven(orphan.transfer, store)\n",
        "    proven = store.get(orphan.transfer.gcp_bucket, orphan.transfer.gcp_storage_path)\n",
        "tests/integration/work/test_orphans.py::test_orphan_stays_where_anything_speaks_for_it",
    ),
    Breakage(
        "P2",
        "apps/cctv/services/orphans.py",
        "    if marks != (installation_id(), str(orphan.transfer_id)):",
        "    if False:",
        "tests/integration/work/test_orphans.py::test_orphan_stays_where_anything_speaks_for_it",
    ),
    Breakage(
        "P2",
        "apps/cctv/services/orphans.py",
        "        if _is_somebodys(orphan):",
        "        if False:",
        "tests/integration/work/test_orphans.py::test_orphan_stays_where_anything_speaks_for_it",
    ),
    Breakage(
        "P3",
        "offload/sender.py",
        "tail_begins_bytes - offset_bytes >= SESSION_QUANTUM_BYTES",
        "offset_bytes < tail_begins_bytes",
        "tests/unit/test_uploader_resume.py::test_any_committed_offset_is_continued",
    ),
    Breakage(
        "P3",
        "offload/gcs/data.py",
        "return self.status(uri, probe) if answer.status == _UNAUTHORIZED else _session_status(answer, probe)",
        "return _session_status(answer, probe)",
        "tests/integration/gcs/test_credentials.py::test_a_chunk_answered_401_is_continued_from_what_the_session_has",
    ),
    Breakage(
        "P3",
        "offload/sender.py",
        "        return self._send_all(spec, status.committed_bytes)",
        "        return self._send_all(spec, 0)",
        "tests/unit/test_uploader_resume.py::test_killed_worker_is_continued_from_the_last_committed_byte",
    ),
    Breakage(
        "P3",
        "offload/sender.py",
        "        self._journal.session_started(session)\n",
        "",
        "tests/unit/test_uploader.py::test_session_is_stored_before_the_first_byte",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/group_commit.py",
        "        self._written.result()\n",
        "        return\n",
        "tests/integration/work/test_ledger.py::test_note_is_committed_when_its_writer_goes_on",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/group_commit.py",
        "            self._later(entries, error)\n            return []\n",
        "            return []\n",
        "tests/integration/work/test_ledger.py::test_group_whose_claim_fails_is_not_recorded_yet",
    ),
    Breakage(
        "P3",
        "offload/rename_back.py",
        "    if _noted(trash, key) != relative_path.encode():\n",
        "    if True:\n",
        "tests/unit/test_trash_put_back.py::test_death_at_any_instruction_is_finished_by_a_later_call",
    ),
    Breakage(
        "P5",
        f"{_CLEANUP}/attempt.py",
        "transfer_status=State.CLEANUP_PENDING, recording__hold_wanted=False)",
        "transfer_status=State.CLEANUP_PENDING)",
        "tests/integration/cleanup/test_between_steps.py::test_hold_set_between_any_two_steps_saves_the_file_or_says_that_it_is_too_late",
    ),
    Breakage(
        "P5",
        f"{_CLEANUP}/rules.py",
        "    if info.held:",
        "    if False:",
        "tests/integration/cleanup/test_refusals.py::test_refuses_keeps_the_file_and_says_why",
    ),
    Breakage(
        "P5",
        "offload/gcs/data.py",
        "    if spec.temporary_hold:",
        "    if False:",
        "tests/integration/gcs/test_uploads.py::test_an_object_sent_in_chunks_is_the_file_with_all_that_was_asked_of_it",
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
        "P6",
        "apps/cctv/leasing/journal.py",
        "            self._note(passes_conflict=False, **columns)\n",
        "            GCPVideoTransfer.objects.filter(pk=self._transfer.pk).update(passes_conflict=False, **columns)\n",
        "tests/integration/work/test_journal.py::test_worker_that_lost_its_lease_notes_nothing",
    ),
    Breakage(
        "P6",
        "apps/cctv/tables/moves.py",
        "            lease_number=lease.number,\n",
        "",
        "tests/integration/db/test_moves.py::test_worker_that_lost_its_lease_changes_nothing",
    ),
    Breakage(
        "P6",
        "apps/cctv/worker/group_commit.py",
        "    if transfer_id in recorded:",
        "    if True:",
        "tests/integration/work/test_ledger.py::test_lost_lease_changes_nothing_of_its_row_and_hinders_no_other",
    ),
    Breakage(
        "P6",
        "offload/gcs/transport.py",
        "        exchange.raise_failure()\n",
        "",
        "tests/integration/gcs/test_transport.py::test_what_abort_raises_ends_the_request_and_is_raised_itself",
    ),
    Breakage(
        "P7",
        "offload/source.py",
        "_FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)",
        "_FOLDER_FLAGS, dir_fd=folder)",
        "tests/unit/test_source.py::test_folder_that_is_a_link_is_refused_at_every_level",
    ),
    Breakage(
        "P7",
        "offload/source.py",
        """if not pure.parts or ".." in pure.parts or""",
        """if not pure.parts or""",
        "tests/unit/test_source.py::test_path_that_is_not_below_the_root_is_refused",
    ),
    Breakage(
        "P8",
        "offload/uploader.py",
        "        intact = self._is_intact(opened)",
        "        intact, opened = True, self._source.identity_now()",
        "tests/unit/test_uploader_changes.py::test_file_that_changes_while_it_is_sent_is_not_counted",
    ),
    Breakage(
        "P8",
        "offload/source.py",
        "    if time.now_ns - touched_ns < settle_seconds * SECOND_NS + identity.step_ns(time):",
        "    if False:",
        "tests/unit/test_source.py::test_file_touched_a_moment_ago_is_tried_again",
    ),
    Breakage(
        "P9",
        "apps/cctv/tables/transfers.py",
        "        if self.transfer_status in UPLOADED:\n            return 100.0\n",
        "        if self.bytes_uploaded == self.file_size_bytes:\n            return 100.0\n",
        "tests/integration/db/test_transfer_model.py::test_progress_is_whole_only_when_the_upload_is_verified",
    ),
    Breakage(
        "P9",
        "apps/cctv/http/problems.py",
        "            with one_snapshot() if asks_database and request.method in READING else nullcontext():",
        "            with nullcontext():",
        "tests/integration/db/test_snapshots.py::test_the_list_of_transfers_has_as_many_rows_as_it_counts",
    ),
    Breakage(
        "P9",
        "apps/cctv/admin_pages/site.py",
        "            with one_snapshot():",
        "            if True:",
        "tests/integration/db/test_snapshots.py::test_all_of_the_front_page_is_of_one_moment",
    ),
    Breakage(
        "P10",
        "apps/users/login.py",
        "username=username if known else None",
        "username=username",
        "tests/integration/users/test_fail2ban.py::test_documented_expression_finds_every_failure_and_no_spoof",
    ),
    Breakage(
        "P10",
        "offload/journal.py",
        """        return f"StoredSession(started_at={self.started_at.isoformat()})\"""",
        """        return f"StoredSession(uri={self.uri})\"""",
        "tests/unit/test_uploader_lease.py::test_session_uri_reaches_no_log_no_error_and_no_repr",
    ),
    Breakage(
        "P10",
        "offload/gcs/transport.py",
        "@dataclass(frozen=True, slots=True, repr=False)\nclass Request:",
        "@dataclass(frozen=True, slots=True)\nclass Request:",
        "tests/integration/gcs/test_secrets.py::test_a_request_does_not_describe_itself",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/proof.py",
        " and -most < wall_seconds < most",
        "",
        "tests/integration/cleanup/test_proofs.py::test_proof_is_read_again_after_the_wall_clock_was_set",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/deletion.py",
        "    if not run.proofs.is_fresh(proof):",
        "    if False:",
        "tests/integration/cleanup/test_guards.py::test_proof_from_a_slow_answer_counts_from_the_question",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/deletion.py",
        "    if _is_anothers(attempt, source.identity):",
        "    if False:",
        "tests/integration/cleanup/test_refusals.py::test_file_that_another_recording_needs_stays_though_its_bytes_are_the_same",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/deletion.py",
        "    marker_check(run.root)  # on a disk",
        "    # on a disk",
        "tests/integration/cleanup/test_guards.py::test_disk_that_is_unmounted_during_the_run_makes_no_file_count_as_gone",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/finish.py",
        "        compare(attempt, source, receipt.source_identity)\n",
        "        pass\n",
        "tests/integration/cleanup/test_trash.py::test_what_is_not_the_same_after_the_quarantine_comes_back",
    ),
    Breakage(
        "P1",
        f"{_CLEANUP}/run.py",
        "            self._guard_objects(batch)\n",
        "",
        "tests/integration/cleanup/test_guards.py::test_batch_is_read_back_before_any_of_it_is_touched",
    ),
    Breakage(
        "P4",
        f"{_CLEANUP}/second_look.py",
        "        return None if _others_are_answered(run, row) else error\n",
        "        return error\n",
        "tests/integration/cleanup/test_odd_objects.py::test_odd_object_stops_nothing_and_is_named_postponed_and_flagged",
    ),
    Breakage(
        "P4",
        f"{_CLEANUP}/proof.py",
        "                except OffloadError as error:  # it",
        "                except ZeroDivisionError as error:  # it",
        "tests/integration/cleanup/test_odd_objects.py::test_listing_that_breaks_off_is_replaced_by_single_reads",
    ),
    Breakage(
        "P4",
        f"{_CLEANUP}/finish.py",
        "            left.filter(pk=receipt.pk).update(",
        "            left.none().update(",
        "tests/integration/cleanup/test_frozen_run.py::test_hold_is_told_of_the_file_in_its_place_though_a_receipt_was_left_open",
    ),
    Breakage(
        "P4",
        f"{_CLEANUP}/run.py",
        "            self._run.refuse(bucket, error)\n",
        "            raise\n",
        "tests/integration/cleanup/test_odd_objects.py::test_former_bucket_that_is_gone_keeps_its_own_files_and_no_others",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/holds.py",
        "        recording.hold_confirmed = False\n",
        "",
        "tests/integration/cleanup/test_holds_killed.py::test_hold_that_was_released_before_a_kill_is_set_again_when_it_is_wanted_again",
    ),
    Breakage(
        "P5",
        "apps/cctv/services/holds.py",
        "        pk=transfer.recording_id, hold_wanted=wanted, held_at=transfer.recording.held_at\n",
        "        pk=transfer.recording_id\n",
        "tests/integration/cleanup/test_holds_killed.py::test_note_of_a_sweep_that_was_overtaken_confirms_no_hold",
    ),
    Breakage(
        "P5",
        f"{_CLEANUP}/deletion.py",
        "    _last_look(attempt, receipt, proof)\n    if not",
        "    if not",
        "tests/integration/cleanup/test_between_steps.py::test_hold_set_between_any_two_steps_saves_the_file_or_says_that_it_is_too_late",
    ),
    Breakage(
        "P5",
        f"{_CLEANUP}/finish.py",
        "    row_check(row, run.policy, run.installation)\n    if receipt",
        "    if receipt",
        "tests/integration/cleanup/test_trash.py::test_hold_during_the_quarantine_brings_the_file_back",
    ),
    Breakage(
        "P6",
        f"{_CLEANUP}/attempt.py",
        "        self.renew_lease()\n        self.run.trash.put_back",
        "        self.run.trash.put_back",
        "tests/integration/cleanup/test_frozen_run.py::test_run_that_wakes_without_its_lease_leaves_no_receipt_open_over_a_file_in_its_place",
    ),
    Breakage(
        "P6",
        f"{_CLEANUP}/endings.py",
        "            if attempt.receipt is not None:  # whoever",
        "            if back and attempt.receipt is not None:  # whoever",
        "tests/integration/cleanup/test_frozen_run.py::test_file_that_another_put_back_before_a_hold_called_it_off_has_its_receipt_closed",
    ),
    Breakage(
        "P6",
        f"{_CLEANUP}/trash.py",
        "        if in_line and row.receipts",
        "        if False and row.receipts",
        "tests/integration/cleanup/test_trash.py::test_sweep_leaves_a_file_alone_that_a_run_took_while_it_swept",
    ),
    Breakage(
        "P6",
        "apps/cctv/leasing/leases.py",
        "            only_if=as_found,\n",
        "",
        "tests/integration/work/test_leases.py::test_upload_whose_lease_changed_while_it_was_found_late_stays_with_its_worker",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/footage.py",
        "        return not self.was_cut_short and not self.unreadable",
        "        return True",
        "tests/integration/doctor/test_footage.py::test_a_look_that_was_cut_short_says_so",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/media_root.py",
        "    return _was_seen(root) or Recording.objects.exists()",
        "    return Recording.objects.exists()",
        "tests/integration/cleanup/test_telling.py::test_marker_that_a_run_saw_is_missed_by_the_next",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/importing/run.py",
        "        if match.unclear:",
        "        if False:",
        "tests/integration/importing/test_names_and_types.py::test_half_of_a_day_that_is_not_read_is_refused_and_not_misread",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/periodic.py",
        "        if job.lease_owner in {None, self._worker.owner_id} or job",
        "        if job.lease_owner is None or job",
        "tests/integration/work/test_periodic.py::test_job_of_which_this_process_has_a_lease_and_no_run_is_taken_again",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/periodic.py",
        "            self._running = None  # from",
        "            pass  # from",
        "tests/integration/work/test_periodic.py::test_job_that_runs_keeps_its_lease",
    ),
    Breakage(
        "P3",
        "apps/cctv/leasing/owners.py",
        "        except OSError as error:  # another user's",
        "        except ZeroDivisionError as error:  # another user's",
        "tests/integration/work/test_owners.py::test_lock_that_cannot_be_looked_at_keeps_no_other_from_being_freed",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/heartbeat.py",
        "        if attempt.is_stuck or not (attempt.is_moving() or",
        "        if not (True or",
        "tests/integration/work/test_stuck.py::test_thread_that_gives_no_sign_is_given_up_for_good",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/dispatch.py",
        "                attempt.give_back()\n",
        "                pass\n",
        "tests/integration/work/test_worker.py::test_what_waits_for_a_thread_is_given_back_at_the_first_signal",
    ),
    Breakage(
        "P4",
        "apps/cctv/leasing/leases.py",
        "    _pull_in_tries(now)\n    lease",
        "    lease",
        "tests/integration/work/test_wrong_clock.py::test_request_of_a_clock_that_stood_in_the_future_is_claimed_now",
    ),
    Breakage(
        "P4",
        "apps/cctv/leasing/leases.py",
        "            count = far.update(lease_expires_at=now + lease)\n",
        "            count = 0\n",
        "tests/integration/work/test_wrong_clock.py::test_lease_that_lies_too_far_ahead_ends_as_soon_as_a_new_one_would",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/crashes.py",
        "        return False\n    return True",
        "        raise\n    return True",
        "tests/integration/work/test_worker.py::test_heartbeat_goes_on_after_an_error_of_any_kind",
    ),
    Breakage(
        "P6",
        "apps/cctv/leasing/leases.py",
        "lease_owner=lease.owner_id, lease_number=lease.number)",
        "lease_owner=lease.owner_id)",
        "tests/integration/work/test_periodic.py::test_renewal_of_a_run_that_is_over_prolongs_no_later_one",
    ),
    Breakage(
        "P6",
        "apps/cctv/worker/upload_attempt.py",
        "        self.lose()\n",
        "        pass\n",
        "tests/integration/work/test_stuck.py::test_thread_that_gives_no_sign_is_given_up_for_good",
    ),
]


def goes_red(breakage: Breakage, copy: Path) -> bool:
    """Whether the test fails with the product broken, and by a failed test, not by a test that is not there."""
    path = copy / breakage.path
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(breakage.before, breakage.after, 1), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", breakage.test]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=600, env=_environment(copy))
    finally:
        path.write_text(whole, encoding="utf-8")
    red = done.returncode == 1
    if not red:
        sys.stderr.write(done.stdout[-1500:] + done.stderr[-500:])
    return red


def _environment(copy: Path) -> dict[str, str]:
    return dict(os.environ) | {"COLDREEL_HOME": str(copy.parent / "home"), "PYTHONDONTWRITEBYTECODE": "1"}


def main(words: list[str]) -> int:
    chosen = [breakage for breakage in BREAKAGES if not words or breakage.promise in words]
    green = []
    with tempfile.TemporaryDirectory(prefix="coldreel-broken-") as folder:
        copy = Path(folder) / "Backend"
        shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("__pycache__", ".*cache", ".hypothesis"))
        for breakage in chosen:
            red = goes_red(breakage, copy)
            sys.stdout.write(f"{breakage.promise:4} {'red  ' if red else 'GREEN'} {breakage.path}: {breakage.test}\n")
            sys.stdout.flush()
            if not red:
                green.append(breakage)
    sys.stdout.write(f"{len(chosen) - len(green)} of {len(chosen)} breakages were noticed\n")
    return 1 if green else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
