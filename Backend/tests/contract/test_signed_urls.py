"""Signed URLs: the store signs with a service account's key, the emulator checks as the service does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gcs_emulator.process import EmulatorProcess
from offload.gcs import GoogleStore
from offload.store import ObjectInfo
from tests.contract.benches import BUCKET, google_store
from tests.contract.raw_http import RawHttp, Reply

GOOGLE = "storage.googleapis.com"


def make_key(path: Path, email: str) -> Path:
    private = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "client_email": email,
        "private_key": pem,
        "private_key_id": "1",
        "project_id": "contract",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path.write_text(json.dumps(account))
    return path


class Signing:
    """An emulator that knows one account's key, and stores that sign with a key."""

    def __init__(self, emulator: EmulatorProcess, folder: Path, key: Path) -> None:
        self.emulator = emulator
        self.raw = RawHttp(emulator)
        self._folder = folder
        self._key = key

    def store(self, key: Path | None = None) -> GoogleStore:
        return GoogleStore(project="contract", credentials_path=str(key or self._key), emulator_host=None)

    def upload(self, name: str, data: bytes) -> ObjectInfo:
        self.raw.put(name, data)
        info = google_store(self.emulator.url, None).get(BUCKET, name)
        assert info is not None
        return info

    def follow(self, url: str, **headers: str) -> Reply:
        """Ask the emulator as if it were at Google's address, which is part of what was signed."""
        at = urlsplit(url)
        assert (at.scheme, at.netloc) == ("https", GOOGLE)
        return self.raw("GET", f"{at.path}?{at.query}", headers={"Host": GOOGLE, **headers})


@pytest.fixture
def signing(tmp_path: Path) -> Iterator[Signing]:
    key = make_key(tmp_path / "key.json", "camera@contract.iam.gserviceaccount.com")
    with EmulatorProcess(tmp_path / "data", buckets=[BUCKET], signer_key=key) as process:
        yield Signing(process, tmp_path, key)


@pytest.mark.parametrize("name", ["clip.mp4", "recordings/カメラ 1/a b+c%41&d=e?#.mp4"])
def test_signed_url_reads_its_object(signing: Signing, name: str) -> None:
    info = signing.upload(name, b"0123456789")
    url = signing.store().signed_url(info, expires_seconds=600)
    assert signing.follow(url).body == b"0123456789"
    part = signing.follow(url, Range="bytes=2-4")
    assert (part.status, part.body) == (206, b"234")


def test_signed_url_reads_no_other_generation(signing: Signing) -> None:
    url = signing.store().signed_url(signing.upload("clip.mp4", b"before"), expires_seconds=600)
    signing.emulator.put_object(BUCKET, "clip.mp4", b"after")
    assert signing.follow(url).status == 404


def test_signed_url_expires(signing: Signing) -> None:
    url = signing.store().signed_url(signing.upload("clip.mp4", b"x"), expires_seconds=600)
    signing.emulator.set_clock(601)
    expired = signing.follow(url)
    assert (expired.status, b"<Code>ExpiredToken</Code>" in expired.body) == (400, True)


def test_signed_url_of_another_account_opens_nothing(signing: Signing, tmp_path: Path) -> None:
    info = signing.upload("clip.mp4", b"x")
    other = make_key(tmp_path / "other.json", "camera@contract.iam.gserviceaccount.com")
    refused = signing.follow(signing.store(other).signed_url(info, expires_seconds=600))
    assert (refused.status, b"SignatureDoesNotMatch" in refused.body) == (403, True)


def test_signed_url_opens_no_other_object(signing: Signing) -> None:
    info = signing.upload("clip.mp4", b"x")
    signing.upload("clap.mp4", b"y")
    url = signing.store().signed_url(info, expires_seconds=600)
    assert signing.follow(url.replace("clip", "clap")).status == 403
    assert signing.follow(url.replace("X-Goog-Expires=600", "X-Goog-Expires=6000")).status == 403


def test_object_is_private_without_a_signature(signing: Signing) -> None:
    signing.upload("clip.mp4", b"x")
    refused = signing.raw("GET", f"/{BUCKET}/clip.mp4")
    assert (refused.status, b"<Code>AccessDenied</Code>" in refused.body) == (403, True)


def test_signed_url_lasts_a_week_at_most(signing: Signing) -> None:
    info = replace(signing.upload("clip.mp4", b"x"))
    url = signing.store().signed_url(info, expires_seconds=30 * 86_400)
    assert signing.follow(url).status == 200
    assert signing.follow(url.replace("X-Goog-Expires=604800", "X-Goog-Expires=604801")).status == 400
