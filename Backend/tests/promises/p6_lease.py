"""Changes that break P6: a worker that lost its lease changes nothing."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
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
        '            ("lease_number", "=", lease.number),\n',
        "",
        "tests/integration/db/test_moves.py::test_worker_that_lost_its_lease_changes_nothing",
    ),
    Breakage(
        "P6",
        "apps/cctv/worker/group_commit.py",
        "                if transfer_id not in recorded:",
        "                if False:",
        "tests/integration/work/test_group_commit.py::test_lost_lease_changes_nothing_and_hinders_no_other",
    ),
    Breakage(
        "P6",
        "offload/gcs/transport.py",
        "        exchange.raise_failure()\n",
        "",
        "tests/integration/gcs/test_transport.py::test_error_from_abort_ends_the_request_and_is_raised",
    ),
    Breakage(
        "P6",
        "apps/cctv/services/cleanup/attempt.py",
        "        self.renew_lease()\n        self.run.trash.put_back",
        "        self.run.trash.put_back",
        "tests/integration/cleanup/test_frozen_run.py::test_run_without_its_lease_leaves_no_false_receipt",
    ),
    Breakage(
        "P6",
        "apps/cctv/services/cleanup/file_stays.py",
        "            if attempt.receipt is not None:  # a row",
        "            if back and attempt.receipt is not None:  # a row",
        "tests/integration/cleanup/test_frozen_run.py::test_file_put_back_by_another_has_its_receipt_closed",
    ),
    Breakage(
        "P6",
        "apps/cctv/services/cleanup/recovery.py",
        "        if is_pending and row.receipts",
        "        if False and row.receipts",
        "tests/integration/cleanup/test_trash.py::test_sweep_leaves_a_file_taken_by_a_run_meanwhile",
    ),
    Breakage(
        "P6",
        "apps/cctv/leasing/leases.py",
        "only_if=Q(lease_number=number, lease_expires_at=expires_at),",
        "only_if=None,",
        "tests/integration/work/test_leases.py::test_renewed_lease_found_late_stays_with_its_worker",
    ),
    Breakage(
        "P6",
        "apps/cctv/leasing/leases.py",
        "lease_owner=lease.owner_id, lease_number=lease.number)",
        "lease_owner=lease.owner_id)",
        "tests/integration/work/test_periodic.py::test_renewal_of_an_ended_run_prolongs_no_later_one",
    ),
    Breakage(
        "P6",
        "apps/cctv/worker/upload_attempt.py",
        "        self.lose()\n",
        "        pass\n",
        "tests/integration/work/test_stuck.py::test_silent_thread_is_given_up_for_good",
    ),
)
