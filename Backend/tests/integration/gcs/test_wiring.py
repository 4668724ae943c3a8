"""What the settings say reaches the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.cctv import wiring
from gcs_emulator.process import EmulatorProcess
from offload.errors import StopAndTell
from tests.integration.gcs.certificates import write_certificate


def test_only_authorities_of_the_ca_file_are_trusted(settings: Any, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    with EmulatorProcess(
        tmp_path / "data", buckets=["footage"], tls=(certificate, key), ca_file=certificate
    ) as emulator:
        settings.GCP_STORAGE_USE_GCS = True
        settings.GCP_STORAGE_BUCKET_NAME = "footage"
        settings.STORAGE_EMULATOR_HOST = emulator.url
        settings.COLDREEL_CA_FILE = str(certificate)
        assert wiring.object_store().get("footage", "nothing") is None

        settings.COLDREEL_CA_FILE = ""
        with pytest.raises(StopAndTell):
            wiring.object_store().get("footage", "nothing")
