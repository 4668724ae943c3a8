"""A response of the bucket, from libcurl or from a library; and the object that a response describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from offload.digest import from_base64
from offload.errors import TryAgain
from offload.store import ObjectInfo

MESSAGE_LIMIT_CHARACTERS = 300
_SECRET_LOOKING = re.compile(r"\S*(?:://|upload_id|X-Goog-Signature)\S*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """A status, its headers (names in lower case) and the first bytes of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """The API's own word for what went wrong: ``errors[0].reason``, or ``""``.

        https://cloud.google.com/storage/docs/json_api/v1/status-codes
        """
        listed = self._error().get("errors")
        first = listed[0] if isinstance(listed, list) and listed else None
        return str(first.get("reason", "")) if isinstance(first, dict) else ""

    @property
    def message(self) -> str:
        """The API's sentence for people, without anything that looks like an address (P10).

        Empty where the body is not the API's JSON: Google's HTML error pages quote the URL that was asked for.
        """
        text = _SECRET_LOOKING.sub("…", str(self._error().get("message", "")))
        return "".join(c for c in text if c.isprintable())[:MESSAGE_LIMIT_CHARACTERS]

    @property
    def retry_after_seconds(self) -> float | None:
        """``Retry-After`` in seconds; as a date it counts from the answer's own ``Date``."""
        asked = self.headers.get("retry-after", "").strip()
        if asked.isdecimal():
            return float(asked)
        until, now = _http_date(asked), _http_date(self.headers.get("date", ""))
        return max(0.0, (until - now).total_seconds()) if until and now else None

    def document(self) -> Mapping[str, Any]:
        """The JSON object in the body. Raises TryAgain where there is none."""
        found = _json_object(self.body)
        if found is None:
            raise TryAgain(f"The bucket's answer ({self.status}) could not be read.")
        return found

    def _error(self) -> Mapping[str, Any]:
        found = (_json_object(self.body) or {}).get("error")
        return found if isinstance(found, dict) else {}


def object_info(resource: Mapping[str, Any]) -> ObjectInfo:
    """The object that a JSON resource describes. Raises TryAgain where it lacks what every object has.

    https://cloud.google.com/storage/docs/json_api/v1/objects#resource
    """
    try:
        expires = resource.get("retentionExpirationTime")
        return ObjectInfo(
            bucket=str(resource["bucket"]),
            name=str(resource["name"]),
            generation=int(resource["generation"]),
            metageneration=int(resource["metageneration"]),
            size_bytes=int(resource["size"]),
            crc32c=from_base64(str(resource["crc32c"])),
            stored_at=datetime.fromisoformat(resource["timeCreated"]),
            metadata=dict(resource.get("metadata") or {}),
            temporary_hold=bool(resource.get("temporaryHold")),
            event_based_hold=bool(resource.get("eventBasedHold")),
            retention_expires_at=datetime.fromisoformat(expires) if expires else None,
            storage_class=resource.get("storageClass"),
            content_type=resource.get("contentType"),
        )
    except (KeyError, ValueError, TypeError):
        raise TryAgain("The bucket's description of an object could not be read.") from None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _http_date(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # a date is rare, and its parser slow to load

    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
