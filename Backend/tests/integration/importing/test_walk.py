from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from offload.errors import FileProblem, Reason
from offload.source import MediaRoot
from offload.walk import walk


def test_files_come_in_order_without_folders_and_hidden_names(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "b/1.mp4", "a.mp4", "c/d/e.mp4", ".hidden/x.mp4", "b/.part.mp4", ".coldreel-trash/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".coldreel-media-root").touch()
    (tmp_path / "empty").mkdir()
    root = MediaRoot(tmp_path)

    assert [found.relative_path for found in walk(root)] == ["a.mp4", "b/1.mp4", "b/2.mp4", "c/d/e.mp4"]
    assert [found.relative_path for found in walk(root, "c")] == ["c/d/e.mp4"]


def test_links_are_told_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.mp4").touch()
    root = MediaRoot(tmp_path / "media")
    root.path.mkdir()
    (root.path / "folder").symlink_to(outside)
    (root.path / "file.mp4").symlink_to(outside / "secret.mp4")
    (root.path / "loop").symlink_to(root.path)

    assert [found.relative_path for found in walk(root)] == ["file.mp4", "folder", "loop"]
    with pytest.raises(FileProblem) as refused:
        list(walk(root, "folder"))
    assert refused.value.code is Reason.FILE_IS_LINK


def test_folder_swapped_for_a_link_meanwhile_is_not_entered(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.mp4").touch()
    root = MediaRoot(tmp_path / "media")
    (root.path / "b").mkdir(parents=True)
    (root.path / "a.mp4").touch()
    found = walk(root)

    assert next(found).relative_path == "a.mp4"
    (root.path / "b").rmdir()
    (root.path / "b").symlink_to(outside)

    (last,) = found
    assert last.relative_path == "b"
    assert last.problem is not None
    assert last.problem.code is Reason.FILE_IS_LINK


def test_names_of_every_kind_are_walked(tmp_path: Path) -> None:
    names = ["new\nline.mp4", "quo'te\".mp4", "ünïcode 🎥.mp4", "é" * 125 + ".mp4", os.fsdecode(b"not-utf8-\xff.mp4")]
    for name in names:
        (tmp_path / name).touch()

    assert sorted(found.relative_path for found in walk(MediaRoot(tmp_path))) == sorted(names)


def test_missing_folder_is_a_problem_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileProblem) as refused:
        list(walk(MediaRoot(tmp_path), "nowhere"))

    assert refused.value.code is Reason.FILE_MISSING


def test_endless_tree_is_left_alone_below_a_hundred_folders(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 100)).mkdir(parents=True)
    (tmp_path / "/".join("d" * 100) / "a.mp4").touch()
    (tmp_path / "/".join("d" * 100) / "e" / "e").mkdir(parents=True)

    reached, refused = walk(MediaRoot(tmp_path))

    assert reached.relative_path.endswith("/d/a.mp4")
    assert refused.problem is not None
    assert refused.problem.code is Reason.FILE_UNREADABLE


def test_many_folders_are_walked_one_at_a_time(tmp_path: Path) -> None:
    for folder in range(60):
        (tmp_path / f"{folder:03}").mkdir()
        for number in range(50):
            (tmp_path / f"{folder:03}" / f"{number:03}.mp4").touch()
    tracemalloc.start()
    count = sum(1 for _ in walk(MediaRoot(tmp_path)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 3000
    assert peak_bytes < 250_000
