"""Errors of the HTTP API: always ``{"detail": "a sentence"}``, and never a trace, a path, a credential (P10)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.urls import URLPattern, re_path
from django.views.defaults import bad_request as standard_bad_request
from django.views.defaults import server_error as standard_server_error
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from apps.cctv.selectors.paging import CursorRefused
from apps.cctv.selectors.snapshots import READING, one_snapshot
from apps.cctv.services import Conflict, NotConfigured, NotFound, NotPermitted
from apps.cctv.services.disk_reserve import log_disk_full
from apps.cctv.tables.moves import MoveRefused
from apps.users.login import LoginDelayed, LoginRefused
from apps.users.tokens import TokenRefused

log = structlog.get_logger("coldreel.api")

MOST_FIELD_ERRORS = 100
_OUTER_PLACES = frozenset({"body", "query", "path"})
"""Where ninja found a field: of no use in a sentence."""

MEANING: dict[int, str] = {
    400: "GCP storage is not configured.",
    401: "No valid token, or a wrong name or password.",
    403: "The caller's role does not have the permission.",
    404: "It does not exist, or is hidden from the caller.",
    409: "The state of things forbids it.",
    413: "The body is larger than 1 MiB.",
    422: "The body or a parameter is malformed: `errors` lists the fields.",
    429: "Too many attempts to log in: `Retry-After` says for how many seconds.",
    500: "A fault of Coldreel; the log has it.",
    503: "The disk of this installation is full: nothing can be written.",
}
"""What each status of an error says, for the OpenAPI document."""

DISK_FULL = "The disk is full, so nothing can be written. What is uploaded is cleaned up first; try again in a moment."
DISK_FULL_HEADERS = {"Retry-After": "10"}

Answer = Callable[[HttpRequest, Any], HttpResponse]


class Unauthorized(Exception):
    """No valid token."""


class Forbidden(Exception):
    """The caller's role does not have the permission."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return JsonResponse({"detail": detail}, status=status, headers=dict(headers or {}))


def malformed(errors: Sequence[Mapping[str, Any]]) -> HttpResponse:
    """422: the first field that is wrong in a sentence, and which fields beside it, at most `MOST_FIELD_ERRORS`.

    Never what was sent: it may be a password.
    """
    shown = [{"type": e["type"], "loc": list(e["loc"]), "msg": e["msg"]} for e in errors[:MOST_FIELD_ERRORS]]
    place = ".".join(str(part) for part in errors[0]["loc"] if part not in _OUTER_PLACES)
    sentence = f"{place}: {errors[0]['msg']}" if place else str(errors[0]["msg"])
    more = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
    return JsonResponse({"detail": f"{sentence.rstrip('.')}.{more}", "errors": shown}, status=422)


def describe(document: dict[str, Any]) -> None:
    """Put the meaning of each error into an OpenAPI document, its answers in order."""
    for operation in (found for path in document["paths"].values() for found in path.values()):
        answers = operation["responses"]
        for status in sorted(answers):
            answers[status] = answers.pop(status)
            answers[status]["description"] = MEANING.get(status, answers[status]["description"])
        if 429 in answers:  # noqa: PLR2004
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            answers[429]["headers"] = {"Retry-After": seconds}


def install(api: NinjaAPI) -> None:
    """Give `api` an answer to every exception."""
    for kind, answer in _ANSWERS.items():
        api.add_exception_handler(kind, answer)


def _with_detail(status: int) -> Answer:
    return lambda _request, error: problem(status, str(error))


def _login_delayed(_request: HttpRequest, error: LoginDelayed) -> HttpResponse:
    seconds = error.retry_after_seconds
    detail = f"Too many attempts to log in. Try again in {seconds} second{'' if seconds == 1 else 's'}."
    return problem(429, detail, {"Retry-After": str(seconds)})


def _fields(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    return malformed(error.errors)


def _framework(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Raised by our own parser, before the body was taken apart.
    if isinstance(error.__cause__, ValidationError):
        return _fields(request, error.__cause__)
    # The framework's only other 400 is a body that is no JSON: malformed, so 422 here.
    if error.status_code == 400:  # noqa: PLR2004
        return malformed([{"type": "json_invalid", "loc": ["body"], "msg": "The body is not valid JSON."}])
    return problem(error.status_code, error.message)


def _fault(request: HttpRequest, error: Exception) -> HttpResponse:
    if log_disk_full("request_failed", error, path=request.path):
        return problem(503, DISK_FULL, DISK_FULL_HEADERS)
    log.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return problem(500, "Internal error")


_ANSWERS: dict[type[Exception], Answer] = {
    NotConfigured: _with_detail(400),
    NotPermitted: _with_detail(403),
    NotFound: _with_detail(404),
    # Django's own text names the model that was asked for.
    Http404: lambda _request, _error: problem(404, "Not found"),
    Conflict: _with_detail(409),
    MoveRefused: _with_detail(409),
    Unauthorized: lambda _request, error: problem(401, str(error), {"WWW-Authenticate": "Bearer"}),
    # Which check refused a token is nothing that its sender has to know.
    TokenRefused: lambda _request, _error: problem(401, "The token is invalid or expired."),
    Forbidden: _with_detail(403),
    LoginRefused: lambda _request, _error: problem(401, "No active account has that name and password."),
    LoginDelayed: _login_delayed,
    CursorRefused: lambda _request, error: malformed(
        [{"type": "cursor", "loc": ["query", "cursor"], "msg": str(error)}]
    ),
    ValidationError: _fields,
    HttpError: _framework,
    RequestDataTooBig: lambda _request, _error: problem(413, "The body is too large."),
    SuspiciousOperation: lambda _request, _error: problem(400, "The request is not valid."),
    # The client went away in the middle: no fault of ours, and nothing for the log.
    UnreadablePostError: lambda _request, _error: problem(400, "The body ended early."),
    Exception: _fault,
}


# --- What a page could not answer ------------------------------------------------------------------
def server_error(request: HttpRequest) -> HttpResponse:
    """Django's page for whatever a view raised; a full disk has one of its own, which asks the database nothing."""
    error = sys.exc_info()[1]
    return (error and _disk_full_page(request, error)) or standard_server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django takes a session that cannot be written for one that was deleted, and the request for a bad one."""
    if found := _disk_full_page(request, exception):
        return found
    # Refused before any route of the API was found, for example at a foreign host name.
    if request.path.startswith("/api/"):
        return problem(400, "The request is not valid.")
    return standard_bad_request(request, exception)


def _disk_full_page(request: HttpRequest, error: BaseException) -> HttpResponse | None:
    if not log_disk_full("request_failed", error, path=request.path):
        return None
    return HttpResponse(_DISK_FULL_PAGE, status=503, headers=DISK_FULL_HEADERS)


_DISK_FULL_PAGE = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>The disk is full</title></head>
<body><h1>The disk is full</h1><p>{DISK_FULL}</p><p><a href="">Try again</a></p></body>
</html>
"""


# --- What no route answers ------------------------------------------------------------------------
def routes_of(api: NinjaAPI) -> tuple[list[URLPattern], str, str]:
    """The API's URL patterns, with JSON also for unknown methods and unknown paths."""
    patterns, app_name, namespace = api.urls
    routes = [
        URLPattern(
            found.pattern,
            _answers_in_json(found.callback, asks_database=found.name not in _DOCUMENTS),
            found.default_args,
            found.name,
        )
        for found in patterns
        if isinstance(found, URLPattern)
    ]
    # Last: Django takes the first pattern that fits.
    return [*routes, re_path("", _no_such_path)], app_name, namespace


def _answers_in_json(view: Callable[..., HttpResponse], *, asks_database: bool) -> Callable[..., HttpResponse]:
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with one_snapshot() if asks_database and request.method in READING else nullcontext():
                response = view(request, *args, **kwargs)
        except Http404:
            return _no_such_path(request)
        except Exception as error:  # noqa: BLE001 - the framework answers its own; this is a database that is away
            return _fault(request, error)
        # The framework answers an unknown method in plain text.
        if response.status_code == 405:  # noqa: PLR2004
            return problem(405, "This path does not know that method.", {"Allow": response.headers["Allow"]})
        return response

    return answer


_DOCUMENTS = frozenset({"openapi-json", "openapi-view"})
"""What describes the API is there without a database."""


def _no_such_path(request: HttpRequest) -> HttpResponse:
    hint = "" if request.path.endswith("/") else " Paths end with a slash."
    return problem(404, f"There is no such path.{hint}")


_no_such_path.csrf_exempt = True  # type: ignore[attr-defined]
