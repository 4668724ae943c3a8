"""Everything but uploads: metadata, listings, holds, deletions, reads, signing, through google-cloud-storage.

The library is imported when first used. It makes one attempt a call (``retry=None``): our own callers retry,
and they know leases and stops, which the library does not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from offload.digest import from_base64
from offload.errors import ObjectProblem, Reason, StopAndTell, TryAgain
from offload.gcs.credentials import Identity, translated_auth_errors
from offload.gcs.error_rules import BucketProbe, Target, connection_error, error_of, response_of_library
from offload.gcs.responses import Response
from offload.store import BucketReport, ObjectInfo

ANSWER_SECONDS = 20
"""How long to wait for the next byte of an answer."""
READ_PIECE_BYTES = 1024 * 1024
SIGNED_URL_MOST_SECONDS = 7 * 86_400
"""https://cloud.google.com/storage/docs/access-control/signed-urls#limitations"""

CREATE, GET, LIST, UPDATE, DELETE = (
    f"storage.objects.{verb}" for verb in ("create", "get", "list", "update", "delete")
)
PERMISSIONS = (CREATE, GET, LIST, UPDATE, DELETE)
"""The permissions that Coldreel uses; without the last, an object that differs from what was sent stays."""


class Objects:
    """Objects that exist, and buckets. `endpoint` is ``scheme://host[:port]``, `connections` how many threads call."""

    def __init__(
        self,
        *,
        endpoint: str,
        project: str | None,
        identity: Identity,
        ca_file: str,
        connections: int,
        connect_seconds: int,
        answer_seconds: int = ANSWER_SECONDS,
    ) -> None:
        self._endpoint = endpoint
        self._project = project
        self._identity = identity
        self._ca_file = ca_file
        self._connections = connections
        self._patience = {"timeout": (connect_seconds, answer_seconds)}
        self._once = {**self._patience, "retry": None}
        self._lock = threading.Lock()
        self._made: tuple[Any, Any] | None = None

    def probe(self, bucket: str, permission: str) -> BucketProbe:
        """The second look at `bucket` that translating an error may need."""
        return _PermissionProbe(self, bucket, permission)

    def get(self, bucket: str, name: str, *, generation: int | None) -> ObjectInfo | None:
        blob = self._bucket(bucket).blob(name, generation=generation)
        try:
            with self._translated(Target.OBJECT, self.probe(bucket, GET)):
                blob.reload(**self._once)
        except ObjectProblem as problem:
            if problem.code is Reason.OBJECT_MISSING:
                return None
            raise
        # A versioned bucket still shows a generation that was deleted or replaced: that one is on its way out.
        return None if blob.time_deleted else _info(blob)

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated(Target.BUCKET, self.probe(bucket, LIST)):
            for blob in self._client().list_blobs(bucket, prefix=prefix, **self._once):
                try:
                    info = _info(blob)
                except ObjectProblem:  # an object of another program that cannot be read must not hide ours
                    continue
                yield info

    def set_hold(self, info: ObjectInfo, *, held: bool) -> ObjectInfo:
        blob = self._bucket(info.bucket).blob(info.name, generation=info.generation)
        # Both conditions: the generation that we know, and no change of its metadata since we read it.
        blob.temporary_hold = held
        with self._translated(Target.OBJECT, self.probe(info.bucket, UPDATE)):
            blob.patch(if_generation_match=info.generation, if_metageneration_match=info.metageneration, **self._once)
        return _info(blob)

    def delete(self, bucket: str, name: str, *, generation: int) -> None:
        blob = self._bucket(bucket).blob(name, generation=generation)
        try:
            with self._translated(Target.OBJECT, _DeletionProbe(self, bucket, DELETE)):
                blob.delete(if_generation_match=generation, **self._once)
        except ObjectProblem as problem:
            if problem.code is Reason.OBJECT_EXISTS:  # another generation lives under the name
                raise ObjectProblem(problem.detail, code=Reason.OBJECT_MISSING) from None
            raise

    def read_range(self, info: ObjectInfo, *, offset_bytes: int, length_bytes: int | None) -> Iterator[bytes]:
        """One streamed request; the library's own reader makes one for each piece."""
        left = info.size_bytes - offset_bytes if length_bytes is None else length_bytes
        left = max(0, min(left, info.size_bytes - offset_bytes))
        if left == 0:
            return
        # "identity": `requests` asks for gzip by default, and a compressed answer has another length than the range.
        path = f"/download/storage/v1/b/{_quoted(info.bucket)}/o/{_quoted(info.name)}"
        asked = {"Range": f"bytes={offset_bytes}-{offset_bytes + left - 1}", "Accept-Encoding": "identity"}
        where = {"alt": "media", "generation": str(info.generation)}
        probe = self.probe(info.bucket, GET)
        with (
            self._translated(Target.OBJECT, probe),
            self._session().get(
                self._endpoint + path, params=where, headers=asked, stream=True, **self._patience
            ) as response,
        ):
            self._check(response, Target.OBJECT, probe)
            for piece in response.iter_content(READ_PIECE_BYTES):
                left -= len(piece)
                yield piece
        if left:
            raise TryAgain("The bucket sent another number of bytes than was asked for.")

    def signed_url(self, info: ObjectInfo, *, expires_seconds: int) -> str:
        from google.auth.credentials import Signing

        credentials = self._identity.credentials()
        if not isinstance(credentials, Signing):
            raise StopAndTell(
                "Signed URLs need the key of a service account, and there is none.", code=Reason.NOT_CONFIGURED
            )
        blob = self._bucket(info.bucket).blob(info.name, generation=info.generation)
        with translated_auth_errors():
            url: str = blob.generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=min(expires_seconds, SIGNED_URL_MOST_SECONDS)),
                method="GET",
                generation=info.generation,
                credentials=credentials,
            )
        return url

    def bucket_time(self, bucket: str) -> datetime:
        """A listing of one object, its field `kind` only: the cheapest request that the bucket answers."""
        probe = self.probe(bucket, LIST)
        with self._translated(Target.BUCKET, probe):
            response = self._session().get(
                f"{self._endpoint}/storage/v1/b/{_quoted(bucket)}/o",
                params={"maxResults": "1", "fields": "kind"},
                **self._patience,
            )
            self._check(response, Target.BUCKET, probe)
        from email.utils import parsedate_to_datetime

        try:
            return parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            raise TryAgain("The bucket's answer carried no date.") from None

    def bucket_report(self, bucket: str) -> BucketReport:
        try:
            missing = self.missing_permissions(bucket, PERMISSIONS)
        except StopAndTell as error:
            if error.code is Reason.BUCKET_NOT_FOUND:
                return BucketReport(exists=False, missing_permissions=PERMISSIONS)
            raise
        found = self._bucket(bucket)
        try:
            with self._translated(Target.BUCKET, self.probe(bucket, "storage.buckets.get")):
                found.reload(**self._once)
        except StopAndTell as error:
            if error.code is Reason.PERMISSION_DENIED:
                return BucketReport(exists=True, missing_permissions=missing)
            raise
        return BucketReport(
            exists=True,
            missing_permissions=missing,
            lifecycle_deletes=any(rule["action"]["type"] == "Delete" for rule in found.lifecycle_rules),
            retention_period_seconds=found.retention_period,
            default_event_based_hold=bool(found.default_event_based_hold),
            soft_delete_seconds=found.soft_delete_policy.retention_duration_seconds,
            autoclass=found.autoclass_enabled,
            location=found.location,
            storage_class=found.storage_class,
        )

    def missing_permissions(self, bucket: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Which of `wanted` the bucket does not grant us; asking needs no permission.

        https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions
        """
        with self._translated(Target.BUCKET, self.probe(bucket, LIST)):
            granted = self._bucket(bucket).test_iam_permissions(list(wanted), **self._once)
        return tuple(permission for permission in wanted if permission not in granted)

    def confirm_bucket(self, bucket: str) -> None:
        with self._translated(Target.BUCKET, self.probe(bucket, LIST)):
            for _blob in self._client().list_blobs(bucket, max_results=1, **self._once):
                break

    def _bucket(self, name: str) -> Any:
        try:
            return self._client().bucket(name)
        except ValueError:
            raise StopAndTell(f"{name!r} cannot be the name of a bucket.", code=Reason.BUCKET_NOT_FOUND) from None

    def _client(self) -> Any:
        return self._library()[0]

    def _session(self) -> Any:
        return self._library()[1]

    def _library(self) -> tuple[Any, Any]:
        """The library's client, and the session it speaks through; made by the first thread that asks."""
        with self._lock:
            if self._made is not None:
                return self._made
            from google.auth.transport.requests import AuthorizedSession
            from google.cloud.storage import Client

            from offload.gcs.tls import trust

            # Otherwise the library reads each bucket's settings in a thread, for traces that are not switched on.
            os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
            credentials = self._identity.credentials()
            authorized: Any = AuthorizedSession
            session = authorized(credentials, auth_request=self._identity.channel())
            trust(session, self._ca_file, connections=self._connections)
            client = Client(
                project=self._project,
                credentials=credentials,
                _http=session,
                client_options={"api_endpoint": self._endpoint},
            )
            self._made = client, session
            return self._made

    def _check(self, response: Any, target: Target, probe: BucketProbe) -> None:
        if not response.ok:
            headers = {name.lower(): value for name, value in response.headers.items()}
            raise error_of(Response(response.status_code, headers, response.content), target, probe)

    @contextmanager
    def _translated(self, target: Target, probe: BucketProbe) -> Iterator[None]:
        """Translates whatever the libraries raise into `offload.errors`, without their texts (P10)."""
        import requests
        from google.api_core.exceptions import GoogleAPIError

        self._identity.headers()  # google-auth would renew the token by itself, but in every thread at once
        try:
            with translated_auth_errors():
                yield
        except GoogleAPIError as error:
            response = response_of_library(error)
            if response is None:
                raise TryAgain("The bucket's answer could not be read.") from None
            raise error_of(response, target, probe) from None
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise connection_error(error, "the connection could not be made, broke or stalled") from None
        except requests.RequestException:
            raise TryAgain("The bucket's answer could not be read.") from None


class _PermissionProbe:
    def __init__(self, objects: Objects, bucket: str, permission: str) -> None:
        self._objects = objects
        self._bucket = bucket
        self._permission = permission

    def confirm_bucket(self) -> None:
        self._objects.confirm_bucket(self._bucket)

    def lacks_permission(self) -> bool:
        return bool(self._objects.missing_permissions(self._bucket, (self._permission,)))


class _DeletionProbe(_PermissionProbe):
    """The right to delete is optional: without it an orphan stays, and nothing else stops."""

    def lacks_permission(self) -> bool:
        return False


def _info(blob: Any) -> ObjectInfo:
    """Raises ObjectProblem where the description lacks what proves an object."""
    if blob.crc32c is None:  # for example encrypted with a customer's own key
        raise ObjectProblem("The bucket shows no CRC32C of the object.", code=Reason.OBJECT_DIFFERS)
    try:
        return _described(blob)
    except (TypeError, ValueError):
        raise ObjectProblem(
            "The bucket's description of the object could not be read.", code=Reason.OBJECT_DIFFERS
        ) from None


def _described(blob: Any) -> ObjectInfo:
    if None in {blob.generation, blob.metageneration, blob.size, blob.time_created}:
        raise ValueError("a description without generation, size or time")
    return ObjectInfo(
        bucket=blob.bucket.name,
        name=blob.name,
        generation=blob.generation,
        metageneration=blob.metageneration,
        size_bytes=blob.size,
        crc32c=from_base64(blob.crc32c),
        stored_at=blob.time_created,
        metadata=dict(blob.metadata or {}),
        temporary_hold=bool(blob.temporary_hold),
        event_based_hold=bool(blob.event_based_hold),
        retention_expires_at=blob.retention_expiration_time,
        storage_class=blob.storage_class,
        content_type=blob.content_type,
    )


def _quoted(text: str) -> str:
    return quote(text, safe="")
