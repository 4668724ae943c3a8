"""What is asked of a filled database, through the code that answers it in production."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client
from django.urls import reverse

from apps.cctv.leasing.claims import BatchQueue
from apps.cctv.leasing.recovery import correct_far_times, expire_leases
from apps.cctv.models import GCPVideoTransfer, Recording
from apps.cctv.selectors.recordings import recording_page
from apps.cctv.selectors.transfers import transfer_page
from apps.cctv.services.cleanup import due_rows
from apps.cctv.services.delete_rights import sample_paths
from apps.cctv.services.holds import holds_differing
from apps.cctv.services.retention import cleanups_schedule, far_cleanups_correct
from apps.cctv.services.stalled_uploads import stalled_uploads
from apps.cctv.services.sweep import old_sessions
from apps.cctv.services.unimported_footage import known_files
from apps.cctv.wiring import service_settings
from apps.users.tokens import tokens_issue
from benchmarks.scale.rows import Filled
from offload.states import State

LIST, SEARCH, SUMS, LONG_LIST = 50, 150, 100, 400
"""Targets of the 95th percentile in milliseconds."""

PAGE_REACHED = 1_000
ROWS_A_PAGE = 5


@dataclass(frozen=True, slots=True)
class Question:
    """`ask` answers it once."""

    name: str
    target_ms: float
    ask: Callable[[], Any]


def questions(filled: Filled) -> Iterator[Question]:
    yield from _api(filled)
    yield from _searches(filled)
    yield from _admin(filled)
    yield from _work(filled)


# --- The API ---------------------------------------------------------------------------------------
class _Caller:
    def __init__(self, user: Any) -> None:
        self._client = Client(headers={"authorization": f"Bearer {tokens_issue(user).access}", "host": "localhost"})

    def __call__(self, path: str, **query: Any) -> Callable[[], Any]:
        url = f"/api/v0{path}" + (f"?{urlencode(query)}" if query else "")

        def ask() -> Any:
            answer = self._client.get(url)
            if answer.status_code != 200:
                raise RuntimeError(f"{url}: {answer.status_code} {answer.content[:300]!r}")
            return answer.json()

        return ask


def _api(filled: Filled) -> Iterator[Question]:
    transfers, recordings = "/recordings/gcp-transfers/", "/recordings/"
    camera = str(filled.camera.pk)
    middle = GCPVideoTransfer.objects.order_by("created_at")[filled.recordings // 2].created_at.isoformat()
    some = GCPVideoTransfer.objects.filter(transfer_status=State.CLEANUP_COMPLETED).select_related("recording")[0]
    for role, user in (("", filled.admin), (", dev with a private camera", filled.dev)):
        get = _Caller(user)
        yield Question(f"transfers{role}", LIST, get(transfers))
        for state in (State.PENDING, State.CLEANUP_PENDING, State.FAILED, State.COMPLETED, State.CLEANUP_COMPLETED):
            yield Question(f"transfers, {state.value}{role}", LIST, get(transfers, status=state.value))
        yield Question(f"transfers, one camera{role}", LIST, get(transfers, camera_id=camera))
        yield Question(f"transfers, one camera, failed{role}", LIST, get(transfers, camera_id=camera, status="failed"))
        yield Question(f"transfers, before a time{role}", LIST, get(transfers, created_before=middle))
        yield Question(f"transfers, 1,000th page{role}", LIST, _deep(transfer_page, user))
        yield Question(f"transfers, limit=1000{role}", LONG_LIST, get(transfers, limit=1000))
        yield Question(f"recordings{role}", LIST, get(recordings))
        for name, value in (("storage_type", "local"), ("storage_type", "gcp"), ("held", "true"), ("held", "false")):
            yield Question(f"recordings, {name} {value}{role}", LIST, get(recordings, **{name: value}))
        for status in ("damaged", "recording"):
            yield Question(f"recordings, {status}{role}", LIST, get(recordings, status=status))
        yield Question(f"recordings, one camera{role}", LIST, get(recordings, camera_id=camera))
        yield Question(
            f"recordings, one camera, local{role}", LIST, get(recordings, camera_id=camera, storage_type="local")
        )
        yield Question(f"recordings, before a time{role}", LIST, get(recordings, started_before=middle))
        yield Question(f"recordings, 1,000th page{role}", LIST, _deep(recording_page, user))
        yield Question(f"recordings, limit=1000{role}", LONG_LIST, get(recordings, limit=1000))
        yield Question(f"statistics{role}", SUMS, get("/recordings/stats/"))
        yield Question(f"one transfer{role}", LIST, get(f"{transfers}{some.pk}/"))
        yield Question(f"one recording{role}", LIST, get(f"{recordings}{some.recording_id}/"))
        yield Question(f"cameras{role}", LIST, get("/cameras/"))
        yield Question(f"sites{role}", LIST, get("/sites/"))


def _deep(page_of: Callable[..., Any], user: Any) -> Callable[[], Any]:
    cursor = None
    for _ in range(PAGE_REACHED - 1):
        cursor = page_of(user=user, limit=ROWS_A_PAGE, cursor=cursor).next_cursor
    return lambda: page_of(user=user, limit=ROWS_A_PAGE, cursor=cursor)


# --- Searches --------------------------------------------------------------------------------------
def _searches(filled: Filled) -> Iterator[Question]:
    oldest = Recording.objects.order_by("started_at")[filled.recordings // 100]
    words = {
        "one file": oldest.name,
        "nothing": "harbour-9999",
        "nothing, of usual trigrams": "20020020",
        "old files": oldest.started_at.strftime("%Y%m%d"),
        "all files": "mp4",
        "a camera": "gate 04",
        "a camera and files": "gate _00",
        "two letters": "ga",
        "a day": oldest.started_at.strftime("%Y-%m-%d"),
        "an id": str(oldest.pk),
    }
    for role, user in (("", filled.admin), (", dev with a private camera", filled.dev)):
        get = _Caller(user)
        for name, word in words.items():
            yield Question(f"search recordings, {name}{role}", SEARCH, get("/recordings/", search=word))
            yield Question(f"search transfers, {name}{role}", SEARCH, get("/recordings/gcp-transfers/", search=word))


# --- The admin -------------------------------------------------------------------------------------
def _admin(filled: Filled) -> Iterator[Question]:
    recording = Recording.objects.order_by("started_at")[filled.recordings // 100]
    for role, user in (("", filled.admin), (", dev with a private camera", filled.dev)):
        client = Client(headers={"host": "localhost"})
        client.force_login(get_user_model().objects.get(pk=user.pk))

        def page(name: str, client: Client = client, **query: Any) -> Callable[[], Any]:
            url = reverse(f"admin:{name}") + (f"?{urlencode(query, doseq=True)}" if query else "")

            def ask() -> Any:
                answer = client.get(url)
                if answer.status_code != 200:
                    raise RuntimeError(f"{url}: {answer.status_code}, {answer.headers.get('location')}")
                return answer

            return ask

        yield Question(f"admin front page{role}", SUMS, page("index"))
        for name, of in (("transfers", "gcpvideotransfer"), ("recordings", "recording")):
            yield Question(f"admin {name}{role}", SEARCH, page(f"cctv_{of}_changelist"))
            yield Question(f"admin {name}, 2nd page{role}", SEARCH, page(f"cctv_{of}_changelist", p=2))
            yield Question(
                f"admin {name}, one camera{role}", SEARCH, page(f"cctv_{of}_changelist", camera=filled.camera.pk)
            )
            yield Question(f"admin {name}, one site{role}", SEARCH, page(f"cctv_{of}_changelist", site=filled.site.pk))
            yield Question(f"admin {name}, held{role}", SEARCH, page(f"cctv_{of}_changelist", held="yes"))
            yield Question(
                f"admin search {name}, one file{role}", SEARCH, page(f"cctv_{of}_changelist", q=recording.name)
            )
            yield Question(f"admin search {name}, a camera{role}", SEARCH, page(f"cctv_{of}_changelist", q="gate 04"))
        for state in (State.FAILED, State.CLEANUP_COMPLETED):
            yield Question(
                f"admin transfers, {state.value}{role}",
                SEARCH,
                page("cctv_gcpvideotransfer_changelist", transfer_status__exact=state.value),
            )
        for name in ("transferevent", "deletionreceipt", "orphanedobject", "transferbatch", "alarm", "camera", "site"):
            yield Question(f"admin {name} list{role}", SEARCH, page(f"cctv_{name}_changelist"))
        for name in ("transferevent", "deletionreceipt"):
            search = page(f"cctv_{name}_changelist", q=recording.name)
            yield Question(f"admin search {name}, one file{role}", SEARCH, search)


# --- Work ------------------------------------------------------------------------------------------
def _work(filled: Filled) -> Iterator[Question]:
    now, site = datetime.now(tz=UTC), filled.site.pk
    settings = service_settings()

    def claim() -> int:
        with transaction.atomic():
            queue = BatchQueue(owner_id=uuid4(), site_id=site, lease_seconds=40, actor="scale")
            found = len(queue.claim_due(4, now=now))
            transaction.set_rollback(True)
        return found

    paths = list(Recording.objects.values_list("local_path", flat=True)[:500])
    scope = due_rows.Scope(force=False, site_id=site)
    yield Question("claim four transfers", LIST, claim)
    yield Question("sweep: leases that ran out", LIST, lambda: expire_leases(site_id=site, now=now))
    yield Question("sweep: far times", LIST, lambda: correct_far_times(site_id=site, now=now, lease_seconds=40))
    yield Question("sweep: far cleanups", LIST, lambda: far_cleanups_correct(settings=settings, now=now, site_id=site))
    yield Question(
        "sweep: cleanups to schedule", LIST, lambda: cleanups_schedule(settings=settings, now=now, site_id=site)
    )
    yield Question("sweep: stalled uploads", LIST, lambda: stalled_uploads(now))
    yield Question("sweep: holds that differ", LIST, lambda: list(holds_differing(site)[:200]))
    yield Question("sweep: old sessions", LIST, lambda: list(old_sessions(now, site)[:20]))
    yield Question("cleanup: is anything due", LIST, lambda: due_rows.is_anything_due(site, now))
    yield Question("cleanup: rows due", SUMS, lambda: due_rows.due_rows(scope, now))
    yield Question("cleanup: rows not due", SUMS, lambda: due_rows.rows_not_due(site, now))
    yield Question("cleanup: bytes in quarantine", LIST, lambda: due_rows.bytes_in_quarantine(site))
    yield Question("look: 500 files", SUMS, lambda: known_files(site, paths))
    yield Question("right to delete: sample of files", LIST, lambda: sample_paths(site))
