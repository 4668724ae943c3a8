"""Buckets and their objects, in memory for speed and on disk so that they survive ``kill -9``.

DATA/generation                     the last generation given out
DATA/buckets/B/bucket.json          settings
DATA/buckets/B/objects/KEY.json     an object's resource; the object exists from its rename on
DATA/buckets/B/objects/GENERATION.data
"""

from __future__ import annotations

import bisect
import hashlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gcs_emulator import answers
from gcs_emulator.answers import Resource, invalid, object_missing
from gcs_emulator.clock import EmulatorClock, from_rfc3339, rfc3339
from gcs_emulator.disk import read_json, write_all, write_json
from gcs_emulator.preconditions import Preconditions

BUCKET_SETTINGS = (
    "lifecycle", "retentionPolicy", "defaultEventBasedHold", "softDeletePolicy", "autoclass", "location",
    "storageClass", "versioning", "labels", "iamConfiguration",
)  # fmt: skip
WRITABLE = (
    "temporaryHold", "eventBasedHold", "metadata", "contentType", "cacheControl", "contentDisposition",
    "contentEncoding", "contentLanguage", "customTime",
)  # fmt: skip
MAX_NAME_BYTES = 1024


class Storage:
    """Every bucket of one emulator. `lock` guards resources and is free while bytes arrive."""

    def __init__(self, folder: Path, clock: EmulatorClock) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self._folder = folder / "buckets"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._generation_file = os.open(folder / "generation", os.O_RDWR | os.O_CREAT, 0o644)
        self._last_generation = int(os.pread(self._generation_file, 20, 0) or b"0")
        self._buckets = {path.name: Bucket(self, path) for path in self._folder.iterdir()}

    def bucket(self, name: str) -> Bucket:
        with self.lock:
            if name not in self._buckets:
                raise answers.bucket_missing()
            return self._buckets[name]

    def buckets(self) -> list[Bucket]:
        with self.lock:
            return list(self._buckets.values())

    def create_bucket(self, sent: Resource) -> Bucket:
        """Refuses with 409 a name that exists, in the words for a caller who owns the bucket."""
        name = str(sent.get("name", ""))
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", name):
            raise invalid(f"Invalid bucket name: '{name}'")
        with self.lock:
            if name in self._buckets:
                message = "Your previous request to create the named bucket succeeded and you already own it."
                raise answers.Refusal(409, "conflict", message)
            folder = self._folder / name
            (folder / "objects").mkdir(parents=True)
            write_json(folder / "bucket.json", _new_bucket(sent, self.clock.now()))
            self._buckets[name] = Bucket(self, folder)
            return self._buckets[name]

    def new_generation(self) -> int:
        """Microseconds since the epoch, strictly growing, also after the clock was set back."""
        with self.lock:
            self._last_generation = max(int(self.clock.now() * 1e6), self._last_generation + 1)
            # On disk before it is given out: a generation is never used twice, also after a kill.
            write_all(self._generation_file, b"%020d" % self._last_generation, 0)
            return self._last_generation


def _new_bucket(sent: Resource, now: float) -> Resource:
    name = sent["name"]
    settings: Resource = {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{name}",
        "projectNumber": "0",
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": rfc3339(now),
        "updated": rfc3339(now),
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": rfc3339(now)},
        "_deniedPermissions": [],
    }
    return settings | {key: sent[key] for key in BUCKET_SETTINGS if key in sent}


class Bucket:
    """One bucket without versioning: a name has one live object or none."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._objects_folder = folder / "objects"
        self.name = folder.name
        self.settings = read_json(folder / "bucket.json")
        self._objects: dict[str, Resource] = {}
        for path in self._objects_folder.glob("*.json"):
            resource = read_json(path)
            self._objects[resource["name"]] = resource
        self._names = sorted(self._objects)
        self._drop_strays()

    def _drop_strays(self) -> None:
        """Remove data whose resource was not written, or was replaced, before a kill."""
        alive = {self.data_path(resource) for resource in self._objects.values()}
        for path in self._objects_folder.iterdir():
            if path.suffix == ".new" or (path.suffix == ".data" and path not in alive):
                path.unlink()

    def change_settings(self, changes: Resource) -> Resource:
        with self._storage.lock:
            policy_before = self.settings.get("retentionPolicy")
            for key, value in changes.items():
                if key == "deniedPermissions":
                    self.settings["_deniedPermissions"] = list(value)
                elif key not in BUCKET_SETTINGS:
                    raise invalid(f"A bucket has no setting {key} here; it has {', '.join(BUCKET_SETTINGS)}.")
                elif value is None:
                    self.settings.pop(key, None)
                else:
                    self.settings[key] = value
            if self.settings.get("retentionPolicy") != policy_before:
                self._apply_retention()
            self.settings["metageneration"] = str(int(self.settings["metageneration"]) + 1)
            self.settings["updated"] = rfc3339(self._storage.clock.now())
            write_json(self._folder / "bucket.json", self.settings)
            return self.settings

    def _apply_retention(self) -> None:
        """Apply a new retention policy to the objects that exist.

        Source: https://cloud.google.com/storage/docs/bucket-lock
        """
        for resource in self._objects.values():
            resource.pop("retentionExpirationTime", None)
            self._set_retention(resource, resource.get("_retained_from", from_rfc3339(resource["timeCreated"])))
            self.save(resource)

    def require(self, permission: str) -> None:
        """Refuse with 403 what the bucket was told to deny."""
        if permission in self.settings["_deniedPermissions"]:
            raise answers.permission_denied(permission)

    def granted(self, permissions: list[str]) -> list[str]:
        return [one for one in permissions if one not in self.settings["_deniedPermissions"]]

    # --- objects ---

    def live(self, name: str) -> Resource | None:
        with self._storage.lock:
            return self._objects.get(name)

    def get(self, name: str, generation: int | None, preconditions: Preconditions) -> Resource:
        with self._storage.lock:
            resource = self._found(name, generation)
            preconditions.check(resource, reading=True)
            return dict(resource)

    def _found(self, name: str, generation: int | None) -> Resource:
        resource = self._objects.get(name)
        if resource is None or (generation is not None and int(resource["generation"]) != generation):
            raise object_missing(self.name, name)
        return resource

    def data_path(self, resource: Resource) -> Path:
        return self._objects_folder / f"{resource['_data']}.data"

    def list_page(self, prefix: str, after: str, most: int) -> tuple[list[Resource], str | None]:
        """At most `most` live objects in name order, and the name to go on after, if there are more."""
        with self._storage.lock:
            start = max(
                bisect.bisect_left(self._names, prefix), bisect.bisect_right(self._names, after) if after else 0
            )
            found: list[Resource] = []
            for index in range(start, len(self._names)):
                name = self._names[index]
                if not name.startswith(prefix):
                    break
                if len(found) == most:
                    return found, str(found[-1]["name"])
                found.append(self._objects[name])
            return found, None

    def everything(self) -> Iterator[Resource]:
        with self._storage.lock:
            yield from [self._objects[name] for name in self._names]

    def put(self, sent: Resource, data: Path, preconditions: Preconditions) -> Resource:
        """Create the object from the file `data`, or change nothing.

        1. Check the preconditions, and that no hold or retention keeps the object under that name.
        2. Take a new generation and link the data under it; the caller removes its own name of the file.
        3. Write the resource: from its rename on the new object exists.
        4. Remove the data of the former object.
        """
        with self._storage.lock:
            name = str(sent["name"])
            former = self._objects.get(name)
            preconditions.check(former)
            if former:
                self.refuse_if_kept(former)
            generation = self._storage.new_generation()
            resource = self._new_object(sent, generation)
            # A link, not a rename: a kill between here and the resource leaves the session with its bytes.
            self.data_path(resource).hardlink_to(data)
            self.save(resource)
            if former:
                self.data_path(former).unlink(missing_ok=True)
            return dict(resource)

    def _new_object(self, sent: Resource, generation: int) -> Resource:
        now = self._storage.clock.now()
        name = sent["name"]
        resource: Resource = {
            "kind": "storage#object",
            "id": f"{self.name}/{name}/{generation}",
            "bucket": self.name,
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "storageClass": self.settings["storageClass"],
            "etag": "",
            "timeCreated": rfc3339(now),
            "updated": rfc3339(now),
            "timeFinalized": rfc3339(now),
            "timeStorageClassUpdated": rfc3339(now),
            "_data": str(generation),
        } | sent
        if self.settings.get("defaultEventBasedHold") and "eventBasedHold" not in sent:
            resource["eventBasedHold"] = True
        self._set_retention(resource, now)
        return resource

    def _set_retention(self, resource: Resource, since: float) -> None:
        """Set when the retention ends. An event-based hold keeps the period from starting.

        Source: https://cloud.google.com/storage/docs/object-holds
        """
        resource["_retained_from"] = since
        period = (self.settings.get("retentionPolicy") or {}).get("retentionPeriod")
        if period is not None and not resource.get("eventBasedHold"):
            resource["retentionExpirationTime"] = rfc3339(since + int(period))

    def save(self, resource: Resource) -> None:
        """Commit the resource: on disk by a rename, then in memory."""
        name = str(resource["name"])
        # The service changes the ETag with each generation and metageneration; its text means nothing.
        resource["etag"] = hashlib.md5(f"{resource['generation']}/{resource['metageneration']}".encode()).hexdigest()
        write_json(self._resource_path(name), resource)
        if name not in self._objects:
            bisect.insort(self._names, name)
        self._objects[name] = resource

    def _resource_path(self, name: str) -> Path:
        # A digest, because an object's name may have slashes and 1,024 bytes, a file's 255.
        return self._objects_folder / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"

    def patch(
        self, name: str, generation: int | None, changes: Resource, preconditions: Preconditions, *, replace: bool
    ) -> Resource:
        """Change writable fields; `replace` (the API's update) drops custom metadata that is not named."""
        with self._storage.lock:
            resource = dict(self._found(name, generation))
            preconditions.check(resource)
            now = self._storage.clock.now()
            # The retention period of an object begins when its event-based hold is released.
            released = resource.get("eventBasedHold") and changes.get("eventBasedHold") is False
            for key in set(WRITABLE) & set(changes):
                _change(resource, key, changes[key], replace=replace)
            if resource.get("eventBasedHold"):
                resource.pop("retentionExpirationTime", None)
            elif released:
                self._set_retention(resource, now)
            resource["metageneration"] = str(int(resource["metageneration"]) + 1)
            resource["updated"] = rfc3339(now)
            self.save(resource)
            return dict(resource)

    def delete(self, name: str, generation: int | None, preconditions: Preconditions) -> None:
        with self._storage.lock:
            resource = self._found(name, generation)
            preconditions.check(resource)
            self.refuse_if_kept(resource)
            self.forget(resource)

    def forget(self, resource: Resource) -> None:
        """Remove the object without asking for holds and retention."""
        with self._storage.lock:
            name = str(resource["name"])
            self._resource_path(name).unlink()
            self.data_path(resource).unlink(missing_ok=True)
            del self._objects[name]
            self._names.remove(name)

    def refuse_if_kept(self, resource: Resource) -> None:
        if resource.get("temporaryHold"):
            raise answers.under_hold(self.name, str(resource["name"]), "Temporary")
        if resource.get("eventBasedHold"):
            raise answers.under_hold(self.name, str(resource["name"]), "Event-Based")
        until = resource.get("retentionExpirationTime")
        if until and from_rfc3339(until) > self._storage.clock.now():
            raise answers.retained(self.name, str(resource["name"]), until)


def _change(resource: Resource, key: str, value: Any, *, replace: bool) -> None:
    if value is None:
        resource.pop(key, None)
    elif key == "metadata" and not replace:
        merged = resource.get("metadata", {}) | value
        resource["metadata"] = {name: text for name, text in merged.items() if text is not None}
    else:
        resource[key] = value


def check_name(name: object) -> str:
    """Return a valid object name, or refuse with 400. Source: https://cloud.google.com/storage/docs/objects#naming"""
    if not name or not isinstance(name, str):
        raise answers.Refusal(400, "required", "Required")
    if len(name.encode()) > MAX_NAME_BYTES or "\r" in name or "\n" in name or name in {".", ".."}:
        raise invalid(f"Invalid object name: '{name[:100]}'")
    return name
