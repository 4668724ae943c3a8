"""Changes that break P2: one recording, one object; nothing in the bucket is overwritten."""

from __future__ import annotations

from tests.promises.breakage import Breakage

BREAKAGES = (
    Breakage(
        "P2",
        "offload/gcs/uploads.py",
        "&ifGenerationMatch=0",
        "",
        "tests/integration/gcs/test_uploads.py::test_session_for_a_taken_name_changes_nothing",
    ),
    Breakage(
        "P2",
        "offload/gcs/uploads.py",
        """            headers["X-Goog-Hash"] = f"crc32c={to_base64(crc32c)}\"""",
        "            pass",
        "tests/integration/gcs/test_uploads.py::test_wrong_object_is_refused_and_does_not_exist",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        """        if (info.size_bytes, info.crc32c) == (self._identity.size_bytes, self._sender.own_crc32c()):
            self._log.info("upload.adopted\"""",
        """        if info.size_bytes == self._identity.size_bytes:
            self._log.info("upload.adopted\"""",
        "tests/unit/test_uploader_objects.py::test_object_with_other_bytes_is_a_conflict_and_stays",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "            self._go_to_next_name(Orphan(info, WhyOrphaned.FILE_CHANGED))",
        "            self._store.delete(info.bucket, info.name, generation=info.generation)",
        "tests/unit/test_uploader_changes.py::test_whole_object_of_a_changed_file_is_never_deleted",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        if not self._source.identity_open().same_content_as(self._identity):",
        "        if False:",
        "tests/unit/test_uploader_objects.py::test_wrong_object_of_a_changed_file_is_not_deleted",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        info = self._resolve()\n        if info is None and self._lost",
        "        info = self._sender.drop_session()\n        if info is None and self._lost",
        "tests/unit/test_uploader_resume.py::test_killed_after_the_last_byte_sends_nothing_again",
    ),
    Breakage(
        "P2",
        "offload/uploader.py",
        "        elif job.passes_conflict and self._name_version == job.name_version:",
        "        elif job.passes_conflict:",
        "tests/unit/test_uploader_objects.py::test_retry_after_a_conflict_passes_one_name_only",
    ),
    Breakage(
        "P2",
        "apps/cctv/services/orphans.py",
        "    proven = _proven_object(orphan.transfer, store)\n",
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
        "        if _is_a_transfers(orphan):",
        "        if False:",
        "tests/integration/work/test_orphans.py::test_orphan_stays_where_anything_speaks_for_it",
    ),
)
