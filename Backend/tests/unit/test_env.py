from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.env import Env


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (lambda env: env.flag("NAME", default=True), "maybe", "True or False"),
        (lambda env: env.whole("NAME", 5, least=1, most=20), "21", "a whole number from 1 to 20"),
        (lambda env: env.whole("NAME", 5, least=1, most=20), "2.5", "a whole number from 1 to 20"),
        (lambda env: env.number("NAME", 5, least=0, most=20), "nan", "a number from 0 to 20"),
        (lambda env: env.number("NAME", 5, least=0, most=20), "soon", "a number from 0 to 20"),
        (lambda env: env.origins("NAME"), "example.org", "addresses like https://example.org"),
        (lambda env: env.folder("NAME", None), "relative/path", "an absolute path"),
    ],
)
def test_invalid_value_is_refused_with_name_and_expectation(read, value, expected):
    with pytest.raises(ImproperlyConfigured) as refusal:
        read(Env({"NAME": value}))

    message = str(refusal.value)
    assert message.startswith(f"NAME={value!r} is invalid: expected ")
    assert expected in message


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ImproperlyConfigured, match=r"^NAME='.*absent.pem' is invalid: expected a PEM file\.$"):
        Env({"NAME": str(tmp_path / "absent.pem")}).file("NAME", expected="a PEM file")


def test_present_file_is_used_and_none_is_required(tmp_path):
    (tmp_path / "ours.pem").touch()

    assert Env({"NAME": str(tmp_path / "ours.pem")}).file("NAME", expected="a PEM file") == str(tmp_path / "ours.pem")
    assert Env({}).file("NAME", expected="a PEM file") == ""


def test_empty_value_counts_as_not_set():
    assert Env({"NAME": " "}).whole("NAME", 5, least=1, most=20) == 5


def test_secret_is_read_from_its_file(tmp_path):
    (tmp_path / "key").write_text("from the file\n")

    assert Env({"KEY_FILE": str(tmp_path / "key")}).secret("KEY") == "from the file"


def test_secret_given_twice_is_refused(tmp_path):
    (tmp_path / "key").write_text("from the file")

    with pytest.raises(ImproperlyConfigured, match="KEY and KEY_FILE are both set"):
        Env({"KEY": "here", "KEY_FILE": str(tmp_path / "key")}).secret("KEY")


def test_unreadable_secret_file_is_refused_without_its_content(tmp_path):
    with pytest.raises(ImproperlyConfigured, match=r"KEY_FILE=.*cannot be read"):
        Env({"KEY_FILE": str(tmp_path / "absent")}).secret("KEY")
