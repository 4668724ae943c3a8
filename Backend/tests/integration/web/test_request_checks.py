"""What a request meets before any view: hosts, kinds of bodies, and the policy that goes with every answer."""

from __future__ import annotations

import pytest
from django.test import Client

from config.middleware import ADMIN_POLICY, STRICT_POLICY

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/admin/login/", "/api/v0/token/", "/api/v0/recordings/transfer-to-gcp/", "/nothing"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "Multipart/Mixed; boundary=x"])
def test_multipart_body_is_refused_unread(path: str, kind: str) -> None:
    class Unread:
        def read(self, _size: int = -1) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    body = {"wsgi.input": Unread(), "CONTENT_TYPE": kind, "CONTENT_LENGTH": "300000000"}
    answer = Client().generic("POST", path, **body)
    assert answer.status_code == 415
    if path.startswith("/api/"):
        assert set(answer.json()) == {"detail"}


def test_foreign_host_is_refused_in_the_apis_words() -> None:
    answer = Client().get("/api/v0/recordings/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json() == {"detail": "The request is not valid."}
    assert Client().get("/admin/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/", STRICT_POLICY),
        ("/nothing", STRICT_POLICY),
        ("/api/v0/docs", STRICT_POLICY),
        ("/api/v0/recordings/", STRICT_POLICY),
        ("/static/cctv/coldreel.css", STRICT_POLICY),
        ("/admin/login/", ADMIN_POLICY),
    ],
)
def test_every_answer_has_a_policy_looser_in_the_admin(path: str, policy: str) -> None:
    answer = Client().get(path)
    assert answer.headers["Content-Security-Policy"] == policy
    answer.close()
    assert "unsafe" not in STRICT_POLICY
