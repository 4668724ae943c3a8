"""The tools of a worker whose bucket, files and clock a test chooses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from apps.cctv.wiring import service_settings
from apps.cctv.worker.bandwidth import Bandwidth
from apps.cctv.worker.breaker import CircuitBreaker
from apps.cctv.worker.group_commit import GroupCommit
from apps.cctv.worker.upload_attempt import Tools
from offload.clock import Clock
from offload.source import MediaRoot
from offload.store import ObjectStore
from offload.uploader import UploadSettings


def worker_tools(store: ObjectStore, media_root: Path, clock: Clock, **chosen: Any) -> Tools:
    """The tools with the product's settings; `chosen` are fields of `Tools` that the test sets itself.

    The group commit writes nothing by itself: a test that records uploads gives its own.
    """
    settings = chosen.pop("settings", None) or service_settings()
    fields: dict[str, Any] = {
        "random": lambda: 0.5,
        "upload_settings": UploadSettings(),
        "breaker": CircuitBreaker(clock, settings.timings.backoff, lambda: 0.5, tripped=False),
        "bandwidth": Bandwidth(clock),
        "group_commit": GroupCommit(clock=clock, wake=lambda: None, settings=service_settings()),
        "stopping": threading.Event(),
    }
    return Tools(store=store, root=MediaRoot(media_root), clock=clock, settings=settings, **(fields | chosen))
