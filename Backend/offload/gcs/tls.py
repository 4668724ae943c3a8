"""Makes `requests` trust one CA file, the same as libcurl. Imported late, because `requests` costs memory."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter


class TrustingAdapter(HTTPAdapter):
    """Sets ``verify`` on every request: a session's own would give way to the variable REQUESTS_CA_BUNDLE.

    https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification
    """

    def __init__(self, ca_file: str, **settings: Any) -> None:
        self._ca_file = ca_file
        super().__init__(**settings)

    def send(self, request: Any, *args: Any, **settings: Any) -> Any:
        return super().send(request, *args, **{**settings, "verify": self._ca_file})


def trust(session: requests.Session, ca_file: str, *, connections: int) -> requests.Session:
    """Make `session` trust `ca_file` alone and keep up to `connections` connections."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, TrustingAdapter(ca_file, pool_maxsize=connections))
    return session
