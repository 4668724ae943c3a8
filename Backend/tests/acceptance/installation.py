"""An installation whose processes a test may kill: a home, a bucket in an emulator process, workers in their own.

A test sees the outcome from outside the product: plain SQL on the database's file, the emulator's own
list of objects and its log of requests, the files on disk.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from gcs_emulator.checksum import crc_of_file, encode_crc
from gcs_emulator.process import EmulatorProcess
from tests.acceptance.kill_point import KillPoint

BACKEND = Path(__file__).resolve().parents[2]
BUCKET = "footage"
MIB = 2**20
QUANTUM_BYTES = 256 * 1024
PATIENCE_SECONDS = 90.0
"""Reached only where something is wrong."""

TWENTIETH = {
    "COLDREEL_POLL_SECONDS": "0.05",
    "COLDREEL_HEARTBEAT_SECONDS": "0.5",
    "COLDREEL_LEASE_SECONDS": "2",
    "COLDREEL_LEASE_MARGIN_SECONDS": "0.5",
    "COLDREEL_SWEEP_SECONDS": "0.75",
    "COLDREEL_CLEANUP_SECONDS": "86400",
    "COLDREEL_PROGRESS_SECONDS": "0.15",
    "COLDREEL_SETTLE_SECONDS": "0.5",
    "COLDREEL_RETRY_BASE_SECONDS": "0.1",
    "COLDREEL_RETRY_CAP_SECONDS": "2.25",
    "COLDREEL_STALL_SECONDS": "2",
    "COLDREEL_RESERVE_BYTES": "0",
}
"""The default timings divided by twenty."""

SMALL_CHUNKS = {
    "COLDREEL_SMALL_LIMIT_BYTES": str(MIB // 2),
    "COLDREEL_CHUNK_MIN_BYTES": str(MIB),
    "COLDREEL_CHUNK_MAX_BYTES": str(MIB),
}


@dataclass(frozen=True)
class Clip:
    """A recording as the test made it. `crc32c` is base64, as the bucket writes it."""

    name: str
    recording: str
    transfer: str
    size_bytes: int
    crc32c: str


class Running:
    """A process of the product. `ask` returns its exit status, minus the number of the signal that ended it, or None."""

    def __init__(self, installation: Installation, pid: int, log: Path, ask: Callable[[], int | None]) -> None:
        self.pid = pid
        self.status: int | None = None
        self._installation = installation
        self._log = log
        self._ask = ask

    def poll(self) -> int | None:
        if self.status is None:
            self.status = self._ask()
        return self.status

    def wait(self) -> int:
        self._installation.until(lambda: self.poll() is not None, f"the end of process {self.pid}")
        assert self.status is not None
        return self.status

    def send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait()

    def lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def tail(self) -> str:
        return "\n".join(self.lines()[-25:])

    def peak_bytes(self) -> int:
        """The most memory that it ever had resident."""
        (line,) = [one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) * 1024


class Installation:
    """`with Installation(folder) as installation`. All its files are below `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        settings: Mapping[str, str] = TWENTIETH | SMALL_CHUNKS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`settings` are environment variables of every process."""
        self.home = folder / "home"
        self.media = self.home / "media"
        self.logs = self.home
        self.emulator = EmulatorProcess(folder / "bucket", buckets=[BUCKET])
        self._settings = settings
        self._patience_seconds = patience_seconds
        self._fork_server: subprocess.Popen[str] | None = None
        self._started: list[Running] = []
        self.clips: list[Clip] = []

    # --- start and end ---

    def __enter__(self) -> Self:
        self.media.mkdir(parents=True)
        (self.media / ".coldreel-media-root").write_text("test\n")
        self.emulator.start()
        self._fork_server = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=BACKEND,
            env=self.environment(),
        )
        assert self._fork_server.stdout is not None
        assert self._fork_server.stdout.readline() == "ready\n"
        self.call("prepare")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()
        server = self._fork_server
        if server is not None and server.stdin is not None and server.stdout is not None:
            server.stdin.close()
            server.wait(timeout=PATIENCE_SECONDS)
            server.stdout.close()
        self.emulator.stop()

    def kill_all(self) -> None:
        for process in self._started:
            process.kill()
        self._started.clear()

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COLDREEL_", "GCP_"))},
            **self._settings,
            "COLDREEL_ENV_FILE": os.devnull,
            "COLDREEL_HOME": str(self.home),
            "GCP_STORAGE_USE_GCS": "True",
            "GCP_STORAGE_BUCKET_NAME": BUCKET,
            "STORAGE_EMULATOR_HOST": self.emulator.url,
        }

    def order(self, order: str, **values: Any) -> Any:
        server = self._fork_server
        assert server is not None
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps({"order": order, **values}) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]

    def call(self, function: str, **arguments: Any) -> Any:
        return self.order("call", function=f"tests.acceptance.product_calls.{function}", arguments=arguments)

    def until(self, happened: Callable[[], Any], what: str) -> Any:
        """Wait until it returns something true, and return that; AssertionError names `what` after `patience_seconds`."""
        give_up_at = time.monotonic() + self._patience_seconds
        while time.monotonic() < give_up_at:
            if found := happened():
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited in vain for {what}")

    # --- recordings and processes ---

    def add(self, sizes: Sequence[int], *, batch_size: int = 5, settled_seconds: float = 3600) -> list[Clip]:
        """Make files of those sizes, register them and ask for their transfer in one batch."""
        names = [f"clip-{len(self.clips) + number:05}.ts" for number in range(len(sizes))]
        for name, size in zip(names, sizes, strict=True):
            path = self.media / name
            path.write_bytes(os.urandom(size))
            modified = time.time() - settled_seconds
            os.utime(path, (modified, modified))
        asked = self.call("request", names=names, batch_size=batch_size)
        new = [
            Clip(**one, size_bytes=size, crc32c=encode_crc(crc_of_file(self.media / one["name"], size)))
            for one, size in zip(asked, sizes, strict=True)
        ]
        self.clips += new
        return new

    def start(self, *command: str, kill: KillPoint | None = None, **settings: Any) -> Running:
        """Start a management command, which is killed at `kill` if one is given."""
        log = self._next_log()
        order = {"command": command, "log": str(log), "settings": settings}
        if kill is not None:
            order["kill"] = {"function": kill.function, "event": kill.event, "nth": kill.nth}
        pid = self.order("start", **order)
        return self._started_one(Running(self, pid, log, lambda: self.order("poll", pid=pid)))

    def start_afresh(self, *command: str) -> Running:
        """Start one in an interpreter of its own, as an operator does: it takes a second longer."""
        log = self._next_log()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, str(BACKEND / "manage.py"), *command], env=self.environment(), stdout=out, stderr=out
            )
        return self._started_one(Running(self, process.pid, log, process.poll))

    def alive(self) -> list[Running]:
        return [process for process in self._started if process.poll() is None]

    def _next_log(self) -> Path:
        log = self.logs / f"process-{len(list(self.logs.glob('process-*')))}.log"
        log.touch()
        return log

    def _started_one(self, process: Running) -> Running:
        self._started.append(process)
        return process

    def worker(self, *arguments: str, kill: KillPoint | None = None, **settings: Any) -> Running:
        return self.start("run_worker", *arguments, kill=kill, **settings)

    def run_until_idle(self, *arguments: str, **settings: Any) -> None:
        worker = self.worker("--until-idle", *arguments, **settings)
        assert worker.wait() == 0, worker.tail()

    def clean_up(self, *arguments: str, kill: KillPoint | None = None) -> Running:
        """Without a waiting period: it cleans up what was uploaded without one."""
        return self.start("cleanup_gcp_transfers", *arguments, kill=kill, GCP_CLEANUP_DELAY_HOURS=0)

    # --- what is seen from outside ---

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.home / "coldreel.sqlite3", timeout=30, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection

    def select(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self.database() as connection:
            return [dict(row) for row in connection.execute(query, values)]

    def row(self, clip: Clip) -> dict[str, Any]:
        (found,) = self.select("SELECT * FROM cctv_gcpvideotransfer WHERE id = ?", UUID(clip.transfer).hex)
        return found

    def statuses(self) -> Counter[str]:
        return Counter(
            row["transfer_status"] for row in self.select("SELECT transfer_status FROM cctv_gcpvideotransfer")
        )

    def is_leased(self, clip: Clip) -> bool:
        now = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        return (self.row(clip)["lease_expires_at"] or "") > now

    def history(self, clip: Clip) -> list[str]:
        query = "SELECT reason FROM cctv_transferevent WHERE transfer_id = ? ORDER BY id"
        return [row["reason"] for row in self.select(query, UUID(clip.transfer).hex)]

    def received_bytes(self) -> int:
        """What the bucket has received of uploads that are still open, up to this moment."""
        sizes = []
        for path in (self.emulator.data / "sessions").glob("*.data"):
            with suppress(FileNotFoundError):  # finished between the two looks
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def receipts(self, clip: Clip) -> list[str]:
        query = "SELECT outcome FROM cctv_deletionreceipt WHERE transfer_id = ? ORDER BY opened_at"
        return [row["outcome"] for row in self.select(query, UUID(clip.transfer).hex)]

    def objects_of(self, clip: Clip) -> list[dict[str, Any]]:
        return [one for one in self.emulator.objects(BUCKET) if _recording_of(one["name"]) == clip.recording]

    def trash(self) -> list[str]:
        folder = self.media / ".coldreel-trash"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    # --- what must hold ---

    def check_uploaded(self, clips: Sequence[Clip], *, status: str = "cleanup_pending", is_local: bool = True) -> None:
        """Every recording is in the bucket exactly once and verified, and its row and events agree.

        Its file is on the disk, or with `is_local` false it is gone, and its last receipt says deleted.
        """
        objects: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for one in self.emulator.objects(BUCKET):
            objects[_recording_of(one["name"])].append(one)
        for clip in clips:
            row = self.row(clip)
            (found,) = objects[clip.recording]
            assert (int(found["size"]), found["crc32c"]) == (clip.size_bytes, clip.crc32c)
            assert (row["gcp_storage_path"], row["object_crc32c"]) == (found["name"], clip.crc32c)
            assert row["object_generation"] == int(found["generation"])
            assert row["bytes_uploaded"] == row["file_size_bytes"] == clip.size_bytes
            assert (row["transfer_status"], row["lease_owner"], row["session_uri"]) == (status, None, "")
            ends = [reason for reason in self.history(clip) if reason in {"uploaded", "adopted", "found_in_bucket"}]
            assert len(ends) == 1
            if is_local:
                self.check_local(clip)
            else:
                assert self.receipts(clip)[-1:] == ["deleted"], (clip, self.receipts(clip))
                assert not (self.media / clip.name).exists()

    def check_local(self, clip: Clip) -> None:
        path = self.media / clip.name
        assert path.stat().st_size == clip.size_bytes
        assert encode_crc(crc_of_file(path, clip.size_bytes)) == clip.crc32c

    def sent_again_bytes(self) -> Counter[str]:
        """Bytes that reached the bucket more than once through a session, by recording."""
        spans: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for entry in self.emulator.requests():
            if entry["kind"] in {"chunk", "final_chunk"}:
                spans[_recording_of(entry["name"])].append((entry["offset_bytes"] or 0, entry["received_bytes"]))
        return Counter(
            {recording: sum(length for _, length in sent) - _covered_bytes(sent) for recording, sent in spans.items()}
        )

    def check_nothing_sent_again(self, clips: Sequence[Clip]) -> None:
        """What the bucket had told to be committed is never sent again (P3), whatever broke on the way.

        It commits whole quanta of 256 KiB, so the rest of a chunk whose connection broke does come twice.
        """
        recordings = {clip.recording for clip in clips}
        again = [one for one in self.emulator.requests() if one["sent_again_bytes"]]
        assert [one for one in again if _recording_of(one["name"]) in recordings] == []

    def check_no_key_was_told(self) -> None:
        """P10: a session URI is in its own column, and in no log, event, error message or alarm."""
        texts = [path.read_text(errors="replace") for path in self.logs.glob("*.log")]
        for query in (
            "SELECT detail AS text FROM cctv_transferevent",
            "SELECT error_message AS text FROM cctv_gcpvideotransfer",
            "SELECT detail AS text FROM cctv_alarm",
            "SELECT last_result AS text FROM cctv_periodicjob",
        ):
            texts += [row["text"] for row in self.select(query)]
        assert [text for text in texts if "upload_id" in text] == []

    def check_nothing_forgotten(self) -> None:
        """P4, of every row in the database."""
        forgotten = """
            SELECT id FROM cctv_gcpvideotransfer WHERE NOT (
                transfer_status IN ('completed', 'cleanup_completed', 'failed')
                OR (transfer_status = 'pending' AND next_attempt_at IS NOT NULL)
                OR (transfer_status = 'uploading' AND lease_owner IS NOT NULL AND lease_expires_at IS NOT NULL)
                OR (transfer_status = 'cleanup_pending' AND cleanup_scheduled_at IS NOT NULL))"""
        assert self.select(forgotten) == []


def _recording_of(object_name: str) -> str:
    return object_name.split("/")[2]


def _covered_bytes(spans: Sequence[tuple[int, int]]) -> int:
    covered = reached = 0
    for offset, length in sorted(spans):
        covered += max(0, offset + length - max(offset, reached))
        reached = max(reached, offset + length)
    return covered
