"""Changes that break P4: no transfer is forgotten."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P4",
        "apps/cctv/services/rights_in_doubt.py",
        "        return now - doubt.since >= BELIEVED_AFTER",
        "        return now >= doubt.since",
        "tests/integration/work/test_rights_in_doubt.py::test_two_processes_count_the_ten_minutes_together",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/rights_in_doubt.py",
        "    RightInDoubt.objects.filter(subject_kind=kind, subject_id__in=buckets).delete()",
        "    RightInDoubt.objects.filter(subject_kind=kind, subject_id__in=[])",
        "tests/integration/work/test_rights_in_doubt.py::test_success_before_ten_minutes_begins_the_count_again",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/cleanup/guards.py",
        "        return None if _others_are_answered(run, row) else error\n",
        "        return error\n",
        "tests/integration/cleanup/test_odd_objects.py::test_odd_object_is_flagged_and_stops_nothing",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/cleanup/proof.py",
        "                except OffloadError as error:  # it",
        "                except ZeroDivisionError as error:  # it",
        "tests/integration/cleanup/test_odd_objects.py::test_listing_that_breaks_off_is_replaced_by_single_reads",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/cleanup/recovery.py",
        "            left.filter(pk=receipt.pk).update(",
        "            left.none().update(",
        "tests/integration/cleanup/test_frozen_run.py::test_hold_tells_of_the_file_despite_an_open_receipt",
    ),
    Breakage(
        "P4",
        "apps/cctv/services/cleanup/guards.py",
        "            run.refuse(bucket, error)\n",
        "            raise\n",
        "tests/integration/cleanup/test_odd_objects.py::test_former_bucket_that_is_gone_keeps_its_files_only",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/heartbeat.py",
        "        if attempt.is_stuck or not (attempt.is_moving() or",
        "        if not (True or",
        "tests/integration/work/test_stuck.py::test_silent_thread_is_given_up_for_good",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/dispatch.py",
        "                attempt.give_back()\n",
        "                pass\n",
        "tests/integration/work/test_worker.py::test_upload_waiting_for_a_thread_is_returned_at_signal",
    ),
    Breakage(
        "P4",
        "apps/cctv/leasing/recovery.py",
        "    if found:\n        count = parked",
        "    if False:\n        count = parked",
        "tests/integration/work/test_wrong_clock.py::test_request_of_a_future_clock_is_claimed_now",
    ),
    Breakage(
        "P4",
        "apps/cctv/leasing/recovery.py",
        "            count = far.update(lease_expires_at=now + lease)\n",
        "            count = 0\n",
        "tests/integration/work/test_wrong_clock.py::test_lease_too_far_ahead_ends_like_a_new_one",
    ),
    Breakage(
        "P4",
        "apps/cctv/worker/crashes.py",
        "        return False\n    return True",
        "        raise\n    return True",
        "tests/integration/work/test_worker.py::test_heartbeat_goes_on_after_an_error_of_any_kind",
    ),
)
