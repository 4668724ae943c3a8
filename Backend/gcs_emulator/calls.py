"""The calls that are no uploads: buckets, metadata of objects, downloads.

Source: https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import base64
import binascii
import re

from gcs_emulator.answers import (
    Answer,
    FilePart,
    Refusal,
    Resource,
    invalid,
    json_answer,
    not_emulated,
    public,
)
from gcs_emulator.preconditions import PARAMETERS, Preconditions, whole_number
from gcs_emulator.request import Request
from gcs_emulator.storage import Bucket, Storage

MAX_PAGE = 1000


class Calls:
    """`page_objects` limits a page of a listing, so that a test needs few objects to see paging."""

    def __init__(self, storage: Storage, page_objects: int = MAX_PAGE) -> None:
        self._storage = storage
        self._page_objects = page_objects

    # --- buckets ---

    def bucket_insert(self, request: Request) -> Answer:
        request.allow("project")
        return json_answer(public(self._storage.create_bucket(request.json()).settings))

    def bucket_get(self, request: Request) -> Answer:
        request.allow()
        bucket = self._bucket(request, "storage.buckets.get")
        return json_answer(public(bucket.settings))

    def test_permissions(self, request: Request) -> Answer:
        request.allow("permissions")
        bucket = self._bucket(request)
        asked = list(request.repeated_query.get("permissions", []))
        if not asked:
            raise Refusal(400, "required", "Required parameter: permissions")
        granted: Resource = {"kind": "storage#testIamPermissionsResponse"}
        if permissions := bucket.granted(asked):
            granted["permissions"] = permissions
        return json_answer(granted)

    def _bucket(self, request: Request, *permissions: str) -> Bucket:
        bucket = self._storage.bucket(request.bucket)
        for permission in permissions:
            bucket.require(permission)
        return bucket

    # --- objects ---

    def list(self, request: Request) -> Answer:
        request.allow("prefix", "pageToken", "maxResults", "delimiter", "versions")
        if request.query.get("delimiter") or request.query.get("versions", "false") != "false":
            raise not_emulated("listing with a delimiter or versions")
        bucket = self._bucket(request, "storage.objects.list")
        most = min(whole_number(request.query, "maxResults") or MAX_PAGE, self._page_objects)
        after = _from_token(request.query.get("pageToken", ""))
        found, last = bucket.list_page(request.query.get("prefix", ""), after, most)
        page: Resource = {"kind": "storage#objects"}
        if found:
            page["items"] = [public(resource) for resource in found]
        if last is not None:
            # Clients must not read the token, so it is not simply the name.
            page["nextPageToken"] = base64.urlsafe_b64encode(last.encode()).decode()
        return json_answer(page)

    def get(self, request: Request) -> Answer:
        request.allow("generation", *PARAMETERS)
        resource = self._resource(request)
        if request.query.get("alt") == "media":
            return self._content(request, resource)
        return json_answer(public(resource))

    def download(self, request: Request) -> Answer:
        request.allow("generation", *PARAMETERS)
        return self._content(request, self._resource(request))

    def signed_get(self, request: Request) -> Answer:
        """Read by the XML API's address; the server has checked the signature before."""
        return self._content(request, self._resource(request))

    def _resource(self, request: Request) -> Resource:
        bucket = self._bucket(request, "storage.objects.get")
        generation = whole_number(request.query, "generation")
        return bucket.get(request.name, generation, Preconditions.parse(request.query))

    def _content(self, request: Request, resource: Resource) -> Answer:
        path = self._storage.bucket(request.bucket).data_path(resource)
        size = path.stat().st_size
        headers = {
            "Content-Type": resource["contentType"],
            "ETag": f'"{resource["etag"]}"',
            "Accept-Ranges": "bytes",
            "X-Goog-Generation": resource["generation"],
            "X-Goog-Metageneration": resource["metageneration"],
            "X-Goog-Hash": f"crc32c={resource['crc32c']}",
            "X-Goog-Stored-Content-Length": str(size),
            "X-Goog-Storage-Class": resource["storageClass"],
        }
        if "contentDisposition" in resource:
            headers["Content-Disposition"] = resource["contentDisposition"]
        part = _range(request.headers.get("Range"), size)
        if part is None:
            return Answer(200, FilePart(path, 0, size), headers)
        first, last = part
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Answer(206, FilePart(path, first, last - first + 1), headers)

    def patch(self, request: Request) -> Answer:
        request.allow("generation", *PARAMETERS)
        bucket = self._bucket(request, "storage.objects.update")
        resource = bucket.patch(
            request.name,
            whole_number(request.query, "generation"),
            request.json(),
            Preconditions.parse(request.query),
            replace=request.method == "PUT",
        )
        return json_answer(public(resource))

    def delete(self, request: Request) -> Answer:
        request.allow("generation", *PARAMETERS)
        bucket = self._bucket(request, "storage.objects.delete")
        bucket.delete(request.name, whole_number(request.query, "generation"), Preconditions.parse(request.query))
        return Answer(204)


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise invalid("Invalid page token.") from error


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte, or None for the whole object. Refuses one beyond the end with 416 (RFC 9110, 15.5.17)."""
    if header is None:
        return None
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if not found or not any(found.groups()):
        return None
    first_text, last_text = found.groups()
    first = int(first_text) if first_text else max(0, size - int(last_text))
    last = min(int(last_text), size - 1) if first_text and last_text else size - 1
    if first >= size or last < first:
        message = "The requested range cannot be satisfied."
        raise Refusal(416, "requestedRangeNotSatisfiable", message, headers={"Content-Range": f"bytes */{size}"})
    return first, last
