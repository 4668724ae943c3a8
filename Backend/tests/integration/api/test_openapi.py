"""The OpenAPI document, and whatever it allows thrown at the application."""

from __future__ import annotations

import json
import re

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from apps.cctv.api import api
from apps.users.tokens import tokens_issue
from offload.states import State
from tests.integration.db import rows

OF_ANSWERS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

schema = schemathesis.openapi.from_wsgi("/api/v0/openapi.json", WSGIHandler())


@pytest.fixture
def ids(make_recording, bucket) -> dict[str, str]:
    """Things that exist, by the name of their path parameter."""
    recording = make_recording("known.mp4")
    return {
        "recording_id": str(recording.pk),
        "camera_id": str(recording.camera_id),
        "transfer_id": str(rows.transfer(State.FAILED, of=recording).pk),
    }


@pytest.fixture
def headers(admin_user) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens_issue(admin_user).access}"}


@pytest.mark.django_db(transaction=True)  # a real request closes its connection, and a test's transaction with it
@schema.parametrize()
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_input_meets_a_fault_or_undeclared_answer(case, ids, headers):
    # An unknown query parameter is ignored, and a made-up cursor is refused.
    excluded = [negative_data_rejection, *([positive_data_acceptance] if "cursor" in (case.query or {}) else [])]
    case.call_and_validate(headers=headers, excluded_checks=excluded)
    if case.path_parameters:
        case.path_parameters = {name: ids[name] for name in case.path_parameters}
        case.call_and_validate(headers=headers, checks=OF_ANSWERS)


# --- The document ---------------------------------------------------------------------------------
def document() -> dict:
    return json.loads(json.dumps(api.get_openapi_schema()))


def operations() -> list[tuple[str, dict]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, item in document()["paths"].items()
        for method, operation in item.items()
    ]


@pytest.mark.parametrize(("route", "operation"), operations())
def test_operation_says_what_it_does_and_all_its_answers(route, operation):
    assert operation["summary"]
    assert re.fullmatch(r"[a-z_]+", operation["operationId"])
    answers = operation["responses"]
    assert {"401", "422", "500"} <= set(answers)
    assert all(answer["description"] for answer in answers.values())
    assert ("security" in operation) == ("403" in answers) == ("/token/" not in route)
    for status, answer in answers.items():
        assert ("content" in answer) == (status != "204")
    if "{" in route and "security" in operation:
        assert "404" in answers


def test_operation_ids_are_distinct():
    ids = [operation["operationId"] for _, operation in operations()]

    assert len(set(ids)) == len(ids)


def test_the_security_scheme_is_a_bearer_token():
    assert document()["components"]["securitySchemes"] == {
        "BearerToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The `access` token of `POST /api/v0/token/`.",
        }
    }


def test_the_document_is_served_without_a_token(anonymous):
    answer = anonymous.get("/openapi.json")

    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.")
    assert answer.json()["paths"].keys() == document()["paths"].keys()
