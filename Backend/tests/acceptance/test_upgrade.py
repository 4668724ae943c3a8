"""From an earlier release to this one, with uploads under way and rows in every state, on both databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gcs_emulator.checksum import crc_of_file, encode_crc
from tests.acceptance.installation import BACKEND, BUCKET, MIB, Clip, Installation
from tests.acceptance.old_release import Release, checked_out, make_files, select
from tests.postgres import ServerMissing, ThrowawayPostgres

COMMITS = os.environ.get("COLDREEL_UPGRADE_FROM", "").split()
SMALL = {"proven.ts": 4000, "held.ts": 4000, "cleaned.ts": 4000, "gone.ts": 4000}
LARGE = {f"large-{number}.ts": 8 * MIB + number for number in range(4)}
STATES = {
    "proven.ts": "cleanup_pending",
    "held.ts": "completed",
    "cleaned.ts": "cleanup_completed",
    "gone.ts": "failed",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, own_installation: Installation) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{own_installation.home / 'old.sqlite3'}"
        return
    try:
        cluster = ThrowawayPostgres()
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with cluster:
        yield cluster.url


pytestmark = pytest.mark.skipif(not COMMITS, reason="takes minutes: `make torture` names the commits to begin from")


def states(url: str) -> dict[str, str]:
    query = (
        "SELECT r.name, t.transfer_status FROM cctv_gcpvideotransfer t JOIN cctv_recording r ON r.id = t.recording_id"
    )
    return {str(name): str(status) for name, status in select(url, query)}


def confirmed(url: str) -> int:
    query = "SELECT min(bytes_uploaded) FROM (SELECT bytes_uploaded FROM cctv_gcpvideotransfer WHERE transfer_status = 'uploading') AS t"
    return int(select(url, query)[0][0] or 0)


def events(url: str) -> int:
    return int(select(url, "SELECT count(*) FROM cctv_transferevent")[0][0])


@pytest.mark.parametrize("commit", COMMITS)
def test_uploads_of_the_old_release_are_finished(
    commit: str, own_installation: Installation, url: str, tmp_path: Path
) -> None:
    installation = own_installation
    old = Release(checked_out(commit, tmp_path / "old"), installation, url)
    old.run("migrate", "--verbosity=0")
    make_files(installation, SMALL)
    recordings = old.request(list(SMALL), held=["held.ts"])
    (installation.media / "gone.ts").unlink()
    old.run("run_worker", "--until-idle")
    (cleaned,) = select(
        url,
        "SELECT t.id FROM cctv_gcpvideotransfer t JOIN cctv_recording r ON r.id = t.recording_id WHERE r.name = 'cleaned.ts'",
    )
    old.run("cleanup_gcp_transfers", "--force", "--transfer-id", str(cleaned[0]))
    make_files(installation, LARGE)
    recordings |= old.request(list(LARGE), batch_size=2)
    installation.emulator.set_rate(4)
    old.killed_worker(lambda: confirmed(url) >= 2 * MIB)
    installation.emulator.set_rate(0)
    before = states(url)
    assert {name: before[name] for name in SMALL} == STATES
    assert sorted(before[name] for name in LARGE) == ["pending", "pending", "uploading", "uploading"]
    history = events(url)

    new = Release(BACKEND, installation, url)
    new.run("migrate", "--verbosity=0")
    assert (states(url), events(url)) == (before, history)
    new.run("run_worker", "--until-idle")

    assert states(url) == STATES | dict.fromkeys(LARGE, "cleanup_pending")
    clips = [
        Clip(name, recordings[name], "", size, encode_crc(crc_of_file(installation.media / name, size)))
        for name, size in LARGE.items()
    ]
    for clip in clips:
        (found,) = [one for one in installation.emulator.objects(BUCKET) if clip.recording in one["name"]]
        assert (int(found["size"]), found["crc32c"]) == (clip.size_bytes, clip.crc32c)
    installation.check_nothing_sent_again(clips)
    assert not (installation.media / "cleaned.ts").exists()
    assert (installation.media / "held.ts").exists()
