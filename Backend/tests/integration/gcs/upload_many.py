"""A process of its own that uploads with many threads at once and tells how much memory it took.

python -m tests.integration.gcs.upload_many URL BUCKET THREADS MEBIBYTES
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path

from offload.digest import crc32c_of
from offload.gcs import GoogleStore
from offload.request_body import SourceBody
from offload.source import MediaRoot
from offload.store import ObjectSpec

MIB = 1024 * 1024


def peak_mebibytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


def upload(store: GoogleStore, root: MediaRoot, bucket: str, name: str, together: threading.Barrier) -> None:
    """All but the last 256 KiB in one chunk, then those with the checksum, as the engine does."""
    with root.open(name) as source:
        size_bytes = source.identity.size_bytes
        spec = ObjectSpec(bucket, f"{name}-{threading.get_ident()}", size_bytes, "video/mp4", {})
        uri = store.start_session(spec)
        together.wait()
        head_bytes = size_bytes - MIB // 4
        store.send(uri, spec, SourceBody(source, offset_bytes=0, length_bytes=head_bytes), offset_bytes=0)
        tail = SourceBody(source, offset_bytes=head_bytes, length_bytes=MIB // 4)
        done = store.send(uri, spec, tail, offset_bytes=head_bytes, crc32c=crc32c_of(source, size_bytes))
        assert done.finished is not None
        assert store.get(bucket, spec.name) == done.finished


def main(url: str, bucket: str, threads: int, mebibytes: int) -> None:
    store = GoogleStore(project=None, credentials_path=None, emulator_host=url, upload_handles=threads)
    together = threading.Barrier(threads)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "clip").open("wb") as file:
            for _ in range(mebibytes):
                file.write(os.urandom(MIB))
        root = MediaRoot(Path(folder))
        senders = [
            threading.Thread(target=upload, args=(store, root, bucket, "clip", together)) for _ in range(threads)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    sys.stdout.write(f"{peak_mebibytes()}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
