from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.upload_bench import UploadBench


@pytest.fixture
def bench(tmp_path: Path) -> UploadBench:
    return UploadBench(tmp_path)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., UploadBench]:
    """A bench with other settings."""
    return lambda **settings: UploadBench(tmp_path, **settings)
