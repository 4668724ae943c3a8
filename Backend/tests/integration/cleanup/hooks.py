"""Collaborators of a cleanup that call back before each thing they are asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from django.db import connection

from offload.source import MediaRoot, Source, SourceIdentity
from offload.store import ObjectInfo
from offload.testing import FakeClock, MemoryStore
from offload.trash import Trash

Hook = Callable[[str], None]


class Crash(BaseException):
    """The process dies here: nothing that comes later happens."""


class Steps:
    """Counts what the collaborators are asked; at the `at`-th question `act` is called, once."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self.names: list[str] = []
        self.acted_at: str | None = None
        self._at = at
        self._transactions = len(connection.atomic_blocks)  # those of the test itself
        self._act = act

    def __call__(self, name: str) -> None:
        # Inside a transaction there is no "between": what another connection does comes before or after it.
        if len(connection.atomic_blocks) > self._transactions:
            return
        self.names.append(name)
        if len(self.names) == self._at:
            self.acted_at = name
            self._act()


class HookedStore:
    def __init__(self, store: MemoryStore, hook: Hook) -> None:
        self._store, self._hook = store, hook

    def get(self, bucket: str, name: str, *, generation: int | None = None) -> ObjectInfo | None:
        self._hook("store.get")
        return self._store.get(bucket, name, generation=generation)

    def list_prefix(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        self._hook("store.list_prefix")
        return self._store.list_prefix(bucket, prefix)

    def bucket_time(self, bucket: str) -> datetime:
        self._hook("store.bucket_time")
        return self._store.bucket_time(bucket)


class HookedTrash(Trash):
    """`after=True` calls back after each rename and unlink too: there a crash finds them done."""

    def __init__(self, root: MediaRoot, hook: Hook) -> None:
        super().__init__(root)
        self._hook = hook

    def take(self, relative_path: str, key: str, *, expected: SourceIdentity) -> SourceIdentity:
        self._hook("trash.take")
        taken = super().take(relative_path, key, expected=expected)
        self._hook("trash.taken")
        return taken

    def find(self, key: str) -> SourceIdentity | None:
        self._hook("trash.find")
        return super().find(key)

    def open(self, key: str) -> Source:
        self._hook("trash.open")
        return super().open(key)

    def put_back(self, key: str, relative_path: str) -> None:
        self._hook("trash.put_back")
        super().put_back(key, relative_path)
        self._hook("trash.back")

    def unlink(self, key: str, *, expected: SourceIdentity) -> None:
        self._hook("trash.unlink")
        super().unlink(key, expected=expected)
        self._hook("trash.unlinked")


class HookedRoot(MediaRoot):
    def __init__(self, root: MediaRoot, hook: Hook) -> None:
        super().__init__(root.path)
        self._hook = hook

    def open(self, relative_path: str) -> Source:
        self._hook("root.open")
        return super().open(relative_path)

    def stat(self, relative_path: str) -> SourceIdentity:
        self._hook("root.stat")
        return super().stat(relative_path)

    def has_marker(self) -> bool:
        self._hook("root.has_marker")
        return super().has_marker()


class HookedClock:
    def __init__(self, clock: FakeClock, hook: Hook) -> None:
        self._clock, self._hook = clock, hook

    def now(self) -> datetime:
        self._hook("clock.now")
        return self._clock.now()

    def monotonic(self) -> float:
        self._hook("clock.monotonic")
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)
