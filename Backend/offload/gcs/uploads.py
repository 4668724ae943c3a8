"""Everything that writes bytes: upload sessions and small uploads of the JSON API, over libcurl.

https://cloud.google.com/storage/docs/performing-resumable-uploads
https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object (multipart)

Requests to a session carry no token: the session URI is the authorisation, and "the PUT requests that use it
don't need to be signed" (https://cloud.google.com/storage/docs/resumable-uploads#session-uris). So a token
that expires in mid-upload stops nothing. Where a session answers 401 all the same, it is asked once more with a
fresh token before it is given up; a token goes to our endpoint or to Google by TLS only, whatever URI is stored.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import quote, urlsplit

from offload.digest import to_base64
from offload.errors import Reason, SessionGone, StopAndTell, TryAgain
from offload.gcs.credentials import Identity
from offload.gcs.error_rules import BucketProbe, NoBucketProbe, Target, error_of
from offload.gcs.responses import Response, object_info
from offload.gcs.transport import SHORT_REQUEST_SECONDS, BytesBody, Request, Transport
from offload.store import SESSION_QUANTUM_BYTES, Abort, Body, ObjectInfo, ObjectSpec, SessionStatus, never_abort

_OK, _CREATED, _RESUME_INCOMPLETE, _UNAUTHORIZED = 200, 201, 308, 401
_SESSION_ENDED = frozenset({200, 204, 401, 404, 410, 499})
"""499 is what a session that we cancel answers: https://cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload"""
_RANGE = re.compile(r"bytes=0-(\d+)")


class Uploads:
    """Everything that writes bytes. `endpoint` is ``scheme://host[:port]``."""

    def __init__(self, *, endpoint: str, transport: Transport, identity: Identity) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._identity = identity
        self._with_token: set[str] = set()
        """Sessions that answered 401 without a token, and not with one."""

    def start(self, spec: ObjectSpec, probe: BucketProbe) -> str:
        """A new session's URI."""
        request = Request(
            "POST",
            self._upload_url(spec.bucket, "resumable"),
            {
                "Content-Type": "application/json; charset=UTF-8",
                "X-Upload-Content-Type": _header_text(spec.content_type),
                "X-Upload-Content-Length": str(spec.size_bytes),
            },
            BytesBody(_json(_resource(spec))),
            SHORT_REQUEST_SECONDS,
        )
        response = self._authorised(request, never_abort)
        if response.status not in {_OK, _CREATED}:
            raise error_of(response, Target.NEW_OBJECT, probe)
        # The URI will get footage without a token, so it must lead to the bucket.
        location = response.headers.get("location", "")
        if not self._is_ours(location):
            raise StopAndTell("The bucket named an upload session at another place.", code=Reason.BUCKET_REFUSED)
        return location

    def status(self, uri: str, probe: BucketProbe) -> SessionStatus:
        """How far the session is. ``bytes */*`` only asks; ``bytes */<size>`` may finalise it."""
        request = Request("PUT", self._checked(uri), {"Content-Range": "bytes */*"}, seconds=SHORT_REQUEST_SECONDS)
        response = self._on_session(request)
        if response.status == _UNAUTHORIZED:
            # Once more with a fresh token. Where that succeeds, all later requests of the session carry one.
            headers = self._identity.renewed_headers(self._identity.headers()) or {}
            response = self._transport.perform(_with(request, headers))
            if headers and response.status != _UNAUTHORIZED:
                self._with_token.add(request.url)
        return _session_status(response, probe)

    def send(
        self,
        uri: str,
        spec: ObjectSpec,
        body: Body,
        probe: BucketProbe,
        *,
        offset_bytes: int,
        crc32c: int | None,
        abort: Abort,
    ) -> SessionStatus:
        """Send one chunk; with `crc32c`, the last one.

        The whole object's checksum in the last request makes the bucket refuse a wrong object before it
        exists, as Google's own libraries do: https://github.com/googleapis/python-storage/pull/1654
        After a 401 the session tells how much of the chunk it took, if it is still one.
        """
        end_bytes = offset_bytes + body.length_bytes
        _demand_chunk(body.length_bytes, end_bytes, spec.size_bytes, last=crc32c is not None)
        headers = {"Content-Range": f"bytes {offset_bytes}-{end_bytes - 1}/{spec.size_bytes}"}
        if crc32c is not None:
            headers["X-Goog-Hash"] = f"crc32c={to_base64(crc32c)}"
        response = self._on_session(Request("PUT", self._checked(uri), headers, body), abort)
        return self.status(uri, probe) if response.status == _UNAUTHORIZED else _session_status(response, probe)

    def cancel(self, uri: str) -> None:
        if not self._is_ours(uri):
            return
        self._with_token.discard(uri)  # the set lives as long as the process, and must not grow with every session
        response = self._transport.perform(Request("DELETE", uri, seconds=SHORT_REQUEST_SECONDS))
        if response.status not in _SESSION_ENDED:
            raise error_of(response, Target.SESSION, NoBucketProbe())

    def put_small(self, spec: ObjectSpec, body: Body, probe: BucketProbe, *, crc32c: int, abort: Abort) -> ObjectInfo:
        parts = _TwoParts(spec, body, crc32c)
        request = Request(
            "POST",
            self._upload_url(spec.bucket, "multipart"),
            {"Content-Type": f"multipart/related; boundary={parts.boundary}"},
            parts,
        )
        response = self._authorised(request, abort)
        if response.status not in {_OK, _CREATED}:
            raise error_of(response, Target.NEW_OBJECT, probe)
        return object_info(response.document())

    def _on_session(self, request: Request, abort: Abort = never_abort) -> Response:
        headers = self._identity.headers() if request.url in self._with_token else {}
        return self._transport.perform(_with(request, headers), abort=abort)

    def _authorised(self, request: Request, abort: Abort) -> Response:
        """Send with our token; where it is refused, once more with a new one: nothing was written before a 401."""
        headers = self._identity.headers()
        response = self._transport.perform(_with(request, headers), abort=abort)
        renewed = self._identity.renewed_headers(headers) if response.status == _UNAUTHORIZED else None
        if renewed is None:
            return response
        request.body.rewind()
        return self._transport.perform(_with(request, renewed), abort=abort)

    def _upload_url(self, bucket: str, kind: str) -> str:
        return f"{self._endpoint}/upload/storage/v1/b/{quote(bucket, safe='')}/o?uploadType={kind}&ifGenerationMatch=0"

    def _checked(self, uri: str) -> str:
        if not self._is_ours(uri):
            raise SessionGone("The stored session is at another place than the bucket.")
        return uri

    def _is_ours(self, uri: str) -> bool:
        """The endpoint itself, or Google's by TLS: footage goes nowhere else."""
        if not uri.isascii() or not uri.isprintable():
            return False
        try:
            at, endpoint = urlsplit(uri), urlsplit(self._endpoint)
            same_place = (at.scheme, at.hostname, at.port) == (endpoint.scheme, endpoint.hostname, endpoint.port)
        except ValueError:
            return False
        google = at.scheme == "https" and (at.hostname or "").endswith(".googleapis.com") and at.port in {None, 443}
        return at.username is None and (same_place or google)


def _demand_chunk(length_bytes: int, end_bytes: int, size_bytes: int, *, last: bool) -> None:
    """Raises ValueError for a chunk that would finalise an object without its checksum, or never end."""
    if length_bytes <= 0 or (last and end_bytes != size_bytes):
        raise ValueError("the last chunk is not empty and ends where the object does")
    whole = length_bytes >= SESSION_QUANTUM_BYTES and end_bytes % SESSION_QUANTUM_BYTES == 0
    if not last and not (whole and end_bytes < size_bytes):
        raise ValueError("a chunk without a checksum ends at a multiple of 256 KiB, and before the object does")


class _TwoParts:
    """The body of a multipart upload: what the object is to be, then its bytes as they are read."""

    def __init__(self, spec: ObjectSpec, body: Body, crc32c: int) -> None:
        self.boundary = os.urandom(16).hex()
        described = _json({**_resource(spec), "crc32c": to_base64(crc32c)})
        self._head = BytesBody(
            f"--{self.boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode()
            + described
            + f"\r\n--{self.boundary}\r\nContent-Type: {_header_text(spec.content_type)}\r\n\r\n".encode()
        )
        self._body = body
        self._tail = BytesBody(f"\r\n--{self.boundary}--\r\n".encode())
        self.length_bytes = self._head.length_bytes + body.length_bytes + self._tail.length_bytes

    def read(self, max_bytes: int) -> bytes:
        return self._head.read(max_bytes) or self._body.read(max_bytes) or self._tail.read(max_bytes)

    def rewind(self) -> None:
        for part in (self._head, self._body, self._tail):
            part.rewind()


def _with(request: Request, headers: dict[str, str]) -> Request:
    return Request(request.method, request.url, {**request.headers, **headers}, request.body, request.seconds)


def _resource(spec: ObjectSpec) -> dict[str, Any]:
    """The new object's JSON; a field that is left out gets the bucket's default.

    https://cloud.google.com/storage/docs/json_api/v1/objects#resource
    """
    described: dict[str, Any] = {
        "name": spec.name,
        "contentType": spec.content_type,
        "metadata": dict(spec.metadata),
    }
    if spec.storage_class:
        described["storageClass"] = spec.storage_class
    if spec.temporary_hold:
        described["temporaryHold"] = True
    return described


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _header_text(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("a content type is printable ASCII")
    return text


def _session_status(response: Response, probe: BucketProbe) -> SessionStatus:
    if response.status in {_OK, _CREATED}:
        finished = object_info(response.document())
        return SessionStatus(finished.size_bytes, finished)
    if response.status != _RESUME_INCOMPLETE:
        raise error_of(response, Target.SESSION, probe)
    # Without `Range` nothing is committed yet:
    # https://cloud.google.com/storage/docs/performing-resumable-uploads#status-check
    committed_range = response.headers.get("range")
    if committed_range is None:
        return SessionStatus(0)
    found = _RANGE.fullmatch(committed_range.strip())
    if found is None:
        raise TryAgain("The bucket's answer to a chunk could not be read.")
    return SessionStatus(int(found[1]) + 1)
