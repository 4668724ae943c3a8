"""Every connection is reset once in the middle of a file: how many bytes does each client send again?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.clients import RCLONE_DEFAULT, RCLONE_TUNED, Client, Course, client_named
from benchmarks.data import Dataset
from benchmarks.figures import ENGINE, MIB, OBSTORE, Cut
from benchmarks.native import Tools
from benchmarks.race import warm
from benchmarks.sink import PLAIN, Sink

Say = Callable[[str], None]
ODD_BYTES = 7 * MIB + 100_003
"""Puts the cut between two quanta of 256 KiB, and far from the beginning of any client's own part."""


def cut_clients() -> tuple[Client, ...]:
    """The clients that try again after a cut; the floor does not."""
    names = (ENGINE, OBSTORE, RCLONE_TUNED.name, RCLONE_DEFAULT.name, "transfer_manager", "gcsfs")
    return tuple(client_named(name) for name in names)


def cut_all(dataset: Dataset, *, runs: int, clients: Sequence[Client], tools: Tools, say: Say) -> list[Cut]:
    """Cut each client `runs` times; return the worst run of each. `dataset` has one file."""
    warm(dataset)
    worst: dict[str, Cut] = {}
    with Sink(tools, line=PLAIN) as sink:
        course = Course(dataset, PLAIN, sink, tools)
        for number in range(1, runs + 1):
            for client in clients:
                found = _cut(client, course)
                before = worst.get(client.name)
                # The worst, not the median: one run that sends committed bytes again breaks the promise.
                worst[client.name] = found if before is None else max(before, found, key=_sent_again)
                said = found.problem or f"{found.twice_bytes} bytes twice"
                say(f"the cut, run {number} of {runs}: {client.name}: {said}")
    return list(worst.values())


def _cut(client: Client, course: Course) -> Cut:
    size = course.dataset.file_bytes
    run = client.run(course, before=lambda sink: sink.cut(after_bytes=size // 2 + ODD_BYTES))
    stats = course.sink.stats()
    problem = run.problem or ("" if stats["cuts"] else "it was never cut")
    return Cut(client.name, size, stats["payload"], stats["again"], run.wall_seconds, problem)


def _sent_again(cut: Cut) -> tuple[bool, int, int]:
    """How bad a run is: a failure first, then the bytes that the bucket had kept, then all bytes sent twice."""
    return bool(cut.problem), cut.again_bytes, cut.twice_bytes
