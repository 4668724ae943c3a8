"""The database moves while a killed worker's leases and sessions are open: uploads go on from the committed byte."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg
import pytest

from tests.acceptance.installation import BACKEND, MIB, Installation
from tests.acceptance.old_release import Release
from tests.postgres import ServerMissing, ThrowawayPostgres

pytestmark = pytest.mark.postgres


def test_uploads_go_on_after_the_database_moved(own_installation: Installation) -> None:
    """The first worker on the new database frees the dead one's leases, by the lock files of the home."""
    installation = own_installation
    try:
        cluster = ThrowawayPostgres()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    clips = installation.add([8 * MIB + 1] * 4, batch_size=2)
    installation.emulator.set_rate(4)
    worker = installation.worker(COLDREEL_PROGRESS_SECONDS=0.0)
    half = f"SELECT 1 FROM cctv_gcpvideotransfer WHERE transfer_status = 'uploading' AND bytes_uploaded >= {2 * MIB}"
    installation.until(lambda: len(installation.select(half)) == 2, "two half uploads")
    worker.kill()
    installation.emulator.set_rate(0)
    old = f"sqlite:///{installation.home / 'coldreel.sqlite3'}"
    with cluster:
        Release(BACKEND, installation, old).run("move_database", "--to", cluster.url)
        Release(BACKEND, installation, cluster.url).run("run_worker", "--until-idle")

        with psycopg.connect(cluster.url) as new:
            found = new.execute("SELECT id::text, transfer_status, object_crc32c FROM cctv_gcpvideotransfer").fetchall()
            reasons = [reason for (reason,) in new.execute("SELECT reason FROM cctv_transferevent")]
    assert sorted(found) == sorted((clip.transfer, "cleanup_pending", clip.crc32c) for clip in clips)
    assert reasons.count("owner_died") == 2
    installation.check_nothing_sent_again(clips)
    with closing(sqlite3.connect(installation.home / "coldreel.sqlite3")) as database:
        assert database.execute("SELECT state FROM database_move").fetchall() == [("moved",)]
