"""The line is cut once in the middle of a file: what each client sends a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.clients import RCLONE_DEFAULT, RCLONE_TUNED, Client, Field, client_named
from benchmarks.data import Dataset
from benchmarks.figures import ENGINE, MIB, OBSTORE, Cut
from benchmarks.native import Tools
from benchmarks.race import warm
from benchmarks.sink import PLAIN, Sink

Say = Callable[[str], None]
ODD_BYTES = 7 * MIB + 100_003
"""The cut falls between two quanta of 256 KiB, and far from where a client's own part begins."""


def cut_clients() -> tuple[Client, ...]:
    """The floor is none of them: it knows no second try."""
    names = (ENGINE, OBSTORE, RCLONE_TUNED.name, RCLONE_DEFAULT.name, "transfer_manager", "gcsfs")
    return tuple(client_named(name) for name in names)


def cut_all(dataset: Dataset, *, runs: int, clients: Sequence[Client], tools: Tools, say: Say) -> list[Cut]:
    """The worst run of each client. `dataset` is one file."""
    warm(dataset)
    worst: dict[str, Cut] = {}
    with Sink(tools, line=PLAIN) as sink:
        place = Field(dataset, PLAIN, sink, tools)
        for number in range(1, runs + 1):
            for client in clients:
                found = _cut(client, place)
                before = worst.get(client.name)
                worst[client.name] = found if before is None else max(before, found, key=_badness)
                said = found.problem or f"{found.twice_bytes} bytes twice"
                say(f"the cut, run {number} of {runs}: {client.name}: {said}")
    return list(worst.values())


def _cut(client: Client, place: Field) -> Cut:
    size = place.dataset.file_bytes
    run = client.run(place, before=lambda sink: sink.cut(after_bytes=size // 2 + ODD_BYTES))
    stats = place.sink.stats()
    problem = run.problem or ("" if stats["cuts"] else "it was never cut")
    return Cut(client.name, size, stats["payload"], stats["again"], run.wall_seconds, problem)


def _badness(cut: Cut) -> tuple[bool, int, int]:
    return bool(cut.problem), cut.again_bytes, cut.twice_bytes
