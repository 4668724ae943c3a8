"""The tour itself: what a newcomer watches, told step by step."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import google_crc32c
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from demo.clips import make_clips
from demo.stage import BUCKET, MBYTES_PER_SECOND, Stage
from offload.store import META_LOCAL_PATH

CAMERAS = 4
CLIPS_PER_CAMERA = 6
BATCH_SIZE = 5
UPLOAD_SECONDS = 600
LINE_SECONDS = 2.0
LOGINS = {"superadmin": "root", "admin": "admin", "dev": "dev"}


class TourError(Exception):
    """A step of the tour did not end as it must."""


class Tour:
    def __init__(self, stage: Stage, *, footage_bytes: int) -> None:
        self._stage = stage
        self._footage_bytes = footage_bytes
        self._console = Console(highlight=False)
        self._http = requests.Session()

    def run(self) -> None:
        """Footage in, proven in the bucket, cleanup scheduled. Raises TourError, StageError."""
        self._make_footage()
        self._start()
        self._sign_in()
        self._transfer()
        transfers = self._watch()
        self._prove(transfers)
        self._show(transfers)
        self._rehearse_cleanup()
        self._say_where()

    def _step(self, text: str) -> None:
        self._console.print(f"\n[bold cyan]▸ {text}[/]")

    def _make_footage(self) -> None:
        self._step(f"Recording {CAMERAS} cameras (H.264, made on the spot) …")
        total = CAMERAS * CLIPS_PER_CAMERA
        with Progress(console=self._console, transient=True) as progress:
            task = progress.add_task("clips", total=total)
            clips = make_clips(
                self._stage.media,
                cameras=CAMERAS,
                clips_per_camera=CLIPS_PER_CAMERA,
                total_bytes=self._footage_bytes,
                on_clip=lambda _path: progress.advance(task),
            )
        size = sum(path.stat().st_size for path in clips)
        self._console.print(f"  {len(clips)} clips, {size / 1e6:.0f} MB, in {self._stage.media}")

    def _start(self) -> None:
        self._step("Starting a bucket on loopback, the database, the web server and a worker …")
        stage = self._stage
        stage.start_bucket()
        stage.manage("migrate", "--no-input", "--verbosity", "0")
        for role, name in LOGINS.items():
            stage.manage(
                "shell", "-c", _NEW_USER, extra={"DEMO_USER": name, "DEMO_ROLE": role, "DEMO_PW": stage.password}
            )
        self._console.print(
            "  " + _last_line(stage.manage("import_recordings", str(stage.media), "--template", _TEMPLATE, *_IMPORT))
        )
        stage.start_server()
        stage.wait_until(self._answers, "the web server")

    def _answers(self) -> bool:
        try:
            return self._http.get(f"{self._stage.web_url}/api/v0/openapi.json", timeout=10).ok
        except requests.RequestException:  # not listening yet, or busy with its first start
            return False

    def _sign_in(self) -> None:
        self._step("Signing in through the API as admin …")
        answer = self._call("POST", "token/", json={"username": LOGINS["admin"], "password": self._stage.password})
        self._http.headers["Authorization"] = f"Bearer {answer['access']}"
        self._console.print(
            f"  POST /api/v0/token/ → a token for {answer['user']['username']} ({answer['user']['role']})"
        )

    def _transfer(self) -> None:
        self._step(f"Asking for every local recording, {BATCH_SIZE} at a time …")
        answer = self._call("POST", "recordings/transfer-to-gcp/", json={"batch_size": BATCH_SIZE})
        self._console.print(f"  POST /api/v0/recordings/transfer-to-gcp/ → {answer['message']}")
        if answer["failed_initiations"] or not answer["total_recordings"]:
            raise TourError(f"not every recording was taken: {answer['failures'][:3]}")

    def _watch(self) -> list[dict[str, Any]]:
        self._step(f"Uploading (slowed to {MBYTES_PER_SECOND} MB/s, so that there is something to see) …")
        columns = (TextColumn("{task.description:<34}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        deadline = time.monotonic() + UPLOAD_SECONDS
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            show = _Bars(progress).update if self._console.is_terminal else _Lines(self._console).update
            while True:
                answer = self._call("GET", "recordings/gcp-transfers/?limit=1000")
                show(answer)
                if answer["completed_count"] == answer["total_count"]:
                    return list(answer["transfers"])
                if answer["failed_count"]:
                    raise TourError(f"{answer['failed_count']} uploads failed; see {self._stage.logs}")
                if time.monotonic() > deadline:
                    raise TourError(f"the uploads did not end within {UPLOAD_SECONDS} s")
                self._stage.check_alive()
                time.sleep(0.4)

    def _prove(self, transfers: list[dict[str, Any]]) -> None:
        self._step("Comparing every object in the bucket with the file on the disk …")
        listing = requests.get(f"{self._stage.bucket_url}/storage/v1/b/{BUCKET}/o?maxResults=1000", timeout=30).json()
        objects = {item["name"]: item for item in listing["items"]}
        proven = {self._proven_path(transfer, objects) for transfer in transfers}
        on_disk = set(self._stage.media.rglob("*.mp4"))
        if proven != on_disk:
            raise TourError(f"{len(on_disk - proven)} files on the disk have no object in the bucket")
        self._console.print(f"  {len(proven)} of {len(on_disk)} are the same, size and CRC32C")

    def _proven_path(self, transfer: dict[str, Any], objects: dict[str, dict[str, Any]]) -> Path:
        """The file whose bytes the transfer's object has. Raises TourError where there is none."""
        item = objects.get(transfer["gcp_storage_path"])
        if item is None:
            raise TourError(f"{transfer['recording_name']} is not in the bucket")
        path: Path = self._stage.media / item["metadata"][META_LOCAL_PATH]
        if int(item["size"]) != path.stat().st_size or item["crc32c"] != _crc32c_base64(path):
            raise TourError(f"{transfer['recording_name']} is in the bucket, but not as it is on the disk")
        return path

    def _show(self, transfers: list[dict[str, Any]]) -> None:
        table = Table(box=None, header_style="bold")
        for name in ("camera", "recording", "MiB", "status", "local file goes after"):
            table.add_column(name, justify="right" if name == "MiB" else "left")
        for row in sorted(transfers, key=lambda row: (row["camera_name"], row["recording_name"])):
            table.add_row(
                row["camera_name"],
                row["recording_name"],
                f"{row['file_size_mb']:.2f}",
                row["transfer_status"],
                (row["cleanup_scheduled_at"] or "")[:16].replace("T", " "),
            )
        self._console.print(table)

    def _rehearse_cleanup(self) -> None:
        self._step("Rehearsing the cleanup: nothing is due before its 24 hours, and a dry run deletes nothing …")
        self._console.print(_indent(self._stage.manage("cleanup_gcp_transfers", "--dry-run")))
        self._step("… and what the same cleanup would free once they have passed (--dry-run --force):")
        self._console.print(
            _indent(_last_lines(self._stage.manage("cleanup_gcp_transfers", "--dry-run", "--force"), 6))
        )

    def _say_where(self) -> None:
        self._step("All recordings are uploaded and verified.")
        url = self._stage.web_url
        self._console.print(f"  Pages        {url}/admin/")
        self._console.print(f"  API          {url}/api/v0/docs")
        self._console.print(f"  Bucket       {self._stage.bucket_url} ({BUCKET})")
        for role, name in LOGINS.items():
            self._console.print(f"  Login        {name} / {self._stage.password}  ({role})", markup=False)
        self._console.print(f"  Logs         {self._stage.logs}")
        self._console.print("  Ctrl-C ends the demo.")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, f"{self._stage.web_url}/api/v0/{path}", timeout=120, **options)
        except requests.RequestException as error:
            raise TourError(f"{method} /api/v0/{path} was not answered ({type(error).__name__})") from error
        if not answer.ok:
            raise TourError(f"{method} /api/v0/{path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()


class _Bars:
    """One bar for everything, and one for each recording that is on its way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._all = progress.add_task("all recordings", total=None)
        self._bars: dict[str, TaskID] = {}

    def update(self, answer: dict[str, Any]) -> None:
        rows = answer["transfers"]
        total = sum(row["file_size_bytes"] for row in rows)
        self._progress.update(self._all, total=total, completed=sum(row["bytes_uploaded"] for row in rows))
        for row in rows:
            bar = self._bars.get(row["transfer_id"])
            if row["transfer_status"] == "uploading":
                if bar is None:
                    label = f"{row['camera_name']} {row['recording_name']}"
                    bar = self._bars[row["transfer_id"]] = self._progress.add_task(label, total=row["file_size_bytes"])
                self._progress.update(bar, completed=row["bytes_uploaded"], visible=True)
            elif bar is not None:
                self._progress.update(bar, visible=False)


class _Lines:
    """A line every few seconds, where there is no terminal to draw bars on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_at = 0.0

    def update(self, answer: dict[str, Any]) -> None:
        done = answer["completed_count"] == answer["total_count"]
        if time.monotonic() < self._next_at and not done:
            return
        self._next_at = time.monotonic() + LINE_SECONDS
        sent = sum(row["bytes_uploaded"] for row in answer["transfers"]) / 1e6
        total = sum(row["file_size_bytes"] for row in answer["transfers"]) / 1e6
        self._console.print(
            f"  {answer['completed_count']:>2} of {answer['total_count']} verified, "
            f"{answer['uploading_count']} uploading, {sent:.0f} of {total:.0f} MB confirmed by the bucket"
        )


_TEMPLATE = "{camera}/{date}/{time}.mp4"
_IMPORT = ("--site", "Demo", "--create-cameras", "--settle-seconds", "0")
_NEW_USER = (
    "import os; from apps.users.models import User; role = os.environ['DEMO_ROLE'];"
    "User.objects.create_user(os.environ['DEMO_USER'], password=os.environ['DEMO_PW'], role=role,"
    " is_staff=True, is_superuser=role == 'superadmin')"
)


def _crc32c_base64(path: Path) -> str:
    total = google_crc32c.Checksum()
    with path.open("rb") as file:
        while piece := file.read(1024 * 1024):
            total.update(piece)
    return base64.b64encode(total.digest()).decode()


def _last_line(text: str) -> str:
    return _last_lines(text, 1)


def _last_lines(text: str, count: int) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines())
