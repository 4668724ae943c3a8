"""Uploads: resumable sessions, multipart and media.

Sources: https://cloud.google.com/storage/docs/performing-resumable-uploads and
https://cloud.google.com/storage/docs/json_api/v1/objects/insert
"""

from __future__ import annotations

import email
import json
import os
import re
from pathlib import Path
from urllib.parse import quote

from gcs_emulator.answers import (
    Answer,
    Cut,
    Refusal,
    Resource,
    crc32c_mismatch,
    invalid,
    json_answer,
    md5_mismatch,
    not_emulated,
    public,
)
from gcs_emulator.checksum import crc_of_file, encode_crc, md5_of_file, parse_goog_hash
from gcs_emulator.disk import write_all
from gcs_emulator.preconditions import PARAMETERS, Preconditions
from gcs_emulator.request import Request
from gcs_emulator.sessions import CANCELLED, FINISHED, QUANTUM_BYTES, ChunkWriter, Session, Sessions
from gcs_emulator.storage import Storage, check_name

MAX_HEAD_BYTES = 1024 * 1024
CREATE = "storage.objects.create"
SETTABLE = frozenset(
    {
        "name", "bucket", "metadata", "contentType", "storageClass", "temporaryHold", "eventBasedHold", "crc32c",
        "md5Hash", "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "customTime",
    }
)  # fmt: skip
STORAGE_CLASSES = frozenset(
    {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL", "DURABLE_REDUCED_AVAILABILITY"}
)


class ContentRange:
    """``bytes 0-9/10``, ``bytes 0-9/*``, ``bytes */10``, ``bytes */*``; without the header the body is the object."""

    def __init__(self, header: str | None, length_bytes: int) -> None:
        self.first, self.last, self.asks = 0, length_bytes - 1, False
        self.total: int | None = length_bytes
        if header is None:
            return
        if re.fullmatch(r"bytes \d+-\*/(\d+|\*)", header.strip()):
            raise not_emulated("chunks that do not say where they end")
        found = re.fullmatch(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", header.strip())
        if not found:
            raise Refusal(400, "invalid", "Failed to parse Content-Range header.", plain=True)
        first, last, total = found.groups()
        self.asks = first is None
        self.first, self.last = int(first or 0), int(last or -1) if first is not None else -1
        self.total = None if total == "*" else int(total)
        if not self.asks and (self.last - self.first + 1 != length_bytes or self.last < self.first):
            raise Refusal(400, "invalid", "Content-Range does not agree with Content-Length.", plain=True)

    @property
    def final(self) -> bool:
        """Whether the chunk ends the object. A query ends it only where exactly `total` bytes are there."""
        return not self.asks and self.total is not None and self.last + 1 >= self.total


def kind_of_put(request: Request) -> str:
    """The kind of a PUT to a session, for the faults and the log."""
    header = request.headers.get("Content-Range")
    if header and "*/" in header:
        return "status" if header.strip().endswith("*/*") else "finalise"
    return "final_chunk" if not header or _ends(header) else "chunk"


def _ends(header: str) -> bool:
    found = re.search(r"-(\d+)/(\d+)$", header.strip())
    return bool(found) and int(found[1]) + 1 >= int(found[2]) if found else False


class Uploads:
    def __init__(self, storage: Storage, sessions: Sessions) -> None:
        self._storage = storage
        self._sessions = sessions
        self._told_bytes: dict[tuple[str, str], int] = {}
        """By bucket and name of an unfinished object: the committed offset that the last 308 told the client."""

    # --- POST /upload/storage/v1/b/B/o ---

    def insert(self, request: Request) -> Answer:
        request.allow("name", "uploadType", "upload_id", *PARAMETERS)
        self._storage.bucket(request.bucket).require(CREATE)
        ways = {"session_start": self._start, "multipart": self._multipart, "media": self._media}
        if request.kind not in ways:
            raise invalid("Unknown uploadType; it is one of media, multipart, resumable.")
        return ways[request.kind](request)

    def _start(self, request: Request) -> Answer:
        preconditions = Preconditions.parse(request.query)
        resource = self._new_resource(request, request.json())
        preconditions.check(self._storage.bucket(request.bucket).live(request.name))
        if kind := request.headers.get("X-Upload-Content-Type"):
            resource.setdefault("contentType", kind)
        declared = request.headers.get("X-Upload-Content-Length")
        if declared is not None and not declared.isdigit():
            raise invalid(f"Invalid X-Upload-Content-Length: '{declared}'")
        key = self._sessions.start(
            request.bucket, request.name, resource, preconditions, None if declared is None else int(declared)
        )
        place = f"{request.base_url}/upload/storage/v1/b/{quote(request.bucket)}/o"
        location = f"{place}?uploadType=resumable&name={quote(request.name, safe='')}&upload_id={key}"
        return Answer(200, b"", {"Location": location, "X-GUploader-UploadID": key})

    def _new_resource(self, request: Request, sent: Resource) -> Resource:
        """The resource that the client asks for. Refuses with 501 fields that are not emulated."""
        named, body_name = request.query.get("name"), sent.get("name")
        if named and body_name and named != body_name:
            raise invalid(f"Value '{body_name}' in content does not agree with value '{named}'.")
        if unknown := set(sent) - SETTABLE:
            raise not_emulated(f"setting {', '.join(sorted(unknown))} on a new object")
        request.name = check_name(named or body_name or "")
        metadata = sent.get("metadata") or {}
        if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
            raise invalid("Invalid metadata: expected an object of texts.")
        wanted = {key: value for key, value in sent.items() if key != "bucket" and value is not None}
        if wanted.get("storageClass", "STANDARD") not in STORAGE_CLASSES:
            raise invalid(f"Invalid argument: storage class {wanted['storageClass']}")
        return wanted | {"name": request.name}

    def _media(self, request: Request) -> Answer:
        wanted = self._new_resource(request, {"contentType": request.headers.get("Content-Type")})
        return self._whole(request, wanted, tail=b"")

    def _multipart(self, request: Request) -> Answer:
        boundary = _boundary(request)
        opening = request.body.read_until(b"--" + boundary + b"\r\n", MAX_HEAD_BYTES)
        if opening.strip() != b"--" + boundary:
            raise invalid("Malformed multipart body.")
        head = request.body.read_until(b"\r\n--" + boundary + b"\r\n", MAX_HEAD_BYTES)
        first = email.message_from_bytes(head[: -len(boundary) - 6])
        try:
            sent = json.loads(str(first.get_payload()))
        except ValueError as error:
            raise Refusal(400, "parseError", "Parse Error") from error
        # A part without headers begins with an empty line (RFC 2046, 5.1).
        head = request.body.read_until(b"\r\n\r\n", MAX_HEAD_BYTES, before=b"\r\n")
        second = email.message_from_bytes(head.removeprefix(b"\r\n"))
        wanted = self._new_resource(request, sent)
        wanted.setdefault("contentType", second.get_content_type())
        return self._whole(request, wanted, tail=b"\r\n--" + boundary + b"--")

    def _whole(self, request: Request, wanted: Resource, *, tail: bytes) -> Answer:
        """Store the rest of the body, without the multipart `tail`, as the object."""
        preconditions = Preconditions.parse(request.query)
        path = self._sessions.temporary_path()
        try:
            length_bytes = _take(request, path, tail)
            crc = crc_of_file(path, length_bytes)
            wanted |= {"size": str(length_bytes), "crc32c": _checked(request, wanted, path, crc)}
            resource = self._commit(request, wanted, path, preconditions)
        finally:
            path.unlink(missing_ok=True)
        return _object_answer(resource)

    # --- PUT and DELETE on a session ---

    def put(self, request: Request) -> Answer:
        request.allow("name", "uploadType", "upload_id", *PARAMETERS)
        session = self._sessions.find(request.query.get("upload_id", ""))
        request.bucket, request.name = session.bucket, session.name
        content_range = ContentRange(request.headers.get("Content-Range"), request.body.length_bytes)
        request.offset_bytes = None if content_range.asks else content_range.first
        # A finished session answers every request with its object: so a lost answer can be asked for again.
        if session.state == FINISHED and session.finished:
            return _object_answer(session.finished)
        _check_total(session, content_range)
        if content_range.asks:
            return self._query(request, session, content_range)
        return self._chunk(request, session, content_range)

    def _query(self, request: Request, session: Session, content_range: ContentRange) -> Answer:
        with session.lock:
            if session.committed_bytes != content_range.total:
                return self._incomplete(session)
            session.writer = None
            session.settle()
            return self._finish(request, session, session.crc())

    def _chunk(self, request: Request, session: Session, content_range: ContentRange) -> Answer:
        self._refuse_small_chunk(content_range, request.body.length_bytes)
        with session.lock:
            if content_range.first > session.committed_bytes:
                raise _gap(content_range.first, session.committed_bytes)
            told = self._told_bytes.get((session.bucket, session.name), 0)
            request.sent_again_bytes = max(0, told - content_range.first)
            writer = ChunkWriter(session, content_range.first)
        try:
            # Each piece counts as soon as it is written: a connection cut here leaves its whole quanta committed.
            for piece in request.body.pieces():
                writer.write(piece)
            return self._after_chunk(request, session, writer, content_range)
        finally:
            with session.lock:
                if session.writer is writer:
                    session.writer = None
                    session.settle()
            writer.close()

    @staticmethod
    def _refuse_small_chunk(content_range: ContentRange, length_bytes: int) -> None:
        if not content_range.final and length_bytes < QUANTUM_BYTES:
            raise Refusal(
                400,
                "invalid",
                "Invalid request.  The number of bytes uploaded is required to be equal or greater than 262144, "
                "except for the final request (it's recommended to be the exact multiple of 262144).  The received "
                f"request contained {length_bytes} bytes, which does not meet this requirement.",
                plain=True,
            )

    def _after_chunk(
        self, request: Request, session: Session, writer: ChunkWriter, content_range: ContentRange
    ) -> Answer:
        with session.lock:
            if session.writer is not writer:
                raise Cut
            fault = request.fault
            if fault and fault.action == "partial_commit":
                session.settle(content_range.first + fault.commit_bytes)
                return self._incomplete(session)
            if fault and fault.action == "odd_commit":
                session.commit_exactly(content_range.first + fault.commit_bytes)
                return self._incomplete(session)
            if content_range.final:
                return self._finish(request, session, writer.crc)
            session.settle()
            return self._incomplete(session)

    def _incomplete(self, session: Session) -> Answer:
        """308, with ``Range`` only where bytes are committed."""
        self._told_bytes[session.bucket, session.name] = session.committed_bytes
        headers = {"X-GUploader-UploadID": session.path.stem}
        if session.committed_bytes:
            headers["Range"] = f"bytes=0-{session.committed_bytes - 1}"
        return Answer(308, b"", headers)

    def _finish(self, request: Request, session: Session, crc: int) -> Answer:
        """Make the object from the session's bytes; a refusal leaves the session as it was."""
        # An empty object: no chunk has made the file.
        path = session.data_path
        if not path.exists():
            path.touch()
        wanted = session.resource | {
            "_session": session.path.stem,
            "size": str(session.received_bytes),
            "crc32c": _checked(request, session.resource, path, crc),
        }
        resource = self._commit(request, wanted, path, session.preconditions)
        session.end(FINISHED, resource)
        self._told_bytes.pop((session.bucket, session.name), None)
        return _object_answer(resource)

    def _commit(self, request: Request, resource: Resource, path: Path, preconditions: Preconditions) -> Resource:
        if request.fault and request.fault.action == "corrupt_metadata":
            # For a fault: only the object's resource is wrong then; its bytes are right.
            resource |= request.fault.fields
        return self._storage.bucket(request.bucket).put(resource, path, preconditions)

    def cancel(self, request: Request) -> Answer:
        session = self._sessions.find(request.query.get("upload_id", ""))
        request.bucket, request.name = session.bucket, session.name
        if session.state == FINISHED:
            raise Refusal(404, "notFound", "Not Found", plain=True)
        session.end(CANCELLED)
        self._told_bytes.pop((session.bucket, session.name), None)
        return Answer(499)


def _check_total(session: Session, content_range: ContentRange) -> None:
    if content_range.total is not None and session.declared_bytes not in {None, content_range.total}:
        message = (
            f"X-Upload-Content-Length was {session.declared_bytes}, "
            f"but the total in Content-Range is {content_range.total}."
        )
        raise Refusal(400, "invalid", message, plain=True)
    if content_range.total is not None and content_range.last + 1 > content_range.total:
        raise Refusal(400, "invalid", "Content-Range goes beyond its total.", plain=True)


def _checked(request: Request, wanted: Resource, path: Path, crc: int) -> str:
    """Return the object's CRC32C; refuse with 400 where a sum in the header or the metadata differs."""
    header = parse_goog_hash(request.headers.get("X-Goog-Hash"))
    calculated = encode_crc(crc)
    for provided in (header.get("crc32c"), wanted.get("crc32c")):
        if provided is not None and provided != calculated:
            raise crc32c_mismatch(provided, calculated)
    for provided in (header.get("md5"), wanted.get("md5Hash")):
        if provided is not None and provided != (found := md5_of_file(path)):
            raise md5_mismatch(provided, found)
    return calculated


def _gap(offset_bytes: int, committed_bytes: int) -> Refusal:
    """The service's own text, with its two blanks: clients recognise this 503 by it."""
    message = (
        f"Invalid request.  According to the Content-Range header, the upload offset is {offset_bytes} byte(s), "
        f"which exceeds already uploaded size of {committed_bytes} byte(s)."
    )
    return Refusal(503, "backendError", message, plain=True)


def _object_answer(resource: Resource) -> Answer:
    headers = {"X-Goog-Generation": resource["generation"], "X-Goog-Hash": f"crc32c={resource['crc32c']}"}
    return json_answer(public(resource), 200, headers)


def _boundary(request: Request) -> bytes:
    if request.headers.get_content_type() != "multipart/related":
        raise invalid("A multipart upload has the Content-Type multipart/related.")
    boundary = request.headers.get_boundary()
    if not boundary:
        raise invalid("Missing boundary in Content-Type.")
    return boundary.encode()


def _take(request: Request, path: Path, tail: bytes) -> int:
    """Store the rest of the body without the multipart tail; return the length."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        length = 0
        for piece in request.body.pieces():
            write_all(descriptor, piece, length)
            length += len(piece)
        if not tail:
            return length
        # The closing boundary may be followed by a line end.
        window = min(length, len(tail) + 2)
        ending = os.pread(descriptor, window, length - window)
        at = ending.rfind(tail)
        if at < 0 or ending[at + len(tail) :].strip():
            raise invalid("Missing end boundary in multipart body.")
        length = length - window + at
        os.truncate(descriptor, length)
        return length
    finally:
        os.close(descriptor)
