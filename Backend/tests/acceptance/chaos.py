"""Two workers under random blows: for half a minute in `make test`, for as long as asked in `make soak`.

New recordings keep coming; workers are killed, stopped and put to sleep; the line and the bucket's
machine fail now and then. In the end every recording is in the bucket exactly once.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.acceptance.world import MIB, QUANTUM_BYTES, Running, World

BLOWS = {"kill": 10, "stop": 2, "sleep": 2, "line": 4, "bucket": 1}
"""What happens, and how often."""

ENOUGH_WAITING = 12


@dataclass
class Chaos:
    """`pause_seconds` is the mean between two blows, `nap_seconds` about as long as a lease lasts."""

    world: World
    seconds: float
    dice: random.Random
    start: Callable[[], Running]
    pause_seconds: float = 0.4
    nap_seconds: float = 2.5
    sizes_bytes: tuple[int, ...] = (1, 4_000, 300_000, MIB // 2 + 1, MIB, 2 * MIB + 7, 5 * MIB + 1)
    tell: Callable[[str], None] = lambda _: None
    fill_disk: Callable[[], None] | None = None
    """Fills the disk of the home to the last byte and comes back once there is room again."""
    disk_fills: int = 0
    """How often `fill_disk` is called, evenly spread; a worker is killed while the disk is full."""
    cleans_up: bool = False
    """Whether the workers clean up as they go: then no local file is left in the end."""
    blows: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Blows for `seconds`, then peace until everything is uploaded. AssertionError where it never is."""
        workers = [self.start(), self.start()]
        begun = time.monotonic()
        while time.monotonic() < begun + self.seconds:
            if self._is_time_to_fill(time.monotonic() - begun):
                self._fill(workers)
            self._feed()
            time.sleep(min(self.dice.expovariate(1 / self.pause_seconds), 4 * self.pause_seconds))
            self._strike(workers)
        self.world.emulator.clear_faults()
        self.world.until(lambda: set(self.world.statuses()) == {self._end}, f"all uploads after {dict(self.blows)}")
        for worker in workers:
            worker.send(signal.SIGTERM)
            # One that was only just started has not come to its signal handlers yet.
            assert worker.wait() in {0, -signal.SIGTERM}, worker.tail()

    def check(self) -> int:
        """What must hold in the end; how many bytes were sent again: at most a quantum a blow and upload.

        Not counted is what a sleeper had under way: the rest of its chunk arrives when it wakes, and
        until then the bucket has not committed it.
        """
        self.world.check_uploaded(self.world.clips, status=self._end, is_local=not self.cleans_up)
        self.world.check_nothing_forgotten()
        awake = [clip for clip in self.world.clips if "lease_expired" not in self.world.history(clip)]
        sent_again = self.world.sent_again_bytes()
        bytes_of_the_awake = sum(sent_again[clip.recording] for clip in awake)
        assert bytes_of_the_awake <= self.blows.total() * ENOUGH_WAITING * QUANTUM_BYTES
        return bytes_of_the_awake

    @property
    def _end(self) -> str:
        return "cleanup_completed" if self.cleans_up else "cleanup_pending"

    def _is_time_to_fill(self, passed_seconds: float) -> bool:
        done = self.blows["full disk"]
        return done < self.disk_fills and passed_seconds >= self.seconds * (done + 1) / (self.disk_fills + 1)

    def _fill(self, workers: list[Running]) -> None:
        assert self.fill_disk is not None
        self.blows["full disk"] += 1
        self.tell("full")
        workers[0].send(signal.SIGKILL)
        workers[0].wait()
        self.fill_disk()
        workers[0] = self.start()

    def _feed(self) -> None:
        """There is always more to do than the workers can do at once."""
        statuses = self.world.statuses()
        missing = ENOUGH_WAITING - statuses["pending"] - statuses["uploading"]
        if missing > 0:
            self.world.add(self.dice.choices(self.sizes_bytes, k=missing), batch_size=self.dice.randint(1, 6))

    def _strike(self, workers: list[Running]) -> None:
        (blow,) = self.dice.choices(list(BLOWS), weights=list(BLOWS.values()))
        self.blows[blow] += 1
        self.tell(blow)
        index = self.dice.randrange(len(workers))
        if blow == "line":
            self._strike_the_line()
        elif blow == "bucket":
            self.world.emulator.restart()
        elif blow == "sleep":
            workers[index].send(signal.SIGSTOP)
            time.sleep(self.dice.uniform(0.5, 1.5) * self.nap_seconds)
            workers[index].send(signal.SIGCONT)
        else:
            workers[index].send(signal.SIGKILL if blow == "kill" else signal.SIGTERM)
            workers[index].wait()
            workers[index] = self.start()

    def _strike_the_line(self) -> None:
        self.world.emulator.fault(
            self.dice.choice(("reset", "stall", "lost_answer", "status")),
            kind=self.dice.choice(("chunk", "final_chunk", "multipart")),
            after_bytes=self.dice.randrange(MIB),
            seconds=1.0,
        )
