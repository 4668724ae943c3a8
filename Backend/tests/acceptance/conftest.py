"""One world a session: what a test leaves in it, the next one's workers must not trip over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.world import World


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as world:
        yield world
        world.check_no_key_was_told()


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    """With no process of an earlier test in it, and the line as fast as it gets."""
    yield shared_world
    shared_world.kill_all()
    shared_world.emulator.clear_faults()
    shared_world.emulator.set_rate(0)
    shared_world.check_nothing_forgotten()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world
        world.check_no_key_was_told()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
