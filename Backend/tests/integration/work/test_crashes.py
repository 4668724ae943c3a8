"""Unexpected errors: reported where possible, and survived by the threads that have to go on."""

from __future__ import annotations

import pytest

from apps.cctv.worker.crashes import survive

pytestmark = pytest.mark.django_db


class NoMemoryToTell(MemoryError):
    """An error whose own text cannot be made, as when logging gets no memory either."""

    @property
    def __traceback__(self) -> None:
        raise MemoryError


def fail(error: BaseException) -> None:
    raise error


def test_thread_survives_an_error_that_cannot_be_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert not survive(lambda: fail(NoMemoryToTell()), "worker.heartbeat_missed")
    assert "worker.heartbeat_missed" in capfd.readouterr().err


def test_message_of_a_foreign_error_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a session URI (P10)."""
    key = "upload_" + "id=1"  # the trace quotes this file's lines
    assert not survive(lambda: fail(ValueError(key)), "periodic.missed", job="sweep")
    assert "periodic.missed" in caplog.text
    assert key not in caplog.text


def test_round_that_went_well_says_so() -> None:
    assert survive(lambda: None, "periodic.missed")
