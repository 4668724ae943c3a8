"""Every contract test runs once for each store.

| fixture | stores |
|---|---|
| `bench` | all of them |
| `controlled` | those whose bucket a test can change behind the store's back |
| `wired` | the development emulator, over plain HTTP and TLS: for what happens on the line |
| `emulator` | an emulator process of the test's own |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gcs_emulator.process import EmulatorProcess
from tests.contract.benches import BUCKET, Bench, ControlledBench, EmulatorBench, Named, all_benches
from tests.contract.gaps import gaps_of

Makers = dict[str, Callable[[], Bench]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    benches = all_benches()
    choices = {
        "bench": benches,
        "controlled": [one for one in benches if one.controlled],
        "wired": [one for one in benches if one.name.startswith("emulator")],
    }
    for fixture, chosen in choices.items():
        if fixture in metafunc.fixturenames:
            parameters = [_parameter(one, metafunc.function.__name__) for one in chosen]
            metafunc.parametrize(fixture, parameters, indirect=True)


def _parameter(one: Named, test_name: str) -> object:
    """Tests of known gaps are expected to fail, strictly: when a gap has closed, its entry must go."""
    reason = gaps_of(one.name).get(test_name)
    marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
    return pytest.param(one, id=one.name, marks=marks)


@pytest.fixture(scope="session")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Named], Bench]]:
    """One process for each store and test run, started when first asked for."""
    started: Makers = {}
    with ExitStack() as stack:

        def make(one: Named) -> Bench:
            if one.name not in started:
                started[one.name] = stack.enter_context(one.opened(tmp_path_factory.mktemp(one.name)))
            return started[one.name]()

        yield make


@pytest.fixture
def bench(request: pytest.FixtureRequest, makers: Callable[[Named], Bench]) -> Iterator[Bench]:
    made = makers(request.param)
    yield made
    made.tidy()


@pytest.fixture
def controlled(request: pytest.FixtureRequest, makers: Callable[[Named], Bench]) -> Iterator[ControlledBench]:
    made = makers(request.param)
    assert isinstance(made, ControlledBench)
    yield made
    made.tidy()


@pytest.fixture
def wired(request: pytest.FixtureRequest, makers: Callable[[Named], Bench]) -> Iterator[EmulatorBench]:
    made = makers(request.param)
    assert isinstance(made, EmulatorBench)
    yield made
    made.tidy()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path / "data", buckets=[BUCKET]) as process:
        yield process
