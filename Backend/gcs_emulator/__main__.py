"""``python -m gcs_emulator``: a Google Cloud Storage look-alike for development; serves until it is stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from gcs_emulator.server import EmulatorServer, Options


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gcs_emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder for buckets and open sessions")
    parser.add_argument("--bucket", action="append", default=[], help="make this bucket unless it exists (repeatable)")
    parser.add_argument("--tls", nargs=2, type=Path, metavar=("CERT", "KEY"), help="serve https")
    parser.add_argument(
        "--mbytes-per-second", type=float, default=0, help="10^6 bytes a second that all uploads share; 0 is no limit"
    )
    parser.add_argument("--page-objects", type=int, default=1000, help="most objects on one page of a listing")
    parser.add_argument("--signer-key", type=Path, help="service account key that signed URLs are checked against")
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    return parser.parse_args()


def main() -> int:
    arguments = _parse()
    options = Options(
        data=arguments.data,
        host=arguments.host,
        port=arguments.port,
        buckets=arguments.bucket,
        tls=tuple(arguments.tls) if arguments.tls else None,
        mbytes_per_second=arguments.mbytes_per_second,
        page_objects=arguments.page_objects,
        signer_key=arguments.signer_key,
    )
    with EmulatorServer(options) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for serve_forever(), which this very thread runs: it needs another thread.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        if arguments.port_file:
            # Renamed into place: a reader of the file never sees half a number.
            beside = arguments.port_file.with_suffix(".new")
            beside.write_text(f"{server.server_address[1]}\n", encoding="ascii")
            beside.replace(arguments.port_file)
        print(f"listening on {server.url}", flush=True)  # noqa: T201
        server.serve_forever(poll_interval=0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
