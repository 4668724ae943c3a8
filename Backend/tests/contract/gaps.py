"""Where gcp-storage-emulator 2026.7.19 does otherwise than the service, by the test that shows it."""

from __future__ import annotations

GAPS: dict[str, str] = {}
