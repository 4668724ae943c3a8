"""Two workers under random faults: for half a minute in `make test`, for as long as asked in `make soak`.

New recordings keep coming; workers are killed, stopped and frozen; connections and the bucket's machine
fail now and then. In the end every recording is in the bucket exactly once.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.acceptance.installation import MIB, QUANTUM_BYTES, Installation, Running

FAULTS = {"kill": 10, "stop": 2, "freeze": 2, "connection": 4, "bucket": 1}
"""What happens to a worker, to a connection or to the bucket's process, and its weight among the others."""

ENOUGH_WAITING = 12
"""So many transfers are never finished: more than two workers upload at once."""


@dataclass
class Chaos:
    """`pause_seconds` is the mean between two faults, `freeze_seconds` about as long as a lease lasts."""

    installation: Installation
    seconds: float
    rng: random.Random
    start: Callable[[], Running]
    pause_seconds: float = 0.4
    freeze_seconds: float = 2.5
    sizes_bytes: tuple[int, ...] = (1, 4_000, 300_000, MIB // 2 + 1, MIB, 2 * MIB + 7, 5 * MIB + 1)
    tell: Callable[[str], None] = lambda _: None
    fill_disk: Callable[[], None] | None = None
    """Fills the disk of the home to the last byte and comes back once there is room again."""
    disk_fills: int = 0
    """How often `fill_disk` is called, evenly spread; a worker is killed while the disk is full."""
    cleans_up: bool = False
    """Whether the workers clean up meanwhile: then no local file is left in the end."""
    faults: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Faults for `seconds`, then none until everything is uploaded. AssertionError where it never is."""
        workers = [self.start(), self.start()]
        begun = time.monotonic()
        while time.monotonic() < begun + self.seconds:
            if self._is_time_to_fill(time.monotonic() - begun):
                self._fill(workers)
            self._feed()
            time.sleep(min(self.rng.expovariate(1 / self.pause_seconds), 4 * self.pause_seconds))
            self._inject(workers)
        self.installation.emulator.clear_faults()
        self.installation.until(
            lambda: set(self.installation.statuses()) == {self._end}, f"all uploads after {dict(self.faults)}"
        )
        for worker in workers:
            worker.send(signal.SIGTERM)
            # One that was only just started has not come to its signal handlers yet.
            assert worker.wait() in {0, -signal.SIGTERM}, worker.tail()

    def check(self) -> int:
        """Check what must hold in the end; return how many bytes were sent again, at most a quantum a fault and upload.

        What a frozen worker was sending is not counted: the rest of its chunk arrives when it goes on, and
        until then the bucket has not committed it.
        """
        self.installation.check_uploaded(self.installation.clips, status=self._end, is_local=not self.cleans_up)
        self.installation.check_nothing_forgotten()
        never_late = [
            clip for clip in self.installation.clips if "lease_expired" not in self.installation.history(clip)
        ]
        sent_again = self.installation.sent_again_bytes()
        bytes_of_others = sum(sent_again[clip.recording] for clip in never_late)
        assert bytes_of_others <= self.faults.total() * ENOUGH_WAITING * QUANTUM_BYTES
        return bytes_of_others

    @property
    def _end(self) -> str:
        return "cleanup_completed" if self.cleans_up else "cleanup_pending"

    def _is_time_to_fill(self, passed_seconds: float) -> bool:
        done = self.faults["full disk"]
        return done < self.disk_fills and passed_seconds >= self.seconds * (done + 1) / (self.disk_fills + 1)

    def _fill(self, workers: list[Running]) -> None:
        assert self.fill_disk is not None
        self.faults["full disk"] += 1
        self.tell("full")
        workers[0].send(signal.SIGKILL)
        workers[0].wait()
        self.fill_disk()
        workers[0] = self.start()

    def _feed(self) -> None:
        """Keep more to do than the workers can do at once."""
        statuses = self.installation.statuses()
        missing = ENOUGH_WAITING - statuses["pending"] - statuses["uploading"]
        if missing > 0:
            self.installation.add(self.rng.choices(self.sizes_bytes, k=missing), batch_size=self.rng.randint(1, 6))

    def _inject(self, workers: list[Running]) -> None:
        (fault,) = self.rng.choices(list(FAULTS), weights=list(FAULTS.values()))
        self.faults[fault] += 1
        self.tell(fault)
        index = self.rng.randrange(len(workers))
        if fault == "connection":
            self._break_connections()
        elif fault == "bucket":
            self.installation.emulator.restart()
        elif fault == "freeze":
            workers[index].send(signal.SIGSTOP)
            time.sleep(self.rng.uniform(0.5, 1.5) * self.freeze_seconds)
            workers[index].send(signal.SIGCONT)
        else:
            workers[index].send(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
            workers[index].wait()
            workers[index] = self.start()

    def _break_connections(self) -> None:
        self.installation.emulator.fault(
            self.rng.choice(("reset", "stall", "lost_answer", "status")),
            kind=self.rng.choice(("chunk", "final_chunk", "multipart")),
            after_bytes=self.rng.randrange(MIB),
            seconds=1.0,
        )
