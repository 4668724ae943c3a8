"""Keeps a few child processes running: the web server and the worker of `manage.py serve`.

The children end with their supervisor. Where it ends by itself or by an exception, it stops them in a `finally`; where
it is killed, the kernel sends them SIGTERM (PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 30.0
SUPERVISOR = "COLDREEL_SUPERVISOR_PID"
"""The variable that tells a child the process id of its supervisor."""
_PR_SET_PDEATHSIG = 1


class AlreadyServed(Exception):
    """Another `serve` runs on the same home."""


def lock_home(home: Path) -> int:
    """The lock of the one `serve` of this home; it lasts as long as this process. Raises AlreadyServed, OSError."""
    descriptor = os.open(home / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyServed(f"`manage.py serve` runs already on {home}: end that one first.") from error
    return descriptor


def end_with_supervisor(environment: MutableMapping[str, str]) -> bool:
    """Called by a child at its start: ask the kernel for SIGTERM when the supervisor is gone.

    False, without any effect, in a process that no supervisor started. Exits with status 1 where the supervisor is
    gone already.
    """
    expected = environment.pop(SUPERVISOR, "")
    if not expected:
        return False
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if str(os.getppid()) != expected:  # the supervisor died before the kernel was asked
        sys.exit(1)
    return True


@dataclass
class Child:
    """A command that is started again whenever it ends, after a pause that doubles up to 30 s."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    keep_open: Sequence[int] = ()
    """Numbers of the open files that it inherits."""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_seconds: float = FIRST_RESTART_SECONDS
    start_at: float = field(default=0.0)

    def start(self) -> None:
        # In a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops its children in order.
        self.process = subprocess.Popen(  # noqa: S603
            self.command,
            env={**self.environment, SUPERVISOR: str(os.getpid())},
            start_new_session=True,
            pass_fds=self.keep_open,
        )
        self.started_at = time.monotonic()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts its children, restarts those that end, and ends them all on SIGTERM or SIGINT.

    A first signal asks the children to finish (SIGTERM), a second one to end at once. What still runs `grace_seconds`
    after the first is killed. `say` is called with one line for people about each event.
    """

    def __init__(self, children: Sequence[Child], *, say: Callable[[str], None], grace_seconds: float = 60.0) -> None:
        self._children = children
        self._tell = say
        self._grace_seconds = grace_seconds
        self._signals = 0
        self._woken = threading.Event()

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._on_signal)
        try:
            while not self._signals:
                self._restart_the_ended()
                self._woken.wait(0.2)
        finally:
            self._stop_all()

    def _say(self, line: str) -> None:
        """The terminal or the reader of the pipe may be gone, which is no reason to end."""
        with suppress(OSError, ValueError):
            self._tell(line)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        self._woken.set()

    def _restart_the_ended(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.alive():
                continue
            if child.process is not None:
                # One that ran for a while ends for another reason than one that never gets going.
                if now - child.started_at > LONGEST_RESTART_SECONDS:
                    child.pause_seconds = FIRST_RESTART_SECONDS
                self._say(
                    f"The {child.name} ended with status {child.process.returncode}; "
                    f"it is started again in {child.pause_seconds:.0f} s."
                )
                child.process = None
                self._wait_longer(child, now)
            elif now >= child.start_at:
                try:
                    child.start()
                except OSError as error:
                    self._say(f"The {child.name} cannot be started ({error}); again in {child.pause_seconds:.0f} s.")
                    self._wait_longer(child, now)

    def _wait_longer(self, child: Child, now: float) -> None:
        child.start_at = now + child.pause_seconds
        child.pause_seconds = min(LONGEST_RESTART_SECONDS, child.pause_seconds * 2)

    def _stop_all(self) -> None:
        self._say("Stopping: running uploads finish their part and give their lease back (again: stop now).")
        told = 0
        deadline = time.monotonic() + self._grace_seconds
        while running := [child.process for child in self._children if child.process and child.alive()]:
            # Told once for each signal: at a second one the children stop at once.
            if told < max(1, self._signals):
                told += 1
                _signal_all(running, signal.SIGTERM)
            if time.monotonic() > deadline:
                _signal_all(running, signal.SIGKILL)
            time.sleep(0.05)


def _signal_all(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)
