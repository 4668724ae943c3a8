from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offload.request_body import BUFFER_ALLOWANCE, BUFFER_LIMIT_BYTES
from tests.unit.upload_bench import UploadBench


@pytest.fixture
def bench(tmp_path: Path) -> UploadBench:
    return UploadBench(tmp_path)


@pytest.fixture
def make_bench(tmp_path: Path) -> Callable[..., UploadBench]:
    """A bench with other settings."""
    return lambda **settings: UploadBench(tmp_path, **settings)


@pytest.fixture(params=["held in memory", "no room in memory"])
def memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """A small file is held in memory where there is room, else read twice: both must keep every promise."""
    with BUFFER_ALLOWANCE.asked(BUFFER_LIMIT_BYTES if request.param == "no room in memory" else 0) as granted:
        assert granted
        yield
