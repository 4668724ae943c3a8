"""What the bucket says of an object, and for how long that is believed (P1)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from os.path import commonpath
from uuid import UUID

import structlog

from apps.cctv.models import GCPVideoTransfer
from offload.clock import Clock
from offload.errors import OffloadError
from offload.states import UPLOADED
from offload.store import ObjectInfo, ObjectStore

log = structlog.get_logger("coldreel.cleanup")

PROOF_SECONDS = 60.0
"""How long a read of the bucket proves anything (P1)."""

PAGE_OBJECTS = 1000
"""Objects a page of a listing: https://cloud.google.com/storage/docs/json_api/v1/objects/list"""

PAGE_COST_READS = 13
"""A listing's page is a class A operation, a read class B: $0.05 and $0.004 per 10,000 in standard storage
(https://cloud.google.com/storage/pricing#operations-pricing)."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The live object under the row's name, None where there is none, as of the moment before it was asked for."""

    info: ObjectInfo | None
    read_at: datetime
    read_monotonic: float


class Proofs:
    """Reads the bucket; what is known stays believed for `seconds`."""

    def __init__(self, store: ObjectStore, clock: Clock, *, seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self._known: dict[tuple[str, str], Proof] = {}

    def is_fresh(self, proof: Proof, *, margin_seconds: float = 0) -> bool:
        """By the monotonic clock, and by the wall clock too: the former stands still while a machine sleeps."""
        most = self._seconds - margin_seconds
        wall_seconds = (self._clock.now() - proof.read_at).total_seconds()
        return self._clock.monotonic() - proof.read_monotonic < most and -most < wall_seconds < most

    def of(self, row: GCPVideoTransfer, *, margin_seconds: float = 0) -> Proof:
        """A proof that is good for at least `margin_seconds` more; read again where what is known is older."""
        known = self._known.get((row.gcp_bucket, row.gcp_storage_path))
        if known is not None and self.is_fresh(known, margin_seconds=margin_seconds):
            return known
        # The times are taken before the question: a slow answer makes a proof older, never younger.
        read_at, read_monotonic = self._clock.now(), self._clock.monotonic()
        # The live object is asked for, not the generation: a lifecycle rule may soon delete one that is no longer live.
        info = self._store.get(row.gcp_bucket, row.gcp_storage_path)
        proof = Proof(info, read_at, read_monotonic)
        self._known[row.gcp_bucket, row.gcp_storage_path] = proof
        return proof

    def load(self, rows: Iterable[GCPVideoTransfer]) -> None:
        """List a prefix wherever that is cheaper than a read of each row's object, and forget what is stale.

        What a listing does not show proves nothing: such an object is read by itself when it is its turn.
        """
        self._known = {key: proof for key, proof in self._known.items() if self.is_fresh(proof)}
        asked_for: dict[tuple[str, UUID], set[str]] = defaultdict(set)
        for row in rows:
            if (row.gcp_bucket, row.gcp_storage_path) not in self._known:
                asked_for[row.gcp_bucket, row.recording.camera_id].add(row.gcp_storage_path)
        for (bucket, camera_id), names in asked_for.items():
            # ``recordings/<camera>/`` for objects of one camera; empty where the names share no folder.
            folder = commonpath(names if len(names) > 1 else [name.rpartition("/")[0] for name in names])
            prefix = folder and f"{folder}/"
            pages = _pages(bucket, camera_id) if prefix and len(names) > PAGE_COST_READS else 0
            if 0 < pages * PAGE_COST_READS < len(names):
                try:
                    self._list(bucket, prefix, names, most_objects=2 * pages * PAGE_OBJECTS)
                except OffloadError as error:  # it shows what it showed until then; single reads tell the rest
                    log.info("cleanup.listing_failed", bucket=bucket, reason=error.code.value, detail=error.detail)

    def _list(self, bucket: str, prefix: str, names: set[str], *, most_objects: int) -> None:
        read_at, read_monotonic = self._clock.now(), self._clock.monotonic()
        missing = set(names)
        for info in islice(self._store.list_prefix(bucket, prefix), most_objects):
            if info.name in missing:
                self._known[bucket, info.name] = Proof(info, read_at, read_monotonic)
                missing.discard(info.name)
                if not missing:
                    return


def _pages(bucket: str, camera_id: UUID) -> int:
    """Pages that a listing of a camera's objects takes, by what we put there."""
    stored = GCPVideoTransfer.objects.filter(
        gcp_bucket=bucket, recording__camera=camera_id, transfer_status__in=UPLOADED
    ).count()
    return math.ceil(stored / PAGE_OBJECTS)
