"""Errors: always JSON, never a trace, a path or a secret."""

from __future__ import annotations

import pytest

from apps.cctv import api as api_module
from apps.cctv.services import transfers


@pytest.mark.parametrize(
    "path", ["/", "/nothing/", "/recordings", "/recordings/a/b/c/", "/..%2f..%2fetc%2fpasswd", "/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_path_is_404_in_json(anonymous, method, path):
    answer = anonymous(method, path)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["detail"].startswith("There is no such path.")


def test_a_missing_slash_is_said_so(anonymous):
    assert anonymous.get("/recordings").json() == {"detail": "There is no such path. Paths end with a slash."}


@pytest.mark.parametrize("settings_debug", [True, False])
def test_unknown_method_of_a_path_is_405_in_json(admin, settings, settings_debug):
    settings.DEBUG = settings_debug

    answer = admin("PATCH", "/recordings/")

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert answer.json() == {"detail": "This path does not know that method."}


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.usefixtures("bucket")
def test_a_fault_shows_no_trace_and_is_logged(admin, settings, caplog, make_recording, debug):
    """The fault: a setting of the wrong kind."""
    make_recording()
    settings.DEBUG = debug
    settings.MEDIA_ROOT = object()

    answer = admin.post("/recordings/transfer-to-gcp/")

    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal error"}
    assert "request_failed" in caplog.text
    assert "TypeError" in caplog.text


def test_a_problem_names_no_path_of_this_machine(admin, settings, make_recording, bucket, tmp_path):
    make_recording("/etc/shadow", write_file=False)
    admin.post("/recordings/transfer-to-gcp/")
    make_recording("fine.mp4")
    assert admin.post("/recordings/transfer-to-gcp/").json()["initiated_transfers"] == 1
    settings.COLDREEL_INSTALLATION_ID, settings.COLDREEL_HOME = "", tmp_path

    answers = [
        admin.post("/recordings/transfer-to-gcp/"),
        admin.get("/recordings/gcp-transfers/"),
        admin.get("/nothing/"),
    ]

    assert answers[0].status_code == 409
    for answer in answers:
        assert b"/etc" not in answer.content
        assert str(tmp_path).encode() not in answer.content


def test_the_documents_are_served_without_any_other_host(anonymous, settings):
    settings.STATIC_URL = "/static/"
    page = anonymous.get("/docs")

    assert page.status_code == 200
    assert b"/static/ninja/swagger-ui-bundle.js" in page.content
    assert b"//cdn" not in page.content
    assert b"https://" not in page.content.replace(b"https://django-ninja.dev", b"")


def test_every_exception_of_the_services_has_an_answer():
    """The table of answers and the services' exceptions do not drift apart."""
    from apps.cctv import services
    from apps.cctv.http import problems

    raised = [kind for kind in vars(services).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {kind for kind in raised if kind is not services.ServiceError} <= set(problems._ANSWERS)
    assert transfers.NotConfigured in problems._ANSWERS
    assert api_module.api._exception_handlers.keys() >= problems._ANSWERS.keys()


@pytest.mark.parametrize(
    ("body", "detail", "errors"),
    [
        ({"batch_size": 21}, "batch_size: Input should be less than or equal to 20.", 1),
        ({"recording_ids": "all", "batch_size": 0}, "recording_ids: Input should be a valid list. And 1 more.", 2),
        ({"recording_ids": ["x"] * 150}, None, 100),
        (b"{", "The body is not valid JSON.", 1),
    ],
)
def test_malformed_body_is_told_with_its_fields(admin, bucket, body, detail, errors):
    answer = admin.post("/recordings/transfer-to-gcp/", body)

    assert answer.status_code == 422
    assert set(answer.json()) == {"detail", "errors"}
    assert isinstance(answer.json()["detail"], str)
    assert detail in {None, answer.json()["detail"]}
    assert len(answer.json()["errors"]) == errors
    assert all(set(field) == {"type", "loc", "msg"} for field in answer.json()["errors"])


@pytest.mark.parametrize(
    "path", ["/recordings/?cursor=x", "/recordings/?limit=0", "/cameras/none/", "/recordings/none/"]
)
def test_malformed_address_is_told_in_a_sentence(admin, path):
    answer = admin.get(path)

    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)
    assert answer.json()["errors"]
