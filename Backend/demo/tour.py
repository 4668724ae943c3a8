"""The tour: each step prints what happens and why it matters, for a newcomer at a terminal."""

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
    """A step of the tour did not end as it must. The text is for the terminal."""


class Tour:
    def __init__(self, stage: Stage, *, footage_bytes: int) -> None:
        self._stage = stage
        self._footage_bytes = footage_bytes
        self._console = Console(highlight=False)
        self._http = requests.Session()

    def run(self) -> None:
        """Run the tour. Raises TourError, StageError.

        1. Make footage, as recorders do.
        2. Start a bucket, the database, the web server and a worker; import the footage.
        3. Sign in through the API and ask for the transfer of every recording.
        4. Show the uploads.
        5. Compare every object with its file.
        6. Rehearse the cleanup, which would free the disk.
        """
        self._make_footage()
        self._start()
        self._sign_in()
        self._transfer()
        transfers = self._watch()
        self._prove(transfers)
        self._show(transfers)
        self._rehearse_cleanup()
        self._step("Every recording is uploaded and verified; no local file was deleted.")

    def _step(self, text: str) -> None:
        self._console.print(f"\n[bold cyan]▸ {text}[/]")

    def _make_footage(self) -> None:
        self._step(f"Making footage of {CAMERAS} cameras: real H.264 files, as a recorder would write them …")
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
        self._step(
            "Starting a bucket (an emulator of Google Cloud Storage), the database, the web server and a worker, "
            "all on this machine …"
        )
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
        self._step("Signing in to the API as an admin …")
        answer = self._call("POST", "token/", json={"username": LOGINS["admin"], "password": self._stage.password})
        self._http.headers["Authorization"] = f"Bearer {answer['access']}"
        self._console.print(
            f"  POST /api/v0/token/ → a token for {answer['user']['username']} ({answer['user']['role']})"
        )

    def _transfer(self) -> None:
        self._step(f"Asking for the transfer of every recording on the disk, at most {BATCH_SIZE} uploads at a time …")
        answer = self._call("POST", "recordings/transfer-to-gcp/", json={"batch_size": BATCH_SIZE})
        self._console.print(f"  POST /api/v0/recordings/transfer-to-gcp/ → {answer['message']}")
        if answer["failed_initiations"] or not answer["total_recordings"]:
            raise TourError(f"not every recording could be transferred: {answer['failures'][:3]}")

    def _watch(self) -> list[dict[str, Any]]:
        self._step(
            f"Uploading at {MBYTES_PER_SECOND} MB/s, the speed of a good uplink. A recording counts as uploaded only "
            "once the bucket has confirmed its size and checksum …"
        )
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
                # A worker that ended would otherwise be noticed only after ten minutes.
                self._stage.check_alive()
                time.sleep(0.4)

    def _prove(self, transfers: list[dict[str, Any]]) -> None:
        self._step(
            "Checking independently of Coldreel: has every object in the bucket the size and checksum of its file? …"
        )
        # Asked of the bucket itself, not of Coldreel: the check must not rest on what it checks.
        listing = requests.get(f"{self._stage.bucket_url}/storage/v1/b/{BUCKET}/o?maxResults=1000", timeout=30).json()
        objects = {item["name"]: item for item in listing["items"]}
        proven = {self._proven_path(transfer, objects) for transfer in transfers}
        on_disk = set(self._stage.media.rglob("*.mp4"))
        if proven != on_disk:
            raise TourError(f"{len(on_disk - proven)} files on the disk have no object in the bucket")
        self._console.print(
            f"  {len(proven)} of {len(on_disk)} objects have the size and the CRC32C checksum of their file"
        )

    def _proven_path(self, transfer: dict[str, Any], objects: dict[str, dict[str, Any]]) -> Path:
        """The path of the file that the transfer's object equals. Raises TourError where it differs or is missing."""
        item = objects.get(transfer["gcp_storage_path"])
        if item is None:
            raise TourError(f"{transfer['recording_name']} is not in the bucket")
        path: Path = self._stage.media / item["metadata"][META_LOCAL_PATH]
        if int(item["size"]) != path.stat().st_size or item["crc32c"] != _crc32c_base64(path):
            raise TourError(f"{transfer['recording_name']} in the bucket differs from the file on the disk")
        return path

    def _show(self, transfers: list[dict[str, Any]]) -> None:
        table = Table(box=None, header_style="bold")
        for name in ("camera", "recording", "MiB", "status", "local file is kept until"):
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
        self._step(
            "Rehearsing the cleanup, which frees the disk: a local file is kept for 24 hours after its upload, "
            "so nothing is due yet (--dry-run deletes nothing) …"
        )
        self._console.print(_indent(self._stage.manage("cleanup_gcp_transfers", "--dry-run")))
        self._step("What the same cleanup would free after the 24 hours (--dry-run --force):")
        self._console.print(
            _indent(_last_lines(self._stage.manage("cleanup_gcp_transfers", "--dry-run", "--force"), 6))
        )

    def say_where(self) -> None:
        """Print where the pages, the API, the bucket and the logs are, and the logins."""
        url = self._stage.web_url
        self._console.print(f"  Admin pages  {url}/admin/")
        self._console.print(f"  API          {url}/api/v0/docs")
        self._console.print(f"  Bucket       {self._stage.bucket_url} ({BUCKET})")
        for role, name in LOGINS.items():
            self._console.print(f"  Login        {name} / {self._stage.password}  ({role})", markup=False)
        self._console.print(f"  Logs         {self._stage.logs}")
        self._console.print("  Ctrl-C ends the demo; the next run begins anew.")

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, f"{self._stage.web_url}/api/v0/{path}", timeout=120, **options)
        except requests.RequestException as error:
            raise TourError(f"{method} /api/v0/{path} was not answered ({type(error).__name__})") from error
        if not answer.ok:
            raise TourError(f"{method} /api/v0/{path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()


class _Bars:
    """Progress on a terminal: one bar for all recordings, and one for each that is uploading."""

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
    """Progress without a terminal: one line every two seconds."""

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
