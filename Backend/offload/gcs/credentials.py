"""The credentials for Google, loaded by google-auth when first needed, and one token for all threads.

google-auth is imported late: with an emulator no upload needs it, and it costs memory.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from offload.errors import OffloadError, Reason, StopAndTell, TryAgain
from offload.gcs.error_rules import connection_error

SCOPES = ("https://www.googleapis.com/auth/devstorage.full_control",)
"""Setting a hold is a change of metadata, which read_write does not allow ("Provided scope(s) are not
authorized", https://github.com/talkiq/gcloud-aio/issues/928). What the account may really do is IAM's matter."""
TOKEN_SECONDS = 20
"""How long to wait for Google's token service."""


class Identity:
    """The credentials, and headers made from them. Safe to share between threads.

    `path` names a key file, of a service account or of workload identity federation; without one
    Application Default Credentials are looked for. `anonymous` is for an emulator.
    """

    def __init__(self, *, path: str | None, anonymous: bool, ca_file: str) -> None:
        self._path = path
        self._anonymous = anonymous
        self._ca_file = ca_file
        self._lock = threading.RLock()
        self._loaded: Any = None
        self._channel: Any = None

    def credentials(self) -> Any:
        """google-auth's object. Raises StopAndTell CREDENTIALS_REFUSED where no usable credentials are found."""
        with self._lock:
            if self._loaded is not None:
                return self._loaded
            with translated_auth_errors():
                from google.auth import credentials, default

                if self._anonymous:
                    anonymous: Any = credentials.AnonymousCredentials
                    self._loaded = anonymous()
                elif self._path:
                    self._loaded = _load_file(Path(self._path))
                else:
                    self._loaded = default(scopes=SCOPES, request=self.channel())[0]
            return self._loaded

    def headers(self) -> dict[str, str]:
        """Headers that authorise a request, with a token that is not about to expire."""
        if self._anonymous:
            return {}
        with self._lock:
            made: dict[str, str] = {}
            credentials = self.credentials()
            with _readable_tokens():
                credentials.before_request(self.channel(), "POST", "https://storage.googleapis.com/", made)
            return made

    def renewed_headers(self, refused: dict[str, str]) -> dict[str, str] | None:
        """Headers with another token than the `refused` ones; None where there can be no other.

        Of many threads whose token was refused, one fetches the next.
        """
        if self._anonymous:
            return None
        # Another thread may have renewed it while this one waited for the lock.
        with self._lock:
            now = self.headers()
            if now.get("authorization") == refused.get("authorization"):
                with _readable_tokens():
                    self.credentials().refresh(self.channel())
                now = self.headers()
            return now

    def channel(self) -> Any:
        """The transport through which google-auth asks its token service."""
        import requests
        from google.auth.transport.requests import Request

        from offload.gcs.tls import trust

        with self._lock:
            if self._channel is None:
                self._channel = Request(trust(requests.Session(), self._ca_file, connections=1))
            return _Patient(self._channel)


class _Patient:
    """A channel with a time-out of TOKEN_SECONDS: google-auth's own is two minutes, longer than any lease."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __call__(self, *args: Any, timeout: Any = None, **kwargs: Any) -> Any:
        """`timeout` may be a pair too, of connecting and answering."""
        short = isinstance(timeout, (int, float)) and timeout < TOKEN_SECONDS
        return self._channel(*args, timeout=timeout if short else TOKEN_SECONDS, **kwargs)


def _load_file(path: Path) -> Any:
    """Credentials of a JSON file. An error names the file, never what is in it (P10)."""
    try:
        info = json.loads(path.read_bytes())
        kind = info["type"]
        if kind == "service_account":
            from google.oauth2 import service_account

            account: Any = service_account.Credentials
            return account.from_service_account_info(info, scopes=SCOPES)
        if kind == "external_account":
            # Workload identity federation; AWS has a way of its own: https://google.aip.dev/auth/4117
            from google.auth import aws, identity_pool

            environment = str((info.get("credential_source") or {}).get("environment_id", ""))
            federated = aws if environment.startswith("aws") else identity_pool
            return federated.Credentials.from_info(info, scopes=SCOPES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _refused(f"The credentials file {path.name} cannot be read as a Google key.") from None
    raise _refused(
        f"The credentials file {path.name} is neither a service account's key nor a workload identity configuration."
    )


@contextmanager
def translated_auth_errors() -> Iterator[None]:
    """Translates google-auth's exceptions. Their texts quote addresses and responses, so none is repeated (P10)."""
    from google.auth import exceptions

    try:
        yield
    except exceptions.GoogleAuthError as error:
        raise _translated(error) from None


@contextmanager
def _readable_tokens() -> Iterator[None]:
    """Turns Python's own errors into TryAgain: google-auth raises them where the answer has no token in it.

    For example a captive portal answers with a web page.
    """
    try:
        with translated_auth_errors():
            yield
    except (TypeError, ValueError, KeyError, AttributeError):
        raise TryAgain("The answer of Google's token service could not be read.") from None


def _translated(error: Any) -> OffloadError:
    from google.auth import exceptions

    if isinstance(error, (exceptions.TransportError, exceptions.TimeoutError)):
        return connection_error(error, "Google's token service was not reached")
    if error.retryable:
        return TryAgain("Google's token service asked to try again.")
    if isinstance(error, exceptions.DefaultCredentialsError):
        return _refused("No usable Google credentials were found.")
    return _refused("Google refused the credentials.")


def _refused(detail: str) -> StopAndTell:
    return StopAndTell(detail, code=Reason.CREDENTIALS_REFUSED)
