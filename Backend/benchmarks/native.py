"""The parts in C++ (bucket, floor client, process timer), compiled on first use and after a change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = ["g++", "-O3", "-march=native", "-DWITH_TLS"]
LIBRARIES = ["-lpthread", "-lssl", "-lcrypto"]
ADVICE = "apt-get install g++ libssl-dev openssl"


class BenchError(Exception):
    """Something that the benchmark needs is missing or did not start. The text is one line for the terminal."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the compiled programs, and of the peers' Python environment."""

    home: Path
    sink: Path
    floor: Path
    timed: Path
    peers: Path


def check_compiler() -> None:
    """Raise BenchError naming the program that is missing."""
    for needed in ("g++", "openssl"):
        if not shutil.which(needed):
            raise BenchError(f"{needed} is missing: {ADVICE}")


def build_tools(home: Path, peers: Path) -> Tools:
    """Compile what is not compiled yet. Raises BenchError where that fails."""
    sink, floor, timed = (
        _build(home, HERE / folder / f"{name}.cpp")
        for folder, name in (("sink", "gcs_sink"), ("floor", "floor"), ("timed", "timed"))
    )
    return Tools(home=home, sink=sink, floor=floor, timed=timed, peers=peers)


def _build(home: Path, source: Path) -> Path:
    """Compile one program, named after its source's content, so that two checkouts may share a home."""
    stamp = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    binary = home / "bin" / f"{source.stem}-{stamp}"
    if not binary.exists():
        binary.parent.mkdir(exist_ok=True)
        fresh = binary.with_suffix(".new")
        done = subprocess.run(
            [*COMPILE, "-o", str(fresh), str(source), *LIBRARIES], capture_output=True, text=True, check=False
        )
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-300:])
            raise BenchError(f"{source.name} could not be built ({ADVICE}): {first}")
        # Renamed when whole, so that a second run never starts half a program.
        fresh.rename(binary)
    return binary


def make_certificates(home: Path) -> tuple[Path, Path, Path]:
    """Make a certificate authority, a certificate from it for 127.0.0.1, and the key of that one.

    Two certificates, because rustls refuses an authority's own certificate as that of a server.
    """
    folder = home / "certificates"
    authority, certificate, key = folder / "authority.pem", folder / "server.pem", folder / "server.key"
    if not certificate.exists():
        folder.mkdir(exist_ok=True)
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
        ca_key, request = folder / "authority.key", folder / "server.csr"
        _openssl("req", "-x509", *curve, "-subj", "/CN=Coldreel bench", "-keyout", ca_key, "-out", authority)
        _openssl("req", *curve, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request)
        extensions = folder / "server.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", authority, "-CAkey", ca_key, "-CAcreateserial"),
            *("-days", "3650", "-extfile", extensions, "-out", certificate),
        )
    return authority, certificate, key


def _openssl(*words: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl {words[0]} failed: {done.stderr.strip().splitlines()[-1]}")
