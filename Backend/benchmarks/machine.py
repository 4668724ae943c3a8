"""The machine and the versions that a result belongs to, read from the system."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path

import pycurl

from benchmarks.native import Tools
from benchmarks.peers import PEERS

GIB = 2**30


def machine() -> dict[str, str]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_bytes / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
    }


def versions(tools: Tools) -> dict[str, str]:
    own = {name: version(name) for name in ("google-crc32c", "google-cloud-storage", "Django")}
    curl = [word for word in pycurl.version.split() if word.startswith(("PycURL", "libcurl", "OpenSSL"))]
    return {
        "Coldreel": f"{' '.join(curl)}, {', '.join(f'{name} {one}' for name, one in own.items())}",
        "sink and floor": f"{_first_line('g++', '--version')}; {_first_line('openssl', 'version')}",
        "Python's ssl": ssl.OPENSSL_VERSION,
        "peers": ", ".join(pin.replace("==", " ") for pin in PEERS),
        "rclone": _rclone(tools),
    }


def load_average() -> float:
    return os.getloadavg()[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]


def _rclone(tools: Tools) -> str:
    """The first line of `rclone version`, and the version of Go that it was built with."""
    done = subprocess.run([str(tools.peers / "bin/rclone"), "version"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    made_with = [line.split(":")[1].strip() for line in lines if "go/version" in line]
    return ", ".join([*lines[:1], *made_with]) or "unknown"
