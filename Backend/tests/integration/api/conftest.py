"""A client of the HTTP API for each role."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.users.models import User
from apps.users.tokens import tokens_issue


class Api:
    """Calls below /api/v0 as one user, or without a token. `token` replaces the user's own."""

    def __init__(self, user: User | None = None, *, token: str | None = None) -> None:
        access = token if token is not None or user is None else tokens_issue(user).access
        headers = {} if access is None else {"authorization": f"Bearer {access}"}
        self._client = Client(headers=headers, raise_request_exception=False)

    def __call__(self, method: str, path: str, body: Any = None, **query: Any):
        return self._client.generic(
            method,
            f"/api/v0{path}",
            data=b"" if body is None else body if isinstance(body, bytes) else _json(body),
            content_type="application/json",
            query_params=query,
        )

    def get(self, path: str, **query: Any):
        return self("GET", path, **query)

    def post(self, path: str, body: Any = None):
        return self("POST", path, body)

    def put(self, path: str, body: Any = None):
        return self("PUT", path, body)

    def delete(self, path: str):
        return self("DELETE", path)


def _json(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()


@pytest.fixture
def anonymous(db) -> Api:
    return Api()


@pytest.fixture
def admin(admin_user) -> Api:
    return Api(admin_user)


@pytest.fixture
def dev(dev_user) -> Api:
    return Api(dev_user)


@pytest.fixture
def visitor(visitor_user) -> Api:
    return Api(visitor_user)


@pytest.fixture
def superadmin(superadmin_user) -> Api:
    return Api(superadmin_user)
