"""Permissions of the API: a bearer token names the user, and the route the permission that the user needs."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import HttpBearer

from apps.cctv.http.problems import Forbidden, Unauthorized
from apps.users.models import User
from apps.users.permissions import Permission, may
from apps.users.tokens import TokenRefused, user_of_access

__all__ = ["BearerToken", "Permission", "caller", "may"]


class BearerToken(HttpBearer):
    """The user of the access token, if that user has `permission` at this moment.

    Raises Unauthorized (401) without a good token, Forbidden (403) without the permission; both before
    the request's body or parameters are looked at.
    """

    openapi_bearerFormat = "JWT"  # noqa: N815 - OpenAPI's own spelling
    openapi_description = "The `access` token of `POST /api/v0/token/`."

    def __init__(self, permission: Permission) -> None:
        super().__init__()
        self.permission = permission

    def __call__(self, request: HttpRequest) -> User:
        # Not the framework's own: with DEBUG that one logs the header it does not understand (P10).
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.openapi_scheme:
            raise Unauthorized("Expected a bearer token.")
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> User:
        try:
            user = user_of_access(token)
        except TokenRefused as error:
            raise Unauthorized("The token is invalid or expired.") from error
        if not may(user, self.permission):
            raise Forbidden(f"The role {user.role} may not {self.permission.value}.")
        request.user = user
        return user


def caller(request: HttpRequest) -> User:
    """The user that `BearerToken` found."""
    user: User = request.auth  # type: ignore[attr-defined]
    return user
