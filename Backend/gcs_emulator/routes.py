"""Which call answers which method and path.

Source of the paths: https://cloud.google.com/storage/docs/request-endpoints
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from gcs_emulator.answers import Answer, Refusal, not_emulated
from gcs_emulator.request import Request
from gcs_emulator.uploads import kind_of_put

Call = Callable[[Request], Answer]
Pattern = tuple[str, ...]

API: dict[tuple[str, Pattern], str] = {
    ("POST", ("storage", "v1", "b")): "bucket_insert",
    ("GET", ("storage", "v1", "b", "{bucket}")): "bucket_get",
    ("GET", ("storage", "v1", "b", "{bucket}", "iam", "testPermissions")): "test_permissions",
    ("GET", ("storage", "v1", "b", "{bucket}", "o")): "list",
    ("GET", ("storage", "v1", "b", "{bucket}", "o", "{name}")): "get",
    ("PATCH", ("storage", "v1", "b", "{bucket}", "o", "{name}")): "patch",
    ("PUT", ("storage", "v1", "b", "{bucket}", "o", "{name}")): "patch",
    ("DELETE", ("storage", "v1", "b", "{bucket}", "o", "{name}")): "delete",
    ("GET", ("download", "storage", "v1", "b", "{bucket}", "o", "{name}")): "download",
    ("POST", ("upload", "storage", "v1", "b", "{bucket}", "o")): "insert",
    ("PUT", ("upload", "storage", "v1", "b", "{bucket}", "o")): "put",
    ("DELETE", ("upload", "storage", "v1", "b", "{bucket}", "o")): "cancel",
    ("GET", ("_emulator", "faults")): "admin_faults",
    ("POST", ("_emulator", "faults")): "admin_faults",
    ("DELETE", ("_emulator", "faults")): "admin_faults",
    ("GET", ("_emulator", "requests")): "admin_requests",
    ("DELETE", ("_emulator", "requests")): "admin_requests",
    ("GET", ("_emulator", "stats")): "admin_stats",
    ("GET", ("_emulator", "clock")): "admin_clock",
    ("POST", ("_emulator", "clock")): "admin_clock",
    ("GET", ("_emulator", "rate")): "admin_rate",
    ("POST", ("_emulator", "rate")): "admin_rate",
    ("POST", ("_emulator", "sessions", "expire")): "admin_expire_sessions",
    ("GET", ("_emulator", "buckets", "{bucket}")): "admin_bucket",
    ("PATCH", ("_emulator", "buckets", "{bucket}")): "admin_bucket",
    ("GET", ("_emulator", "objects")): "admin_objects",
    ("PUT", ("_emulator", "objects", "{bucket}", "{name}")): "admin_object_put",
    ("PATCH", ("_emulator", "objects", "{bucket}", "{name}")): "admin_object_patch",
    ("DELETE", ("_emulator", "objects", "{bucket}", "{name}")): "admin_object_delete",
}
"""Object names are one path segment, percent-encoded, except in signed URLs."""

UPLOAD_KINDS = {"resumable": "session_start", "multipart": "multipart", "media": "media"}
SIGNED_PREFIXES = frozenset({"storage", "download", "upload", "_emulator", "batch"})


def route(request: Request) -> str:
    """Return the call's name; set the request's kind, bucket and name. Refuses with 501 an unknown path."""
    segments = tuple(unquote(part) for part in request.path.strip("/").split("/"))
    for (method, pattern), named in API.items():
        if method == request.method and _fits(pattern, segments, request):
            # The service takes a POST to a session's URI for a PUT.
            call = "put" if named == "insert" and "upload_id" in request.query else named
            request.kind = _kind(call, request)
            return call
    if request.method == "GET" and len(segments) > 1 and segments[0] not in SIGNED_PREFIXES:
        request.bucket, request.name = segments[0], "/".join(segments[1:])
        request.kind = "signed_get"
        return "signed_get"
    raise not_emulated(f"{request.method} {request.path}")


def _fits(pattern: Pattern, segments: Pattern, request: Request) -> bool:
    if len(pattern) != len(segments):
        return False
    found: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            found[wanted.strip("{}")] = segment
        elif wanted != segment:
            return False
    request.bucket, request.name = found.get("bucket", ""), found.get("name", "")
    return True


def _kind(call: str, request: Request) -> str:
    if call == "insert":
        kind = UPLOAD_KINDS.get(request.query.get("uploadType", ""), "insert")
        request.name = request.query.get("name", "")
        return kind
    if call == "put":
        return kind_of_put(request)
    if call == "get" and request.query.get("alt") == "media":
        return "download"
    return call


def no_length() -> Refusal:
    return Refusal(411, "required", "gcs_emulator takes bodies with Content-Length only.", plain=True)
