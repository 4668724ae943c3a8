"""One installation for the session; each test starts without processes, faults or limits of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.installation import Installation


@pytest.fixture(scope="session")
def shared_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("installation")) as installation:
        yield installation
        installation.check_no_key_was_told()


@pytest.fixture
def installation(shared_installation: Installation) -> Iterator[Installation]:
    """Without processes, faults and limits of an earlier test."""
    yield shared_installation
    shared_installation.kill_all()
    shared_installation.emulator.clear_faults()
    shared_installation.emulator.set_rate(0)
    shared_installation.check_nothing_forgotten()


@pytest.fixture
def own_installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as installation:
        yield installation
        installation.check_no_key_was_told()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
