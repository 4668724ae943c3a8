"""What a process asks of its database, told call by call: for the benchmark and for the tests that count commits.

Django's own seams are used: `execute_wrappers` see every statement, `_commit` every end of a transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass(frozen=True, slots=True)
class Call:
    """`kind` is query, commit or connect; `writes` says of a commit whether it made anything durable.

    `began` is by the monotonic clock, which all processes of a machine share; `cpu_seconds` are this thread's.
    """

    kind: str
    thread: str
    began: float
    seconds: float
    cpu_seconds: float
    writes: bool = False
    sql: str = ""


class DatabaseCalls:
    """Every call of this process while `watching`. A statement outside a transaction is a commit of its own."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._dirty = threading.local()

    def commits(self) -> list[Call]:
        return [call for call in self.calls if call.kind == "commit" and call.writes]

    def queries(self) -> list[Call]:
        return [call for call in self.calls if call.kind == "query"]

    @contextmanager
    def watching(self) -> Iterator[DatabaseCalls]:
        commit, connect = BaseDatabaseWrapper._commit, BaseDatabaseWrapper.connect
        calls = self

        def watched_commit(wrapper: BaseDatabaseWrapper) -> None:
            writes, calls._dirty.on = getattr(calls._dirty, "on", False), False
            calls._timed("commit", lambda: commit(wrapper), writes=writes)

        def watched_connect(wrapper: BaseDatabaseWrapper) -> None:
            calls._timed("connect", lambda: connect(wrapper))

        def created(connection: Any, **_: Any) -> None:
            if self._query not in connection.execute_wrappers:
                connection.execute_wrappers.append(self._query)

        connection_created.connect(created, weak=False)
        BaseDatabaseWrapper._commit, BaseDatabaseWrapper.connect = watched_commit, watched_connect  # type: ignore[method-assign]
        for connection in connections.all(initialized_only=True):
            created(connection)
        try:
            yield self
        finally:
            BaseDatabaseWrapper._commit, BaseDatabaseWrapper.connect = commit, connect  # type: ignore[method-assign]
            connection_created.disconnect(created)
            for connection in connections.all(initialized_only=True):
                connection.execute_wrappers.remove(self._query)

    def _query(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Mapping[str, Any]) -> Any:
        word = sql.lstrip().partition(" ")[0].upper()
        if word == "BEGIN":
            self._dirty.on = False
            return self._timed("begin", lambda: execute(sql, params, many, context), sql=sql)
        writes = word in WRITES
        alone = writes and not context["connection"].in_atomic_block
        self._dirty.on = getattr(self._dirty, "on", False) or (writes and not alone)
        found = self._timed("query", lambda: execute(sql, params, many, context), sql=sql)
        if alone:
            self.calls.append(Call("commit", threading.current_thread().name, time.monotonic(), 0.0, 0.0, writes=True))
        return found

    def _timed(self, kind: str, call: Callable[[], Any], **told: Any) -> Any:
        began, cpu = time.monotonic(), time.thread_time()
        try:
            return call()
        finally:
            seconds, cpu_seconds = time.monotonic() - began, time.thread_time() - cpu
            self.calls.append(Call(kind, threading.current_thread().name, began, seconds, cpu_seconds, **told))
