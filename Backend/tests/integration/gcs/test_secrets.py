"""A session URI is a key: it reaches no error, no log and no terminal, whatever goes wrong (P10)."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest

from offload.errors import OffloadError
from offload.gcs import GoogleStore
from offload.gcs.transport import Request
from offload.store import ObjectSpec
from tests.integration.gcs.conftest import Bytes, made_store
from tests.integration.gcs.scripted_server import Connection, ScriptedServer

KEY = "SESSIONKEYabcdefghijklmnop"
SPEC = ObjectSpec("some-bucket", "clip.mp4", 4, "video/mp4", {})

HTML = f"<p>The requested URL <code>/upload/b?upload_id={KEY}</code> was not found.".encode()
JSON = (
    f'{{"error": {{"message": "no http://127.0.0.1/upload/b?upload_id={KEY}, upload_id={KEY} here", '
    f'"errors": [{{"reason": "invalid"}}]}}}}'
).encode()


def stalls(connection: Connection) -> None:
    connection.head()
    connection.drain()


def cuts(connection: Connection) -> None:
    connection.head()
    connection.reset()


BEHAVIOURS: dict[str, Callable[[], ScriptedServer]] = {
    **{
        f"{status} {name}": lambda status=status, body=body: ScriptedServer().answering(status, body=body)
        for status in ("400 Bad", "401 No", "403 No", "404 No", "410 Gone", "412 No", "429 Slow", "503 Down", "200 OK")
        for name, body in (("html", HTML), ("json", JSON))
    },
    "redirect": lambda: ScriptedServer().answering("302 Found", f"Location: http://127.0.0.1/?upload_id={KEY}"),
    "bad range": lambda: ScriptedServer().answering("308 Incomplete", f"Range: upload_id={KEY}"),
    "stall": lambda: ScriptedServer(stalls),
    "reset": lambda: ScriptedServer(cuts),
}

CALLS: dict[str, Callable[[GoogleStore, str], object]] = {
    "status": lambda store, uri: store.session_status(uri, SPEC),
    "send": lambda store, uri: store.send(uri, SPEC, Bytes(b"film"), offset_bytes=0, crc32c=0),
    "cancel": lambda store, uri: store.cancel_session(uri),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_no_failure_shows_a_session_uri(behaviour: str, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    with BEHAVIOURS[behaviour]() as stub:
        store = made_store(stub.url, stall_seconds=1)
        for call in CALLS.values():
            shown.append(_shown(call, store, f"{stub.url}/upload/storage/v1/b/some-bucket/o?upload_id={KEY}"))
            if behaviour == "stall":
                break  # one is enough: it takes seconds
    _check(shown, caplog, capfd)


@pytest.mark.parametrize("call", CALLS)
def test_errors_of_line_and_place_hide_session_uris(call: str, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer() as gone:
        url = gone.url
    store = made_store(url)
    shown = [
        _shown(CALLS[call], store, f"{url}/upload?upload_id={KEY}"),
        _shown(CALLS[call], store, f"https://nowhere.example/upload?upload_id={KEY}"),
        _shown(CALLS[call], store, f"https://{KEY}.googleapis.com:0/upload?upload_id={KEY}"),
        _shown(CALLS[call], store, f"https://[{KEY}/upload?upload_id={KEY}"),
    ]
    _check(shown, caplog, capfd)


def test_a_request_does_not_describe_itself() -> None:
    request = Request("PUT", f"https://storage.googleapis.com/upload?upload_id={KEY}")
    assert KEY not in repr(request)
    assert KEY not in str(request)


def _shown(call: Callable[[GoogleStore, str], object], store: GoogleStore, uri: str) -> str:
    """All that an error tells, with its causes, contexts and traceback; a success tells nothing."""
    try:
        call(store, uri)
    except OffloadError as error:
        return "".join(traceback.format_exception(error)) + repr(error) + _chain(error)
    return ""


def _chain(error: BaseException | None) -> str:
    told = ""
    while error is not None:
        told += repr(error.args)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told


def _check(shown: list[str], caplog, capfd) -> None:
    out, err = capfd.readouterr()
    for text in (*shown, caplog.text, out, err):
        assert KEY not in text
        assert "upload_id" not in text
