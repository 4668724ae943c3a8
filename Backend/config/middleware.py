"""What every request and answer passes first: no uploads of files, and a policy for what a page may load."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

API = "/api/"
ADMIN = "/admin/"

_COMMON = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
STRICT_POLICY = _COMMON
ADMIN_POLICY = f"{_COMMON}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
"""The admin's theme evaluates expressions that stand in its pages' attributes (Alpine.js)."""

Handler = Callable[[HttpRequest], HttpResponse]


class NoMultipart:
    """Nothing here takes files. A multipart body would be written to /tmp before anybody has signed in: 415, unread."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (request.content_type or "").strip().lower().startswith("multipart/"):
            return refusal(request, 415, "A multipart body is not taken: send JSON or a plain form.")
        return self._get_response(request)


class ContentSecurityPolicy:
    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        policy = ADMIN_POLICY if request.path.startswith(ADMIN) else STRICT_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response


def refusal(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """An answer without a view: as the API words it below its path, as text elsewhere."""
    if request.path.startswith(API):
        return JsonResponse({"detail": detail}, status=status)
    return HttpResponse(f"{detail}\n", status=status, content_type="text/plain; charset=utf-8")
