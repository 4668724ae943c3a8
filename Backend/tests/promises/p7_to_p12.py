"""Changes that break what has few guards of its own: inside the media root (P7), finished files (P8), counts (P9), secrets (P10), sites (P11), nothing unseen (P12)."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P7",
        "offload/source.py",
        "_FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)",
        "_FOLDER_FLAGS, dir_fd=folder)",
        "tests/unit/test_source.py::test_linked_folder_is_refused_at_every_level",
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
        "tests/unit/test_uploader_changes.py::test_file_changing_while_sent_is_not_counted",
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
        "tests/integration/db/test_snapshots.py::test_transfer_list_has_as_many_rows_as_it_counts",
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
        "tests/unit/test_uploader_lease.py::test_session_uri_reaches_no_log_error_or_repr",
    ),
    Breakage(
        "P10",
        "offload/gcs/transport.py",
        "@dataclass(frozen=True, slots=True, repr=False)\nclass Request:",
        "@dataclass(frozen=True, slots=True)\nclass Request:",
        "tests/integration/gcs/test_secrets.py::test_a_request_does_not_describe_itself",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/unimported_footage.py",
        "        return not self.was_cut_short and not self.unreadable",
        "        return True",
        "tests/integration/doctor/test_footage.py::test_a_look_that_was_cut_short_says_so",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/media_root.py",
        "    return _was_seen(root) or Recording.objects.exists()",
        "    return Recording.objects.exists()",
        "tests/integration/cleanup/test_run_alarms.py::test_marker_seen_by_a_run_is_missed_next",
    ),
    Breakage(
        "P12",
        "apps/cctv/services/importing/run.py",
        "        if match.unclear:",
        "        if False:",
        "tests/integration/importing/test_names_and_types.py::test_unread_half_of_a_day_is_refused",
    ),
)
