"""How fast an upload may send: pacing on a line with a bandwidth limit.

Every byte of a limited line has its instant on that line's schedule. It may be sent from that instant on, and
no later than LATE_SECONDS after it; after that its place is lost. So ten seconds never carry more than 10.4 seconds of
the schedule, however many uploads, processes and machines have stretches of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from offload.clock import Clock
from offload.store import Abort

LATE_SECONDS = 0.3
"""How much of its schedule a line may catch up, for example after the pause between two chunks."""
PIECES_A_SECOND = 20
LEAST_PIECE_BYTES = 4096
STRETCHES_AHEAD = 2
"""How many stretches are fetched before they begin: a database that once takes half a second stops no upload."""
MOST_STRETCH_SECONDS = 0.5
LEAST_STRETCH_SECONDS = 0.05
_BETWEEN_STRETCHES_SECONDS = 0.25
_SLICE_SECONDS = 0.1
"""The longest sleep between two looks at `abort`."""
_NOT_YET_SECONDS = 0.05
_UNKNOWN_SECONDS = 0.002
"""Until the limit was read for the first time, which takes a moment and holds up every upload of an idle worker."""


class Pace(Protocol):
    def take(self, wanted_bytes: int, abort: Abort) -> int:
        """Wait until some bytes may go and return how many, 1 to `wanted_bytes`.

        Calls `abort` several times a second while it waits, and raises what that raises.
        """


class Unlimited:
    def take(self, wanted_bytes: int, abort: Abort) -> int:
        del abort
        return wanted_bytes


UNLIMITED = Unlimited()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a line's schedule: `size_bytes` at `bytes_per_second` from `begins_at` on, by the monotonic clock."""

    begins_at: float
    size_bytes: int
    bytes_per_second: int


@dataclass(slots=True, eq=False)
class Turn:
    """A piece that an upload waits for. `ready_at` is None until a stretch has room for it."""

    wanted_bytes: int
    size_bytes: int = 0
    ready_at: float | None = None


class SharedPace:
    """The pace of all uploads of one process on one line: small pieces, first come, first served.

    The bandwidth thread of the worker sets the limit and adds stretches of the line's schedule. Until the limit is set
    for the first time, every upload waits. `call` is called where an upload finds no stretch; it must return at once.
    """

    def __init__(self, clock: Clock, *, call: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._call = call
        self._lock = threading.Lock()
        self._known = False
        self._open = False
        self._limit: int | None = None
        self._stock = _Stock()
        self._waiting: deque[Turn] = deque()
        self._promised: set[Turn] = set()
        self._in_demand = False
        self._next_ask_at = clock.monotonic()

    # --- for uploads ---

    def take(self, wanted_bytes: int, abort: Abort) -> int:
        # Read without the lock: an upload without a limit pays nothing here, and sees a new one with its next piece.
        if self._open:
            return wanted_bytes
        turn = self.ask(wanted_bytes)
        try:
            while (seconds := self.seconds_left(turn)) > 0:
                abort()
                self._clock.sleep(min(seconds, _SLICE_SECONDS))
        finally:
            self.leave(turn)
        return turn.size_bytes

    def ask(self, wanted_bytes: int) -> Turn:
        """Queue for a piece."""
        turn = Turn(wanted_bytes)
        with self._lock:
            self._in_demand = True
            self._waiting.append(turn)
            self._serve()
            if turn.ready_at is None:
                self._call()
        return turn

    def seconds_left(self, turn: Turn) -> float:
        """How long to wait before looking again; 0 where `turn.size_bytes` may go now."""
        with self._lock:
            if self._open:
                turn.size_bytes = turn.wanted_bytes
                return 0
            now = self._clock.monotonic()
            if turn.ready_at is not None and now > turn.ready_at + LATE_SECONDS:
                self._ask_again(turn)  # too late: its thread got no processor in time
            if turn.ready_at is None:
                return _NOT_YET_SECONDS if self._known else _UNKNOWN_SECONDS
            return max(0.0, turn.ready_at - now)

    def leave(self, turn: Turn) -> None:
        """Leave the queue. A piece that was promised counts as sent."""
        with self._lock:
            self._promised.discard(turn)
            if turn in self._waiting:
                self._waiting.remove(turn)

    # --- for the thread that knows the limit ---

    @property
    def is_limited(self) -> bool:
        return not self._open

    def set_limit(self, bytes_per_second: int | None) -> None:
        """Bytes a second, None for no limit. Another one than before drops the stretches of the old one."""
        with self._lock:
            if self._known and bytes_per_second == self._limit:
                return
            self._known = True
            self._open = bytes_per_second is None
            self._limit = bytes_per_second
            self._stock = _Stock()
            for turn in list(self._promised):
                self._ask_again(turn)

    def add(self, stretch: Stretch) -> None:
        """One that belongs to another limit is ignored. They come in the order of the schedule."""
        with self._lock:
            if stretch.bytes_per_second == self._limit:
                self._stock.add(stretch)
                self._serve()

    def wanted_seconds(self) -> float:
        """How long a stretch to ask the line for now; 0 where none is needed, or it is too early to ask again.

        After a stretch of which less than half was used they become shorter: the rest is lost to every worker.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self._limit is None or now < self._next_ask_at or not (self._waiting or self._in_demand):
                return 0
            if self._stock.not_begun(now) >= STRETCHES_AHEAD:
                return 0
            self._next_ask_at = now + _BETWEEN_STRETCHES_SECONDS
            self._in_demand = False
            return self._stock.next_seconds

    # --- with the lock taken ---

    def _serve(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and self._stock.promise(self._waiting[0], now):
            self._promised.add(self._waiting.popleft())

    def _ask_again(self, turn: Turn) -> None:
        turn.ready_at = None
        self._promised.discard(turn)
        self._waiting.appendleft(turn)
        self._serve()


class _Stock:
    """Stretches under one limit, and how much of the first is used."""

    def __init__(self) -> None:
        self.next_seconds = MOST_STRETCH_SECONDS
        self._stretches: deque[Stretch] = deque()
        self._passed_bytes = 0
        self._used_bytes = 0

    def add(self, stretch: Stretch) -> None:
        self._stretches.append(stretch)

    def not_begun(self, now: float) -> int:
        return sum(stretch.begins_at > now for stretch in self._stretches)

    def promise(self, turn: Turn, now: float) -> bool:
        """Give `turn` the next piece that is not too late. It is ready at the instant of its last byte."""
        while self._stretches:
            stretch = self._stretches[0]
            too_late_bytes = int((now - LATE_SECONDS - stretch.begins_at) * stretch.bytes_per_second)
            self._passed_bytes = min(stretch.size_bytes, max(self._passed_bytes, too_late_bytes))
            most_bytes = max(LEAST_PIECE_BYTES, stretch.bytes_per_second // PIECES_A_SECOND)
            piece_bytes = min(turn.wanted_bytes, most_bytes, stretch.size_bytes - self._passed_bytes)
            if piece_bytes > 0:
                self._passed_bytes += piece_bytes
                self._used_bytes += piece_bytes
                turn.size_bytes = piece_bytes
                turn.ready_at = stretch.begins_at + self._passed_bytes / stretch.bytes_per_second
                return True
            self._stretches.popleft()
            if self._used_bytes:
                seconds = 2 * self._used_bytes / stretch.bytes_per_second
                self.next_seconds = min(MOST_STRETCH_SECONDS, max(LEAST_STRETCH_SECONDS, seconds))
            self._passed_bytes = self._used_bytes = 0
        return False
