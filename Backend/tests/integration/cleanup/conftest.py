from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cleanup.uploaded_site import UploadedSite


@pytest.fixture
def site(db: None, media_root: Path, bucket: str, settings: Any) -> UploadedSite:
    """A site whose recordings are uploaded and due. Nothing in it is faked but the bucket and the time."""
    return UploadedSite(media_root, bucket)


@pytest.fixture
def live_site(transactional_db: None, media_root: Path, bucket: str, settings: Any) -> UploadedSite:
    """The same with real commits, for threads and crashes."""
    return UploadedSite(media_root, bucket)
