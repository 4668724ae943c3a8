"""Any order of holds, cleanups, deaths and tampering: the last copy is never lost, a held recording never deleted.

Each recording has two copies, a local one (at its path or in the trash) and the object. Tampering takes
one of them away or spoils it only while the other is whole; so whatever happens, one whole copy is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from apps.cctv.services.cleanup import trash_recover
from apps.cctv.services.holds import hold_lift, hold_set, holds_reconcile
from apps.cctv.wiring import service_settings
from offload.states import State
from tests.conftest import INSTALLATION_ID, MARKER
from tests.integration.cleanup.hooks import Crash, HookedClock, HookedRoot, HookedStore, HookedTrash, Steps
from tests.integration.cleanup.uploaded_site import Footage, UploadedSite

RECORDINGS = 3
BUCKET = "coldreel-test"

which = st.integers(0, RECORDINGS - 1)
actions = st.one_of(
    st.tuples(st.just("hold"), which),
    st.tuples(st.just("lift"), which),
    st.tuples(st.just("reconcile")),
    st.tuples(st.just("clean"), st.booleans()),
    st.tuples(st.just("clean_and_die"), st.booleans(), st.integers(1, 60)),
    st.tuples(st.just("hold_in_mid_clean"), st.booleans(), st.integers(1, 60), which),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("wait"), st.sampled_from([60, 3600, 90_000])),
    st.tuples(st.just("remove_object"), which),
    st.tuples(st.just("replace_object"), which),
    st.tuples(st.just("hold_in_bucket"), which, st.booleans()),
    st.tuples(st.just("replace_file"), which),
    st.tuples(st.just("grow_file"), which),
    st.tuples(st.just("touch_file"), which),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="coldreel-model-"))
    yield path
    shutil.rmtree(path)


class Model:
    def __init__(self, folder: Path) -> None:
        (folder / MARKER).write_text("test\n")
        self.site = UploadedSite(folder, BUCKET)
        self.footage = [self.site.add(f"{number}.mp4", hours_ago=23 + number) for number in range(RECORDINGS)]

    # --- What is true of the world --------------------------------------------------------------------

    def local_is_whole(self, footage: Footage) -> bool:
        if footage.is_whole:
            return True
        path = self.site.folder / ".coldreel-trash" / str(footage.transfer_id)
        return path.is_file() and path.read_bytes() == footage.content

    def object_is_whole(self, footage: Footage) -> bool:
        row = footage.row
        info = self.site.info(footage)
        return (
            info is not None
            and info.generation == row.object_generation
            and self.site.store.data(BUCKET, row.gcp_storage_path) == footage.content
        )

    def is_held(self, footage: Footage) -> bool:
        info = self.site.info(footage)
        return footage.recording.hold_wanted or (info is not None and info.held)

    def check(self) -> None:
        assert all(self.local_is_whole(each) or self.object_is_whole(each) for each in self.footage)
        for each in self.footage:
            row = each.row
            if row.transfer_status == State.CLEANUP_COMPLETED:
                assert not self.local_is_whole(each)
                closing = [r for r in each.receipts if r.outcome in {"deleted", "already_missing"}]
                assert len(closing) == 1
            assert sum(receipt.closed_at is None for receipt in each.receipts) <= 1

    # --- What happens ---------------------------------------------------------------------------------

    def do(self, name: str, *values: Any) -> None:
        held = [each for each in self.footage if self.is_held(each) and self.local_is_whole(each)]
        getattr(self, name)(*values)
        if not name.endswith("_file"):
            assert all(self.local_is_whole(each) for each in held)
        self.check()

    def hold(self, number: int) -> None:
        recording_id = self.footage[number].recording.pk
        hold_set(recording_id=recording_id, user=self.site.user(), reason="", now=self.site.clock.now())

    def lift(self, number: int) -> None:
        recording_id = self.footage[number].recording.pk
        hold_lift(
            recording_id=recording_id, user=self.site.user(), now=self.site.clock.now(), settings=service_settings()
        )

    def reconcile(self) -> None:
        holds_reconcile(store=self.site.store, now=self.site.clock.now())

    def clean(self, force: bool, steps: Steps | None = None) -> None:
        steps = steps or Steps(0, lambda: None)
        site = self.site
        site.clean(
            force=force,
            store=HookedStore(site.store, steps),
            root=HookedRoot(site.root, steps),
            trash=HookedTrash(site.root, steps),
            clock=HookedClock(site.clock, steps),
        )

    def clean_and_die(self, force: bool, at: int) -> None:
        def die() -> None:
            raise Crash

        with contextlib.suppress(Crash):
            self.clean(force, Steps(at, die))
        self.site.leases_run_out()

    def hold_in_mid_clean(self, force: bool, at: int, number: int) -> None:
        self.clean(force, Steps(at, lambda: self.hold(number)))

    def sweep(self) -> None:
        trash_recover(self.site.root, self.site.clock.now())

    def wait(self, seconds: int) -> None:
        self.site.clock.advance(seconds)

    def remove_object(self, number: int) -> None:
        footage = self.footage[number]
        if self.local_is_whole(footage) and self.site.info(footage) is not None:
            self.site.store.remove(BUCKET, footage.row.gcp_storage_path)

    def replace_object(self, number: int) -> None:
        if self.local_is_whole(self.footage[number]):
            self.site.put(self.footage[number].row, b"something else")

    def hold_in_bucket(self, number: int, held: bool) -> None:
        if self.site.info(self.footage[number]) is not None:
            self.site.tamper(self.footage[number], temporary_hold=held)

    def replace_file(self, number: int) -> None:
        footage = self.footage[number]
        if self.object_is_whole(footage) and footage.path.exists():
            footage.path.unlink()
            footage.path.write_bytes(b"!" * len(footage.content))

    def grow_file(self, number: int) -> None:
        footage = self.footage[number]
        if self.object_is_whole(footage) and footage.path.exists():
            with footage.path.open("ab") as file:
                file.write(b"more")

    def touch_file(self, number: int) -> None:
        footage = self.footage[number]
        if footage.path.exists():
            os.utime(footage.path)


class UndoneError(Exception):
    """Ends the transaction of one example."""


@given(st.lists(actions, min_size=3, max_size=14), st.sampled_from([0, 24]))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_last_copy_is_never_lost_nor_a_held_one(
    db: None, folder: Path, history: list[tuple[Any, ...]], quarantine_hours: int
) -> None:
    here = Path(tempfile.mkdtemp(dir=folder))
    configured = override_settings(
        GCP_STORAGE_BUCKET_NAME=BUCKET,
        COLDREEL_INSTALLATION_ID=INSTALLATION_ID,
        GCP_CLEANUP_QUARANTINE_HOURS=quarantine_hours,
    )
    with configured, contextlib.suppress(UndoneError), transaction.atomic():
        model = Model(here)
        for step in history:
            note(str(step))
            model.do(*step)
        raise UndoneError
