"""What the engine answers for a claim whose upload went well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from apps.cctv.leasing.leases import Claim
from offload.source import SourceIdentity
from offload.store import ObjectInfo
from offload.uploader import UploadResult
from tests.integration.db.rows import NOW

IDENTITY = SourceIdentity(1, 2, 1024, 4, 5)


def result_for(claim: Claim, **changes: Any) -> UploadResult:
    info = ObjectInfo(
        bucket="footage",
        name=claim.transfer.gcp_storage_path,
        generation=77,
        metageneration=1,
        size_bytes=1024,
        crc32c=1,
        stored_at=NOW,
        temporary_hold=changes.pop("held", False),
    )
    plain = UploadResult(
        info=info,
        identity=IDENTITY,
        crc32c=1,
        adopted=False,
        found_in_bucket=False,
        name_version=0,
        bytes_sent=1024,
        resumed_from_bytes=0,
    )
    return replace(plain, **changes)
