"""The results as one document, and the raw runs as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Cut, Memory, Race
from benchmarks.tables import cut_table, memory_table, race_table, target_table
from benchmarks.targets import targets

DOCUMENT = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"

HOW_TO_READ = """\
Made by `make bench ARGS=--write`. Repeat it with `make bench` (about half an hour; `ARGS=--quick` ends within two
minutes; `ARGS=--help` lists all options). It needs g++ with OpenSSL's headers and network access to the package
registry, from which the peers are installed into an environment of their own.

- Every run is a whole process, from its start to its end. The runs of all clients are interleaved; figures are
  medians, with the extremes of the wall time beside it. Client and bucket share the machine's cores, so CPU is the
  fairer figure where the line is not the limit; differences under 15 % are noise.
- The bucket is `Backend/benchmarks/sink/gcs_sink.cpp` on loopback: it computes the CRC32C of what arrives and drops
  the bytes. A run counts only when it then holds every object with the right size and CRC32C.
- *plain* is HTTP, *tls* HTTPS, *thin* HTTP with 80 ms before each answer and 50 Mbit/s a connection. All speak
  HTTP/1.1, the only version the bucket knows; *spoke* is what the bucket saw, with TLS version and cipher.
- The *floor* is a client in C++ that reads, computes the CRC32C and sends, without any check or retry: the least work
  that an upload needs.
- The *engine* is Coldreel's with all checks on and its journal in memory. The *application* is the whole product: rows
  created through the API, a real web server and a real worker that was idle; its time runs from the accepted request
  to the last verified row in the database. Its CPU and peak are the worker's. Every row is compared with the bucket.
- *at once* is how many files a client sends at the same time: for each the number that is best for it, on the thin
  line 16 for all. The application is always allowed 16, and starts as many as the processor serves.
- Ratios are to the best setting of rclone and of obstore (for wall time and CPU each the one that is best there) and
  to the floor; less than 1 is better than they are. Settings of all clients: `Backend/benchmarks/clients/__init__.py`.
  *tuned* rclone compares no checksums (`--ignore-checksum`), *checksum on* is the same with them.
- *peak MiB* is the resident size of the largest process of a client.
"""


@dataclass(slots=True)
class Results:
    began_at: datetime
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    runs: int
    races: list[Race] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)

    def tables(self) -> Sequence[str]:
        found = [race_table(race) for race in self.races]
        found += [memory_table(self.memory)] if self.memory else []
        found += [cut_table(self.cuts)] if self.cuts else []
        return found

    def target_table(self) -> str:
        return target_table(targets(self.races, self.memory, self.cuts))

    def head(self) -> str:
        lines = [f"Measured on {self.began_at:%Y-%m-%d, %H:%M} UTC, {self.runs} run(s) of each client.", ""]
        lines += [f"- {name}: {value}" for name, value in (*self.machine.items(), *self.versions.items())]
        return "\n".join(lines) + "\n"

    def document(self) -> str:
        return "\n".join(["# Benchmarks\n", HOW_TO_READ, self.head(), self.target_table(), *self.tables()])

    def keep_raw(self, folder: Path) -> Path:
        """Write every single run as JSON into `folder`; return the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.began_at:%Y%m%d-%H%M%S}.json"
        path.write_text(json.dumps(asdict(self), indent=1, default=str) + "\n")
        return path
