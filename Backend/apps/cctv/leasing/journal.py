"""The engine's journal in the transfer's own row: every note is one guarded UPDATE (P6)."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from apps.cctv.leasing.leases import Claim, lease_clock
from apps.cctv.models import GCPVideoTransfer, OrphanedObject
from offload.clock import Clock
from offload.digest import to_base64
from offload.journal import Orphan, StoredSession
from offload.naming import public_url


class OrmJournal:
    """`offload.journal.Journal` for one claim: what an upload must find again after a crash.

    Every method raises LeaseLost, and changes nothing, once the lease is another's or has run out.
    """

    def __init__(self, claim: Claim, clock: Clock) -> None:
        self._transfer = claim.transfer
        self._lease = claim.lease
        self._bucket = claim.transfer.gcp_bucket
        self._clock = clock
        self._most_confirmed_bytes = claim.transfer.bytes_uploaded

    def session_started(self, session: StoredSession) -> None:
        """Commit the session before its first byte is sent.

        The upload's start, as people see it, is this moment too: the first byte follows at once.
        """
        self._most_confirmed_bytes = 0
        started_at = lease_clock(self._clock.now())
        self._note(
            session_uri=session.uri,
            session_started_at=session.started_at,
            session_identity=session.identity.encode(),
            file_size_bytes=session.identity.size_bytes,
            bytes_uploaded=0,
            upload_started_at=started_at,
        )
        self._transfer.upload_started_at = started_at

    def session_dropped(self) -> None:
        """Forget the session. `bytes_uploaded` stays as it is until the attempt ends.

        After a finished session it is right; after a failed attempt `upload_record_failure` sets it to 0.
        """
        self._note(session_uri="", session_started_at=None, session_identity="")

    def name_changed(self, name_version: int, name: str, orphan: Orphan | None) -> None:
        """The transfer's object has another name from now on. An orphan under the former name gets its row.

        Both are in one transaction: an orphan without a row would stay in the bucket unseen.
        """
        columns = {
            "name_version": name_version,
            "gcp_storage_path": name,
            "gcp_public_url": public_url(self._bucket, name),
        }
        with transaction.atomic():
            self._note(passes_conflict=False, **columns)
            if orphan is not None:
                info = orphan.info
                row = OrphanedObject(
                    transfer=self._transfer,
                    gcp_bucket=info.bucket,
                    gcp_storage_path=info.name,
                    object_generation=info.generation,
                    size_bytes=info.size_bytes,
                    object_crc32c=to_base64(info.crc32c),
                    why=orphan.why.value,
                    orphaned_at=lease_clock(self._clock.now()),
                )
                # Its row may be there already: a database restored from a backup meets the same object again.
                OrphanedObject.objects.bulk_create([row], ignore_conflicts=True)

    def progress(self, bytes_confirmed: int) -> None:
        """Note what the bucket confirmed. Bytes never confirmed before refresh the retry budget."""
        refreshed: dict[str, Any] = {}
        if bytes_confirmed > self._most_confirmed_bytes:
            self._most_confirmed_bytes = bytes_confirmed
            refreshed = {"failures_in_row": 0, "failing_since": None, "error_code": "", "error_message": ""}
        self._note(bytes_uploaded=bytes_confirmed, **refreshed)

    def _note(self, **columns: Any) -> None:
        GCPVideoTransfer.objects.note(self._lease, lease_clock(self._clock.now()), columns)
