"""Changes that break P3: killed anywhere, nothing is lost and no committed byte is sent again."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P3",
        "offload/sender.py",
        "tail_begins_bytes - offset_bytes >= SESSION_QUANTUM_BYTES",
        "offset_bytes < tail_begins_bytes",
        "tests/unit/test_uploader_resume.py::test_any_committed_offset_is_continued",
    ),
    Breakage(
        "P3",
        "offload/gcs/uploads.py",
        "return self.status(uri, probe) if response.status == _UNAUTHORIZED else _session_status(response, probe)",
        "return _session_status(response, probe)",
        "tests/integration/gcs/test_credentials.py::test_chunk_answered_401_continues_from_the_committed_bytes",
    ),
    Breakage(
        "P3",
        "offload/sender.py",
        "        summed.move_to(status.committed_bytes)\n",
        "        summed.move_to(0)\n",
        "tests/unit/test_uploader_resume.py::test_killed_worker_is_continued_from_the_last_committed_byte",
    ),
    Breakage(
        "P3",
        "offload/sender.py",
        "            self._journal.session_started(session)\n",
        "",
        "tests/unit/test_uploader.py::test_session_is_stored_before_the_first_byte",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/group_commit.py",
        "        self._written.result()\n",
        "        return\n",
        "tests/integration/work/test_group_commit.py::test_note_is_committed_when_its_writer_goes_on",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/group_commit.py",
        "            self._queue_again(entries, error)\n            return []\n",
        "            return []\n",
        "tests/integration/work/test_group_commit.py::test_group_whose_claim_fails_is_not_recorded_yet",
    ),
    Breakage(
        "P3",
        "offload/rename_back.py",
        "    if _noted(trash, key) != relative_path.encode():\n",
        "    if True:\n",
        "tests/unit/test_trash_put_back.py::test_death_at_any_instruction_is_finished_later",
    ),
    Breakage(
        "P3",
        "apps/cctv/worker/periodic.py",
        "        mine_or_free = job.lease_owner in {None, self._worker.owner_id}\n",
        "        mine_or_free = job.lease_owner is None\n",
        "tests/integration/work/test_periodic.py::test_leased_job_without_a_run_is_taken_again",
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
        "apps/cctv/leasing/recovery.py",
        "        except OSError as error:  # another user's",
        "        except ZeroDivisionError as error:  # another user's",
        "tests/integration/work/test_owners.py::test_unreadable_lock_keeps_no_other_from_being_freed",
    ),
)
