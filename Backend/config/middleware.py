"""What every request passes before its view: no file uploads, and a policy for what a page may load."""

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
"""The theme of the admin evaluates expressions in attributes of its pages (Alpine.js)."""

Handler = Callable[[HttpRequest], HttpResponse]


class NoMultipart:
    """Answers 415 to a multipart body without reading it: no page takes files.

    Django would write its parts to /tmp, and it would do so before the sender has signed in.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (request.content_type or "").strip().lower().startswith("multipart/"):
            return refusal(request, 415, "A multipart body is not accepted: send JSON or a plain form.")
        return self._get_response(request)


class ContentSecurityPolicy:
    """Gives each answer a policy of its own: the strict one, or below `/admin/` the one that its theme needs."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        policy = ADMIN_POLICY if request.path.startswith(ADMIN) else STRICT_POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response


def refusal(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """An answer without a view: JSON in the shape of the API's errors below `/api/`, plain text elsewhere."""
    if request.path.startswith(API):
        return JsonResponse({"detail": detail}, status=status)
    return HttpResponse(f"{detail}\n", status=status, content_type="text/plain; charset=utf-8")
