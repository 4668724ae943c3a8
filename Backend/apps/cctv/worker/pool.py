"""The threads that upload: as many as a slow line needs, and no more than the processor can serve.

Where the line is quicker than the processor, threads take turns at Python's one interpreter, and every turn costs
two context switches: sixteen threads took twice the time and the CPU of two (docs/decisions/0008-few-threads.md). An
upload that waits for a thread costs nothing. So a few begin, and more are allowed while those take little of the
processor: then they wait for the line, a disk or the bucket, which serve many at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

from apps.cctv.worker.crashes import log_crash

FEWEST = 2
LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.01, 0.4
"""How long the processor is watched before more may run; twice as long after each time that it was busy."""
WAITING_SHARE = 0.25
"""Of a core, for each thread. One that takes less of it spends its time waiting for something else."""
BUSY_SHARE = 0.35
"""Of all cores. Beyond it no more may run: the recorder runs here, and perhaps what receives the bytes."""

Task = Callable[[], None]


class ThreadPool:
    """Runs each task given to `submit` in a thread; at most `most` at once."""

    def __init__(
        self,
        *,
        most: int,
        wake: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        process_seconds: Callable[[], float] = time.process_time,
        cores: int = 0,
    ) -> None:
        """`wake` is called when so few tasks are left that more should be claimed; `process_seconds` is CPU time.

        Without `cores` they are those that the process may use.
        """
        self._most = most
        self._wake = wake
        self._monotonic = monotonic
        self._process_seconds = process_seconds
        # A container may have fewer cores than its machine. Only Linux tells which this process may use.
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self._cores = cores or usable or 1
        self._tasks: deque[Task] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._running = 0
        self._allowed = min(FEWEST, most)
        self._changed = threading.Condition()
        self._seen_at, self._seen_seconds = monotonic(), process_seconds()
        self._watch_seconds = LOOK_SECONDS
        self._closed = False
        self._is_refused = False

    def submit(self, task: Task) -> None:
        with self._changed:
            if not self._tasks:
                self._watch(LOOK_SECONDS)
                if not self._running:
                    self._allowed = min(FEWEST, self._most)
            self._tasks.append(task)
            self._call()

    def has_plenty(self) -> bool:
        """Whether more tasks wait than can begin in a moment."""
        return len(self._tasks) >= self._allowed

    def look(self) -> float | None:
        """Allow more threads, if those that run leave the processor idle.

        Returns in how many seconds to call it again, None where that is not needed.
        """
        with self._changed:
            self._call()  # for a task whose thread the system refused to start
            if not self._tasks or self._allowed == self._most:
                return None
            passed = self._monotonic() - self._seen_at
            if passed < self._watch_seconds:
                return self._watch_seconds - passed
            took = self._process_seconds() - self._seen_seconds
            # CPU time of the whole process: threads that mostly wait use little of it, whatever they wait for.
            if took < passed * min(self._allowed * WAITING_SHARE, self._cores * BUSY_SHARE):
                self._allowed = min(self._most, self._allowed * 2)
                self._watch(LOOK_SECONDS)
                self._call()
            else:
                self._watch(min(self._watch_seconds * 2, LONGEST_LOOK_SECONDS))
            return self._watch_seconds

    def take_back(self) -> list[Task]:
        """The tasks that have not begun; they are taken out and will not begin."""
        with self._changed:
            tasks = list(self._tasks)
            self._tasks.clear()
            return tasks

    def close(self, *, hanging: int = 0) -> None:
        """Wait until every task is done, except for `hanging` ones that may never be."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while hanging and self._running > hanging:
                self._changed.wait()
        if not hanging:
            for thread in self._threads:
                thread.join()

    def _watch(self, seconds: float) -> None:
        self._watch_seconds = seconds
        self._seen_at, self._seen_seconds = self._monotonic(), self._process_seconds()

    def _call(self) -> None:
        """Give the first task that waits a thread, if one more may run; that thread calls this for the next task."""
        if not self._tasks or self._running >= self._allowed:
            return
        if self._idle:
            self._changed.notify()
        elif len(self._threads) < self._allowed:
            # A daemon: a thread that hangs in a read must not keep the process from ending.
            thread = threading.Thread(target=self._work, name=f"upload_{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:  # a limit of the system: the task waits for the next `look`
                if not self._is_refused:  # logged once, not at every look
                    log_crash("worker.thread_refused", error)
                self._is_refused = True
            else:
                self._is_refused = False
                self._threads.append(thread)

    def _work(self) -> None:
        while task := self._next():
            try:
                task()
            except Exception as error:  # noqa: BLE001 - the top of a thread: a bug must not cost the worker a place
                log_crash("worker.job_crashed", error)
            finally:
                with self._changed:
                    self._running -= 1
                    if self._closed:
                        self._changed.notify_all()

    def _next(self) -> Task | None:
        with self._changed:
            while not self._tasks or self._running >= self._allowed:
                if self._closed and not self._tasks:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            self._running += 1
            task = self._tasks.popleft()
            self._call()
            # Claim more while some tasks still wait: a claim takes a transaction, and no thread should wait for it.
            if len(self._tasks) == self._allowed - 1:
                self._wake()
            if self._closed and not self._tasks:
                self._changed.notify_all()
            return task
