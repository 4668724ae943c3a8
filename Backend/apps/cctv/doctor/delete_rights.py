"""The right to delete recordings: tried with an empty file of our own, as the user who runs doctor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from apps.cctv.doctor.finding import Finding, ok, problem, warning
from apps.cctv.services.delete_rights import sample_paths
from offload.delete_rights import rehearse_deletion
from offload.errors import FileProblem, Reason
from offload.source import MediaRoot

_MOST_TOLD = 10


def delete_rights_findings(*, root: MediaRoot, home: Path) -> Iterator[Finding]:
    """Tried in the folder of the newest local recording of each camera. Touches no recording and leaves no file."""
    if not root.has_marker():
        return
    folders = {path.rpartition("/")[0]: path for path in sample_paths()}
    refused, tried = [], 0
    for path in folders.values():
        try:
            rehearse_deletion(root, path)
            tried += 1
        except FileProblem as found:
            # A recorder took the folder away since: that says nothing of rights.
            if found.code is not Reason.FILE_MISSING:
                tried += 1
                refused.append(found)
    for one in refused[:_MOST_TOLD]:
        yield problem(
            "right to delete",
            f"{one.code}: {one.detail}",
            f"Give the user {os.geteuid()} the right to write to the folder, or run Coldreel as its owner.",
        )
    if len(refused) > _MOST_TOLD:
        yield problem("right to delete", f"More folders like that: {len(refused) - _MOST_TOLD}.", "See above.")
    if tried and not refused:
        yield ok("right to delete", f"Files may be deleted in every folder that was tried: {tried}.")
    if tried and os.geteuid() == 0 and home.is_dir() and home.stat().st_uid != 0:
        yield warning(
            "right to delete",
            "It was tried as root, who may delete nearly every file.",
            f"Run doctor as the user {home.stat().st_uid}, whom COLDREEL_HOME belongs to.",
        )
