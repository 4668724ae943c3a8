"""`manage.py serve` and its children: they end with it, whatever ends it, and a home has one of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.web_server import PATIENCE_SECONDS, WebServer, descendants, runs, until

SITE = {"GCP_STORAGE_USE_GCS": "False"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[WebServer]:
    with WebServer(tmp_path, settings=SITE) as running:
        until(lambda: len(descendants(running.process.pid)) >= 2, "both children")
        yield running


def test_children_end_with_a_supervisor_that_was_killed(served: WebServer) -> None:
    children = descendants(served.process.pid)
    served.process.kill()
    served.process.wait()
    until(lambda: not any(map(runs, children)), "the end of the children")


def test_second_serve_on_one_home_ends_with_a_line(served: WebServer) -> None:
    other = [*served.command[:2], "serve", "--port", "0"]
    done = subprocess.run(
        other, env=served.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 1
    assert "runs already" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert served.answers()


def test_address_is_printed_at_once_into_a_file(served: WebServer) -> None:
    assert f"Coldreel listens on http://127.0.0.1:{served.port}/" in served.log_text()


def test_serve_from_another_folder_survives_without_a_reader(tmp_path: Path) -> None:
    """Its standard error is a pipe whose reader is gone."""
    served = WebServer(tmp_path, "--no-worker", settings=SITE, cwd=Path("/"))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        served.command, env=served.environment, stdout=writer, stderr=writer, cwd="/", start_new_session=True
    )
    served.process = process
    os.close(writer)
    try:
        until(served.answers, "the web server")
        os.close(reader)
        (web,) = descendants(process.pid)
        os.kill(web, signal.SIGKILL)
        until(lambda: bool(set(descendants(process.pid)) - {web}) and served.answers(), "the web server again")
        assert process.poll() is None
    finally:
        served.kill()
