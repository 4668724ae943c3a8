from __future__ import annotations

import unicodedata
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.errors import FileProblem, Reason
from offload.naming import NAME_LIMIT_BYTES, object_name, public_url

CAMERA, RECORDING = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "0d9f4a6e-6d0e-4f6b-9d55-2f3f8f1b6a11"


def named(file_name: str, name_version: int = 0) -> str:
    return object_name(camera_id=CAMERA, recording_id=RECORDING, file_name=file_name, name_version=name_version)


def test_name_is_the_contracts():
    assert named("12-30.mp4") == f"recordings/{CAMERA}/{RECORDING}/12-30.mp4"


def test_further_name_version_has_its_number_before_the_name():
    assert named("12-30.mp4", name_version=2) == f"recordings/{CAMERA}/{RECORDING}/2-12-30.mp4"


@pytest.mark.parametrize(
    ("file_name", "wanted"),
    [
        ("new\nline\r.mp4", "new%0Aline%0D.mp4"),
        ("bell\x07\x7f\x85.mp4", "bell%07%7F%C2%85.mp4"),
        ("paragraph\u2029.mp4", "paragraph%E2%80%A9.mp4"),
        ("a/b.mp4", "a%2Fb.mp4"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("\ufffe.mp4", "%EF%BF%BE.mp4"),
        ("Tür 車 🎥 '\"%20#?[x].mp4", "Tür 車 🎥 '\"%20#?[x].mp4"),
    ],
)
def test_only_what_a_bucket_forbids_is_escaped(file_name, wanted):
    assert named(file_name).rsplit("/", 1)[1] == wanted


def test_name_that_is_not_utf8_is_refused():
    with pytest.raises(FileProblem) as refusal:
        named("caf\udce9.mp4")
    assert refusal.value.code is Reason.NAME_NOT_UTF8


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1500), st.integers(0, 99))
def test_every_name_is_legal_and_keeps_its_folder(file_name, name_version):
    name = named(file_name, name_version)

    assert len(name.encode()) <= NAME_LIMIT_BYTES
    assert name.startswith(f"recordings/{CAMERA}/{RECORDING}/")
    assert name.count("/") == 3
    assert not any(unicodedata.category(character) == "Cc" for character in name)
    assert name.rsplit("/", 1)[1] not in {"", ".", ".."}


def test_name_too_long_keeps_its_ending():
    name = named("ü" * 600 + ".mp4")

    assert name.endswith("ü.mp4")
    assert NAME_LIMIT_BYTES - 1 <= len(name.encode()) <= NAME_LIMIT_BYTES


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100))
def test_public_url_leads_to_the_very_name(file_name):
    url = urlsplit(public_url("my-bucket", named(file_name)))

    assert url.netloc == "storage.googleapis.com"
    assert unquote(url.path) == f"/my-bucket/{named(file_name)}"
    assert (url.query, url.fragment) == ("", "")
