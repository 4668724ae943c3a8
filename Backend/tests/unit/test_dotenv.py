from __future__ import annotations

from pathlib import Path

import pytest

from config.dotenv import DotenvRefused, load, parsed

HERE = Path("/etc/coldreel/environment")


def test_values_are_literal_and_only_outer_quotes_go():
    text = '# a comment\n; another\n\nA=1\nB = "two words" \nC=\'$HOME\'\nD=$(touch /tmp/x)`id`\nE=a"b\nF=\n'

    assert parsed(text, HERE) == {
        "A": "1",
        "B": "two words",
        "C": "$HOME",
        "D": "$(touch /tmp/x)`id`",
        "E": 'a"b',
        "F": "",
    }


@pytest.mark.parametrize("line", ["export A=1", "A", "=1", "1A=2"])
def test_line_without_a_setting_is_refused_with_its_number(line):
    with pytest.raises(DotenvRefused, match="line 2"):
        parsed(f"A=1\n{line}\n", HERE)


def test_environment_goes_before_the_file(tmp_path):
    (tmp_path / "env").write_text("A=file\nB=file\n")
    environment = {"A": "environment"}

    load(tmp_path / "env", environment, required=True)

    assert environment == {"A": "environment", "B": "file"}


def test_file_that_was_named_must_be_there(tmp_path):
    load(tmp_path / "absent", {}, required=False)
    with pytest.raises(DotenvRefused, match="does not exist"):
        load(tmp_path / "absent", {}, required=True)
