"""A worker on PostgreSQL whose server, session or line is lost goes on by itself when it is back, and hears again.

Its own looks are a minute apart here, which is as long as the tests wait at most: what it finds earlier it heard, or it
looked because its connection was new.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.installation import MIB
from tests.acceptance.on_postgres import DEFAULT_TIMINGS, PostgresInstallation
from tests.postgres import ServerMissing, ThrowawayPostgres, server_programs
from tests.tcp_line import TcpLine

SELDOM = DEFAULT_TIMINGS | {"COLDREEL_POLL_SECONDS": "60"}
PATIENCE_SECONDS = 50.0


def _has_server() -> bool:
    try:
        server_programs()
    except ServerMissing:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_server(), reason="no PostgreSQL server is installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ThrowawayPostgres]:
    with ThrowawayPostgres(tcp=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def line(cluster: ThrowawayPostgres) -> Iterator[TcpLine]:
    with TcpLine(cluster.port) as line:
        yield line


@pytest.fixture(scope="module")
def depot(
    cluster: ThrowawayPostgres, line: TcpLine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostgresInstallation]:
    """One worker, idle, that has uploaded what it heard of."""
    url = f"postgres://coldreel@127.0.0.1:{line.port}/postgres"
    with PostgresInstallation(
        tmp_path_factory.mktemp("depot"), database_url=url, test_url=cluster.tcp_url, settings=SELDOM,
        patience_seconds=PATIENCE_SECONDS,
    ) as depot:  # fmt: skip
        (first,) = depot.add_for_later([MIB])
        depot.worker("--site", "Depot", "--no-periodic")
        depot.until(lambda: depot.select("SELECT 1 FROM cctv_workerprocess"), "a worker")
        depot.upload(first)
        yield depot
        depot.check_no_key_was_told()


def test_worker_hears_of_work_without_its_poll(depot: PostgresInstallation) -> None:
    for clip in depot.add_for_later([MIB] * 3):
        depot.upload(clip)


def test_worker_hears_again_after_a_restart(depot: PostgresInstallation, cluster: ThrowawayPostgres) -> None:
    unheard, heard = depot.add_for_later([MIB] * 2)
    cluster.stop()
    cluster.start()
    depot.upload(unheard, wake=False)
    depot.upload(heard)


def test_worker_hears_again_after_its_session_ended(depot: PostgresInstallation) -> None:
    unheard, heard = depot.add_for_later([MIB] * 2)
    depot.make_due(unheard, wake=False)
    depot.change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'coldreel%'")
    depot.until(lambda: depot.is_uploaded(unheard), "the look on a new connection")
    depot.upload(heard)


def test_worker_hears_again_when_a_cut_line_is_back(depot: PostgresInstallation, line: TcpLine) -> None:
    unheard, heard = depot.add_for_later([MIB] * 2)
    line.cut()
    depot.make_due(unheard)
    depot.until(lambda: not depot.sessions(), "the end of the worker's sessions")
    line.restore()
    depot.until(lambda: depot.is_uploaded(unheard), "the look on a new connection")
    depot.upload(heard)


def test_stalled_line_delays_work_and_loses_none(depot: PostgresInstallation, line: TcpLine) -> None:
    delayed, heard = depot.add_for_later([MIB] * 2)
    line.stall()
    depot.make_due(delayed)
    line.restore()
    depot.until(lambda: depot.is_uploaded(delayed), "what was told while nothing moved")
    depot.upload(heard)


def test_upload_under_way_survives_a_restart(depot: PostgresInstallation, cluster: ThrowawayPostgres) -> None:
    (clip,) = depot.add_for_later([24 * MIB])
    depot.emulator.set_rate(4)
    depot.make_due(clip)
    depot.until(lambda: depot.status_of(clip) == "uploading", "an upload")
    cluster.stop()
    cluster.start()
    depot.emulator.set_rate(0)
    depot.until(lambda: depot.is_uploaded(clip), "the end of the upload")
    assert depot.history(clip).count("claimed") == 1


def test_claim_without_an_answer_is_given_back(depot: PostgresInstallation) -> None:
    """The line was lost between the commit of a claim and its answer: the worker does not know that it has the lease."""
    (clip,) = depot.add_for_later([MIB])
    depot.change(
        "UPDATE cctv_gcpvideotransfer SET transfer_status = 'uploading', next_attempt_at = NULL, lease_number = 1,"
        " lease_owner = (SELECT id FROM cctv_workerprocess), lease_expires_at = now() + interval '75 s'"
        " WHERE id = %s::uuid",
        clip.transfer,
    )
    depot.change("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'coldreel%'")
    depot.until(lambda: depot.is_uploaded(clip), "the upload")
    assert "lease_returned" in depot.history(clip)
