"""The tally: how many transfers and recordings there are, and their bytes."""

from __future__ import annotations

import pytest

from apps.cctv.models import Recording
from apps.cctv.selectors.tally import CountAndBytes, recording_tally, transfer_tally
from offload.states import State
from tests.integration.db import rows

pytestmark = pytest.mark.django_db


def test_tally_has_each_camera_and_status() -> None:
    gate, hall = rows.camera("Gate"), rows.camera("Hall")
    for name, of, status in (("1", gate, State.PENDING), ("2", gate, State.PENDING), ("3", hall, State.FAILED)):
        rows.transfer(status, of=rows.recording(name, camera=of))
    assert transfer_tally(None) == {
        (gate.pk, "pending"): CountAndBytes(2, 2000),
        (hall.pk, "failed"): CountAndBytes(1, 1000),
    }
    assert set(transfer_tally([hall.pk])) == {(hall.pk, "failed")}
    assert transfer_tally([]) == {}


def test_recordings_are_told_apart_by_storage_status_and_hold() -> None:
    gate = rows.camera("Gate")
    for name, columns in {
        "1": {},
        "2": {"hold_wanted": True},
        "3": {"storage_type": "gcp"},
        "4": {"status": "damaged", "file_size_bytes": 7},
    }.items():
        Recording.objects.filter(pk=rows.recording(name, camera=gate).pk).update(**columns)
    assert recording_tally([gate.pk]) == {
        (gate.pk, "local", "ready", False): CountAndBytes(1, 1000),
        (gate.pk, "local", "ready", True): CountAndBytes(1, 1000),
        (gate.pk, "gcp", "ready", False): CountAndBytes(1, 1000),
        (gate.pk, "local", "damaged", False): CountAndBytes(1, 7),
    }
