"""Each measuring tool answers with help, with figures, or with a sentence about what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"

SOURCE = '''
import os


# A comment.
def public():
    """A docstring that does not count."""

    return _once()


def _once():
    return os.name
'''


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(TOOLS / tool), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("tool", ["measure_code.py", "trace_trip.py"])
def test_tool_tells_how_it_is_called(tool):
    done = run(tool, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {tool}")


def test_code_is_measured(tmp_path):
    (tmp_path / "module.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "test_module.py").write_text("def test_left_out(): ...\n", encoding="utf-8")
    done = run("measure_code.py", str(tmp_path))
    _head, row, _all = (line.split("  ") for line in done.stdout.splitlines())
    # One file, seven lines that are not blank, two functions of two lines, one of them private with one use.
    assert [cell.strip() for cell in row if cell][1:8] == ["1", "7", "2", "2", "50.0 %", "14.3 %", "1"]


@pytest.mark.parametrize(
    ("tool", "argument", "told"),
    [
        ("measure_code.py", "not-there", "no such file or folder: not-there"),
        ("measure_code.py", "--lists", "unrecognized arguments: --lists"),
        ("trace_trip.py", "download", "no such trip: download; choose from upload, cleanup"),
    ],
)
def test_wrong_input_is_named(tool, argument, told):
    done = run(tool, argument)
    assert done.returncode == 2
    assert told in done.stderr


def test_file_that_is_not_python_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def (:\n", encoding="utf-8")
    done = run("measure_code.py", str(tmp_path))
    assert done.returncode == 2
    assert "broken.py is not Python" in done.stderr
