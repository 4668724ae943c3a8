"""V4 signed URLs: parameters, expiry, and the signature where the signer's key was given at the start.

Source: https://cloud.google.com/storage/docs/authentication/canonical-requests
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gcs_emulator.answers import Refusal
from gcs_emulator.clock import EmulatorClock
from gcs_emulator.request import Request

PARAMETERS = (
    "X-Goog-Algorithm", "X-Goog-Credential", "X-Goog-Date", "X-Goog-Expires", "X-Goog-SignedHeaders",
    "X-Goog-Signature",
)  # fmt: skip
LONGEST_SECONDS = 604_800
"""https://cloud.google.com/storage/docs/access-control/signed-urls"""


class SignatureCheck:
    """`key` is a service account's JSON key file; without one every well-formed signature passes."""

    def __init__(self, key: Path | None, clock: EmulatorClock) -> None:
        self._clock = clock
        self._key: Any = None
        if key is not None:
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            account = json.loads(key.read_text(encoding="utf-8"))
            self._email = account["client_email"]
            self._key = load_pem_private_key(account["private_key"].encode(), password=None)

    def check(self, request: Request) -> None:
        """Refuse as the XML API does: 403 without a signature, 400 for an expired one."""
        if "X-Goog-Signature" not in request.query:
            raise _xml(403, "AccessDenied", "Access denied.")
        if missing := [name for name in PARAMETERS if name not in request.query]:
            raise _xml(400, "AuthorizationQueryParametersError", f"Missing {', '.join(missing)}.")
        query = request.query
        if query["X-Goog-Algorithm"] != "GOOG4-RSA-SHA256" or not query["X-Goog-Expires"].isdigit():
            raise _xml(400, "AuthorizationQueryParametersError", "Invalid X-Goog-Algorithm or X-Goog-Expires.")
        self._check_time(query["X-Goog-Date"], int(query["X-Goog-Expires"]))
        if self._key is not None:
            self._check_signature(request)

    def _check_time(self, date: str, expires_seconds: int) -> None:
        try:
            signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError as error:
            raise _xml(400, "AuthorizationQueryParametersError", "Invalid X-Goog-Date.") from error
        if expires_seconds > LONGEST_SECONDS:
            raise _xml(400, "AuthorizationQueryParametersError", "X-Goog-Expires is at most a week.")
        if self._clock.now() > signed_at + expires_seconds:
            raise _xml(400, "ExpiredToken", "The provided token has expired.")

    def _check_signature(self, request: Request) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        email, _, scope = request.query["X-Goog-Credential"].partition("/")
        hashed = hashlib.sha256(_canonical(request).encode()).hexdigest()
        text = "\n".join(("GOOG4-RSA-SHA256", request.query["X-Goog-Date"], scope, hashed))
        try:
            signature = bytes.fromhex(request.query["X-Goog-Signature"])
            self._key.public_key().verify(signature, text.encode(), PKCS1v15(), SHA256())
        except (ValueError, InvalidSignature) as error:
            raise _mismatch() from error
        if email != self._email:
            raise _mismatch()


def _canonical(request: Request) -> str:
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(request.query.items())
        if name != "X-Goog-Signature"
    )
    names = request.query["X-Goog-SignedHeaders"].split(";")
    headers = "".join(f"{name}:{' '.join((request.headers.get(name) or '').split())}\n" for name in names)
    return "\n".join((request.method, request.path, query, headers, ";".join(names), "UNSIGNED-PAYLOAD"))


def _mismatch() -> Refusal:
    message = "Access denied. The request signature we calculated does not match the signature you provided."
    return _xml(403, "SignatureDoesNotMatch", message)


def _xml(status: int, code: str, message: str) -> Refusal:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Refusal(status, code, text, plain=True, headers={"Content-Type": "application/xml; charset=UTF-8"})
