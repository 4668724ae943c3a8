"""GoogleStore: an `ObjectStore` over Google Cloud Storage, and the only code that speaks to Google.

| module | has |
|---|---|
| `transport` | one HTTP request through libcurl |
| `uploads` | upload sessions and small uploads: the way of the bytes |
| `objects` | everything else, through google-cloud-storage |
| `credentials` | google-auth, one token for all threads |
| `tls` | the CA file, for what does not go by libcurl |
| `responses` | what was answered, and the object it describes |
| `error_rules` | refusals and failures, translated into `offload.errors` |

Why two ways: docs/decisions/0002-data-path.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from offload.gcs.credentials import Identity
from offload.gcs.error_rules import BucketProbe
from offload.gcs.objects import CREATE, Objects
from offload.gcs.transport import Transport
from offload.gcs.uploads import Uploads
from offload.store import Abort, Body, BucketReport, ObjectInfo, ObjectSpec, SessionStatus, never_abort

GOOGLE = "https://storage.googleapis.com"


class GoogleStore:
    """Methods and errors are those of `offload.store.ObjectStore`.

    `credentials_path` names a service account's key or a workload identity configuration; without it
    Application Default Credentials are used. `emulator_host` (``http://127.0.0.1:PORT``) means an emulator and
    no credentials. `ca_file` is a PEM file of trusted authorities, certifi's without one. `upload_handles` is
    how many threads upload at once: their buffers share 16 MiB. No request is made, and no key is read, before the
    first call.
    """

    def __init__(
        self,
        *,
        project: str | None,
        credentials_path: str | None,
        emulator_host: str | None,
        ca_file: str | None = None,
        upload_handles: int = 20,
        stall_seconds: int = 30,
        connect_seconds: int = 15,
    ) -> None:
        endpoint = _endpoint(emulator_host)
        if not ca_file:
            import certifi  # finds its file with 20 ms of imports

            ca_file = certifi.where()
        identity = Identity(path=credentials_path, anonymous=bool(emulator_host), ca_file=ca_file)
        self._objects = Objects(
            endpoint=endpoint,
            project=project,
            identity=identity,
            ca_file=ca_file,
            connections=upload_handles,
            connect_seconds=connect_seconds,
        )
        transport = Transport(
            ca_file=ca_file,
            upload_handles=upload_handles,
            stall_seconds=stall_seconds,
            connect_seconds=connect_seconds,
        )
        self._uploads = Uploads(endpoint=endpoint, transport=transport, identity=identity)

    def start_session(self, spec: ObjectSpec) -> str:
        return self._uploads.start(spec, self._create_probe(spec))

    def session_status(self, uri: str, spec: ObjectSpec) -> SessionStatus:
        return self._uploads.status(uri, self._create_probe(spec))

    def send(
        self,
        uri: str,
        spec: ObjectSpec,
        body: Body,
        *,
        offset_bytes: int,
        crc32c: int | None = None,
        abort: Abort = never_abort,
    ) -> SessionStatus:
        return self._uploads.send(
            uri, spec, body, self._create_probe(spec), offset_bytes=offset_bytes, crc32c=crc32c, abort=abort
        )

    def cancel_session(self, uri: str) -> None:
        self._uploads.cancel(uri)

    def put_small(self, spec: ObjectSpec, body: Body, *, crc32c: int, abort: Abort = never_abort) -> ObjectInfo:
        return self._uploads.put_small(spec, body, self._create_probe(spec), crc32c=crc32c, abort=abort)

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        return self._objects.get(bucket, name, generation=generation)

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        return self._objects.list_prefix(bucket, prefix)

    def set_hold(self, info: ObjectInfo, *, held: bool) -> ObjectInfo:
        return self._objects.set_hold(info, held=held)

    def delete(self, bucket: str, name: str, *, generation: int) -> None:
        self._objects.delete(bucket, name, generation=generation)

    def read_range(
        self, info: ObjectInfo, *, offset_bytes: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        return self._objects.read_range(info, offset_bytes=offset_bytes, length_bytes=length_bytes)

    def signed_url(self, info: ObjectInfo, *, expires_seconds: int) -> str:
        return self._objects.signed_url(info, expires_seconds=expires_seconds)

    def bucket_time(self, bucket: str) -> datetime:
        return self._objects.bucket_time(bucket)

    def bucket_report(self, bucket: str) -> BucketReport:
        return self._objects.bucket_report(bucket)

    def _create_probe(self, spec: ObjectSpec) -> BucketProbe:
        return self._objects.probe(spec.bucket, CREATE)


def _endpoint(emulator_host: str | None) -> str:
    """Google's own variable for emulators holds an address with its scheme; people leave it out."""
    if not emulator_host:
        return GOOGLE
    return (emulator_host if "://" in emulator_host else f"http://{emulator_host}").rstrip("/")
