"""Several threads that do the same at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def all_at_once(count: int, do: Callable[[], T]) -> list[T]:
    """Call `do` in `count` threads that start together; return all results. Raises what one of them raised."""
    together = threading.Barrier(count)

    def run() -> T:
        together.wait()
        try:
            return do()
        finally:
            # A thread's connections are its own: left open, they keep the test database from being dropped.
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(run) for _ in range(count)]
    return [one.result() for one in running]
