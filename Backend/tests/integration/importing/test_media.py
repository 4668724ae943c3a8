from __future__ import annotations

import os
import random
import socket
import threading
import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from offload import media
from offload.errors import FileChanged, FileProblem, Reason
from offload.media import MediaFacts, read_media_facts
from offload.source import MediaRoot
from tests.footage import clip_bytes, make_clip, make_unfinished_clip

Probe = Callable[[bytes, str], MediaFacts]


@pytest.fixture
def root(tmp_path: Path) -> MediaRoot:
    return MediaRoot(tmp_path)


@pytest.fixture
def probe_bytes(root: MediaRoot) -> Probe:
    def run(content: bytes, name: str = "clip.mp4") -> MediaFacts:
        (root.path / name).write_bytes(content)
        with root.open(name) as source:
            return read_media_facts(source, name)

    return run


def small_clip(**fields: object) -> bytes:
    wanted = {"seconds": 2, "width": 320, "height": 240, "started_at": None, "faststart": False, "shade": 0}
    return clip_bytes(**{**wanted, **fields})


def remuxed(content: bytes, path: Path, container: str, **options: str) -> bytes:
    source = path.with_suffix(".source")
    source.write_bytes(content)
    with av.open(str(source)) as given, av.open(str(path), "w", format=container, options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return path.read_bytes()


def test_facts_of_a_clip_are_told(root: MediaRoot) -> None:
    started_at = datetime(2026, 11, 22, 12, 30, 5, tzinfo=UTC)
    make_clip(root.path / "clip.mp4", seconds=3, width=640, height=360, started_at=started_at)

    with root.open("clip.mp4") as source:
        facts = read_media_facts(source, "clip.mp4")

    assert facts == MediaFacts(3.0, "h264", 640, 360, started_at)


@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("mp4", {"movflags": "+faststart"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof+skip_trailer"}),
        ("mov", {}),
        ("matroska", {}),
        ("mpegts", {}),
        ("flv", {}),
    ],
)
def test_every_container_of_recorders_is_understood(
    tmp_path: Path, probe_bytes: Probe, container: str, options: dict[str, str]
) -> None:
    content = remuxed(small_clip(), tmp_path / "made", container, **options)

    facts = probe_bytes(content, "clip.video")

    assert (facts.codec, facts.width_pixels, facts.height_pixels) == ("h264", 320, 240)
    assert facts.duration_seconds == pytest.approx(2.0, abs=0.25)


def test_recording_without_its_index_is_refused_and_told_so(root: MediaRoot) -> None:
    make_unfinished_clip(root.path / "clip.mp4")

    with root.open("clip.mp4") as source, pytest.raises(FileProblem, match="no index") as refused:
        read_media_facts(source, "clip.mp4")

    assert refused.value.code is Reason.FILE_NOT_PLAYABLE


def test_recording_whose_last_frames_are_missing_is_refused(probe_bytes: Probe) -> None:
    whole = small_clip(faststart=True)
    # As a player sees a copy that stopped: the last box claims no more than what is there.
    cut = whole[:-40]
    place = cut.index(b"mdat") - 4
    cut = cut[:place] + (len(cut) - place).to_bytes(4, "big") + cut[place + 4 :]

    with pytest.raises(FileProblem, match="cut off") as refused:
        probe_bytes(cut, "clip.mp4")

    assert refused.value.code is Reason.FILE_NOT_PLAYABLE


def test_sound_alone_is_no_recording(tmp_path: Path, probe_bytes: Probe) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=8000)
        frame.sample_rate = 8000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))

    with pytest.raises(FileProblem, match="no picture") as refused:
        probe_bytes((tmp_path / "sound.mkv").read_bytes(), "sound.mkv")

    assert refused.value.code is Reason.FILE_NOT_PLAYABLE


@pytest.mark.parametrize("name", ["readme.txt", "clip.mp4", "sound.wav"])
def test_what_is_no_video_is_refused_whatever_its_name(tmp_path: Path, probe_bytes: Probe, name: str) -> None:
    content = b"not a video\n" * 500
    if name.endswith(".wav"):
        with wave.open(str(tmp_path / "made.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
        content = (tmp_path / "made.wav").read_bytes()

    with pytest.raises(FileProblem) as refused:
        probe_bytes(content, name)

    assert refused.value.code is Reason.FILE_NOT_PLAYABLE


@pytest.mark.parametrize("name", ["clip.mp4", "list.m3u8", "list.ffconcat"])
def test_playlist_posing_as_a_recording_opens_nothing(
    tmp_path: Path, probe_bytes: Probe, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    outside = make_clip(tmp_path / "outside.mp4")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        for target in ("outside.mp4", f"file://{outside}", f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"):
            for playlist in (
                f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
                f"ffconcat version 1.0\nfile '{target}'\n",
            ):
                with pytest.raises(FileProblem) as refused:
                    probe_bytes(playlist.encode(), name)
                assert refused.value.code is Reason.FILE_NOT_PLAYABLE
        with pytest.raises(TimeoutError):
            server.accept()


def test_hostile_files_are_refused_or_understood_and_never_crash(probe_bytes: Probe) -> None:
    chance = random.Random(20261122)
    whole, fast = small_clip(), small_clip(faststart=True, shade=1)
    outcomes = {"facts": 0, "refused": 0}
    for turn in range(400):
        content = bytearray((whole, fast)[turn % 2])
        if turn % 4 < 2:
            for _ in range(chance.randrange(1, 20)):
                content[chance.randrange(len(content))] = chance.randrange(256)
        else:
            del content[chance.randrange(len(content)) :]
        try:
            probe_bytes(bytes(content), f"clip.{('mp4', 'mkv', 'ts', 'bin')[turn // 4 % 4]}")
            outcomes["facts"] += 1
        except FileProblem as problem:
            outcomes["refused" if problem.code is Reason.FILE_NOT_PLAYABLE else problem.code] += 1
    for size in (1, 7, 8, 9, 100, 5000, 200_000):
        with pytest.raises(FileProblem):
            probe_bytes(chance.randbytes(size), "noise.mp4")
    assert min(outcomes.values()) > 20


def test_read_error_is_told_and_is_no_bad_video(root: MediaRoot, capfd: pytest.CaptureFixture[str]) -> None:
    make_clip(root.path / "clip.mp4", seconds=2)
    with root.open("clip.mp4") as source:

        class Shrinking:
            identity = source.identity

            def read_at(self, offset_bytes: int, length_bytes: int) -> bytes:
                if length_bytes > 4096:
                    raise FileChanged("'clip.mp4' shrank")
                return source.read_at(offset_bytes, length_bytes)

        with pytest.raises(FileChanged):
            read_media_facts(Shrinking(), "clip.mp4")  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


def test_the_budget_ends_a_look_that_never_ends(root: MediaRoot) -> None:
    path = make_clip(root.path / "clip.mp4")
    with path.open("ab") as file:
        file.write(b"\x00\x00\x00\x08free" * 40_000)
    os.utime(path, (1, 1))
    with root.open("clip.mp4") as source:
        reader = media._Reader(source, budget_bytes=100_000)
        total = 0
        while content := reader.read(32_768):
            total += len(content)

    assert reader.exhausted
    assert 100_000 <= total < 100_000 + 32_768


def test_a_container_without_a_time_has_no_start(probe_bytes: Probe) -> None:
    assert probe_bytes(small_clip(), "clip.mp4").started_at is None
    unset = small_clip(started_at=datetime(1970, 1, 1, tzinfo=UTC))
    assert probe_bytes(unset, "clip.mp4").started_at is None


def test_probing_in_several_threads_at_once_mixes_nothing_up(root: MediaRoot) -> None:
    for seconds in (1, 2, 3, 4):
        make_clip(root.path / f"{seconds}.mp4", seconds=seconds)
    wrong: list[object] = []

    def look(seconds: int) -> None:
        for _ in range(20):
            with root.open(f"{seconds}.mp4") as source:
                facts = read_media_facts(source, f"{seconds}.mp4")
            if facts.duration_seconds != float(seconds):
                wrong.append(facts)

    threads = [threading.Thread(target=look, args=(seconds,)) for seconds in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
