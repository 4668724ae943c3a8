"""Key files, tokens and their renewal, against a token service that answers as a test says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import certifi
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gcs_emulator.process import EmulatorProcess
from offload.errors import LineDown, Reason, SessionGone, StopAndTell, TryAgain
from offload.gcs import GoogleStore
from offload.gcs.credentials import SCOPES, Identity
from offload.gcs.error_rules import NoBucketProbe
from offload.gcs.objects import Objects
from offload.gcs.transport import Transport
from offload.gcs.uploads import Uploads
from offload.store import ObjectSpec, SessionStatus
from tests.integration.gcs.conftest import QUANTUM, Bytes, crc32c
from tests.integration.gcs.keys import write_key
from tests.integration.gcs.scripted_server import Connection, ScriptedServer, header
from tests.threads import all_at_once

SPEC = ObjectSpec("some-bucket", "clip.mp4", 4, "video/mp4", {})
DESCRIBED = json.dumps(
    {
        "bucket": "some-bucket", "name": "clip.mp4", "generation": "7", "metageneration": "1", "size": "4",
        "crc32c": "2HvlZg==", "timeCreated": "2026-09-30T21:58:39.652Z",
    }
).encode()  # fmt: skip


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class TokenService:
    """Hands out token-1, token-2, …, or whatever `refusal` says instead."""

    def __init__(self) -> None:
        self.refusal: tuple[str, bytes] | None = None
        self.asked: list[bytes] = []
        self._numbers = itertools.count(1)
        self._stub = ScriptedServer(self._serve)

    def __enter__(self) -> Self:
        self._stub.__enter__()
        self.uri = f"{self._stub.url}/token"
        return self

    def __exit__(self, *error: object) -> None:
        self._stub.__exit__(None, None, None)

    def _serve(self, connection: Connection) -> None:
        while (asked := connection.request())[0]:
            self.asked.append(asked[1])
            if self.refusal:
                connection.answer(self.refusal[0], "Content-Type: application/json", body=self.refusal[1])
            else:
                token = {"access_token": f"token-{next(self._numbers)}", "expires_in": 3600, "token_type": "Bearer"}
                connection.answer("200 OK", "Content-Type: application/json", body=json.dumps(token).encode())


@pytest.fixture
def service() -> Iterator[TokenService]:
    with TokenService() as running:
        yield running


@pytest.fixture
def identity(tmp_path: Path, key: rsa.RSAPrivateKey, service: TokenService) -> Identity:
    return identity_of(write_key(tmp_path / "key.json", key, token_uri=service.uri))


def identity_of(path: Path) -> Identity:
    return Identity(path=str(path), anonymous=False, ca_file=certifi.where())


def uploads(url: str, identity: Identity) -> Uploads:
    transport = Transport(ca_file=certifi.where(), upload_handles=2, stall_seconds=20, connect_seconds=5)
    return Uploads(endpoint=url, transport=transport, identity=identity)


def objects(url: str, identity: Identity) -> Objects:
    return Objects(
        endpoint=url, project=None, identity=identity, ca_file=certifi.where(), connections=2, connect_seconds=5
    )


class PickyBucket(ScriptedServer):
    """Answers 401 to every token of `refused`."""

    def __init__(self, *refused: str) -> None:
        super().__init__(self._serve_picky)
        self._refused = refused
        self.tokens: list[str | None] = []

    def _serve_picky(self, connection: Connection) -> None:
        while (asked := connection.request())[0]:
            head, sent = asked
            self.bodies.append(sent)
            self.tokens.append(header(head, "authorization"))
            if self.tokens[-1] in {None, *(f"Bearer {token}" for token in self._refused)}:
                connection.answer("401 Unauthorized")
            else:
                place = f"Location: {self.url}/upload/storage/v1/b/b/o?upload_id=k"
                connection.answer("200 OK", place, "Content-Type: application/json", body=DESCRIBED)


def test_every_start_is_authorised_by_one_token(identity: Identity, service: TokenService) -> None:
    with PickyBucket() as bucket:
        for _ in range(3):
            uploads(bucket.url, identity).start(SPEC, NoBucketProbe())
        assert objects(bucket.url, identity).get("some-bucket", "clip.mp4", generation=None) is not None
    assert bucket.tokens == ["Bearer token-1"] * 4
    assert len(service.asked) == 1


def test_refused_token_is_renewed_once_and_the_request_repeated(identity: Identity, service: TokenService) -> None:
    with PickyBucket("token-1") as bucket:
        sender = uploads(bucket.url, identity)
        sender.start(SPEC, NoBucketProbe())
        sender.start(SPEC, NoBucketProbe())
    assert bucket.tokens == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]
    assert len(service.asked) == 2


def test_small_object_is_sent_whole_again_after_a_renewal(identity: Identity) -> None:
    body = Bytes(b"film")
    with PickyBucket("token-1") as bucket:
        uploads(bucket.url, identity).put_small(SPEC, body, NoBucketProbe(), crc32c=crc32c(b"film"), abort=lambda: None)
    assert bucket.bodies[0] == bucket.bodies[1]
    assert b"\r\n\r\nfilm\r\n--" in bucket.bodies[1]
    assert body.rewinds == 1


def test_credentials_that_stay_refused_are_for_a_person(identity: Identity, service: TokenService) -> None:
    with PickyBucket(*(f"token-{number}" for number in range(1, 9))) as bucket:
        with pytest.raises(StopAndTell) as caught:
            uploads(bucket.url, identity).start(SPEC, NoBucketProbe())
        assert caught.value.code is Reason.CREDENTIALS_REFUSED
        with pytest.raises(StopAndTell) as caught:
            objects(bucket.url, identity).get("some-bucket", "clip.mp4", generation=None)
        assert caught.value.code is Reason.CREDENTIALS_REFUSED


def test_one_of_many_threads_fetches_the_next_token(identity: Identity, service: TokenService) -> None:
    refused = identity.headers()
    renewed = all_at_once(20, lambda: identity.renewed_headers(refused))
    assert {one["authorization"] for one in renewed} == {"Bearer token-2"}
    assert len(service.asked) == 2


def test_holds_are_within_the_scope_that_is_asked_for() -> None:
    assert SCOPES == ("https://www.googleapis.com/auth/devstorage.full_control",)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        ("400 Bad Request", b'{"error": "invalid_grant", "error_description": "SECRET"}', StopAndTell,
         Reason.CREDENTIALS_REFUSED),
        ("401 Unauthorized", b'{"error": "invalid_client"}', StopAndTell, Reason.CREDENTIALS_REFUSED),
        ("200 OK", b"<html>SECRET</html>", TryAgain, Reason.BUCKET_BUSY),
    ],
)  # fmt: skip
def test_token_service_that_refuses_is_for_a_person(identity, service, status, body, kind, code) -> None:  # noqa: PLR0917
    service.refusal = (status, body)
    with pytest.raises(kind) as caught:
        identity.headers()
    assert caught.value.code is code
    assert "SECRET" not in str(caught.value)


def test_token_service_with_a_fault_is_tried_again(identity, service) -> None:
    service.refusal = ("503 Service Unavailable", b'{"error": "temporarily_unavailable"}')
    with pytest.raises(TryAgain):
        identity.headers()
    service.refusal = None
    assert identity.headers()["authorization"].startswith("Bearer token-")


def test_unreachable_token_service_is_a_line_down(tmp_path, key) -> None:
    with ScriptedServer() as gone:
        uri = gone.url
    with pytest.raises(LineDown):
        identity_of(write_key(tmp_path / "key.json", key, token_uri=uri)).headers()


def test_untrusted_token_service_is_for_a_person(tmp_path, key, certificate) -> None:
    with EmulatorProcess(tmp_path / "data", tls=certificate, ca_file=certificate[0]) as service:
        path = write_key(tmp_path / "account.json", key, token_uri=f"{service.url}/token")
        with pytest.raises(StopAndTell) as caught:
            identity_of(path).headers()
    assert caught.value.code is Reason.BUCKET_REFUSED


BAD_FILES = {
    "nothing": b"",
    "no JSON": b"-----BEGIN SECRET KEY-----",
    "no object": b'["SECRET"]',
    "no type": b'{"private_key": "SECRET"}',
    "another type": b'{"type": "authorized_user", "refresh_token": "SECRET"}',
    "an incomplete key": b'{"type": "service_account", "private_key": "SECRET"}',
    "a key that is none": b'{"type": "service_account", "private_key": "SECRET", "client_email": "a@b.c", '
    b'"token_uri": "https://t.example"}',
    "an incomplete federation": b'{"type": "external_account", "audience": "SECRET"}',
    "a federation of text": b'{"type": "external_account", "credential_source": "SECRET"}',
    "binary": b"\xff\xfe\x00SECRET",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_key_file_is_named_and_never_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bucket-key.json"
    path.write_bytes(content)
    with pytest.raises(StopAndTell) as caught:
        identity_of(path).headers()
    assert caught.value.code is Reason.CREDENTIALS_REFUSED
    assert "bucket-key.json" in caught.value.detail
    assert str(tmp_path) not in caught.value.detail
    assert "SECRET" not in caught.value.detail


def test_missing_key_file_is_told_when_it_is_needed(tmp_path: Path) -> None:
    store = GoogleStore(project=None, credentials_path=str(tmp_path / "none.json"), emulator_host=None)
    with pytest.raises(StopAndTell) as caught:
        store.start_session(SPEC)
    assert caught.value.code is Reason.CREDENTIALS_REFUSED
    with pytest.raises(StopAndTell):
        store.get("some-bucket", "clip.mp4")


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ({"file": "/run/token"}, "google.auth.identity_pool"),
        (
            {
                "environment_id": "aws1",
                "region_url": "http://169.254.169.254/r",
                "url": "http://169.254.169.254/c",
                "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
            },
            "google.auth.aws",
        ),
    ],
)
def test_workload_identity_federation_is_read(tmp_path: Path, source: dict[str, str], module: str) -> None:
    path = tmp_path / "federation.json"
    path.write_text(
        json.dumps(
            {
                "type": "external_account",
                "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": source,
            }
        )
    )
    credentials = identity_of(path).credentials()
    assert type(credentials).__module__ == module
    assert credentials.scopes == SCOPES


def test_no_credentials_at_all_is_for_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(StopAndTell) as caught:
        Identity(path=None, anonymous=False, ca_file=certifi.where()).headers()
    assert caught.value.code is Reason.CREDENTIALS_REFUSED


def test_nothing_is_read_or_sent_before_the_first_call(tmp_path: Path) -> None:
    GoogleStore(project=None, credentials_path=str(tmp_path / "none.json"), emulator_host=None)


# --- a session that answers 401 ---


class DoubtingBucket(ScriptedServer):
    """A session of 512 KiB that has its first 256 KiB; it answers 401 to so many requests, or without a token."""

    def __init__(self, *, doubts: int = 0, wants_token: bool = False) -> None:
        super().__init__(self._serve_doubting)
        self._doubts = doubts
        self._wants_token = wants_token
        self.asked: list[tuple[str | None, str | None]] = []

    @property
    def session(self) -> str:
        return f"{self.url}/upload/storage/v1/b/some-bucket/o?upload_id=key"

    def _serve_doubting(self, connection: Connection) -> None:
        while (asked := connection.request())[0]:
            token = header(asked[0], "authorization")
            self.asked.append((header(asked[0], "content-range"), token))
            if self._doubts > 0 or (self._wants_token and token is None):
                self._doubts -= 1
                connection.answer("401 Unauthorized")
            elif asked[1]:
                connection.answer("200 OK", "Content-Type: application/json", body=DESCRIBED)
            else:
                connection.answer("308 Resume Incomplete", f"Range: bytes=0-{QUANTUM - 1}")


LARGE = ObjectSpec("some-bucket", "clip.mp4", 2 * QUANTUM, "video/mp4", {})
ASKED = "bytes */*"


def test_single_401_asks_the_session_with_a_fresh_token(identity: Identity, service: TokenService) -> None:
    with DoubtingBucket(doubts=1) as bucket:
        status = uploads(bucket.url, identity).status(bucket.session, NoBucketProbe())
    assert status == SessionStatus(QUANTUM)
    assert bucket.asked == [(ASKED, None), (ASKED, "Bearer token-2")]


def test_chunk_answered_401_continues_from_the_committed_bytes(identity: Identity) -> None:
    """The session may have taken some of it: a committed byte is never sent again (P3)."""
    data = bytes(2 * QUANTUM)
    with DoubtingBucket(wants_token=True) as bucket:
        sender = uploads(bucket.url, identity)
        part = {"abort": lambda: None, "crc32c": crc32c(data)}
        first = sender.send(bucket.session, LARGE, Bytes(data), NoBucketProbe(), offset_bytes=0, **part)
        assert first == SessionStatus(QUANTUM)
        rest = Bytes(data[QUANTUM:])
        last = sender.send(bucket.session, LARGE, rest, NoBucketProbe(), offset_bytes=QUANTUM, **part)
        assert last.finished is not None
    assert bucket.asked == [
        (f"bytes 0-{2 * QUANTUM - 1}/{2 * QUANTUM}", None),
        (ASKED, None),
        (ASKED, "Bearer token-2"),
        (f"bytes {QUANTUM}-{2 * QUANTUM - 1}/{2 * QUANTUM}", "Bearer token-2"),
    ]


def test_session_that_refuses_a_fresh_token_too_is_gone(identity: Identity) -> None:
    with DoubtingBucket(doubts=9) as bucket, pytest.raises(SessionGone):
        uploads(bucket.url, identity).status(bucket.session, NoBucketProbe())
    assert len(bucket.asked) == 2


def test_401_of_an_emulator_is_repeated_without_a_token(tmp_path: Path) -> None:
    anonymous = Identity(path=None, anonymous=True, ca_file=certifi.where())
    with DoubtingBucket(doubts=1) as bucket:
        assert uploads(bucket.url, anonymous).status(bucket.session, NoBucketProbe()) == SessionStatus(QUANTUM)
    assert bucket.asked == [(ASKED, None), (ASKED, None)]


def test_credentials_that_are_refused_meanwhile_keep_the_session(identity: Identity, service: TokenService) -> None:
    service.refusal = ("401 Unauthorized", b'{"error": "invalid_client"}')
    with DoubtingBucket(doubts=9) as bucket, pytest.raises(StopAndTell) as caught:
        uploads(bucket.url, identity).status(bucket.session, NoBucketProbe())
    assert caught.value.code is Reason.CREDENTIALS_REFUSED
