"""The files below a folder of the media root, in name order, one folder in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from offload.errors import FileProblem, Reason
from offload.source import MediaRoot, translated

MOST_FOLDERS = 100
"""On the way to a file. Each is opened from the root down, so an endless tree would take for ever."""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies under a path: no folder. `problem` says why a folder could not be looked into."""

    relative_path: str
    problem: FileProblem | None = None


def walk(root: MediaRoot, folder: str = "") -> Iterator[Found]:
    """Everything below `folder` (relative; the root itself is ``""``) but folders and what is hidden.

    Links are named and never followed. Pipes and devices are named too: to open such a path is refused. Names that
    begin with a dot are hidden: the marker, the trash, and what recorders and copying tools have not finished.
    Raises FileProblem, at once, where `folder` itself cannot be looked into.
    """
    return _below(root, _listed(root, tuple(part for part in folder.split("/") if part)))


def _below(root: MediaRoot, listed: Iterator[tuple[tuple[str, ...], bool]]) -> Iterator[Found]:
    waiting = [listed]
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        path, is_folder = found
        if not is_folder:
            yield Found("/".join(path))
            continue
        try:
            waiting.append(_listed(root, path))
        except FileProblem as problem:
            yield Found("/".join(path), problem)


def _listed(root: MediaRoot, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Paths in a folder, each with whether it is a folder."""
    if len(parts) > MOST_FOLDERS:
        raise FileProblem(f"more than {MOST_FOLDERS} folders deep", code=Reason.FILE_UNREADABLE)
    with root.folder(parts) as folder, translated("/".join(parts)), os.scandir(folder) as entries:
        names = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")
        )
    return (((*parts, name), is_folder) for name, is_folder in names)
