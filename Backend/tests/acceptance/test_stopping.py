"""How a worker ends, sleeps and comes back: by signals, and with everything else gone as well."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from typing import Self

from tests.acceptance.installation import BACKEND, MIB, Clip, Installation, Running
from tests.acceptance.web_server import answers, descendants, free_port

LARGE_BYTES = 8 * MIB + 1


def confirmed_bytes(installation: Installation, clip: Clip) -> int:
    return int(installation.row(clip)["bytes_uploaded"])


def half_way(installation: Installation, clip: Clip) -> bool:
    row = installation.row(clip)
    return row["transfer_status"] == "uploading" and row["bytes_uploaded"] >= 2 * MIB


# --- signals ---


def test_first_signal_ends_the_chunk_and_returns_the_lease(installation: Installation) -> None:
    (clip,) = installation.add([LARGE_BYTES])
    installation.emulator.set_rate(4)
    worker = installation.worker(COLDREEL_PROGRESS_SECONDS=0.0)
    installation.until(lambda: half_way(installation, clip), "half an upload")
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0

    row = installation.row(clip)
    assert (row["transfer_status"], row["lease_owner"], row["error_code"]) == ("pending", None, "")
    assert row["session_uri"]
    assert 2 * MIB <= row["bytes_uploaded"] < LARGE_BYTES
    assert row["bytes_uploaded"] % MIB == 0
    assert installation.history(clip)[-1] == "lease_returned"

    installation.emulator.set_rate(0)
    installation.run_until_idle()
    installation.check_uploaded([clip])
    installation.check_nothing_sent_again([clip])


def test_second_signal_ends_it_where_it_stands(installation: Installation) -> None:
    (clip,) = installation.add([LARGE_BYTES])
    installation.emulator.fault("stall", kind="chunk", after_bytes=1, seconds=60)
    worker = installation.worker(COLDREEL_STALL_SECONDS=60)
    installation.until(lambda: installation.emulator.faults()[0]["hits"], "the stall")
    worker.send(signal.SIGTERM)
    installation.until(lambda: "worker.stop_asked" in worker.tail(), "the first signal's answer")
    assert worker.poll() is None
    worker.send(signal.SIGTERM)
    assert worker.wait() == 1
    assert installation.row(clip)["transfer_status"] == "uploading"

    installation.run_until_idle()
    installation.check_uploaded([clip])


# --- P6: a lease is a fence ---


def put_to_sleep(installation: Installation, worker: Running) -> None:
    """Between two of its transactions: one that sleeps inside would keep SQLite's write lock, and all other processes would wait."""

    def sleeps_without_the_lock() -> bool:
        worker.send(signal.SIGSTOP)
        with closing(sqlite3.connect(installation.home / "coldreel.sqlite3", timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                worker.send(signal.SIGCONT)
                return False
            other.execute("ROLLBACK")
        return True

    installation.until(sleeps_without_the_lock, "a worker that sleeps")


def test_worker_that_slept_through_its_lease_changes_nothing(installation: Installation) -> None:
    """It is stopped in mid-upload; another one finishes the transfer; then it wakes up and goes on."""
    (clip,) = installation.add([LARGE_BYTES])
    installation.emulator.set_rate(4)
    sleeper = installation.worker("--no-periodic")
    installation.until(lambda: half_way(installation, clip), "half an upload")
    put_to_sleep(installation, sleeper)
    installation.emulator.set_rate(0)

    installation.run_until_idle()
    installation.check_uploaded([clip])
    recorded, events = installation.row(clip), installation.history(clip)
    assert recorded["lease_number"] >= 2

    sleeper.send(signal.SIGCONT)
    installation.until(lambda: "lease_lost" in sleeper.tail(), "the sleeper's insight")
    sleeper.send(signal.SIGTERM)
    assert sleeper.wait() == 0
    assert (installation.row(clip), installation.history(clip)) == (recorded, events)
    installation.check_uploaded([clip])


def test_worker_that_slept_after_its_last_byte_records_nothing(installation: Installation) -> None:
    """The bucket has finished the object, the answer waits in the sleeper's socket."""
    (clip,) = installation.add([LARGE_BYTES])
    installation.emulator.fault("delay", kind="final_chunk", seconds=1)
    sleeper = installation.worker("--no-periodic")
    installation.until(lambda: installation.emulator.faults()[0]["hits"], "the last part")
    put_to_sleep(installation, sleeper)

    installation.run_until_idle()
    installation.check_uploaded([clip])
    recorded, events = installation.row(clip), installation.history(clip)

    sleeper.send(signal.SIGCONT)
    installation.until(lambda: "lease_lost" in sleeper.tail(), "the sleeper's insight")
    sleeper.send(signal.SIGTERM)
    assert sleeper.wait() == 0
    assert (installation.row(clip), installation.history(clip)) == (recorded, events)
    assert len(installation.objects_of(clip)) == 1


# --- everything at once ---


def test_worker_and_bucket_killed_together_go_on_together(own_installation: Installation) -> None:
    installation = own_installation
    clips = installation.add([LARGE_BYTES, LARGE_BYTES, 200_000])
    installation.emulator.set_rate(6)
    worker = installation.worker()
    installation.until(lambda: half_way(installation, clips[0]), "half an upload")
    worker.kill()
    installation.emulator.restart()
    installation.run_until_idle()
    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)


def test_line_that_is_down_for_a_while_costs_nothing(installation: Installation) -> None:
    """The bucket's machine is away: connections are refused, then it is back with what it had."""
    clips = installation.add([LARGE_BYTES, 200_000])
    installation.emulator.set_rate(6)
    worker = installation.worker("--until-idle")
    installation.until(lambda: half_way(installation, clips[0]), "half an upload")
    installation.emulator.kill()
    installation.until(lambda: "line_down" in installation.history(clips[0]), "the outage in the history")
    installation.emulator.start()
    assert worker.wait() == 0, worker.tail()
    installation.check_uploaded(clips)
    assert installation.row(clips[0])["retry_count"] == 0


def test_web_worker_and_bucket_killed_together_go_on_together(own_installation: Installation) -> None:
    installation = own_installation
    clips = installation.add([LARGE_BYTES, LARGE_BYTES, 200_000])
    port = free_port()
    installation.emulator.set_rate(4)
    with _Serve(installation, port) as served:
        installation.until(lambda: half_way(installation, clips[0]) and answers(port), "web server and half an upload")
        installation.emulator.kill()
        served.kill()
    assert not answers(port)

    installation.emulator.start()
    installation.emulator.set_rate(0)
    with _Serve(installation, port):
        installation.until(lambda: answers(port), "the web server")
        installation.until(lambda: installation.statuses() == {"cleanup_pending": 3}, "all uploads")
    installation.check_uploaded(clips)
    installation.check_nothing_sent_again(clips)


class _Serve:
    """`manage.py serve`: the web server and the worker, as an operator starts them."""

    def __init__(self, installation: Installation, port: int) -> None:
        self._command = [sys.executable, str(BACKEND / "manage.py"), "serve", "--port", str(port)]
        self._environment = installation.environment()
        self._log = installation.home / f"serve-{len(list(installation.home.glob('serve-*')))}.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and all processes that it started."""
        for pid in [self._process.pid, *descendants(self._process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
