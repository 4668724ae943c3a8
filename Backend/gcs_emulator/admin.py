"""``/_emulator/``: faults, the request log, the clock, and changes to a bucket that no client made.

None of this is Google's; `docs/guide/emulator.md` is its reference.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gcs_emulator.answers import Answer, Resource, invalid, json_answer, object_missing, public
from gcs_emulator.checksum import crc_of_file, encode_crc
from gcs_emulator.clock import EmulatorClock
from gcs_emulator.disk import write_all
from gcs_emulator.faults import ACTIONS, KINDS, Fault, Faults
from gcs_emulator.limits import RateLimit
from gcs_emulator.preconditions import Preconditions
from gcs_emulator.request import Request
from gcs_emulator.requestlog import RequestLog
from gcs_emulator.sessions import Sessions
from gcs_emulator.storage import Storage, check_name


class Admin:
    def __init__(
        self,
        storage: Storage,
        sessions: Sessions,
        *,
        faults: Faults,
        log: RequestLog,
        clock: EmulatorClock,
        limit: RateLimit,
    ) -> None:
        self._storage = storage
        self._sessions = sessions
        self._faults = faults
        self._log = log
        self._clock = clock
        self._limit = limit

    def faults(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self._faults.clear()
        if request.method == "POST":
            fault = Fault.parse(request.json())
            self._faults.add(fault)
            return json_answer(asdict(fault))
        return json_answer({"faults": self._faults.show(), "actions": ACTIONS, "kinds": sorted(KINDS)})

    def requests(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self._log.clear()
        return json_answer({"requests": self._log.show()})

    def stats(self, request: Request) -> Answer:
        """Numbers of objects, sessions and requests, and the memory of this process."""
        del request
        objects = [one for bucket in self._storage.buckets() for one in bucket.everything()]
        requests = self._log.show()
        return json_answer(
            {
                "objects": len(objects),
                "object_bytes": sum(int(one["size"]) for one in objects),
                "sessions": self._sessions.counts(),
                "requests": len(requests),
                "received_bytes": sum(one["received_bytes"] for one in requests),
                "resident_bytes": _memory_bytes("VmRSS"),
                "peak_resident_bytes": _memory_bytes("VmHWM"),
            }
        )

    def clock(self, request: Request) -> Answer:
        if request.method == "POST":
            self._clock.offset_seconds = _number(request, "offset_seconds")
        return json_answer({"offset_seconds": self._clock.offset_seconds, "now": self._clock.http_date()})

    def rate(self, request: Request) -> Answer:
        if request.method == "POST":
            self._limit.mbytes_per_second = _number(request, "mbytes_per_second")
        return json_answer({"mbytes_per_second": self._limit.mbytes_per_second})

    def bucket(self, request: Request) -> Answer:
        """Read or change any setting of a bucket, and ``deniedPermissions``."""
        bucket = self._storage.bucket(request.bucket)
        settings = bucket.change_settings(request.json()) if request.method == "PATCH" else bucket.settings
        return json_answer(public(settings) | {"deniedPermissions": settings["_deniedPermissions"]})

    def expire_sessions(self, request: Request) -> Answer:
        """End every open session, as the service may at any time; each then answers 410, or the given status."""
        return json_answer({"expired": self._sessions.expire(int(request.json().get("status", 410)))})

    def objects(self, request: Request) -> Answer:
        """List every object, or those of one bucket."""
        named = request.query.get("bucket")
        buckets = [self._storage.bucket(named)] if named else self._storage.buckets()
        return json_answer({"objects": [public(one) for bucket in buckets for one in bucket.everything()]})

    def object_put(self, request: Request) -> Answer:
        """Put another object, made of the body, under that name, even where a hold or retention keeps the old one."""
        bucket = self._storage.bucket(request.bucket)
        name = check_name(request.name)
        path = self._sessions.temporary_path()
        try:
            length = _store(request, path)
            resource: Resource = {"name": name, "size": str(length), "crc32c": encode_crc(crc_of_file(path, length))}
            if kind := request.headers.get("Content-Type"):
                resource["contentType"] = kind
            if former := bucket.live(name):
                bucket.forget(former)
            return json_answer(public(bucket.put(resource, path, Preconditions())))
        finally:
            path.unlink(missing_ok=True)

    def object_patch(self, request: Request) -> Answer:
        """Set any field of the resource without a check: size, crc32c, generation, holds, times."""
        with self._storage.lock:
            bucket = self._storage.bucket(request.bucket)
            live = bucket.live(request.name)
            if live is None:
                raise object_missing(request.bucket, request.name)
            changes: dict[str, Any] = request.json()
            flipped = changes.pop("flip_byte_at", None)
            resource = {key: value for key, value in (live | changes).items() if value is not None}
            if flipped is not None:
                _flip(bucket.data_path(live), int(flipped))
            bucket.save(resource)
            return json_answer(public(resource))

    def object_delete(self, request: Request) -> Answer:
        bucket = self._storage.bucket(request.bucket)
        live = bucket.live(request.name)
        if live is None:
            raise object_missing(request.bucket, request.name)
        bucket.forget(live)
        return Answer(204)


def _number(request: Request, field: str) -> float:
    value = request.json().get(field)
    if not isinstance(value, (int, float)):
        raise invalid(f"{field} is a number.")
    return float(value)


def _store(request: Request, path: Path) -> int:
    length = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for piece in request.body.pieces():
            write_all(descriptor, piece, length)
            length += len(piece)
    finally:
        os.close(descriptor)
    return length


def _flip(path: Path, at: int) -> None:
    """Turn one stored byte over, as decay of the disk does; the metadata stays."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(descriptor, 1, at)
        if not byte:
            raise invalid(f"The object has no byte {at}.")
        write_all(descriptor, bytes([byte[0] ^ 0xFF]), at)
    finally:
        os.close(descriptor)


def _memory_bytes(field: str) -> int:
    """Read it from /proc: `ru_maxrss` includes the parent's peak, which a child inherits (getrusage(2))."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
