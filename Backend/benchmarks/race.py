"""Runs all clients with one data set over one line, their runs interleaved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.clients import Contestant, Course
from benchmarks.data import Dataset
from benchmarks.figures import Race
from benchmarks.native import Tools
from benchmarks.sink import Sink

Say = Callable[[str], None]
MOST_FAILURES = 2


def race(dataset: Dataset, *, line: str, runs: int, contestants: Sequence[Contestant], tools: Tools, say: Say) -> Race:
    """Run each contestant `runs` times; one that failed MOST_FAILURES times is left out of the rest."""
    result = Race(dataset.name, dataset.title, line, dataset.count, dataset.total_bytes)
    taking_part = _able_contestants(contestants, dataset, line, result)
    warm(dataset)
    with Sink(tools, line=line) as sink:
        course = Course(dataset, line, sink, tools)
        for number in range(1, runs + 1):
            # Every second round in reverse order, so that no client always follows the same one.
            for contestant in taking_part if number % 2 else reversed(taking_part):
                name = contestant.name
                # A client that always fails would cost minutes of every run.
                if len(result.problems(name)) >= MOST_FAILURES:
                    continue
                run = contestant.run(course)
                result.runs.setdefault(name, []).append(run)
                said = run.problem or f"{run.wall_seconds:.2f} s"
                say(f"{dataset.title}, {line}, run {number} of {runs}: {name}: {said}")
    return result


def warm(dataset: Dataset) -> None:
    """Read the files once, so that they come from the page cache: the disk is not what is measured."""
    for path in dataset.folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(2**20):
                pass


def _able_contestants(contestants: Sequence[Contestant], dataset: Dataset, line: str, result: Race) -> list[Contestant]:
    able = []
    for contestant in contestants:
        if why_not := contestant.why_not(line):
            result.absent[contestant.name] = why_not
        else:
            result.at_once[contestant.name] = contestant.at_once(dataset, line)
            able.append(contestant)
    return able
