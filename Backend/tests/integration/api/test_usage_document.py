"""docs/GCP_TRANSFER_API_USAGE.md says what the API does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.cctv.api import api
from apps.cctv.http.problems import MEANING
from apps.cctv.models import GCPVideoTransfer
from offload.errors import Reason
from tests.conftest import PASSWORD

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "GCP_TRANSFER_API_USAGE.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def schema() -> dict:
    return api.get_openapi_schema()


def test_it_names_every_route():
    assert [path for path in schema()["paths"] if f"{path}`" not in TEXT] == []


def test_it_names_every_field_and_parameter():
    fields = {
        name
        for kind, shape in schema()["components"]["schemas"].items()
        for name in shape.get("properties", {})
        if kind != "UserOut"
    }
    parameters = {
        parameter["name"]
        for path in schema()["paths"].values()
        for found in path.values()
        for parameter in found["parameters"]
    }

    assert [name for name in sorted(fields | parameters) if not re.search(rf"[`{{]{name}[`}}]|\?{name}=", TEXT)] == []


def test_it_names_every_status_of_an_error():
    assert [status for status in MEANING if f"| {status} |" not in TEXT] == []


def test_every_reason_it_names_exists():
    listed = re.search(r"The `reason` of a failure: (.*?)\. The file", TEXT, re.DOTALL)

    assert listed is not None
    assert set(re.findall(r"`(\w+)`", listed[1])) <= set(Reason)


@pytest.mark.django_db(transaction=True)
def test_its_python_runs_as_it_stands(live_server, admin_user, make_recording, bucket, capsys):
    (program,) = blocks("python")
    make_recording()
    make_recording("gone.mp4", write_file=False)
    program = program.replace("http://localhost:8000", live_server.url).replace('"…"', repr(PASSWORD))

    class Uploaded(Exception):
        """Raised in place of the first sleep: no worker runs here."""

    def end(_seconds: float) -> None:
        raise Uploaded

    with pytest.raises(Uploaded):
        exec(program.replace("time.sleep(5)", "end(5)"), {"end": end})

    output = capsys.readouterr().out
    assert "1 of 2 transfers started" in output
    assert "file_missing" in output
    assert "0 of 1 are uploaded and verified" in output
    assert GCPVideoTransfer.objects.count() == 1
