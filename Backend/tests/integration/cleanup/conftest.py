from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cleanup.yard import Yard


@pytest.fixture
def yard(db: None, media_root: Path, bucket: str, settings: Any) -> Yard:
    """A site whose recordings are uploaded and due. Nothing in it is faked but the bucket and the time."""
    return Yard(media_root, bucket)


@pytest.fixture
def live_yard(transactional_db: None, media_root: Path, bucket: str, settings: Any) -> Yard:
    """The same with real commits, for threads and crashes."""
    return Yard(media_root, bucket)
