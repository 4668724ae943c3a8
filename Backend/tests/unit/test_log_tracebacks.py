"""A fault is logged with its trace, and without what the variables held (P10)."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, structlog, sys
from config.logs import logging_config
logging_config({format!r}, level="INFO")
def send(session_uri):
    raise ValueError("a fault")
try:
    send("https://storage.example/upload?upload_id=" + sys.argv[1])  # an argument: 3.13 shows the source
except ValueError:
    {call}
"""
CALLS = {
    "Django's": 'logging.getLogger("django.request").exception("Internal Server Error")',
    "Coldreel's": 'structlog.get_logger("coldreel.upload").exception("upload_fault")',
}


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize("logger", CALLS)
def test_a_trace_in_the_log_holds_no_variables(log_format: str, logger: str) -> None:
    program = PROGRAM.format(format=log_format, call=CALLS[logger])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "A-KEY"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "a fault" in done.stderr
    assert "Traceback" in done.stderr
    assert "A-KEY" not in done.stderr
